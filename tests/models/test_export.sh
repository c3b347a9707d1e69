#!/bin/sh
# Models from and for other programs: what `gpt export` writes gives the same logits and the same text in transformers and in
# llama.cpp. test_export.sh FOLDER TEST_MODELS: the folder of the executables, and the tests of models. $PYTHON may name a
# Python that has the packages; without them only what gpt itself makes of the folders is looked at.
# shellcheck disable=SC2010,SC2012 # the names are ours
tests=$2
set -- "$1"
# shellcheck source=tests/models/shell.sh
. "$(dirname -- "$0")/shell.sh"
python=${PYTHON:-python3}
data=$repo/models/data/verses.txt
prompt='Vaka vanha'

train() { # train NAME OPTION...: a small model
  made=$1
  shift
  run "$gpt" train --data "$data" --iters 150 --batch 16 --context 32 --layers 2 --heads 4 --width 32 --lr 0.005 \
    --eval-batches 2 --eval-every 149 --sample-tokens 0 --out "$made" "$@"
  [ "$status" -eq 0 ] || verdict "train $made" "exit status $status"
}
train char --final-norm yes # which has its bias at the head, ReLU, another scale, no bias at queries
train bpe --preset gpt2 --lr 0.01 --tokenizer bpe --vocab-size 400
train byte --preset gpt2 --lr 0.01 --tokenizer byte --tied-head no --norm-epsilon 0.001 --hidden 72 --scale-by-layer yes
train erf --preset gpt2 --activation gelu_erf
train bare # as the preset kalevala has it: no final norm
train narrow --preset gpt2 --lr 0.01 --tokenizer byte --final-norm no --layers 3 --heads 5 --width 15 --norm-epsilon 0.002 --scale-by-layer yes
"$gpt" train --init "$repo/tests/fixtures/gpt2" --data "$data" --iters 5 --batch 4 --sample-tokens 0 --eval-batches 1 \
  --out tuned >/dev/null 2>&1

run "$gpt" train --init "$repo/tests/fixtures/gpt2" --context 12 --data "$data" --iters 5 --batch 4 --sample-tokens 0 \
  --eval-batches 1 --out short
check 'train --init with a shorter context' [ "$status" -eq 0 ]
run "$gpt" info short/last.safetensors
check 'the model has it' grep -q '^  context  *12$' stdout
run "$gpt" train --resume short --iters 8
check 'and goes on with it' [ "$status" -eq 0 ]
refuses 1 'its context is 19, so --context can be lower, but not 20' \
  "$gpt" train --init "$repo/tests/fixtures/gpt2" --context 20 --data "$data" --iters 5
mkdir old && touch old/pytorch_model.bin
refuses 1 'old: pytorch_model.bin is a program that only PyTorch runs' "$gpt" sample old

loss() { # loss FILE: of the whole text
  "$gpt" eval "$1" --data "$data" --split all | sed -n 's/^loss \([0-9.]*\) .*/\1/p'
}

none='--prior 0 --gram-rows 0 --value-rows 0' # of what only Sampo has
for options in '--prior 2' '--prior 0' '--prior 0 --gram-rows 0' "$none"; do
  # shellcheck disable=SC2086 # a word an argument
  run "$gpt" train --preset best $options --data "$data" --iters 1 --batch 2 --context 16 --layers 1 --heads 2 --width 8 \
    --eval-batches 1 --sample-tokens 0 --out best --force
  if [ "$options" = "$none" ]; then
    run "$gpt" export best best.hf
    check "best with $options is exported" [ "$status" -eq 0 -a -f best.hf/config.json ]
  else
    refuses 1 "a model that is trained with $none can be exported" "$gpt" export best best.hf
  fi
done

# ---- What gpt itself makes of it ---------------------------------------------------------------------
for made in char bpe byte erf tuned; do
  run "$gpt" export "$made/last.safetensors" "$made.hf"
  check "export $made: where it went" [ "$(cat stderr)" = "gpt: wrote $made.hf, for transformers" ]
  check "export $made: the files" [ "$(echo "$made.hf"/*)" = \
    "$made.hf/config.json $made.hf/model.safetensors $made.hf/tokenizer.json $made.hf/tokenizer_config.json" ]
  check "export $made: gpt loads it, and has the same loss" awk \
    "BEGIN { d = $(loss "$made/last.safetensors") - $(loss "$made.hf"); exit !(d * d < 1e-10) }"
