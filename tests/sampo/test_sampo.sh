#!/bin/sh
# Tests ./sampo with false apt-get, sudo, meson and ninja: what it calls, what it says, where it stops.
# test_sampo.sh GPT: the program, whose commands ./sampo must know.
set -u
export LC_ALL=C
unset BUILD CC
gpt=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) && repo=${here%/tests/sampo}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tree="$tmp/a tree" build="$tmp/a tree/build" bin=$tmp/bin
passed=0 failed=0

mkdir "$tree" "$tree/.ci" "$tree/tests" "$tmp/tools" "$tmp/elsewhere"
cp -R "$repo/sampo" "$repo/models" "$tree"
cp "$repo/tests/failures.awk" "$tree/tests"
for tool in awk cat chmod cp cut dirname env find grep ln mkdir readlink rm sed sh tr xargs; do
    ln -s "$(command -v "$tool")" "$tmp/tools/$tool"
done

# All false commands are this one. $FAIL is a pattern of calls that fail, saying $SAYS. What eats the standard input would
# take it from the program.
cat >"$tmp/command" <<'END'
#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$LOG"
case $name in
sudo) exec "$@" ;;
id) echo "$USER_ID" && exit ;;
gpt) echo "gpt $*" && cat && exit ;;
lint) exit ;;
esac
cat >/dev/null
case "$name $*" in $FAIL) printf 'a first line\n%b\na last line\n' "$SAYS" && exit 1 ;; esac
case "$name $*" in
'apt-get install '*)
    for package; do
        case $package in
        gcc) ln -s "$COMMAND" "$BIN/cc" ;;
        ninja-build) ln -s "$COMMAND" "$BIN/ninja" ;;
        meson | pkg-config | shellcheck | python3 | clang-*) ln -s "$COMMAND" "$BIN/$package" ;;
        esac
    done ;;
'meson setup '*' --reconfigure -D'*) ;;
'meson setup '*)
    mkdir -p "$2/meson-info" "$2/models"
    printf '{"source": "%s"}\n' "$3" >"$2/meson-info/meson-info.json"
    printf 'build tests/test_nn\nrule c_COMPILER\n command = ccache %s $ARGS -o $out\n' "${CC:-cc}" >"$2/build.ninja" ;;
'meson test '*)
    mkdir -p "$3/meson-logs"
    cp "$TESTLOG" "$3/meson-logs/testlog.txt"
    echo 'Full log written to testlog.txt' && exit "$TEST_STATUS" ;;
'ninja '*' -n '*) if [ -f "$2/models/gpt" ]; then echo 'ninja: no work to do.'; fi ;;
'ninja '*' models/interrupt') kill -s INT "$(cat "$PID")" && exit 130 ;;
'ninja '*) ln -sf "$COMMAND" "$2/models/gpt" ;;
esac
END
chmod +x "$tmp/command"
export BIN="$bin" COMMAND="$tmp/command" LOG="$tmp/log" PID="$tmp/pid" TESTLOG="$here/testlog.txt"

# fresh COMMAND...: no build folder, and these false commands.
fresh() {
    rm -rf "$build" "$bin" && mkdir "$bin"
    for command; do ln -s "$tmp/command" "$bin/$command"; done
    export FAIL=none SAYS='' USER_ID=0 TEST_STATUS=0
}

# run ARGUMENT...: ./sampo, from another folder.
run() {
    : >"$tmp/log"
    # shellcheck disable=SC2016 # for the inner shell to fill in
    (cd "$tmp/elsewhere" && echo input | PATH=$bin:$tmp/tools exec sh -c 'echo $$ >"$PID"; exec "$@"' sh sh "$tree/sampo" "$@") \
        >"$tmp/stdout" 2>"$tmp/stderr"
    status=$?
    last=$(tail -n 1 "$tmp/stderr")
}

