#!/bin/sh
# The kernels give the same bits whatever the compiler and its level of optimisation, on every instruction set with fused
# multiply-add. $1 is the top of the tree, $2 the processor's family; LEVELS may name more levels than two (all of
# them take minutes: LEVELS="-O0 -O1 -O2 -O3 -Os").
set -u
root=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 passed=0

# hash COMPILER ISA FLAGS...: of the kernels so compiled.
hash() {
    compiler=$1 isa=$2
    shift 2
    "$compiler" -std=gnu11 -ffp-contract=off -fno-math-errno "$@" "-DSAMPO_ISA=$isa" -I "$root" -I "$root/include" \
        "$root/tests/tensor/kernel_bits.c" "$root/tensor/kernels/table.c" -lm -o "$work/bits" 2>"$work/log" &&
        "$work/bits"
}

check() { # ISA FLAGS...
    isa=$1 expected=$first
    shift
    for compiler in gcc clang; do
        command -v $compiler >/dev/null || continue
        for level in ${LEVELS:--O0 -O2}; do
            found=$(hash $compiler "$isa" "$level" "$@") || { echo "FAILED: $compiler $level $*: $(cat "$work/log")" && failed=1; continue; }
            [ -n "$expected" ] || expected=$found
            if [ "$found" = "$expected" ]; then
                passed=$((passed + 1))
            else
                failed=1 && echo "FAILED: $isa, $compiler $level $*: $found, not $expected"
            fi
        done
    done
}

first=
case $2 in
x86_64)
    grep -q ' fma' /proc/cpuinfo || exit 77
    check avx2 -mavx2 -mfma
    first=$expected
    check avx2 -mavx2 -mfma -DSAMPO_BF16_PAIRS # AVX512_BF16's way without its instruction
    if grep -q avx512bw /proc/cpuinfo; then
        check avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512
    fi
    if grep -q avx512_bf16 /proc/cpuinfo; then
        check avx512bf16 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512 -mavx512bf16
    fi
    ;;
*) check neon ;;
esac
echo "$passed passed"
[ "$failed" = 0 ]
