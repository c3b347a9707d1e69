#!/bin/sh
# Models with rounded weights: test_quantize.sh FOLDER, the one with the executables.
# shellcheck source=tests/models/shell.sh
. "$(dirname -- "$0")/shell.sh"
data=$repo/models/data/verses.txt

loss() { # loss FILE: of the whole text
  "$gpt" eval "$1" --data "$data" --split all 2>/dev/null | sed -n 's/^loss \([0-9.]*\) .*/\1/p'
}
near() { awk "BEGIN { d = $1 - $2; exit !(d < $3 && d > -$3) }"; }
size() { wc -c <"$1"; }

run "$gpt" train --data "$data" --preset gpt2 --iters 60 --lr 0.005 --batch 8 --context 32 --layers 2 --heads 2 --width 48 \
  --eval-batches 2 --eval-every 59 --sample-tokens 0 --out run
[ "$status" -eq 0 ] || verdict train "exit status $status"
model=run/last.safetensors float=$(loss run)
for to in bf16 int8; do
  run "$gpt" quantize run --to $to --out $to.safetensors
  check "quantize --to $to" [ "$status" -eq 0 ]
  check "quantize --to $to: one line" [ "$(wc -l <stderr)" -eq 1 ]
  run "$gpt" info $to.safetensors
  matches "info: $to" "  precision  *$to"
  check "$to: the loss is near" near "$float" "$(loss $to.safetensors)" 0.01
  run "$gpt" sample $to.safetensors --tokens 80 --threads 1
  done_well "sample from $to"
  cp stdout one
  for way in '--threads 2' --no-cache; do
    # shellcheck disable=SC2086 # words
    run "$gpt" sample $to.safetensors --tokens 80 $way
    same "sample from $to: $way" one stdout
  done
  run "$gpt" sample $to.safetensors --tokens 80 --samples 9
  check "sample from $to: the first of several is the same" [ "$(head -c "$(size one)" stdout)" = "$(cat one)" ]
  run "$gpt" eval run $to.safetensors
  check "eval finds the text of $to" [ "$status" -eq 0 ]
  run "$gpt" export $to.safetensors $to.hf
  check "export of $to has float32" near "$(loss $to.safetensors)" "$(loss $to.hf)" 0.001
  run "$gpt" train --init $to.safetensors --data "$data" --iters 2 --batch 4 --sample-tokens 0 --eval-batches 1 --out on-$to
  check "train --init $to goes on with float32" [ "$status" -eq 0 ]
done
"$gpt" train --data "$data" --iters 1 --batch 2 --context 8 --layers 1 --heads 1 --width 8 --eval-batches 1 --out little >stdout 2>stderr
run "$gpt" quantize little --out little.safetensors
check 'a small model is told in KB' grep -qx 'gpt: wrote little.safetensors: [1-9][0-9]*\.[0-9] KB, of [1-9][0-9]*\.[0-9] as float32' stderr
check 'bf16 takes about half' [ "$(size bf16.safetensors)" -lt $(($(size $model) / 4)) ] # with the optimizer's state
check 'int8 takes less' [ "$(size int8.safetensors)" -lt "$(size bf16.safetensors)" ]
run "$gpt" quantize bf16.hf --to int8 --out published.safetensors
check 'quantize a published folder' [ "$status" -eq 0 ]
check 'its loss is near' near "$(loss bf16.hf)" "$(loss published.safetensors)" 0.01

refuses 1 'int8.safetensors is there; --force writes over it' "$gpt" quantize run --out int8.safetensors
run "$gpt" quantize run --to bf16 --out int8.safetensors --force
same '--force writes over it' bf16.safetensors int8.safetensors
run "$gpt" quantize run --out int8.safetensors --force
refuses 1 'its weights have 8 bits already' "$gpt" quantize int8.safetensors --out other.safetensors
refuses 1 '--out run/last.safetensors is the model itself' "$gpt" quantize $model --out run/last.safetensors --force
refuses 1 'run is there, and no file' "$gpt" quantize run --out run --force
refuses 1 'No such file' "$gpt" quantize none --out other.safetensors
refuses 1 'No such file' "$gpt" quantize run --out none/other.safetensors
refuses 2 'where to? --out FILE' "$gpt" quantize run
refuses 2 "'int4'" "$gpt" quantize run --to int4 --out other.safetensors
cp int8.safetensors kept
limited() { (ulimit -f 1 && trap '' XFSZ && exec "$@"); } # files of 512 bytes or 1 KiB, as if the disk were full
refuses 1 'int8.safetensors: cannot be written: File too large' limited "$gpt" quantize run --out int8.safetensors --force
same 'a full disk: the file is as before' int8.safetensors kept
check 'a full disk: nothing is left behind' [ ! -e int8.safetensors.tmp ]
head -c 3000 int8.safetensors >short.safetensors
refuses 1 'truncated' "$gpt" sample short.safetensors

mkdir two && cp int8.safetensors two/last.safetensors
refuses 1 two "$gpt" train --resume two
run "$bigram" train --data "$data" --iters 5 --sample-tokens 0 --out pairs
run "$bigram" quantize pairs --out pairs.safetensors
check 'a bigram, too' [ "$status" -eq 0 ]
run "$bigram" sample pairs.safetensors --tokens 20
done_well 'and it writes'
finish
