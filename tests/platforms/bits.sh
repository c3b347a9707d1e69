#!/bin/sh
# The same bits from every build: each compiler at each level of optimisation trains each model for a few steps, and the files
# are the same, byte for byte. $@ names some of the builds, such as 'clang -O1'; without it all are made, one after the
# other, for which two cores take half an hour. PINNED=1 runs tests/models/test_bits.sh with each as well. EXPECTED names a
# file that keeps what the first build of all had, so that one call may make one build.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
work=$(mktemp -d) || exit 1
expected=${EXPECTED:-$work/expected}
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
text=$root/models/data/verses.txt

# The compiler and its flags.
builds='gcc -O2
clang -O2
gcc -O0
gcc -O1
gcc -O3
gcc -Os
gcc -Og -g
gcc -O2 -march=native
gcc -O2 -flto
clang -O0
clang -O1
clang -O3
clang -Os
clang -O2 -march=native
clang -O2 -flto'

# What each trains: so little that it ends where nothing is optimised.
runs='gpt
gpt --precision bf16
gpt --preset best --prior 3
gpt --dropout 0.1 --optimizer muon
llama --dropout 0.1
lstm
bengio
bigram'

# of_runs PROGRAMS: a line a run, with the hash of what it leaves behind the file's header, which names paths; or FAILED.
of_runs() {
    echo "$runs" | while read -r program options; do
        rm -rf "$work/run" # a run that fails leaves none
        # shellcheck disable=SC2086 # words
        "$1/$program" train --data "$text" --batch 4 --iters 3 --eval-every 1000 --eval-batches 1 --sample-tokens 0 --seed 1 \
            --threads 2 --out "$work/run" $options >"$work/log" 2>&1 ||
            { echo "FAILED: $program $options: $(tail -1 "$work/log")" && continue; }
        header=$(od -A n -t u1 -N 4 "$work/run/last.safetensors" | awk '{ print $1 + 256 * ($2 + 256 * ($3 + 256 * $4)) }')
        echo "$program $options: $(tail -c +$((8 + header + 1)) "$work/run/last.safetensors" | sha256sum | cut -d ' ' -f 1)"
    done
}

failed=0 passed=0
[ $# -gt 0 ] || {
    IFS='
'
    # shellcheck disable=SC2086 # lines
    set -- $builds
    unset IFS
}
for build; do
    rm -rf "$work/build" # of the build before, which may have failed
    compiler=${build%% *} flags=${build#* }
    command -v "$compiler" >/dev/null || { echo "skipped: there is no $compiler" && continue; }
    # shellcheck disable=SC2015 # both may fail
    CC=$compiler meson setup "$work/build" "$root" --buildtype=plain "-Dc_args=$flags" "-Dc_link_args=$flags" -Dtests=disabled \
        -Dbenches=false >"$work/log" 2>&1 &&
        ninja -C "$work/build" models/gpt models/llama models/lstm models/bengio models/bigram >"$work/log" 2>&1 ||
        { echo "FAILED: $build does not build: $(tail -5 "$work/log")" && failed=$((failed + 1)) && continue; }
    of_runs "$work/build/models" >"$work/found"
    if grep '^FAILED' "$work/found"; then failed=$((failed + 1)) && continue; fi
    [ -f "$expected" ] || cp "$work/found" "$expected"
    if diff "$expected" "$work/found"; then
        passed=$((passed + 1)) && echo "ok: $build"
    else
        failed=$((failed + 1)) && echo "FAILED: $build differs from the first build"
    fi
    if [ "${PINNED:-0}" = 1 ]; then "$root/tests/models/test_bits.sh" "$work/build/models" || failed=$((failed + 1)); fi
done
echo "$passed builds passed, $failed failed"
[ "$failed" = 0 ]