# check NAME COMMAND...: passes where the command does.
check() {
    name=$1 && shift
    if "$@"; then
        passed=$((passed + 1)) && echo "ok    $name"
    else
        failed=$((failed + 1)) && echo "FAIL  $name: not so: $*"
        echo "        status: $status"
        sed 's/^/        stdout: /' "$tmp/stdout" && sed 's/^/        stderr: /' "$tmp/stderr" && sed 's/^/        called: /' "$tmp/log"
    fi
}
calls() { grep -v '^id ' "$tmp/log" | sed "s|$build|BUILD|g; s|$tree|TREE|g" | tr '\n' ';'; }
stops() { # stops NAME TEXT CALLS: one last line with the text, and nothing more is called
    check "$1: it fails" [ "$status" -eq 1 ]
    check "$1: the last line says why" [ "$last" = "sampo: $2" ]
    check "$1: it stops there" [ "$(calls)" = "$3" ]
}
all='gcc libc6-dev meson ninja-build'
by_hand="apt-get update && apt-get install -y $all"
made='meson setup BUILD TREE;ninja -C BUILD -n models/gpt;ninja -C BUILD models/gpt;'

# Words.
fresh apt-get id
run
check 'no word is bad usage' [ "$status" -eq 2 -a ! -s "$tmp/stdout" ]
run trian --iters 5
check 'an unknown word is bad usage' [ "$status" -eq 2 -a "$(head -n 1 "$tmp/stderr")" = "sampo: there is no command 'trian'; did you mean train?" ]
check 'an unknown word lists the commands' [ "$(grep -c '^  \(train\|lint\) ' "$tmp/stderr")" -eq 2 ]
check 'an unknown word installs and builds nothing' [ "$(calls)" = '' ]
for word in train.c 't*' '.' '-x' 'train lint'; do
    run "$word"
    check "the word $word is unknown" [ "$status" -eq 2 -a "$(calls)" = '' ]
done
while read -r word command; do
    run "$word"
    check "$word: did you mean $command?" [ "$(head -n 1 "$tmp/stderr")" = "sampo: there is no command '$word'${command:+; did you mean $command?}" ]
done <<'END'
tarin train
tran train
trainn train
smaple sample
sampl sample
conf configure
Test test
lnit lint
x
zebra
configuration configure
END
for word in help --help -h; do
    run "$word"
    check "$word" [ "$status" -eq 0 -a ! -s "$tmp/stderr" -a "$(calls)" = '' ]
    check "$word fits 80 columns" [ "$(wc -L <"$tmp/stdout")" -le 80 ]
done
"$gpt" --help | awk '/^[A-Z]/ { in_list = $0 == "Commands" } in_list && /^  / { print $1 }' >"$tmp/commands"
awk '/^  / { print $1 }' "$tmp/stdout" >"$tmp/listed"
check 'the commands are those of the program' [ -s "$tmp/commands" -a "$(grep -cxFf "$tmp/commands" "$tmp/listed")" -eq "$(wc -l <"$tmp/commands")" ]
for command in configure build test lint faults docs; do
    run "$command" --help
    check "$command --help says what it does, and does nothing" [ "$status" -eq 0 -a "$(head -n 1 "$tmp/stdout")" = "usage: ./sampo $command [options]" -a "$(calls)" = '' ]
    run help "$command"
    check "help $command says the same" [ "$status" -eq 0 -a "$(wc -l <"$tmp/stdout")" -eq 2 ]
done
if [ -c /dev/full ]; then
    for word in help --help 'help build' 'lint --help'; do
        # shellcheck disable=SC2086 # a word an argument
        (cd "$tmp/elsewhere" && PATH=$bin:$tmp/tools "$tree/sampo" $word) >/dev/full 2>"$tmp/stderr" </dev/null
        status=$?
        check "$word to a full disk" [ "$status" -eq 1 -a "$(cat "$tmp/stderr")" = 'sampo: cannot write to standard output' ]
    done
fi
run ngram train
check 'a program of its own is named' [ "$status" -eq 2 -a "$(grep -c 'build models/ngram, and then' "$tmp/stderr")" -eq 1 ]