done
for made in char bpe byte tuned bare narrow; do
  run "$gpt" export "$made/last.safetensors" --gguf "$made.gguf"
  check "export --gguf $made: it is one" [ "$(head -c 4 "$made.gguf")" = GGUF ]
done
for made in bare narrow; do
  run "$gpt" export "$made/last.safetensors" "$made.hf"
  check "export $made: without a final norm it is an OPT" grep -q '"model_type": "opt"' "$made.hf/config.json"
done
refuses 1 "llama.cpp's GPT-2 has no gelu_erf" "$gpt" export erf/last.safetensors --gguf erf.gguf
check 'and leaves nothing behind' [ ! -e erf.gguf ]
refuses 1 'config.json is there; --force writes over it' "$gpt" export bpe/last.safetensors char.hf
refuses 1 'char.gguf is there; --force writes over it' "$gpt" export bpe/last.safetensors --gguf char.gguf
refuses 1 'char is the folder of a run; name another one' "$gpt" export bpe/last.safetensors char
refuses 1 'stdout is there, and no file' "$gpt" export bpe/last.safetensors --gguf /dev/stdout
refuses 2 'export: where to?' "$gpt" export bpe/last.safetensors
refuses 1 'no other program knows the model of bigram' "$bigram" export bpe/last.safetensors x
ln -s "$tmp/elsewhere" link.gguf
refuses 1 'link.gguf is there, and no file' "$gpt" export bpe/last.safetensors --gguf link.gguf --force
run "$gpt" export bpe/last.safetensors char.hf --force
check 'export --force writes over it' cmp -s bpe.hf/config.json char.hf/config.json
"$gpt" export char/last.safetensors char.hf --force 2>/dev/null
(ulimit -f 20; trap '' XFSZ; exec "$gpt" export bpe/last.safetensors --gguf full.gguf) >stdout 2>stderr
check 'a full disk is an error' grep -q 'full.gguf: ' stderr
check 'and leaves nothing behind, either' [ "$(echo full*)" = 'full*' ]

# ---- transformers ----------------------------------------------------------------------------------------
others=$repo/tests/models/export.py
if "$python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
  all='char bpe byte erf tuned bare narrow'
  for made in $all; do
    mkdir "$made.expected"
    cp "$made/last.safetensors" "$made.expected/model.safetensors"
  done
  # shellcheck disable=SC2086
  run "$python" "$others" transformers "$prompt" "$data" $all
  check 'transformers loads them, and gives their text back' [ "$status" -eq 0 ]
  for made in $all; do
    run env SAMPO_PUBLISHED="$made.expected" "$tests" --filter 'published/equals_transformers'
    check "its logits and tokens are those of $made" [ "$status" -eq 0 ]
  done
else
  skip 'exported models in transformers' "$python has not torch, transformers and safetensors; PYTHON=... names another"
fi

# ---- llama.cpp -------------------------------------------------------------------------------------------
if "$python" -c 'import llama_cpp' 2>/dev/null; then
  for made in char bpe byte tuned bare narrow; do
    if { [ $made = char ] || [ $made = bare ]; } && "$python" -c 'import llama_cpp; exit(llama_cpp.__version__ >= "0.3")'; then
      skip "$made in llama.cpp" 'versions of llama_cpp before 0.3 want every tokenizer to have all bytes'
      continue
    fi
    run "$gpt" sample "$made/last.safetensors" --prompt "$prompt" --temperature 0 --tokens 8
    mv stdout ours
    run "$python" "$others" llama "$made.gguf" "$prompt" 8
    check "llama.cpp writes as $made does" cmp -s ours stdout
  done
else
  skip 'exported models in llama.cpp' "$python has not llama_cpp; PYTHON=... names another"
fi
finish
