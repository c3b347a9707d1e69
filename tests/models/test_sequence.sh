#!/bin/sh
# bengio, lstm and llama, with all of lm's commands: test_sequence.sh FOLDER, the one with the programs.
# shellcheck disable=SC2086 # options are several words
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"
n=0
while [ $n -lt 300 ]; do
  echo "number $((n * n % 97)): the cat sat on mat $((n % 7)), and dog $((n * 5 % 11)) did not"
  n=$((n + 1))
done >text
small="--data text --context 16 --batch 4 --eval-batches 2 --sample-tokens 20"

greedy() { # greedy PROGRAM MODEL TOKENS [OPTION...]: into stdout
  writer=$1 written=$2 count=$3
  shift 3
  run "$bin/$writer" sample "$written" --temperature 0 --prompt 'the cat' --tokens "$count" "$@"
}

# commands NAME PROGRAM OPTION...: train, resume, sample with and without the cache, eval, info, report, quantize.
commands() {
  model=$1 tool=$2
  shift 2
  run "$bin/$tool" train $small --iters 12 --eval-every 6 --out "$model" "$@"
  done_well "$model: train"
  check "$model: the loss falls" [ "$(sed -n 's/.*Train loss: \([0-9.]*\),.*/\1/p' stdout | sort -rn | head -1)" = "$(sed -n 's/^Iter 0 .*Train loss: \([0-9.]*\),.*/\1/p' stdout)" ]
  run "$bin/$tool" train $small --iters 6 --eval-every 6 --out "$model.half" "$@"
  run "$bin/$tool" train --resume "$model.half" --iters 12
  done_well "$model: go on"
  run "$bin/$tool" eval "$model"
  done_well "$model: eval"
  cp stdout whole
  run "$bin/$tool" eval "$model.half"
  same "$model: going on is the same as not stopping" stdout whole
  run "$bin/$tool" train $small --iters 12 --eval-every 6 --out "$model.threads" --threads 3 "$@"
  run "$bin/$tool" eval "$model.threads"
  same "$model: any number of threads gives the same" stdout whole
  greedy $tool "$model" 9 --no-cache
  done_well "$model: sample"
  cp stdout plain
  greedy $tool "$model" 9
  same "$model: the cache changes nothing" stdout plain
  greedy $tool "$model" 60
  cp stdout plain
  run "$bin/$tool" sample "$model" --temperature 0 --prompt 'the cat' --tokens 60 --samples 9 --threads 2
  check "$model: many rows are each as one" [ "$(sed '/^---$/d' stdout | sort -u | wc -l)" -eq "$(sort -u plain | wc -l)" ]
  run "$bin/$tool" info "$model"
  done_well "$model: info"
  run "$bin/$tool" plot "$model"
  done_well "$model: plot"
  run "$bin/$tool" report "$model"
  check "$model: report" [ "$status" -eq 0 -a -s "$model/report.html" ]
  run "$bin/$tool" quantize "$model" --out "$model.safetensors"
  check "$model: quantize" [ "$status" -eq 0 ]
  run "$bin/$tool" sample "$model.safetensors" --tokens 20
  done_well "$model: sample of it"
  run "$bin/$tool" train $small --iters 3 --eval-every 3 --out "$model.muon" --optimizer muon "$@"
  done_well "$model: train with Muon"
}
commands bengio bengio --tokens 5 --width 8 --hidden 32 --lr 1e-2
commands direct bengio --tokens 3 --width 8 --hidden 16 --direct yes --dropout 0.1 --lr 1e-2
commands lstm lstm --width 8 --hidden 24 --lr 2e-2
commands gru lstm --cell gru --layers 2 --width 8 --hidden 16 --dropout 0.1 --lr 2e-2
commands rnn lstm --cell rnn --width 16 --hidden 0 --lr 1e-2
commands llama llama --layers 2 --width 16 --heads 4 --key-heads 2
commands tied llama --layers 1 --width 12 --heads 3 --key-heads 1 --tied-head yes --dropout 0.1 --head-size 6

# ---- Beyond the context -------------------------------------------------------------------------------
for model in bengio llama; do
  greedy $model $model 60 --no-cache
  cp stdout plain
  greedy $model $model 60
  same "$model: the cache changes nothing beyond the context" stdout plain
done
# A state has no positions: it goes on, whatever the window holds.
greedy lstm lstm 60 --hop 1
cp stdout plain
greedy lstm lstm 60 --hop 16
same 'lstm: the state outlives the window' stdout plain

# ---- What does not fit --------------------------------------------------------------------------------
refuses 2 '3 heads cannot be divided among 2 heads of keys' "$bin/llama" train $small --width 12 --heads 3 --key-heads 2
refuses 2 'a width of 12 cannot be divided among 5 heads' "$bin/llama" train $small --width 12 --heads 5
refuses 2 'heads of 3 have no pairs to turn' "$bin/llama" train $small --width 12 --heads 4
refuses 2 "--cell 'tree' is none of rnn|gru|lstm" "$bin/lstm" train $small --cell tree
refuses 1 "its architecture is 'llama', not 'lstm'" "$bin/lstm" sample llama
refuses 1 'no other program knows the model of lstm' "$bin/lstm" export lstm x
refuses 1 'a Llama is not written for llama.cpp yet' "$bin/llama" export llama --gguf x.gguf

# ---- As transformers has it -----------------------------------------------------------------------------
run "$bin/llama" export llama published
check 'llama: export' [ "$status" -eq 0 -a -s published/config.json -a -s published/tokenizer.json ]
greedy llama llama 30
cp stdout plain
greedy llama published 30
same 'llama: it reads what it has exported' stdout plain
change() { # change OLD NEW: a copy of the exported folder, as broken, with another config.json
  rm -rf broken
  cp -r published broken
  sed "s/$1/$2/" published/config.json >broken/config.json
}
change '"llama"' '"mamba"'
refuses 1 'model_type is mamba, expected llama' "$bin/llama" sample broken
change '"mlp_bias": false' '"mlp_bias": true'
refuses 1 'mlp_bias is true, expected false' "$bin/llama" sample broken
change '"hidden_size": 16,' ''
refuses 1 'hidden_size is missing' "$bin/llama" sample broken
change '"hidden_size": 16' '"hidden_size": 18'
refuses 1 'too few for the 7506 parameters' "$bin/llama" sample broken
change '"rope_theta": 10000' '"rope_scaling": {"rope_type": "yarn", "factor": 4}'
refuses 1 'rope_scaling: the type is yarn, expected default' "$bin/llama" sample broken
change '"tie_word_embeddings": false' '"tie_word_embeddings": true'
run "$bin/llama" sample broken --tokens 5
done_well 'a head that is tied after all'
finish
