#!/bin/sh
# 200 steps of the GPT give one checkpoint, byte for byte: with any number of threads, on every instruction set with
# fused multiply-add, and from every compiler, which is why its hash stands here. $1 is the folder of the executables.
# A change of the arithmetic changes the hash; print it with: sha256sum after the command below.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
expected=eb6d3577b6c498d682fad6149e910368b86fa7716014e8556887c1691ecbb482
passed=0 failed=0 skipped=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

train() { # FOLDER THREADS
    "$1/gpt" train --data "$here/../../models/data/verses.txt" --iters 200 --eval-every 1000 --eval-batches 1 \
        --sample-tokens 0 --seed 1 --threads "$2" --out "$work" --force >"$work/log" 2>&1
}
hash() { { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -d ' ' -f 1; }

check() { # ISA THREADS
    SAMPO_ISA=$1 train "$folder" "$2"
    case $? in
    0) ;;
    2) skipped=$((skipped + 1)) && echo "skipped: $(cat "$work/log")" && return ;;
    *) failed=$((failed + 1)) && echo "FAILED: $1, $2 threads: $(cat "$work/log")" && return ;;
    esac
    found=$(hash "$work/last.safetensors")
    if [ "$found" = "$expected" ]; then
        passed=$((passed + 1)) && echo "ok: $1, $2 threads"
    else
        failed=$((failed + 1)) && echo "FAILED: $1, $2 threads: $found, not $expected"
    fi
}

folder=$1
for isa in avx2 neon; do
    for threads in 1 2 4; do check "$isa" "$threads"; done
done
check avx512 2
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
