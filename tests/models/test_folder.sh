#!/bin/sh
# The folder of a run and the files that programs write and read: test_folder.sh FOLDER, the folder with the executables
# gpt and bigram. Prints a line a case.
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

b() { printf '%b' "$1"; }
i=0
while [ $i -lt 60 ]; do echo "the cat sat on the mat, number $i"; i=$((i + 1)); done >text
tiny="--data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 2"
train() { "$gpt" train "$@" </dev/null; }
# begin FOLDER OPTIONS...: a run of six iterations there.
begin() {
  folder=$1
  shift
  # shellcheck disable=SC2086
  run train $tiny --iters 6 --eval-every 2 --sample-tokens 10 --out "$folder" "$@"
}
begin six
done_well 'a run'
cp -r six plain

# says NAME TEXT: the last run ended well and said so.
says() {
  if [ "$status" -ne 0 ]; then verdict "$1" "exit status $status"
  elif ! grep -qF -e "$2" stderr; then verdict "$1" "stderr does not say '$2'"
  else verdict "$1" ''; fi
}
# unchanged NAME FOLDER: its files are those of the folder `plain`.
unchanged() {
  for file in log.csv samples.txt last.safetensors best.safetensors tokens.bin; do
    cmp -s "$2/$file" plain/$file || { verdict "$1" "$file has changed" && return; }
  done
  verdict "$1" ''
}
leftovers() { [ ! -d "$1" ] || find "$1" -name '*.tmp' -o -name '*.new'; } # the run may have taken its folder away

# ---- Standard streams that are closed ---------------------------------------------------------------
# clean FOLDER: no line of log.csv or samples.txt is one that was meant for a standard stream.
clean() {
  [ "$(grep -vc -e '^iteration,loss,' -e '^[0-9]*,[0-9.e+-]*,[0-9.e+-]*,' "$1/log.csv")" -eq 0 ] || return 1
  ! grep -q -e '^Iter ' -e '^iteration' -e '^gpt: ' "$1/samples.txt" "$1/log.csv" 2>/dev/null ||
    [ "$(grep -h -e '^Iter ' -e '^iteration' -e '^gpt: ' "$1/samples.txt" "$1/log.csv")" = "$(head -n 1 six/log.csv)" ]
}
# shellcheck disable=SC2086
closed() { "$gpt" train $tiny --iters 6 --eval-every 2 --sample-tokens 10 --out "$1"; }
closed err 2>&- >stdout </dev/null
check 'a closed stderr: the run ends well' [ $? -eq 0 ]
check 'and its files are clean' clean err
same 'and those of any run' err/samples.txt six/samples.txt
run "$gpt" plot err
done_well 'and plot draws it'
closed out >&- 2>stderr </dev/null
check 'a closed stdout fails' [ $? -eq 1 ]
check 'and says so' grep -q 'cannot write to standard output' stderr
check 'and its files are clean' clean out
closed both >&- 2>&- </dev/null
check 'both closed: its files are clean' clean both
closed all >&- 2>&- <&-
check 'all three closed: its files are clean' clean all
"$gpt" train --data - --out in <&- 2>stderr
check 'a closed stdin is no text' [ $? -eq 1 -a "$(grep -c 'standard input: cannot be read' stderr)" -eq 1 ]

