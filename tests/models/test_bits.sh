#!/bin/sh
# 50 steps of the GPT, or with STEPS=200 as many, give one checkpoint, byte for byte: with any number of threads, on every
# instruction set with fused multiply-add, and from every compiler, which is why its hash stands here. $1 is the folder of the
# executables. Hashed is what follows the file's header: the weights, the optimizer's moments and its steps. The header names
# the text's path. A change of the arithmetic changes the hash; a failure prints the new one. The second is that of
# --precision bf16.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
steps=${STEPS:-50}
case $steps in
50)
    expected=a9230389d194e976801625fa58d7e524de9a41594c7616fe340f71b64dc4d0cf
    expected_bf16=4773aba2e6a4f2df636cf917e9e7c4e53130f1130430eba371c103575ff561c8
    ;;
200)
    expected=3d5899e543f772f5f4b0701398cd48856b8aa76d0a702b426a8cfc1546522e49
    expected_bf16=d59557e04da7ec59ce8a3273d31884a57bd80a8a2e4e45b4a1b34bcc30e46844
    ;;
*) echo "STEPS is 50 or 200, not $steps" && exit 1 ;;
esac
passed=0 failed=0 skipped=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

train() { # FOLDER THREADS PRECISION
    "$1/gpt" train --data "$here/../../models/data/verses.txt" --iters "$steps" --eval-every 1000 --eval-batches 1 \
        --sample-tokens 0 --seed 1 --threads "$2" --precision "$3" --out "$work" --force >"$work/log" 2>&1
}
# hash FILE: of the data behind the header, whose length is the first eight bytes, little-endian.
hash() {
    header=$(od -A n -t u1 -N 4 "$1" | awk '{ print $1 + 256 * ($2 + 256 * ($3 + 256 * $4)) }')
    tail -c +$((8 + header + 1)) "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1
}

check() { # ISA THREADS PRECISION HASH
    SAMPO_ISA=$1 train "$folder" "$2" "$3"
    case $? in
    0) ;;
    2) skipped=$((skipped + 1)) && echo "skipped: $(cat "$work/log")" && return ;;
    *) failed=$((failed + 1)) && echo "FAILED: $1, $2 threads, $3: $(cat "$work/log")" && return ;;
    esac
    found=$(hash "$work/last.safetensors")
    if [ "$found" = "$4" ]; then
        passed=$((passed + 1)) && echo "ok: $1, $2 threads, $3"
    else
        failed=$((failed + 1)) && echo "FAILED: $1, $2 threads, $3: $found, not $4"
    fi
}

folder=$1
for isa in avx2 neon; do
    for threads in 1 2 4; do check "$isa" "$threads" float32 "$expected"; done
    for threads in 1 2; do check "$isa" "$threads" bf16 "$expected_bf16"; done
done
check avx512 2 float32 "$expected"
for isa in avx512 avx512bf16; do check "$isa" 2 bf16 "$expected_bf16"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