# What is missing is installed, and only what the program needs is built.
fresh apt-get id
run train --data 'a file'
check 'train as root: it trains' [ "$status" -eq 0 -a "$(head -n 1 "$tmp/stdout")" = 'gpt train --preset best --data a file' ]
check 'the standard input is left to the program' [ "$(tail -n 1 "$tmp/stdout")" = input ]
check 'train as root: what is missing is named' grep -qx "sampo: installing with apt-get: $all" "$tmp/stderr"
check 'train as root: the calls' [ "$(calls)" = "apt-get update -qq;apt-get install -y -qq $all;${made}gpt train --preset best --data a file;" ]
check 'a line a step, and no output of theirs' [ "$(grep -cv '^sampo: ' "$tmp/stderr")" -eq 0 -a "$(wc -l <"$tmp/stderr")" -eq 5 ]
echo 'preset = small' >"$tmp/elsewhere/a.conf"
printf '\357\273\277  --init a.safetensors\r\n' >"$tmp/elsewhere/b.conf"
printf '# preset = small\ninit-deviation = 0.02\ndata = preset\n' >"$tmp/elsewhere/c.conf"
for option in '--preset fast' --preset=fast '--resume runs/gpt-1' '--init a.safetensors' '--config a.conf' --config=b.conf; do
    # shellcheck disable=SC2086 # a word an argument
    run train --data x $option
    check "train $option: what is named is taken" [ "$(head -n 1 "$tmp/stdout")" = "gpt train --data x $option" ]
done
for option in '--config c.conf' --config=c.conf '--config nowhere' --config '--init-deviation 0.02' '--out preset'; do
    # shellcheck disable=SC2086 # a word an argument
    run train $option
    check "train $option names no preset" [ "$(head -n 1 "$tmp/stdout")" = "gpt train --preset best $option" ]
done
run help train
check 'help shows the defaults of that preset' [ "$(head -n 1 "$tmp/stdout")" = 'gpt help train --preset best' ]
run sample x --prompt train
check 'other commands have no preset' [ "$(head -n 1 "$tmp/stdout")" = 'gpt sample x --prompt train' ]
run sample run
check 'what is built runs at once, without a word' [ "$(calls)" = 'ninja -C BUILD -n models/gpt;gpt sample run;' -a ! -s "$tmp/stderr" ]
ln -s "$tree/sampo" "$tmp/elsewhere/link"
(cd "$tmp/elsewhere" && PATH=$bin:$tmp/tools ./link info run) >"$tmp/stdout" 2>"$tmp/stderr" </dev/null
check 'by a link' [ "$(head -n 1 "$tmp/stdout")" = 'gpt info run' ]
run --version
check '--version is the program'"'s" [ "$(head -n 1 "$tmp/stdout")" = 'gpt --version' ]

fresh apt-get id sudo
USER_ID=1000
run train
check 'with sudo: it says so' grep -qx "sampo: installing with sudo, which may ask for your password: $all" "$tmp/stderr"
check 'with sudo: it trains' [ "$status" -eq 0 ]
check 'with sudo: apt-get alone is called with it' [ "$(grep -c '^sudo ' "$tmp/log")" -eq 2 ]
fresh apt-get id
USER_ID=1000
run train
stops 'neither root nor sudo' "as root, run: $by_hand" ''
fresh cc ninja
run train
stops 'no apt-get' "these are missing, by Debian's names: meson; install them and try again" ''

# The first step that fails.
again="; when that is mended, try again, or run as root: $by_hand"
fresh apt-get id
FAIL='apt-get update*' SAYS='E: Could not resolve deb.debian.org'
run train
stops 'apt-get update fails' "apt-get update failed: $SAYS$again" 'apt-get update -qq;'
FAIL='apt-get install*' SAYS='E: Unable to locate package meson'
run test
check 'apt-get install fails: the last line says why' [ "$last" = "sampo: apt-get install failed: $SAYS; when that is mended, try again, or run as root: $by_hand pkg-config libcriterion-dev" ]
fresh cc meson ninja
FAIL='meson setup*' SAYS='meson.build:1:0: ERROR: Meson version is 0.61.2'
run train
stops 'meson fails' "setting up the build failed: $SAYS" 'meson setup BUILD TREE;'
check 'meson fails: its output is shown' grep -qx 'a first line' "$tmp/stderr"
fresh cc meson ninja
FAIL='ninja * models/gpt' SAYS='FAILED: gpt.o\n../models/gpt.c:3:1: error: expected ;\nninja: build stopped'
run train
check 'a failing dry run is no fault of its own' [ "$status" -eq 1 ]
check 'ninja fails: the last line says why' [ "$last" = 'sampo: building models/gpt failed: ../models/gpt.c:3:1: error: expected ;' ]
check 'ninja fails: its output is shown' grep -qx 'FAILED: gpt.o' "$tmp/stderr"
check 'ninja fails: the program is not run' [ "$(grep -c '^gpt' "$tmp/log")" -eq 0 ]
FAIL='ninja * nosuch' SAYS='a second line'
run build nosuch
check 'a reason that is the last line is said once' [ "$last" = 'sampo: building nosuch failed: a last line' -a "$(grep -c 'a last line' "$tmp/stderr")" -eq 1 -a "$(grep -c 'a first line' "$tmp/stderr")" -eq 1 ]
if sh -c 'kill -s INT $$; :' 2>/dev/null; then # ignored here, as in a background job
    echo 'skip  Ctrl-C: it is ignored here'
