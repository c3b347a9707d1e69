#!/bin/sh
# Tests models/data/get-kalevala without a network: local copies of Gutenberg's file in every encoding it may come
# in, bad ones, and false curl and wget commands. Needs gutenberg-7000-8.txt and kalevala.txt in $SAMPO_SHARED.
set -u
export LC_ALL=C
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
repo=$(CDPATH='' cd "$here/../.." && pwd) || exit 1
script=$repo/models/data/get-kalevala
shared=$(CDPATH='' cd "${SAMPO_SHARED:-$repo/../shared}" 2>/dev/null && pwd)
book=$shared/gutenberg-7000-8.txt poem=$shared/kalevala.txt
if [ ! -f "$book" ] || [ ! -f "$poem" ]; then
  echo "skipped: gutenberg-7000-8.txt and kalevala.txt are not in ${SAMPO_SHARED:-$repo/../shared}; set SAMPO_SHARED"
  exit 77
fi

# A run stands in tmp/box/cwd and writes to tmp/box/data; nothing else in the box may change.
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
box=$tmp/box out=$tmp/box/data/kalevala.txt
passed=0 failed=0

# The script finds its commands in tmp/tools alone: so this machine's curl and wget are out of its reach.
link() { # link FOLDER COMMAND...: those that this machine has
  folder=$tmp/$1
  shift
  mkdir -p "$folder"
  for command in "$@"; do
    place=$(command -v "$command") && ln -s "$place" "$folder/$command"
  done
}
tools='awk cat grep mkdir mv rm sed tr wc perl' # perl for shasum
hashes='sha256sum shasum openssl'
# shellcheck disable=SC2086 # lists of words
link tools $tools $hashes
sh=$(command -v sh)
path=$tmp/tools

# The false curl and wget: each word of $FAKE answers one address, the last word all further ones. It names a file of
# tmp to send, or ends in ! and does as it says. A signal goes to the script and to the command, as Ctrl-C does.
mkdir "$tmp/fake" "$tmp/curl" "$tmp/wget"
cat >"$tmp/fake/command" <<'END'
#!/bin/sh
for url in "$@"; do :; done
echo "$url" >>"$FAKE_LOG"
calls=$(wc -l <"$FAKE_LOG")
set -- $FAKE
while [ $# -gt 1 ] && [ "$calls" -gt 1 ]; do shift; calls=$((calls - 1)); done
case $1 in
  unreachable!) echo 'Could not resolve host' >&2; exit 6 ;;
  two-lines!) printf 'one\ntwo\n' >&2; exit 6 ;;
  silent!) exit 4 ;;
  disk-full!) case $0 in *curl) exit 23 ;; *) exit 3 ;; esac ;;
  INT! | TERM! | HUP!) echo half; kill -s "${1%!}" "$(cat "$FAKE_PID")"; kill -s "${1%!}" $$ ;;
  *) cat "$FAKE_FILES/$1" ;;
esac
END
chmod +x "$tmp/fake/command"
ln -s ../fake/command "$tmp/curl/curl"
ln -s ../fake/command "$tmp/wget/wget"
export FAKE='unreachable!' FAKE_FILES="$tmp" FAKE_LOG="$tmp/log" FAKE_PID="$tmp/pid"

