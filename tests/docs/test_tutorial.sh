#!/bin/sh
# The programs of docs/tutorial.md print what the page says: $@ are the executables, in its order. The last one trains for
# fewer steps than the page shows; TUTORIAL=whole runs it all.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
page=$root/docs/tutorial.md text=$root/models/data/verses.txt
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
check() { # NAME STATUS
    if [ "$2" = 0 ]; then passed=$((passed + 1)) && echo "ok: $1"; else failed=$((failed + 1)) && echo "FAILED: $1"; fi
}

[ $# = "$(grep -c '^```c$' "$page")" ]
check 'every program of the page is here' $?

# Digits are the same wherever multiply-adds are fused.
fused=false
case $(uname -m) in aarch64 | arm64) fused=true ;; esac
if grep -qw fma /proc/cpuinfo 2>/dev/null && [ "${SAMPO_ISA:-}" != baseline ]; then fused=true; fi

start=$PWD n=0
cd "$tmp" || exit 1
for program; do
    case $program in /*) ;; *) program=$start/$program ;; esac
    n=$((n + 1)) steps=
    [ $n -lt $# ] || [ "${TUTORIAL:-}" = whole ] || steps=100
    awk -v n=$n -v output=1 -f "$here/program.awk" "$page" >said
    # shellcheck disable=SC2086 # no word where there is none
    "$program" "$text" $steps >printed
    check "program $n runs" $?
    $fused || continue
    if [ -n "$steps" ]; then
        head -2 said >said.part && mv said.part said
        head -2 printed >printed.part && mv printed.part printed
    fi
    diff said printed && [ -s said ]
    check "program $n prints what the page says" $?
done
[ -s tutorial.safetensors ]
check 'the last one saves its weights' $?

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
