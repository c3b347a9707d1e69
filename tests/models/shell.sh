# What the tests of the programs share: sourced with the folder of the executables as $1. Leaves the test in an empty
# folder, $tmp, which goes at the end.
# shellcheck shell=sh disable=SC2034 # used by who sources this
set -u
export LC_ALL=C
unset NO_COLOR COLUMNS SAMPO_ISA SAMPO_DATA
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
repo=$(CDPATH='' cd "$here/../.." && pwd) || exit 1
if [ $# -ne 1 ] || [ ! -x "$1/gpt" ] || [ ! -x "$1/bigram" ]; then
  echo "usage: ${0##*/} FOLDER, the one with gpt and bigram" >&2
  exit 2
fi
bin=$(CDPATH='' cd "$1" && pwd)
gpt=$bin/gpt bigram=$bin/bigram
shared=${SAMPO_SHARED:-$repo/../shared}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$tmp" || exit 1
passed=0 failed=0 status=0

# run COMMAND...: into the files stdout and stderr, and $status.
run() { "$@" >stdout 2>stderr </dev/null; status=$?; }

verdict() { # verdict NAME FAULT: no fault is a pass
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1: $2"
    sed 's/^/        stdout: /' stdout | head -5
    sed 's/^/        stderr: /' stderr | head -5
  fi
}
skip() { echo "skip  $1: $2"; }
# Whether `script` is here and can make a terminal.
has_terminal() { script -qec true /dev/null >/dev/null 2>&1 </dev/null; }
check() { # check NAME TEST...: passes where the test command does
  name=$1
  shift
  if "$@"; then verdict "$name" ''; else verdict "$name" "not so: $*"; fi
}

# faults: how many lines of stderr are neither what train says of itself, nor a warning, nor progress.
faults() {
  grep -vc -e '^[a-z]*: [0-9]* parameters\{0,1\}, ' -e '^[a-z]*: [0-9]* counted sequences ' \
    -e '^[a-z]*: [0-9]* distinct ' \
    -e '^[a-z]*: [0-9]* iterations\{0,1\}, ' -e '^[a-z]*: about .* of memory; ' \
    -e '^[a-z]*: an iteration takes ' -e '^[a-z]*: warning: ' -e '^[a-z]*: [a-z ]*, [0-9]* s$' -e '^iteration' stderr
}

# refuses STATUS TEXT COMMAND...: the command ends with the status and one line of fault that has the text.
refuses() {
  expected=$1 text=$2 fault=
  shift 2
  run "$@"
  if [ "$status" -ne "$expected" ]; then fault="exit status $status, not $expected"
  elif [ "$(faults)" -ne 1 ]; then fault='not one line of fault on stderr'
  elif ! grep -qF -e "$text" stderr; then fault="stderr does not say '$text'"
  elif [ ! -f "$bin/$(sed -n '1s/: .*//p' stderr)" ]; then fault='the line does not begin with the name of the program'
  fi
  program=${1##*/}
  shift
  verdict "$(echo "$program $*" | sed "s|$tmp/||g" | tr -d '[:cntrl:]' | cut -c 1-70): $text" "$fault"
}

# done_well NAME: the last run ended with 0 and something on stdout.
done_well() {
  if [ "$status" -ne 0 ]; then verdict "$1" "exit status $status, not 0"
  elif [ ! -s stdout ]; then verdict "$1" 'nothing on stdout'
  else verdict "$1" ''; fi
}

# matches NAME PATTERN: stdout has a line that the pattern matches from end to end.
matches() { if grep -qx -e "$2" stdout; then verdict "$1" ''; else verdict "$1" "no line like '$2'"; fi; }
same() { if cmp -s "$2" "$3"; then verdict "$1" ''; else verdict "$1" 'they differ'; fi; }
differ() { if cmp -s "$2" "$3"; then verdict "$1" 'they are the same'; else verdict "$1" ''; fi; }

# Whether the programs run in an emulator, which tools such as strace would look at instead of them.
emulated() { [ -n "${SAMPO_EMULATED:-}" ]; }
# Whether a program's memory is its own: AddressSanitizer and an emulator need more.
alone() { ! emulated && ! grep -q __asan_init "$gpt"; }

# The last lines of a test.
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