# fresh [FILE]: a clean box, or one where FILE is the target of an earlier run.
fresh() {
  rm -rf "$box" "$tmp/earlier" "$tmp/log"
  mkdir -p "$box/data" "$box/cwd" "$box/tmp"
  if [ $# -gt 0 ]; then cp "$1" "$out" && cp "$1" "$tmp/earlier"; fi
}

# run ARGUMENT...: the script, its process number written down for the false curl.
run() {
  find "$box" | sort >"$tmp/before"
  # shellcheck disable=SC2016 # for the inner shell to fill in
  (cd "$box/cwd" && PATH=$path TMPDIR=$box/tmp exec "$sh" -c 'echo $$ >"$FAKE_PID"; exec "$@"' sh "$sh" "$script" "$@") \
    >"$tmp/stdout" 2>"$tmp/stderr" </dev/null
  status=$?
  find "$box" | sort >"$tmp/after"
}

verdict() { # verdict NAME FAULT: no fault is a pass
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1: $2"
    sed 's/^/        stderr: /' "$tmp/stderr"
  fi
}
skip() { echo "skip  $1: $2"; }

# good NAME [TARGET]: the run made the poem, said nothing on stderr and left no other file.
good() {
  target=${2:-$out} fault=
  echo "$target" | sort -u - "$tmp/before" >"$tmp/expected"
  if [ "$status" -ne 0 ]; then fault="exit status $status, not 0"
  elif [ -s "$tmp/stderr" ]; then fault='it wrote to stderr'
  elif ! cmp -s "$target" "$poem"; then fault='the target is not the poem'
  elif ! cmp -s "$tmp/after" "$tmp/expected"; then fault="left behind: $(comm -3 "$tmp/after" "$tmp/expected" | tr '\n' ' ')"
  fi
  verdict "$1" "$fault"
}

# bad NAME STATUS PATTERN: the run said one line, which matches the pattern, and left everything as it was.
bad() {
  fault=
  if [ "$status" -ne "$2" ]; then fault="exit status $status, not $2"
  elif [ -s "$tmp/stdout" ]; then fault='it wrote to stdout'
  elif [ "$(wc -l <"$tmp/stderr")" -ne 1 ]; then fault='not one line on stderr'
  elif ! grep -q "^get-kalevala: .*$3" "$tmp/stderr"; then fault="stderr does not say '$3'"
  elif ! cmp -s "$tmp/before" "$tmp/after"; then fault="left behind: $(comm -3 "$tmp/after" "$tmp/before" | tr '\n' ' ')"
  elif [ -f "$tmp/earlier" ] && ! cmp -s "$out" "$tmp/earlier"; then fault='the earlier file is damaged'
  fi
  verdict "$1" "$fault"
}

accepts() { fresh "$tmp/stale"; run --from "$2" -o "$out"; good "$1"; }         # accepts NAME FILE
refuses() { fresh "$poem"; run --from "$2" -o "$out"; bad "$1" 1 "$3"; }        # refuses NAME FILE PATTERN
usage() { name=$1; shift; fresh "$poem"; run "$@"; bad "$name" 2 'see .*--help'; } # usage NAME ARGUMENT...

# The inputs. ä, ö and Ä are all that the book has beyond ASCII.
cr=$(printf '\r')
bom=$(printf '\357\273\277')
i() { printf "%b" "$1"; }
cp "$book" "$tmp/book"
tr -d '\r' <"$book" >"$tmp/latin1"
sed "s/$(i '\0344')/$(i '\0303\0244')/g; s/$(i '\0366')/$(i '\0303\0266')/g; s/$(i '\0304')/$(i '\0303\0204')/g" \
  <"$tmp/latin1" >"$tmp/utf8"
sed "s/\$/$cr/" <"$tmp/utf8" >"$tmp/utf8-crlf"
{ printf %s "$bom"; cat "$tmp/utf8"; } >"$tmp/utf8-bom"
{ printf %s "$bom"; cat "$tmp/utf8-crlf"; } >"$tmp/utf8-bom-crlf"
{ printf %s "$bom"; cat "$poem"; } >"$tmp/poem-bom"
sed 's/^End of the Project.*//; s/OF THIS PROJECT/OF THE PROJECT/' <"$tmp/utf8" >"$tmp/new-marks"
sed '/^\*\*\* END OF/d' <"$tmp/utf8" >"$tmp/old-marks"
sed '/^Kalevala$/a\
  Ensimmäinen runo\
  Toinen runo' <"$tmp/utf8" >"$tmp/contents"
sed 's/$/  	/' <"$tmp/utf8" >"$tmp/blanks"
sed 's/^  */	/' <"$tmp/utf8" >"$tmp/tabs"
cp "$script" "$tmp/wrong"
: >"$tmp/empty"
sed 10000q <"$book" >"$tmp/truncated"
sed 's/aivoni ajattelevi/aivoni ajatteleepi/' <"$book" >"$tmp/edition"
{ echo '<!DOCTYPE html>'; echo '<html><body>Ensimmäinen runo'; echo '</body></html>'; } >"$tmp/html"
cat "$book" "$book" "$book" "$book" >"$tmp/huge"
mkdir "$tmp/folder"
echo 'an older text' >"$tmp/stale"

if [ -x "$script" ]; then verdict 'the script is executable' ''; else verdict 'the script is executable' 'it is not'; fi

accepts 'Latin-1, CRLF, as Gutenberg has it' "$book"
accepts 'Latin-1, LF' "$tmp/latin1"
accepts 'UTF-8, LF' "$tmp/utf8"
accepts 'UTF-8, CRLF' "$tmp/utf8-crlf"
accepts 'UTF-8, byte order mark, LF' "$tmp/utf8-bom"
accepts 'UTF-8, byte order mark, CRLF' "$tmp/utf8-bom-crlf"
accepts 'the finished poem' "$poem"
accepts 'the finished poem after a byte order mark' "$tmp/poem-bom"
accepts "Gutenberg's newer last line alone" "$tmp/new-marks"
accepts "Gutenberg's older last line alone" "$tmp/old-marks"
accepts 'a table of contents before the poem' "$tmp/contents"
accepts 'blanks at the ends of lines' "$tmp/blanks"
accepts 'tabs at the starts of lines' "$tmp/tabs"
# Not every awk stumbles over Latin-1 in a UTF-8 locale, so this one makes a point of it.
mkdir "$tmp/bytes"
cat >"$tmp/bytes/awk" <<END
#!/bin/sh
[ "\$LC_ALL" = C ] && exec "$tmp/tools/awk" "\$@"
END
chmod +x "$tmp/bytes/awk"
path=$tmp/bytes:$tmp/tools LC_ALL=C.UTF-8
accepts 'Latin-1 in a UTF-8 locale' "$book"
path=$tmp/tools LC_ALL=C

refuses 'a wrong file' "$tmp/wrong" "no line 'Ensimm.*runo'"
refuses 'a truncated file' "$tmp/truncated" 'breaks off'
refuses 'one changed word' "$tmp/edition" 'another edition'
refuses 'a missing file' "$tmp/nowhere" 'does not exist'
refuses 'a directory' "$tmp/folder" 'not a readable plain file'
refuses 'an empty file' "$tmp/empty" 'is empty'
refuses 'an HTML page' "$tmp/html" 'is an HTML page'
refuses 'a huge file' "$tmp/huge" 'has 2544600 bytes'
refuses 'a file name of two lines' "$tmp/no
where" 'no where does not exist'
fresh
run --from "$tmp/truncated" -o "$out"
bad 'after a failure nothing is there that was not' 1 'breaks off'
fresh
cp "$tmp/utf8" "$out"
run --from "$out" --out "$out"
good 'a target that is its own input'

usage 'an unknown option' --from "$book" -o "$out" --force
usage 'an operand' --from "$book" -o "$out" more
usage 'no file name after --from' -o "$out" --from
usage 'an empty file name' --from "$book" --out=
fresh
run --help
if [ "$status" -eq 0 ] && grep -q -e '--from FILE' "$tmp/stdout" && [ ! -s "$tmp/stderr" ] && cmp -s "$tmp/before" "$tmp/after"
then verdict --help ''; else verdict --help 'no help on stdout'; fi
fresh
run --from="$book" --out="$out"
good '--from=FILE --out=FILE'
fresh
run --from "$book" -o '-o  two'
good 'a target in the working folder whose name looks like an option' "$box/cwd/-o  two"
fresh
mkdir "$box/tree"
cp "$script" "$box/tree/get-kalevala"
(script=../tree/get-kalevala; run --from "$book"; echo "$status" >"$tmp/status")
status=$(cat "$tmp/status")
good 'without -o the poem goes beside the script' "$box/tree/kalevala.txt"

fresh "$poem"
run --from "$book" -o "$out/kalevala.txt"
bad 'a target under a plain file' 1 'no directory .*data/kalevala.txt/'
fresh "$poem"
run --from "$book" -o "$box/none/kalevala.txt"
bad 'a target in a missing folder' 1 'no directory .*box/none/'
fresh "$poem"
run --from "$book" -o "$box/data"
bad 'a target that is a directory' 1 'is a directory'
fresh "$poem"
ln -s kalevala.txt "$box/data/link"
run --from "$book" -o "$box/data/link"
[ -L "$box/data/link" ] || echo 'the link is gone' >>"$tmp/stderr"
bad 'a target that is a link' 1 'a link or a device'
fresh "$poem"
mkfifo "$box/data/pipe"
run --from "$book" -o "$box/data/pipe"
[ -p "$box/data/pipe" ] || echo 'the pipe is gone' >>"$tmp/stderr"
bad 'a target that is a pipe' 1 'a link or a device'
fresh "$poem"
run --from "$book" -o "$box/data/$(printf %300s '' | tr ' ' x)"
bad 'a target whose name is too long' 1 'cannot rename'
name='a full disk' # a limit on the size of files is the nearest thing that needs no disk
fresh "$poem"
# shellcheck disable=SC3047 # where XFSZ is unknown the case is left out
if (trap '' XFSZ) 2>/dev/null; then
  (trap '' XFSZ; ulimit -f 200; run --from "$book" -o "$out"; echo "$status" >"$tmp/status")
  status=$(cat "$tmp/status")
  bad "$name" 1 'cannot write in .*disk is full'
else
  skip "$name" 'no signal XFSZ'
fi

for hash in $hashes; do
  # shellcheck disable=SC2086 # a list of words
  link "$hash" $tools "$hash"
  path=$tmp/$hash
  if [ -e "$path/$hash" ]; then accepts "$hash is the only hash command" "$book"; else skip "$hash" 'not installed'; fi
done
# shellcheck disable=SC2086 # a list of words
link none $tools
path=$tmp/none
refuses 'no hash command' "$book" 'install sha256sum'
path=$tmp/tools

# fetches NAME ANSWERS, cannot_fetch NAME ANSWERS PATTERN: with the false command of the current $path.
fetches() { FAKE=$2; fresh "$tmp/stale"; run -o "$out"; good "$1"; }
cannot_fetch() { FAKE=$2; fresh "$poem"; run -o "$out"; bad "$1" 1 "$3"; }
cannot_fetch 'no curl and no wget' book 'curl or wget'
for command in curl wget; do
  path=$tmp/$command:$tmp/tools
  fetches "$command brings the book" book
  cannot_fetch "$command fails" unreachable! '7000.txt.utf-8 could not be fetched (Could not resolve host)'
  cannot_fetch "$command fails without a word" silent! "exit status of $command 4"
  cannot_fetch "$command brings HTML" html 'is an HTML page'
  cannot_fetch "$command brings nothing" empty 'is empty'
  cannot_fetch "$command brings half the book" truncated 'breaks off'
  cannot_fetch "$command finds the disk full" disk-full! 'disk is full'
done
path=$tmp/curl:$tmp/tools
name='a folder where nobody can write'
if [ -d /proc/self ]; then # even root makes no file there
  FAKE=book
  fresh "$poem"
  run -o /proc/kalevala.txt
  bad "$name" 1 'cannot write in /proc/'
else
  skip "$name" 'no /proc'
fi
fetches 'two addresses fail, the third has the book' 'unreachable! html book'
cat >"$tmp/addresses" <<'END'
https://www.gutenberg.org/ebooks/7000.txt.utf-8
https://www.gutenberg.org/cache/epub/7000/pg7000.txt
https://www.gutenberg.org/files/7000/7000-8.txt
END
if cmp -s "$tmp/addresses" "$tmp/log"; then verdict 'the three addresses' ''; else verdict 'the three addresses' "$(cat "$tmp/log")"; fi
cannot_fetch 'the first address is the one that is reported' 'edition unreachable!' 'another edition'
cannot_fetch 'a message of two lines becomes one' two-lines! 'one two'

# A signal that was ignored when this test was started cannot be caught (nohup, a background job).
ignored() { sh -c "kill -s $1 \$\$; :" 2>/dev/null; }
if ignored INT; then
  skip 'Ctrl-C' 'it is ignored here'
else
  FAKE=INT!
  fresh "$poem"
  run -o "$out"
  bad 'Ctrl-C' 130 'interrupted; .* as it was'
fi
for signal in TERM:143 HUP:129; do
  name=${signal%:*} FAKE=${signal%:*}!
  if ignored "$name"; then skip "$name" 'it is ignored here' && continue; fi
  fresh "$poem"
  run -o "$out"
  if [ "$status" -ne "${signal#*:}" ]; then verdict "$name" "exit status $status"
  elif ! cmp -s "$tmp/before" "$tmp/after" || ! cmp -s "$out" "$poem"; then verdict "$name" 'not everything is as it was'
  else verdict "$name" ''; fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
