#!/bin/sh
# Tests that a benchmark works, not how fast it is: test_benches.sh PROGRAM. Prints a line a case.
set -u
export LC_ALL=C
if [ $# -ne 1 ] || [ ! -x "$1" ]; then
  echo 'usage: test_benches.sh PROGRAM' >&2
  exit 2
fi
program=$1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0

# check NAME STATUS EXPECTED TEST...: the status is as expected, and the test command succeeds.
check() {
  name=$1 status=$2 expected=$3
  shift 3
  if [ "$status" -eq "$expected" ] && "$@"; then
    echo "ok    $name"
  else
    failed=1
    echo "FAIL  $name: exit status $status; not so: $*"
    sed 's/^/        /' "$tmp/out" "$tmp/err" | tail -5
  fi
}
# shellcheck disable=SC2317 # called through check
one_line() { [ "$(wc -l <"$tmp/err")" -eq 1 ] && grep -qF -e "$1" "$tmp/err"; }

# A record has its first line, a line for each row, and its end.
# shellcheck disable=SC2317 # called through check
record() {
  head -1 "$tmp/record" | grep -q '^{"program": ".*"rows": \[$' && tail -1 "$tmp/record" | grep -qx ']}' &&
    [ "$(grep -c '^{"table": ".*}' "$tmp/record")" -gt 1 ]
}

"$program" --help >"$tmp/out" 2>"$tmp/err"
check '--help' $? 0 grep -q '^  --threads N ' "$tmp/out"
check '--help names the program as it was called' 0 0 grep -qxF "usage: $program [options]" "$tmp/out"
check '--help begins a sentence for each option' 0 0 [ "$(grep -c '^  --[a-z-]*.*  [a-z]' "$tmp/out")" -eq 0 ]
check '--help ends it before what follows' 0 0 [ "$(tr -s '\n ' ' ' <"$tmp/out" | grep -c '[^.] One of: \|[^.] (default')" -eq 0 ]
"$program" --frobnicate >"$tmp/out" 2>"$tmp/err"
check 'an unknown option' $? 2 one_line "unknown option --frobnicate ($program --help lists the options)"
"$program" --quik >"$tmp/out" 2>"$tmp/err"
check 'a slip of the finger' $? 2 one_line 'did you mean --quick?'
"$program" --threads 0 >"$tmp/out" 2>"$tmp/err"
check '--threads 0' $? 2 one_line '--threads 0 is out of range'
"$program" --quick --json "$tmp" >"$tmp/out" 2>"$tmp/err"
check 'a record that cannot be written' $? 1 one_line 'Is a directory'
"$program" --quick --json "$tmp/record" >"$tmp/out" 2>"$tmp/err"
check '--quick --json' $? 0 record
if "$program" --help | grep -q '^  --precision '; then
  "$program" --quick --precision bf16 --json "$tmp/record" >"$tmp/out" 2>"$tmp/err"
  check '--precision bf16' $? 0 record
  check 'the peak of float32 is no measure for it' 0 0 [ "$(grep -c '"percent_of_peak": [0-9]' "$tmp/record")" -eq 0 ]
fi
if [ "${program##*/}" = train ] && command -v python3 >/dev/null; then
  python3 "${0%/*}/../../benches/peers/compare.py" --build "${program%/*}/.." --shape frobnicate >"$tmp/out" 2>"$tmp/err"
  check 'compare.py: an unknown shape is bad usage' $? 2 one_line 'no shape frobnicate; there are '
fi
exit "$failed"
