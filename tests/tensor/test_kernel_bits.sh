#!/bin/sh
# The kernels give the same bits whatever the compiler and its level of optimisation, on every instruction set with fused
# multiply-add. $1 is the top of the tree, $2 the processor's family or "another", for which the compilers here do not
# compile, $3 a program with the library's own kernels, $4 the compiler that has built these at -O2 or above, and so is not
# to do it once more. LEVELS may name other levels (all of them take minutes: LEVELS="-O0 -O1 -O2 -O3 -Os").
set -u
root=$1 built=$3 optimised=$4
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 passed=0 expected=

# hash COMPILER ISA FLAGS...: of the kernels so compiled, with the product by pairs, for which $pairs has more flags.
hash() {
    compiler=$1 isa=$2
    shift 2
    set -- -std=gnu11 -ffp-contract=off -fno-math-errno "$@" "-DSAMPO_ISA=$isa" -I "$root" -I "$root/include"
    # shellcheck disable=SC2086 # none or one
    "$compiler" "$@" $pairs -c "$root/tensor/kernels/gemm_avx512bf16.c" -o "$work/pairs.o" 2>"$work/log" &&
        "$compiler" "$@" "$root/tests/tensor/kernel_bits.c" "$root/tensor/kernels/table.c" "$work/pairs.o" -lm \
            -o "$work/bits" 2>"$work/log" && "$work/bits" 2>"$work/log"
}

compare() { # WHAT HASH
    [ -n "$expected" ] || expected=$2
    if [ -n "$2" ] && [ "$2" = "$expected" ]; then
        passed=$((passed + 1))
    else
        failed=1 && echo "FAILED: $1: $2, not $expected; $(cat "$work/log")"
    fi
}

check() { # ISA FLAGS...
    isa=$1
    shift
    for compiler in gcc clang; do
        command -v $compiler >/dev/null || continue
        for level in ${LEVELS:--O0 -O2}; do
            [ -z "${LEVELS:-}" ] && [ "$level" = -O2 ] && [ $compiler = "$optimised" ] && continue
            compare "$isa, $compiler $level $*" "$(hash $compiler "$isa" "$level" "$@")"
        done
    done
}

# The library's tables; which the processor has, or the build, the program tells by its status.
library() { # ISA...
    for isa; do
        found=$(SAMPO_ISA=$isa "$built" 2>"$work/log")
        case $? in 77) echo "skipped: $(cat "$work/log")" ;; *) compare "$isa of the library" "$found" ;; esac
    done
}

pairs=
case $2 in
x86_64)
    grep -q ' fma' /proc/cpuinfo || exit 77
    library avx2 avx512 avx512bf16
    check avx2 -mavx2 -mfma
    if grep -q avx512bw /proc/cpuinfo; then
        if grep -q avx512_bf16 /proc/cpuinfo; then pairs=-mavx512bf16; fi
        check avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512
    fi
    ;;
another) library avx2 avx512 avx512bf16 neon ;;
*) library neon && check neon ;;
esac
echo "$passed passed"
[ "$failed" = 0 ]
