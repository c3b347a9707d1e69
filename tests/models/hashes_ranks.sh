#!/bin/sh
# A table of hashes of one short run's checkpoint, for any number of ranks and threads, each MPI and instruction set, and --accumulate
# with the number of shards that it makes or that is given. A column has one hash; the status says whether that is so.
# hashes_ranks.sh GPT MPIRUN [GPT MPIRUN]...: the program built with an MPI, and what starts its processes.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
failed=0 plain='' more=''

hash() { # of the data behind the header, which names the text's path
    header=$(od -A n -t u1 -N 4 "$1" | awk '{ print $1 + 256 * ($2 + 256 * ($3 + 256 * $4)) }')
    tail -c +$((8 + header + 1)) "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c 1-12
}
train() { # train RANKS THREADS ISA OTHER OPTIONS...: rank 0 with ISA and the others with OTHER; the hash
    ranks=$1 threads=$2 isa=$3 other=$4 && shift 4
    set -- "$gpt" train --data "$here/../../models/data/verses.txt" --iters 10 --eval-every 100 --eval-batches 1 \
        --sample-tokens 0 --dropout 0.1 --batch 32 --context 32 --layers 2 --heads 4 --width 32 --threads "$threads" --out "$work/run" --force "$@"
    rm -rf "$work/run"
    if [ "$ranks" = 0 ]; then
        SAMPO_ISA=$isa "$@"
    elif [ "$ranks" = 1 ]; then
        "$mpirun" -n 1 env SAMPO_ISA="$isa" "$@"
    else
        "$mpirun" -n 1 env SAMPO_ISA="$isa" "$@" : -n $((ranks - 1)) env SAMPO_ISA="$other" "$@"
    fi >"$work/log" 2>&1 && hash "$work/run/last.safetensors" || echo failed
}
row() { # row MPI RANKS THREADS ISA OTHER
    name=$1 && shift
    one=$(train "$@")
    two=$(train "$@" --accumulate 2)
    same=$(train "$@" --accumulate 2 --shards 32)
    plain=${plain:-$one} more=${more:-$two}
    [ "$one" = "$plain" ] && [ "$two" = "$more" ] && [ "$same" = "$more" ] || failed=1
    [ "$3" = "$4" ] && isa=$3 || isa="$3, $4"
    [ "$1" = 0 ] && ranks='' || ranks=$1
    echo "| $name | $ranks | $2 | $isa | \`$one\` | \`$two\` | \`$same\` |"
}

gpt=$1 isas=''
for isa in avx2 avx512 avx512bf16 neon; do # those that round alike
    SAMPO_ISA=$isa "$gpt" train --data "$here/../../models/data/verses.txt" --dry-run >/dev/null 2>&1 && isas="$isas$isa "
done
[ -n "$isas" ] || { echo 'skipped: no instruction set with fused multiply-add' && exit 77; }
first=${isas%% *}
# shellcheck disable=SC2016 # backquotes of Markdown
echo '| MPI | ranks | threads each | instruction set | as it is | `--accumulate 2` | `--accumulate 2 --shards 32` |'
echo '|---|---|---|---|---|---|---|'
for isa in $isas; do
    for threads in 1 2; do row none 0 $threads "$isa" "$isa"; done
done
while [ $# -ge 2 ]; do
    gpt=$1 mpirun=$2 && shift 2
    for number in 1 2 3 4 8; do
        for threads in 1 2; do row "${mpirun##*.}" $number $threads "$first" "$first"; done
    done
    for isa in $isas; do
        [ "$isa" = "$first" ] || row "${mpirun##*.}" 3 1 "$first" "$isa"
    done
done
exit $failed
