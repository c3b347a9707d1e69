#!/bin/sh
# The loops that measure the peak do the multiply-adds that are counted, from registers alone: test_loops.sh LIBRARY looks
# at their compiled form, also for instruction sets that this processor lacks.
set -u
export LC_ALL=C
command -v objdump >/dev/null || { echo 'skipped: there is no objdump' && exit 77; }
failed=0 seen=0

# count FUNCTION PATTERN EXPECTED: instructions between the loop's label and its jump back. Absent functions belong to
# other processors.
count() {
    body=$(objdump -d --no-show-raw-insn "$1" 2>/dev/null | awk -v name="<$2>:" '$2 == name { inside = 1; next } /^$/ { inside = 0 } inside')
    [ -n "$body" ] || return 0
    seen=$((seen + 1))
    found=$(echo "$body" | awk -v pattern="$3" '
        { address = $1; sub(":", "", address); line[NR] = $0; at[address] = NR }
        $2 ~ /^(jne|b\.ne)$/ && $3 in at { begin = at[$3]; end = NR }
        END { for (i = begin; i < end; i++) if (begin && line[i] ~ pattern) n++; print n + 0 }')
    if [ "$found" -eq "$4" ]; then
        echo "ok    $2: $found $3"
    else
        failed=1 && echo "FAIL  $2: $found of $4 $3"
    fi
}

count "$1" fma_avx512 'vfmadd213ps %zmm1,%zmm0,%zmm' 24
count "$1" fma_avx2 'vfmadd213ps %ymm1,%ymm0,%ymm' 12
count "$1" fma_baseline 'mulps +%xmm0,%xmm' 12
count "$1" fma_baseline 'addps +%xmm1,%xmm' 12
count "$1" fma_neon 'fmla' 24
[ "$seen" -gt 0 ] || { echo 'skipped: objdump does not know this kind of library' && exit 77; }
exit "$failed"
