#!/bin/sh
# Processes that mpirun starts train as one does: the same checkpoint, byte for byte, with any number of ranks and threads, also
# resumed on another number; eval and sample say the same; and their faults. $1 is the program gpt, built with MPI, $MPIRUN what
# starts its processes.
set -u
gpt=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)/${1##*/} || exit 2
verses=$(CDPATH='' cd -- "$(dirname -- "$0")/../../models/data" && pwd)/verses.txt
passed=0 failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mpirun=${MPIRUN:-mpirun}
command -v "$mpirun" >/dev/null || { echo 'skipped: no mpirun' && exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
check() { # check NAME COMMAND...
    name=$1 && shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED: $name" && tail -n 5 stderr; fi
}
ranks() { # ranks NUMBER OPTIONS...
    number=$1 && shift
    "$mpirun" -n "$number" "$gpt" train --eval-batches 2 --sample-tokens 5 "$@" >stdout 2>stderr
}

options="--data $verses --iters 30 --eval-every 10 --dropout 0.1"
# shellcheck disable=SC2086 # words
{
    "$gpt" train $options --eval-batches 2 --sample-tokens 5 --threads 1 --out one >stdout 2>stderr
    cp stdout said
    for number in 2 3 4 8; do
        ranks $number $options --threads $((number % 2 + 1)) --out run --force
        check "$number ranks end" [ $? -eq 0 ]
        for file in last best; do check "$number ranks: $file" cmp -s one/$file.safetensors run/$file.safetensors; done
        check "$number ranks: what rank 0 prints" cmp -s said stdout
        check "$number ranks: the log's losses" [ "$(cut -d , -f 1-3 one/log.csv)" = "$(cut -d , -f 1-3 run/log.csv)" ]
    done
    ranks 3 $options --threads 1 --out stopped --iters 17
    ranks 2 --resume stopped --threads 1 --iters 30
    "$gpt" train $options --eval-batches 2 --sample-tokens 5 --out whole --iters 17 >stdout 2>stderr
    "$gpt" train --resume whole --iters 30 >stdout 2>stderr
    check 'resumed on another number of ranks' cmp -s stopped/last.safetensors whole/last.safetensors
    for number in 2 3; do
        for split in val all; do
            "$gpt" eval one --data "$verses" --split $split >said 2>stderr
            "$mpirun" -n $number "$gpt" eval one --data "$verses" --split $split --threads 1 >stdout 2>stderr
            check "eval of $split on $number ranks" cmp -s said stdout
        done
        "$gpt" sample one --samples 70 --tokens 9 --prompt 'Vaka' >said 2>stderr
        printf 'Vaka\n' | "$mpirun" -n $number "$gpt" sample one --samples 70 --tokens 9 --prompt - >stdout 2>stderr
        check "70 texts on $number ranks" cmp -s said stdout
    done
    "$gpt" quantize one --out one.q8 >stdout 2>stderr
    "$gpt" eval one.q8 --data "$verses" >said 2>stderr
    "$mpirun" -n 2 "$gpt" eval one.q8 --data "$verses" --threads 1 >stdout 2>stderr
    check 'eval of compact weights on 2 ranks' cmp -s said stdout
    cp one.q8 other.q8
    printf '\125' | dd of=other.q8 bs=1 seek=$(($(wc -c <one.q8) / 2)) conv=notrunc 2>/dev/null # in the weights of 8 bits
    "$mpirun" -n 1 "$gpt" sample one.q8 : -n 1 "$gpt" sample other.q8 >stdout 2>stderr
    check 'other compact weights: text' grep -q 'rank 1 differs from rank 0' stderr
    # gradients of 13 MB, which travel in parts while others are computed
    large="$options --width 256 --layers 4 --heads 4 --context 16 --batch 16 --iters 3"
    "$gpt" train $large --eval-batches 2 --sample-tokens 5 --threads 1 --out large >stdout 2>stderr
    for number in 2 3; do
        ranks $number $large --threads 2 --out run --force
        check "a large model on $number ranks" cmp -s large/last.safetensors run/last.safetensors
    done
    ranks 5 $options --threads 1 --out few --shards 2
    check 'more ranks than shards' grep -q 'some have nothing to do' stderr
}

"$mpirun" -n 1 "$gpt" train --data "$verses" --iters 4 --out a : \
    -n 1 "$gpt" train --data "$verses" --iters 4 --seed 2 --out a >stdout 2>stderr
check 'other options: status' [ $? -ne 0 ]
check 'other options: text' grep -q 'the command line: rank 1 differs from rank 0' stderr
if [ "$(env SAMPO_ISA=baseline "$gpt" train --data "$verses" --dry-run >/dev/null 2>&1 && echo x)" ]; then
    "$mpirun" -n 1 "$gpt" train --data "$verses" --iters 4 --out a : \
        -n 1 env SAMPO_ISA=baseline "$gpt" train --data "$verses" --iters 4 --out a >stdout 2>stderr
    check 'other instruction sets: status' [ $? -ne 0 ]
    check 'other instruction sets: text' grep -q 'the instruction set.*rank 1 differs from rank 0' stderr
fi
"$mpirun" -n 1 "$gpt" eval one --data "$verses" : -n 1 "$gpt" eval one --data "$0" >stdout 2>stderr
check 'eval of other texts: status' [ $? -ne 0 ]
ranks 2 --data "$work/nothing" --out a
check 'no text: status' [ $? -ne 0 ]
check 'no text: one line' [ "$(grep -c 'cannot be opened' stderr)" = 1 ]

# A rank that is killed ends the run, and the checkpoint is whole.
ranks 2 --data "$verses" --iters 100000 --eval-every 10 --threads 1 --out "$work/killed" &
run=$!
tries=0
while [ ! -s killed/best.safetensors ] && [ $tries -lt 300 ]; do sleep 0.1 && tries=$((tries + 1)); done
pkill -9 -n -f -- "--out $work/killed" 2>/dev/null
wait $run
check 'a rank is killed: status' [ $? -ne 0 ]
check 'a rank is killed: the checkpoint is whole' "$gpt" info killed/last.safetensors >/dev/null

# A rank that does not answer ends the run, which says so once.
SAMPO_WAIT=3 ranks 2 --data "$verses" --iters 100000 --eval-every 10 --threads 1 --out "$work/stalled" &
run=$!
tries=0
while [ ! -s stalled/best.safetensors ] && [ $tries -lt 300 ]; do sleep 0.1 && tries=$((tries + 1)); done
pkill -STOP -n -f -- "--out $work/stalled" 2>/dev/null
wait $run
check 'a rank stalls: status' [ $? -ne 0 ]
pkill -9 -f -- "--out $work/stalled" 2>/dev/null
check 'a rank stalls: one line' [ "$(grep -c 'has not answered for 3 seconds' stderr)" = 1 ]
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