# ---- The lock -----------------------------------------------------------------------------------------
# shellcheck disable=SC2086
"$gpt" train $tiny --iters 100000000 --eval-every 100 --out long >/dev/null 2>&1 </dev/null &
process=$!
tries=0
while [ ! -f long/best.safetensors ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
refuses 1 "long: process $process is training there" train --resume long --iters 1
# shellcheck disable=SC2086
refuses 1 "long: process $process is training there" train $tiny --iters 3 --out long --force
# shellcheck disable=SC2086
refuses 1 "long: process $process is training there" train $tiny --iters 3 --out long
run "$gpt" report long
check 'others may look at it meanwhile' [ "$status" -eq 0 ]
kill -9 $process
wait $process 2>/dev/null
run train --resume long --iters 1
says 'the lock ends with kill -9' 'the run is complete'
rm -r long
check 'the lock leaves nothing behind' [ "$(ls -A six)" = "best.safetensors
last.safetensors
log.csv
run.txt
samples.txt
tokens.bin" ]

# ---- A new run in its place that cannot save ----------------------------------------------------------
rm -rf six && cp -r plain six
# shellcheck disable=SC2086,SC3045 # dash and bash have it
(ulimit -f 16 && exec "$gpt" train $tiny --width 64 --iters 6 --out six --force) >stdout 2>stderr </dev/null
check 'a first checkpoint that is too large for the disk' [ $? -ne 0 ]
for file in last.safetensors best.safetensors; do same "it leaves the $file that was there" plain/$file six/$file; done
rm -rf six && cp -r plain six

# ---- Errors are not taken for "not there" ---------------------------------------------------------------
# With few descriptors some file cannot be opened: which one, depends on how many.
failures=0 limit=3
while [ $limit -lt 14 ]; do
  # shellcheck disable=SC3045 # dash and bash have it
  (ulimit -n $limit && exec "$gpt" train --resume six --iters 8) >stdout 2>stderr </dev/null && break
  for file in log.csv samples.txt last.safetensors best.safetensors tokens.bin; do
    cmp -s six/$file plain/$file || verdict "with $limit descriptors" "$file has changed"
  done
  failures=$((failures + 1)) limit=$((limit + 1))
done
check "with too few descriptors nothing is touched, $failures times" [ $failures -ge 2 -a $limit -lt 14 ]
for file in log.csv samples.txt; do
  rm -rf six && cp -r plain six && rm six/$file
  ln -s $file six/$file # a link to itself
  refuses 1 "six/$file: cannot be opened: Too many levels" train --resume six --iters 8
  rm six/$file && mkdir six/$file
  refuses 1 "six/$file: cannot be opened: Is a directory" train --resume six --iters 8
  if [ -e /proc/self/mem ]; then
    rmdir six/$file && ln -s /proc/self/mem six/$file
    refuses 1 "six/$file: cannot be read: Input/output error" train --resume six --iters 8
  else
    skip "an error while $file is read" 'no /proc/self/mem'
  fi
  rm -rf six/$file && cp plain/$file six
  unchanged "an unreadable $file: nothing is touched" six
done
if [ "$(id -u)" -eq 0 ]; then
  skip 'a log that may not be read' 'root may read everything'
else
  chmod 0 six/log.csv
  refuses 1 'six/log.csv: cannot be opened: Permission denied' train --resume six --iters 8
  chmod 600 six/log.csv
fi
for file in last.safetensors best.safetensors config.json vocab.json; do
  mkdir -p loops && rm -f loops/* && ln -s $file loops/$file
  case $file in
  last*) refuses 1 "loops/$file: cannot be looked at: Too many levels" train --resume loops ;;
  best*) refuses 1 "loops/$file: cannot be looked at: Too many levels" "$gpt" sample loops ;;
  *)
    cp "$repo/tests/fixtures/gpt2/model.safetensors" "$repo/tests/fixtures/gpt2/merges.txt" loops
    [ $file = config.json ] || cp "$repo/tests/fixtures/gpt2/config.json" loops
    refuses 1 "/$file: cannot be" "$gpt" sample loops
    check "not taken for absent: $file" grep -q 'Too many levels' stderr
    ;;
  esac
done
ln -s itself itself
# shellcheck disable=SC2086
refuses 1 'itself/tokenizer.json: cannot be looked at: Too many levels' train $tiny --tokenizer itself
# shellcheck disable=SC2086
run sh -c "cat text | $gpt train ${tiny#--data text} --data - --iters 2 --out input"
rm input/tokens.bin && ln -s tokens.bin input/tokens.bin
refuses 1 'input/tokens.bin: cannot be opened: Too many levels' train --resume input --iters 4
rm input/tokens.bin && : >input/tokens.bin
refuses 1 'the tokens of the text are not there, damaged' train --resume input --iters 4

# ---- Rows of a log ----------------------------------------------------------------------------------------
# go_on NAME: after a change of six/log.csv the run goes on for two more iterations.
again() { rm -rf six && cp -r plain six; }
numbers() { cut -d , -f 1-4,6-7 "$1" | tr -d '\r' | sed "s/^$(b '\0357\0273\0277')//"; }
again && train --resume six --iters 8 >/dev/null 2>&1
numbers six/log.csv >whole.csv
# kept NAME: the log of the last run is that of one that nobody touched.
kept() {
  numbers six/log.csv >part.csv
  if [ "$status" -ne 0 ]; then verdict "$1" "exit status $status"
  elif ! cmp -s part.csv whole.csv; then verdict "$1" 'the rows differ'
  else verdict "$1" ''; fi
}
again && sed 's/$/\r/' plain/log.csv >six/log.csv
run train --resume six --iters 8
kept 'a log in CRLF goes on'
again && printf %s "$(cat plain/log.csv)" >six/log.csv
run train --resume six --iters 8
kept 'a log without its last newline goes on'
again && { b '\0357\0273\0277' && printf %s "$(sed 's/$/\r/' plain/log.csv)"; } >six/log.csv
run train --resume six --iters 8
kept 'a log with a byte order mark, CRLF and no newline at the end goes on'
run "$gpt" plot six
done_well 'and plot draws it'
again && printf 6,1.2 >>six/log.csv
run train --resume six --iters 8
kept 'a row that is cut off is no obstacle'
says 'and is dropped with a word' 'six/log.csv: its end is incomplete and is removed'
again && { sed -n '$s/^5,/6,/p' plain/log.csv && echo '7,1.2'; } >>six/log.csv
run train --resume six --iters 8
kept 'later rows are made again'
says 'with a word' 'six/log.csv: all that is of iteration 6 and later is removed, and training computes it again'
again && sed -i '6,$d' six/log.csv
run train --resume six --iters 8
says 'rows that are missing are named' 'six/log.csv: has no rows of iterations 4 to 5'
again && rm six/log.csv
run train --resume six --iters 8
says 'all of them' 'six/log.csv: has no rows of iterations 0 to 5'
check 'and it has a header and the new ones' [ "$(wc -l <six/log.csv)" -eq 3 ]
again && awk -F , 'BEGIN { OFS = "," } { print $2, NR == 1 ? "note" : "", $1 }' plain/log.csv >six/log.csv
run train --resume six --iters 8
check 'a log with other columns keeps them' [ "$(awk -F , 'NF == 3 && $2 == "" { print $3 }' six/log.csv | tr '\n' ' ')" = '0 1 2 3 4 5 6 7 ' ]
bad() { # bad NAME TEXT: the log in six is refused with this text and stays as it is
  cp six/log.csv before
  refuses 1 "six/log.csv: $2" train --resume six --iters 8
  same "$1: it stays as it is" six/log.csv before
  for file in samples.txt last.safetensors best.safetensors; do same "and $file" six/$file plain/$file; done
}
again && sed -i '3s/.*/hello/' six/log.csv
bad 'no row' 'line 3 is not a row of this log'
again && sed -i '3s/,/\x00/' six/log.csv
bad 'a NUL' 'line 3 is not a row of this log'
again && sed -i '3s/^1/7/; 4s/^2/3/' six/log.csv && sed -i '3s/^7/4/' six/log.csv
bad 'no order' 'line 4: iteration 3 comes after 4'
again && echo hello >six/log.csv
bad 'no header' 'line 1 is not the header of a log'
again && printf '# iteration 4, 1000 bytes\nabc' >>six/samples.txt
run train --resume six --iters 8
says 'a sample that is cut off is dropped with a word' 'six/samples.txt: its end is incomplete and is removed'
cp six/samples.txt after
again && printf %s "$(cat plain/samples.txt)" >six/samples.txt
run train --resume six --iters 8
same 'samples without their last newline' six/samples.txt after
again && sed -i 's/^# iteration 2, /# iteration 2: /' six/samples.txt
cp six/samples.txt before
refuses 1 'six/samples.txt: what follows sample 1 is not the head of a sample' train --resume six --iters 8
same 'samples that cannot be read stay as they are' six/samples.txt before
same 'and so does the log' six/log.csv plain/log.csv
again
printf %s "$(cat plain/log.csv)" >six/log.csv
run "$gpt" plot six
matches 'plot: a last row without a newline counts' 'six: iteration 5, .*'
again && printf 6,1.2 >>six/log.csv
run "$gpt" plot six
matches 'plot: but not one that is cut off' 'six: iteration 5, .*'
says 'which it says' 'six/log.csv: the last row is not whole and left out'

# ---- On the disk before the checkpoint ------------------------------------------------------------------------
if ! emulated && command -v strace >/dev/null && strace -o trace true 2>/dev/null; then
  # shellcheck disable=SC2086
  run strace -f -y -o trace -e trace=fsync,rename "$gpt" train $tiny --iters 5 --eval-every 2 --out traced
  check 'all that a checkpoint relies on is synced before it' awk '
    /fsync\(.*tokens\.bin\.tmp/ { tokens = 1 }
    /rename\(.*tokens\.bin/ { tokens = tokens == 1 ? 2 : 0 }
    /fsync\(.*\/traced>/ { if (tokens == 2) tokens = 3; folders++ }
    /fsync\(.*log\.csv/ { log_ = 1 }
    /fsync\(.*samples\.txt/ { samples = 1 }
    /rename\(.*last\.safetensors/ { n++; if (tokens != 3 || !log_ || !samples) bad = 1; log_ = samples = 0 }
    END { exit !(n >= 3 && !bad && folders > n) }' trace
else
  skip 'all that a checkpoint relies on is synced before it' 'no strace, or an emulator'
fi

# ---- Files that cannot grow -----------------------------------------------------------------------------------
limit=1 failures=0
while [ $limit -lt 60 ]; do # files of so many half or whole KiB
  rm -rf full
  # shellcheck disable=SC2086
  (ulimit -f $limit && exec "$gpt" train $tiny --iters 400 --eval-every 100 --out full) >/dev/null 2>stderr </dev/null
  status=$?
  [ $status -eq 0 ] || failures=$((failures + 1))
  if [ $status -gt 1 ]; then verdict "ulimit -f $limit" "exit status $status"
  elif [ $status -eq 1 ] && ! grep -q 'File too large' stderr; then verdict "ulimit -f $limit" 'not said'
  elif [ -n "$(leftovers full)" ]; then verdict "ulimit -f $limit" 'something is left'
  elif [ -f full/last.safetensors ] && ! "$gpt" info full/last.safetensors >/dev/null; then
    verdict "ulimit -f $limit" 'the checkpoint is not whole'
  fi
  limit=$((limit + 9))
done
check "a file that grows too large is an error, $failures times" [ $failures -ge 3 ]

# ---- Pages -------------------------------------------------------------------------------------------------------
again
run "$gpt" report six
check 'report' [ "$status" -eq 0 ]
cp six/report.html page.html
run "$gpt" plot six --svg old.svg
cp old.svg kept.svg
limited() { (ulimit -f 1 && exec "$@" >/dev/null); }
refuses 1 'six/report.html: cannot be written: File too large' limited "$gpt" report six
same 'a full disk: the earlier page is whole' six/report.html page.html
refuses 1 'old.svg: cannot be written: File too large' limited "$gpt" plot six --svg old.svg
same 'and so is the earlier picture' old.svg kept.svg
published=$repo/tests/fixtures/gpt2
run "$gpt" export "$published" exported --gguf six.gguf
check 'export' [ "$status" -eq 0 ]
cp six.gguf kept.gguf
refuses 1 'six.gguf: cannot be written: File too large' limited "$gpt" export "$published" --gguf six.gguf --force
same 'nor does an exported file go' six.gguf kept.gguf
check 'and nothing is left' [ -z "$(leftovers .)" ]
mkdir elsewhere && echo old >elsewhere/picture && ln -s elsewhere/picture link.svg
run "$gpt" plot six --svg link.svg
check 'a link stays one' [ -L link.svg ]
same 'and what it names is replaced' elsewhere/picture kept.svg
if [ -e /dev/fd/1 ]; then
  "$gpt" plot six --svg /dev/fd/3 3>&1 >/dev/null 2>&1 | cat >piped
  same 'a pipe is written to' piped kept.svg
fi

# ---- Links and leftovers ------------------------------------------------------------------------------------------
echo precious >victim
for link in tokens.bin.tmp tokens.bin.new last.safetensors.tmp best.safetensors.tmp log.csv samples.txt run.txt .lock; do
  for target in ../victim ../nothing; do
    rm -rf planted && mkdir planted && ln -s $target planted/$link
    # shellcheck disable=SC2086
    run train $tiny --iters 2 --sample-tokens 3 --out planted
    check "a planted link $link to $target is not followed" \
      [ "$(cat victim nothing 2>/dev/null)" = precious -a -L planted/$link ]
    [ $link = tokens.bin.new ] || check 'it is refused' [ "$status" -eq 1 -a "$(faults)" -eq 1 ]
  done
done
rm -rf planted && mkdir planted
for file in tokens.bin.tmp last.safetensors.tmp best.safetensors.tmp tokens.bin.new; do echo cut >planted/$file; done
# shellcheck disable=SC2086
run train $tiny --iters 2 --out planted
done_well 'what a killed run has left is no obstacle'
rm planted/tokens.bin.new
check 'and goes' [ -z "$(leftovers planted)" ]
rm -f six/report.html && ln -s ../victim six/report.html.tmp
refuses 1 'six/report.html: cannot be written: the name of the .tmp file beside it is taken' "$gpt" report six
check 'a page follows no planted link' [ "$(cat victim)" = precious ]
rm six/report.html.tmp

# ---- Texts from any editor --------------------------------------------------------------------------------------------
model=six/last.safetensors
printf 'the cat\nsat on\n' >prompt
run "$gpt" sample $model --prompt-file prompt --tokens 20
cp stdout first
{ b '\0357\0273\0277' && cat prompt; } >marked
run "$gpt" sample $model --prompt-file marked --tokens 20
cp stdout second
same 'a prompt with a byte order mark' first second
"$gpt" sample $model --prompt - --tokens 20 <marked >second
same 'and from standard input' first second
{ b '\0357\0273\0277' && sed 's/$/\r/' prompt; } >crlf
run "$gpt" sample $model --prompt-file crlf --tokens 20
check 'a prompt in CRLF is read' [ "$status" -eq 0 ]
tr -d '\r' <stdout >second
same 'as in LF' first second
"$gpt" sample $model --interactive --tokens 20 <prompt >first
"$gpt" sample $model --interactive --tokens 20 <crlf >second 2>stderr
same 'interactive lines in CRLF, with a byte order mark' first second
"$gpt" sample $model --interactive >stdout 2>stderr </
check 'interactive input that cannot be read is a failure' [ $? -eq 1 ]
check 'which is said' grep -q '^gpt: standard input: cannot be read: ' stderr
"$gpt" sample $model --interactive >stdout 2>stderr <&-
check 'and so is one that is closed' [ $? -eq 1 ]
sed 's/$/\r/' text >text.crlf
run "$gpt" eval $model --data text
cp stdout first
run "$gpt" eval $model --data text.crlf
cp stdout second
same 'eval of a text in CRLF' first second
# shellcheck disable=SC2086
run train ${tiny#--data text} --data text.crlf --iters 2 --out crlfs
done_well 'training on CRLF'
run "$gpt" sample crlfs/last.safetensors --prompt-file crlf --tokens 20
check 'keeps it where the vocabulary has it' [ "$(head -n 1 stdout)" = "$(b 'the cat\r')" ]

# ---- Control characters --------------------------------------------------------------------------------------------------
i=0
while [ $i -lt 100 ]; do b '\0033[31m\0302\0233'; i=$((i + 1)); done >escapes
# shellcheck disable=SC2086
run train ${tiny#--data text} --data escapes --iters 2 --sample-tokens 0 --out esc
run "$gpt" sample esc --prompt "$(b '\0033[31m\0302\0233')" --tokens 0
b '\0033[31m\0302\0233\n' >first
same 'a sample is raw in a file' stdout first
if has_terminal; then
  prompt=$(b '\0033[31m\0302\0233')
  export prompt gpt
  # shellcheck disable=SC2016 # for the shell of script
  run script -qec 'TERM=xterm "$gpt" sample esc --prompt "$prompt" --tokens 0' /dev/null
  tr -d '\r' <stdout >shown
  shown=$(b '\0357\0277\0275[31m\0357\0277\0275')
  echo "$shown" >first
  same 'and visible on a terminal' shown first
  # shellcheck disable=SC2016
  run script -qec 'TERM=xterm "$gpt" sample esc --prompt "$prompt" --tokens 0 --samples 2' /dev/null
  check 'and so is each of several' [ "$(grep -cF "$shown" stdout)" -eq 2 ]
else
  skip 'control characters on a terminal' 'no script that could make one'
fi
refuses 1 '?[31m?a: cannot open' "$gpt" info "$(b '\0033[31m\0302\0233a')"

# ---- SAMPO_THREADS --------------------------------------------------------------------------------------------------------
for threads in abc 0 -1 257 2x ' '; do
  refuses 2 "SAMPO_THREADS is '$threads', no number of threads from 1 to 256" env SAMPO_THREADS="$threads" "$gpt" sample $model --tokens 1
done
for threads in 1 2 ''; do
  run env SAMPO_THREADS="$threads" "$gpt" sample $model --tokens 1
  done_well "SAMPO_THREADS='$threads'"
done

# ---- Memory ------------------------------------------------------------------------------------------------------------------
if alone && command -v valgrind >/dev/null; then
  # shellcheck disable=SC2086
  run train $tiny --iters 2 --out two
  run valgrind -q --error-exitcode=9 "$gpt" report two
  check 'report reads nothing that is not its own' [ "$status" -eq 0 ]
else
  skip 'report under valgrind' 'no valgrind, a build with sanitizers, or an emulator'
fi


# ---- The text is gone -----------------------------------------------------------------------------------
cp text moved
# shellcheck disable=SC2086
run "$gpt" train ${tiny#--data text} --data moved --iters 2 --out gone
mv moved elsewhere.txt
refuses 1 'moved: the text of the run is not there any more; name it with --data' "$gpt" train --resume gone --iters 4
run "$gpt" train --resume gone --iters 4 --data elsewhere.txt
done_well 'named anew, it goes on'

finish