else
    fresh cc meson ninja
    run build models/interrupt
    check 'Ctrl-C' [ "$status" -eq 130 -a "$last" = 'sampo: interrupted' ]
fi

# The build folder and the compiler.
fresh cc meson ninja
: >"$tmp/file"
export BUILD="$tmp/file/build"
run train
stops 'nobody can write there' "cannot write in $BUILD; BUILD=FOLDER names another folder to build in" ''
export BUILD=relative
run build
check 'a relative build folder' [ "$status" -eq 0 -a -f "$tmp/elsewhere/relative/build.ninja" ]
unset BUILD
run train
sed 's/a tree/an older tree/' "$build/meson-info/meson-info.json" >"$tmp/file" && cp "$tmp/file" "$build/meson-info/meson-info.json"
run train
stops 'a tree that was moved' "$build was set up for a source elsewhere; remove it, or name another folder with BUILD=FOLDER" ''
# Paths as Meson writes them into JSON: what is not ASCII, quotes, backslashes.
first=$tree
while IFS=' ' read -r name json; do
    tree=$tmp/$name build=$tmp/$name/build
    cp -R "$first" "$tree"
    run build
    printf '{"source": "%s", "build": ""}\n' "$tmp/$json" >"$build/meson-info/meson-info.json"
    run build
    check "a tree in $name is set up once" [ "$status" -eq 0 -a "$(grep -c "^ninja " "$tmp/log")" -eq 2 ]
    printf '{"source": "%s", "build": ""}\n' "$tmp/old$json" >"$build/meson-info/meson-info.json"
    run build
    check "a tree that was moved to $name" [ "$status" -eq 1 -a "$(calls)" = '' ]
done <<'END'
Väinämöinen V\u00e4in\u00e4m\u00f6inen
ää \u00e4\u00e4
kalevala😀 kalevala\ud83d\ude00
it's"q" it's\"q\"
back\slash back\\slash
back\u00e4 back\\u00e4
a*ä[x] a*\u00e4[x]
END
tree=$first build=$first/build
fresh cc meson ninja
mkdir -p "$build/meson-private" && : >"$build/meson-private/coredata.dat"
run build
check 'a setup that was interrupted is done again' [ "$status" -eq 0 -a "$(head -n 1 "$tmp/log")" = "meson setup $build $tree --reconfigure" ]
fresh meson ninja
export CC='nocc -m64'
run build
stops 'no such compiler' 'there is no compiler nocc -m64, which the variable CC names' ''
unset CC
fresh cc gcc ccache meson ninja
cp "$tmp/command" "$bin/clang"
run build
for compiler in clang 'ccache clang' 'cc -m64'; do
    for command in build train configure; do
        CC=$compiler run $command
        stops "CC=$compiler ./sampo $command in a folder of cc" "$build was set up with the compiler cc, and keeps it; BUILD=FOLDER names another folder for $compiler" ''
    done
done
for compiler in cc gcc 'ccache cc'; do
    CC=$compiler run build
    check "CC=$compiler, which is the folder's" [ "$status" -eq 0 ]
done
echo tests/test_nn >"$build/build.ninja"
CC=clang run build
check 'a folder that does not tell its compiler is taken' [ "$status" -eq 0 ]
fresh meson ninja
cp "$tmp/command" "$bin/clang"
CC='clang -m64' run build
CC='clang -m64' run build
check 'CC with options is what the folder was set up with' [ "$status" -eq 0 ]
while read -r given kept; do # CC, and what Meson makes of it in build.ninja; _ is a blank
    given=$(printf '%s' "$given" | tr _ ' ')
    fresh cc meson ninja
    CC=$given run build
    # shellcheck disable=SC2016 # ninja's variables
    printf 'rule c_COMPILER\n command = %s $ARGS -o $out\n' "$(printf '%s' "$kept" | tr _ ' ')" >"$build/build.ninja"
    CC=$given run build
    check "CC='$given' twice" [ "$status" -eq 0 ]
    CC='cc -m32' run build
    stops "CC=cc -m32 in a folder of '$given'" \
        "$build was set up with the compiler $(printf '%s' "$kept" | tr _ ' ' | sed 's/\$\(.\)/\1/g'), and keeps it; BUILD=FOLDER names another folder for cc -m32" ''
done <<'END'
cc_ cc
_cc cc
cc__-m64 cc_-m64
cc_'-DX=a_b' cc_'-DX=a$_b'
cc_"-DX=a_b" cc_'-DX=a$_b'
cc_-DX=\$Y cc_'-DX=$$Y'
END
fresh cc meson ninja
run configure -Dwerror=true
run configure -Dwerror=false
check 'configure is heard again' [ "$(calls)" = 'meson setup BUILD TREE --reconfigure -Dwerror=false;' ]

# Tests.
fresh cc meson ninja pkg-config
run test
check 'test passes' [ "$status" -eq 0 -a "$(grep -c failed "$tmp/stderr")" -eq 0 ]
TEST_STATUS=3
run test --suite nn
check 'test has the status of meson test' [ "$status" -eq 3 ]
check 'what failed is at the end, with its reason' cmp -s "$here/failures.txt" "$tmp/stderr"
fresh meson pkg-config cc ninja
TESTLOG=/nowhere
run test --suite nn
check 'no log, no claims' [ "$(grep -c 'failed:' "$tmp/stderr")" -eq 0 ]

# Lint.
fresh apt-get id
ln -s "$tmp/command" "$tree/.ci/lint"
run lint --fix
check 'lint installs what it needs' grep -qx 'apt-get install -y -qq clang-format-14 shellcheck python3' "$tmp/log"
check 'lint --fix' [ "$status" -eq 0 -a "$(tail -n 1 "$tmp/log")" = 'lint --fix' ]
run lint --fxi
check 'lint: an unknown option' [ "$status" -eq 2 -a "$last" = 'sampo: lint: unknown option --fxi; it has --fix and --tidy' ]

# Documents.
fresh apt-get id
run docs
check 'docs installs what it needs' grep -qx 'apt-get install -y -qq python3' "$tmp/log"
check 'docs go into the build folder' grep -qx "python3 $tree/docs/html/make.py $tree $build/docs" "$tmp/log"
check 'docs says where' [ "$status" -eq 0 -a "$(cat "$tmp/stdout")" = "$build/docs/index.html" ]
run docs here there
check 'docs: one folder' [ "$status" -eq 2 -a "$last" = 'sampo: docs: there is one folder at most' ]

includes() { # includes FILE HEADER: what the rule says of it
    mkdir -p "$tmp/rule/${1%/*}" && echo "#include \"$2\"" >"$tmp/rule/$1"
    (cd "$tmp/rule" && awk -f "$repo/.ci/includes.awk" "$1") >"$tmp/stdout"
    status=$?
}
while read -r file header expected; do
    includes "$file" "$header"
    check "$file and $header" [ "$status" -eq "$expected" ]
done <<'END'
nn/a.c sampo/autograd.h 0
nn/files/a.c nn/params/params.h 0
nn/params/a.c nn/files/files.h 1
nn/a.c tensor/tensor_internal.h 1
nn/a.c models/lm/lm.h 1
tensor/a.c sampo/autograd.h 1
tensor/kernels/a.h tensor/tensor_internal.h 0
include/sampo/tensor.h sampo/nn.h 1
include/sampo/nn.h sampo/tensor.h 0
include/sampo/operations.h sampo/autograd.h 0
include/sampo/operations.h sampo/optim.h 1
autograd/a.c sampo/checkpoint.h 1
models/gpt.c models/lm/look_internal.h 1
models/lm/plot.c models/lm/look_internal.h 0
tests/models/a.c models/lm/look_internal.h 0
tests/models/a.c nn/params/params.h 1
tests/nn/a.c nn/params/params.h 0
models/gpt.c nn/files/files.h 1
tests/tensor/a.c sampo/nn.h 0
benches/a.c models/lm/look_internal.h 1
END

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
