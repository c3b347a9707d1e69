#!/bin/sh
# Tests the programs as a user meets them: test_cli.sh FOLDER, the folder with the executables gpt and bigram.
# Prints a line a case. Reads the PyTorch checkpoint of $SAMPO_SHARED where that is there.
# shellcheck disable=SC2012,SC2016,SC3045 # names without blanks; awk programs; where ulimit -v is unknown the case is left out
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

# ---- Texts --------------------------------------------------------------------------------------
b() { printf '%b' "$1"; }
i=0
while [ $i -lt 60 ]; do echo "the cat sat on the mat, number $i: p$(b '\0303\0244')iv$(b '\0303\0244')$(b '\0303\0244')"; i=$((i + 1)); done >text
printf '%040d' 0 >short
: >empty
b '\0357\0273\0277' >bom
{ head -c 20 text; b '\0344'; } >latin1
b 'abc\0000def' >nul
{ cat text; echo 'Zebra'; } >zebra
{ b '\0377\0376'; sed 's/./&\x00/g' text; } >utf16
{ cat nul text latin1; } >binary
mkdir folder
tiny="--data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 2"
tiny_bigram="--data text --context 8 --batch 4 --eval-batches 2"

# ---- Help and versions ----------------------------------------------------------------------------
for program in gpt bengio bigram llama lstm ngram; do
  run "$bin/$program" --help
  done_well "$program --help"
  run "$bin/$program" --version
  matches "$program --version" "$program (Sampo) [0-9]*\.[0-9]*\.[0-9]*"
  for command in train sample eval info plot report; do
    run "$bin/$program" $command --help
    done_well "$program $command --help"
    check "$program $command --help says nothing on stderr" [ ! -s stderr ]
  done
done

# ---- Bad usage ------------------------------------------------------------------------------------
refuses 2 'did you mean train?' "$gpt" trian
refuses 2 "unknown command 'zebra'" "$bigram" zebra
refuses 2 'unknown option --bacth; did you mean --batch?' "$gpt" train --bacth 3
refuses 2 'unknown option --layers' "$bigram" train --layers 3
refuses 2 'unknown option --a?b' "$gpt" train "--a
b"
refuses 2 '--iters needs a value' "$gpt" train --iters
refuses 2 '--iters needs a value' "$gpt" train --iters --force
refuses 2 "--iters 'many' is not a whole number" "$gpt" train --iters many
refuses 2 "--iters '10x' is not a whole number" "$gpt" train --iters 10x
refuses 2 "--lr 'nan' is not a number" "$gpt" train --lr nan
refuses 2 '--iters 0 is out of range: 1 to ' "$gpt" train --iters 0
refuses 2 '--threads 257 is out of range: 1 to 256' "$gpt" train --threads 257
refuses 2 '--threads 0 is out of range: 1 to 256' "$gpt" eval x --threads=0
refuses 2 '--dropout 1 is out of range' "$gpt" train --dropout 1
refuses 2 "--activation 'swish' is none of relu|gelu|gelu_erf" "$gpt" train --activation swish
refuses 2 "--tied-head 'perhaps' is neither yes nor no" "$gpt" train --tied-head perhaps
refuses 2 "--preset 'gpt3' is none of kalevala|fast|best|small" "$gpt" train --preset gpt3
refuses 2 'unknown option --preset' "$bigram" train --preset gpt2
refuses 2 'a width of 64 cannot be divided among 5 heads' "$gpt" train --heads 5
refuses 2 "'text' is one argument too many; did you mean --data 'text'?" "$gpt" train text
refuses 2 "'yes' is one argument too many (" "$gpt" train --quiet yes
refuses 2 'no file is named' "$gpt" sample
refuses 2 'no file is named' "$bigram" eval --data text
refuses 2 "--split 'test' is none of train|val|all" "$gpt" eval x --split test
refuses 2 '--out needs the name of a folder' "$gpt" train --data text --out=
refuses 2 '--resume needs the name of a folder' "$gpt" train --resume=
refuses 2 '--init needs the name of a file' "$gpt" train --init ''
refuses 2 '--gguf needs the name of a file' "$gpt" export here --gguf ''
for command in sample eval info plot report export quantize; do # as "$run" is where nothing has set it
  refuses 2 "$command: an argument is empty, and names nothing" "$gpt" $command ''
done
refuses 2 "--resume goes on in the run's own folder, without --out" "$gpt" train --resume a --out b
refuses 2 '--resume has weights already, and takes no --init' "$gpt" train --resume a --init b
refuses 2 '--min-lr 0.1 is above --lr 0.01' "$gpt" train --data text --min-lr 0.1
refuses 2 '--cooldown needs --schedule linear or cosine' "$gpt" train --data text --cooldown 0.5
refuses 2 'the optimizer muon needs an --lr above 0' "$gpt" train --data text --optimizer muon --lr 0
refuses 2 '--muon-lr and --muon-momentum need --optimizer muon' "$gpt" train --data text --muon-lr 0.1
refuses 2 '--vocab-size needs --tokenizer bpe' "$gpt" train --data text --vocab-size 300
for option in init-deviation=0.1 zero-init=yes attention-scale-by=head vocab-size=300; do
  refuses 2 "--${option%=*} is for a new model, and --init has one already" "$gpt" train --data text --init here --$option
done
refuses 2 '--data text is given twice' "$gpt" train --data text --data other --data text
refuses 2 '--data ./text is given twice' "$gpt" train --data text --data ./text
refuses 2 'the optimizer muon, which the preset has, needs an --lr above 0' "$gpt" train --data text --preset best --lr 0
refuses 2 '--table-lr needs an --lr above 0' "$gpt" train --data text --table-lr 1 --lr 0
refuses 2 '--optimizer muon needs a model with hidden layers' "$bigram" train --data text --optimizer muon
refuses 2 '--table-lr needs a model with tables beside its output' "$bigram" train --data text --table-lr 1
refuses 2 "--schedule 'cosinus' is none of constant|linear|cosine" "$gpt" train --schedule cosinus
refuses 2 '--clip 0 is out of range' "$gpt" train --clip 0
refuses 2 'SAMPO_ISA' env SAMPO_ISA=zebra "$gpt" train --data text

# ---- Texts that cannot be used --------------------------------------------------------------------
refuses 1 'nowhere: cannot be opened: No such file or directory' "$gpt" train --data nowhere
refuses 1 'folder: this is a directory' "$gpt" train --data folder
refuses 1 'empty: the file is empty' "$gpt" train --data empty
refuses 1 'bom: the file is empty' "$gpt" train --data bom
refuses 1 '/dev/zero: this is a device, not a text file' timeout 20 "$gpt" train --data /dev/zero
if [ -r /proc/self/status ]; then
  refuses 1 '/proc/self/status: ' "$gpt" train --data /proc/self/status --context 60000
  check 'a file that says to be empty is read all the same' grep -q ' tokens are too few: ' stderr
fi
refuses 1 'nul: byte 4 is 0: this is not a text file; --tokenizer byte trains on any file' "$gpt" train --data nul
refuses 1 'utf16: this looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8' "$gpt" train --data utf16
refuses 1 'latin1: byte 21 is not valid UTF-8 (0xe4); convert it, e.g. iconv -f latin1 -t utf-8' \
  "$gpt" train --data latin1
refuses 1 'short: 40 tokens are too few: a context of 64 needs at least 65 in each part of the text (90 % to train on, 10 % to validate)' \
  "$gpt" train --data short
refuses 1 'neither kalevala.txt nor verses.txt' env SAMPO_DATA="$tmp/folder" "$gpt" train
if [ "$(id -u)" -eq 0 ]; then
  skip 'a file that may not be read' 'root may read everything'
else
  cp text locked
  chmod 0 locked
  refuses 1 'locked: cannot be opened: Permission denied' "$gpt" train --data locked
fi

# ---- Training -------------------------------------------------------------------------------------
# shellcheck disable=SC2086 # $tiny is a list of words
{
run "$gpt" train $tiny --lr 0.05 --iters 5 --eval-every 3 --sample-tokens 30 --out out/a
done_well 'a short training run'
grep '^Iter' stdout >reports
check 'a report every 3 iterations and at the last' [ "$(sed 's/ - .*//' reports | tr '\n' ' ')" = 'Iter 0 Iter 3 Iter 4 ' ]
matches 'the format of a report' 'Iter 4 - Train loss: [0-9]\.[0-9][0-9][0-9], Validation loss: [0-9]\.[0-9][0-9][0-9]'
sed '1,/^$/d' stdout >written
check 'a sample of 30 characters and a newline' [ "$(tr -d '\200-\277' <written | wc -c)" -eq 31 ]
check 'the checkpoint is there' [ -s out/a/last.safetensors ]
check 'the files of a run, and nothing else' [ "$(ls -A out/a | tr '\n' ' ')" = 'best.safetensors last.safetensors log.csv run.txt samples.txt tokens.bin ' ]
cp stdout first

run "$gpt" train $tiny --lr 0.05 --iters 5 --eval-every 3 --sample-tokens 30 --threads 2 --out out/b
cp stdout second
same 'the same seed, one and two threads: the same output' first second
same 'the same seed: the same checkpoint' out/a/last.safetensors out/b/last.safetensors
for option in --seed=2 --lr=0.002 --weight-decay=0.9 --beta1=0.5 --beta2=0.5 --batch=5 --context=7 --layers=2 --heads=1 \
  --width=16 --activation=gelu --attention-scale=0.9 --qkv-bias=yes --final-norm=yes --tied-head=yes --head-bias=no \
  --attention-scale-by=head --init-deviation=0.05 --preset=gpt2 \
  --dropout=0.4 --eval-batches=3 --temperature=0.5 --accumulate=2 --schedule=linear --warmup=3 --eps=0.1 --clip=0.01; do
  run "$gpt" train $tiny --lr 0.05 --iters 5 --eval-every 3 --sample-tokens 30 $option
  differ "$option changes something" first stdout
done
run "$gpt" train $tiny --lr 0 --weight-decay 0 --iters 4 --eval-every 1 --sample-tokens 0
check 'every iteration has a batch of its own' [ "$(sed -n 's/.*loss \([^,]*\),.*/\1/p' stderr | sort -u | wc -l)" -ge 3 ]
run "$gpt" train $tiny --iters 5 --eval-every 5 --sample-tokens 0
check 'no sample with --sample-tokens 0' [ "$(grep -vc '^Iter' stdout)" -eq 0 ]

run "$gpt" train $tiny --iters 3 --dropout 0.3 --threads 1
cp stdout first
run "$gpt" train $tiny --iters 3 --dropout 0.3 --threads 2
cp stdout second
same 'dropout does not depend on threads' first second

run "$gpt" train $tiny --iters 300 --eval-every 299 --lr 0.01 --sample-tokens 0
check 'training lowers the loss' awk '{ sub(",", "", $6); loss[NR] = $6 } END { exit !(loss[2] < 0.6 * loss[1]) }' stdout

refuses 1 'out/a/last.safetensors is there from another run; choose another --out, overwrite it with --force, or go on with it: --resume out/a' \
  "$gpt" train $tiny --iters 1 --out out/a
same 'the earlier checkpoint is untouched' out/a/last.safetensors out/b/last.safetensors
run "$gpt" train $tiny --iters 1 --out out/b --force --activation gelu_erf --qkv-bias yes --final-norm yes --tied-head yes --head-bias no
done_well '--force, and the other shape of a GPT'
refuses 1 'text: not a directory' "$gpt" train $tiny --out text
refuses 1 'text/deep: cannot be made: Not a directory' "$gpt" train $tiny --out text/deep
mkdir -p blocked/last.safetensors/x
refuses 1 'last.safetensors' "$gpt" train $tiny --iters 1 --out blocked --force

# ---- Numbers that are no longer finite --------------------------------------------------------------
refuses 1 'the gradient is no longer a finite number at iteration 1; the first to go bad is the gradient of wte.weight' \
  "$gpt" train $tiny --iters 50 --lr 1000 --beta1 0 --beta2 0 --weight-decay 1000 --eval-every 60 --out out/nan
check 'it says which checkpoint is kept' grep -q 'or with --clip 1; the checkpoint of iteration 0 is kept$' stderr
run "$gpt" sample out/nan/last.safetensors --tokens 3
done_well 'the checkpoint before works'
overflow="$tiny_bigram --lr 1000 --weight-decay 1000 --out out/nan2 --force" # weights grow a millionfold a step
refuses 1 'the loss is no longer a finite number at iteration 7; the first to go bad is the parameter table.weight' \
  "$bigram" train $overflow --iters 60
check 'the log has the steps before' [ "$(tail -n 1 out/nan2/log.csv | cut -d , -f 1)" -eq 6 ]
refuses 1 'a weight is no longer a finite number at iteration 7; the first to go bad is the parameter table.weight' \
  "$bigram" train $overflow --iters 7 --eval-every 60

# ---- Schedules, steps ---------------------------------------------------------------------------------
column() { tail -n +2 "$2" | cut -d , -f "$1" | tr '\n' ' '; }
run "$gpt" train $tiny --iters 6 --warmup 1 --schedule linear --lr 0.04 --min-lr 0.01 --schedule-end 4 --out out/linear
done_well '--schedule linear'
check 'its rates' [ "$(column 3 out/linear/log.csv)" = '0.02 0.04 0.03 0.02 0.01 0.01 ' ]
check 'a row a step' [ "$(column 1 out/linear/log.csv)" = '0 1 2 3 4 5 ' ]
check 'the head of the log' [ "$(head -n 1 out/linear/log.csv | cut -d , -f 1-7)" = \
  'iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss' ]
check 'losses of reports in their rows' [ "$(cut -d , -f 6-7 out/linear/log.csv | grep -vc '^,$')" -eq 3 ]
check 'samples at the reports' [ "$(grep -c '^# iteration [05], [0-9]* bytes$' out/linear/samples.txt)" -eq 2 ]
run "$gpt" train $tiny --iters 3 --out out/unclipped
run "$gpt" train $tiny --iters 3 --clip 0.01 --out out/clipped
check '--clip: the log has the norm before' [ "$(sed -n 2p out/clipped/log.csv | cut -d , -f 4)" = \
  "$(sed -n 2p out/unclipped/log.csv | cut -d , -f 4)" ]
awk 'BEGIN { for (i = 0; i < 500; i++) printf "ab" }' >abab # every batch of it has the same gradient
for n in 1 3; do
  run "$bigram" train --data abab --batch 4 --context 8 --iters 3 --accumulate $n --sample-tokens 0 --out out/accumulate$n
  cut -d , -f 2,4 out/accumulate$n/log.csv >accumulate$n
done
check '--accumulate takes the mean' awk -F , '
  FNR == 1 { file++; next }
  file == 1 { loss[FNR] = $1; norm[FNR] = $2; next }
  { a = $1 / loss[FNR] - 1; b = $2 / norm[FNR] - 1; rows++; bad += a * a > 1e-11 || b * b > 1e-11 || norm[FNR] == 0 }
  END { exit bad || rows != 3 }' accumulate1 accumulate3
run "$gpt" train $tiny --iters 200 --eval-every 1 --patience 3 --lr 0 --weight-decay 0 --sample-tokens 0 --out out/patient
done_well '--patience'
check '--patience: how it says so' grep -q 'stopped after [0-9]* iterations: since iteration [0-9]*, with' stderr
check '--patience: 3 reports after the best' [ "$(grep -c '^Iter' stdout)" -eq \
  $(($(sed -n 's/.*since iteration \([0-9]*\),.*/\1/p' stderr) + 4)) ]

# ---- Going on with a run --------------------------------------------------------------------------------
run "$gpt" train $tiny --lr 0.05 --iters 5 --eval-every 3 --sample-tokens 30 --dropout 0.1 --out out/r
run "$gpt" train --resume out/r
check 'a complete run has nothing to resume' [ "$status" -eq 0 ]
check 'and says how to go on' grep -q 'the run is complete; to go on, give --iters more than 5$' stderr
refuses 2 "--lr 0.1: out/r/last.safetensors has 0.05, and that cannot change" "$gpt" train --resume out/r --lr 0.1
refuses 2 "--layers 2: out/r/last.safetensors has 1" "$gpt" train --resume out/r --layers 2
refuses 2 "--dropout 0.2: out/r/last.safetensors has 0.1" "$gpt" train --resume out/r --dropout=0.2
refuses 2 "--context 9: out/r/last.safetensors has 8" "$gpt" train --resume out/r --context 9
refuses 2 "--tokenizer byte: out/r/last.safetensors has char" "$gpt" train --resume out/r --tokenizer byte
refuses 2 "--precision bf16: out/r/last.safetensors has float32" "$gpt" train --resume out/r --precision bf16
refuses 2 "--precision 'bf15' is none of float32|bf16; did you mean bf16?" "$gpt" train $tiny --precision bf15
refuses 2 "--clip 0.5: out/r/last.safetensors has none, and that cannot change" "$gpt" train --resume out/r --clip 0.5
# All that have no star in --help, each with another value than the run's, also where the run has none.
"$gpt" train --help | sed -n '/^Files/,$d; s/^  --\([a-z0-9-]*\) \(N\|X\|yes|no\)\( .*\|\)$/\1 \2/p' >fixed
check 'options that --resume does not change are listed' [ "$(wc -l <fixed)" -gt 30 ]
cp out/r/last.safetensors before
while read -r option kind; do
  case $option-$kind in
    vocab-size-*) value=300 ;; hidden-*) value=5 ;; *-N) value=3 ;; *-X) value=0.3 ;; head-bias-*) value=no ;; *) value=yes ;;
  esac
  run "$gpt" train --resume out/r --iters 6 "--$option" "$value"
  [ "$status" -eq 2 ] || verdict "--resume with --$option $value" "exit status $status, not 2"
done <fixed
check '--resume with what cannot change leaves the run as it is' cmp before out/r/last.safetensors
refuses 2 "--width 16: out/r/last.safetensors has 8" "$gpt" train --data text --init out/r/last.safetensors --width 16
refuses 1 "'Z' U+005A in line 61, column 1 is not in the checkpoint's vocabulary" "$gpt" train --resume out/r --data zebra
head -n 59 text >shorter
refuses 1 'shorter: this is not the text that the run was trained on' "$gpt" train --resume out/r --data shorter
sed 's/cat/tac/' text >other
refuses 1 ' tokens, this has 2510, but others' "$gpt" train --resume out/r --data other
cp text same_text
# What --help marks may change, and so may what it says already.
iters=6
for option in $("$gpt" train --help | sed -n 's/^\* --\([a-z-]*\) .*/\1/p'); do
  case $option in
  data) value=same_text ;;
  iters) value=$iters ;;
  temperature) value=0.7 ;;
  force | dry-run | quiet) value= ;;
  *) value=4 ;;
  esac
  case $option in iters) run "$gpt" train --resume out/r --iters $iters ;;
  *) run "$gpt" train --resume out/r --$option $value --iters $iters --lr 0.05 --threads 2 ;; esac
  done_well "--resume with --$option"
  iters=$((iters + 1))
done
check 'all of them went on' [ $iters -gt 17 ]
check 'what is said anew with each start is marked' \
  [ "$("$gpt" train --help | grep -c '^\* --\(time\|threads\|quiet\|dry-run\|force\) ')" -eq 5 ]
check 'and what --resume refuses is not' [ "$("$gpt" train --help | grep -c '^  --\(out\|init\|lr\|width\) ')" -eq 4 ]
check 'the log as well' [ "$(column 1 out/r/log.csv)" = "$(seq -s ' ' 0 $((iters - 2))) " ]
run "$gpt" train $tiny --init out/r/last.safetensors --iters 1 --eval-every 1 --sample-tokens 0
done_well '--init'
check '--init begins where the weights are' awk -v was="$(tail -n 1 out/r/log.csv | cut -d , -f 2)" \
  '/^Iter 0/ { exit !($6 < was + 0.7) }' stdout
check '--init with the preset of the weights says nothing of it' [ "$(grep -c preset stderr)" -eq 0 ]
run "$gpt" train $tiny --init out/r/last.safetensors --preset small --iters 1 --sample-tokens 0 --out out/small
run "$gpt" train $tiny --init out/small/last.safetensors --iters 1 --sample-tokens 0 --out none
check '--init by another preset says so' grep -q 'by the preset kalevala; these weights were trained by --preset small$' stderr
run "$gpt" train $tiny --iters 3 --warmup 3 --out none
check 'a warmup that never ends is warned of' grep -q 'warning: a --warmup of 3 does not end within the run' stderr
run "$gpt" train $tiny --iters 3 --warmup 2 --out none
check 'one that ends is not' [ "$(grep -c warmup stderr)" -eq 0 ]
run "$gpt" train $tiny --tokenizer bpe --vocab-size 1000000 --iters 1 --out none
check 'too large a vocabulary is warned of' grep -q 'warning: the text has byte pairs for [0-9]* tokens, not for a --vocab-size of 1000000$' stderr
refuses 1 'nowhere: there is no such folder to go on from' "$gpt" train --resume nowhere
refuses 1 'folder/last.safetensors: there is no run to go on with' "$gpt" train --resume folder
refuses 1 "text is a file, not a run's folder" "$gpt" train --resume text
mkdir -p out/only
cp out/r/best.safetensors out/only/
refuses 1 'only/last.safetensors is not there; start from the weights of the best report with --init out/only/best.safetensors' \
  "$gpt" train --resume out/only
refuses 1 'out/only/best.safetensors is there from another run' "$gpt" train $tiny --out out/only
mkdir out/killed
for file in log.csv samples.txt; do # as kill -9 leaves them before there is a checkpoint
  : >out/killed/$file
done
run "$gpt" train $tiny --iters 1 --out out/killed
done_well 'a run begins where a killed one has left empty files'
mkdir out/begun
echo iteration >out/begun/log.csv
refuses 1 'out/begun/log.csv is there from another run' "$gpt" train $tiny --out out/begun
cp out/r/best.safetensors out/only/last.safetensors
refuses 1 'only/last.safetensors: no training state; start from its weights with --init' "$gpt" train --resume out/only
refuses 1 "its architecture is 'gpt', not 'bigram'" "$bigram" train --resume out/r

hostile() { # hostile FROM TO TEXT: the training state says TO
  sed "s/$1/$2/" <out/r/last.safetensors >out/only/last.safetensors
  cmp -s out/r/last.safetensors out/only/last.safetensors && verdict "$1 is in the file" 'it is not'
  refuses 1 "out/only/last.safetensors: $3" "$gpt" train --resume out/only
}
hostile '"train.best_iteration":"[0-9]' '"train.best_iteration":"x' "train.best_iteration: 'x"
hostile '"train.batch":"4"' '"train.batch":"0"' 'train.batch: 0 is out of range: 1 to 65536'
hostile '"train.schedule":"c' '"train.schedule":"k' "train.schedule: 'konstant' is none of"
hostile exp_avg_sq exp_avg_xq 'the tensor optimizer.exp_avg_sq does not fit the parameters'
hostile '"train.text_hash":"[0-9]' '"train.text_hash":"x' 'train.text_hash: '

# ---- Saving that fails ----------------------------------------------------------------------------------
run "$gpt" train $tiny --iters 3 --eval-every 1 --sample-tokens 0 --out out/full
cp -r out/full kept
limited() { (ulimit -f 1 && trap '' XFSZ && exec "$@"); } # files of 512 bytes or 1 KiB, as if the disk were full
refuses 1 'out/full/last.safetensors: cannot be written: File too large' limited "$gpt" train --resume out/full --iters 5
for file in last.safetensors best.safetensors log.csv; do
  same "a full disk: $file is as before" out/full/$file kept/$file
done
check 'a full disk: nothing is left behind' [ "$(ls out/full)" = "$(ls kept)" ]
if [ "$(id -u)" -eq 0 ]; then
  skip 'a folder that may not be written to' 'root may write everywhere'
else
  chmod a-w out/full
  refuses 1 'out/full: cannot be written to: Permission denied' "$gpt" train --resume out/full --iters 5
  chmod u+w out/full
fi
run "$gpt" train --resume out/full --iters 5
done_well 'with room again it goes on'

run "$bigram" train $tiny_bigram --iters 5 --eval-every 2 --sample-tokens 30 --out out/bigram
done_well 'a short run of the bigram'
matches 'its report' 'Iter 4 - Train loss: [0-9]\.[0-9][0-9][0-9], Validation loss: [0-9]\.[0-9][0-9][0-9]'

run "$gpt" train ${tiny#--data text} --data binary --tokenizer byte --iters 5 --sample-tokens 30 --out out/byte
done_well 'training on any bytes'
check 'as many tokens as bytes' grep -q "parameters, 256 distinct tokens; $(($(wc -c <binary) * 9 / 10)) to train on" stderr
run "$gpt" eval out/byte/last.safetensors --data binary --split all
matches 'and evaluating on them' "loss .* over $((($(wc -c <binary) - 1) / 8 * 8)) tokens"
run "$gpt" sample out/byte/last.safetensors --prompt "$(b 'a\0344')" --tokens 30
check 'and going on from any' [ "$(head -c 1 stdout)" = a ]
check 'in whole characters' iconv -f UTF-8 -t UTF-8 -o /dev/null stdout

run "$gpt" train $tiny --tokenizer bpe --vocab-size 300 --iters 5 --sample-tokens 30 --out out/bpe
done_well 'training on byte pairs'
check 'fewer tokens than bytes' [ "$(sed -n 's/.* distinct tokens; \([0-9]*\) to train on.*/\1/p' stderr)" -lt 1500 ]
matches 'its report, also per character' 'Iter 4 - Train loss: [0-9.]*, Validation loss: [0-9.]*, per character: [0-9.]*, [0-9.]*'
run "$gpt" eval out/bpe/last.safetensors --data text --split all
done_well 'and evaluating them'
check 'a character has fewer nats than a token' awk 'NR == 1 { loss = $2 } NR == 4 { exit !($4 < loss && $4 > loss / 9) }' stdout
run "$gpt" sample out/bpe/last.safetensors --prompt 'the cat' --tokens 30
check 'and going on from them' [ "$(head -c 7 stdout)" = 'the cat' ]
refuses 2 "--tokenizer: 'chars' is none of char, byte and bpe, and no folder; did you mean char?" \
  "$gpt" train $tiny --tokenizer chars
refuses 1 'folder: what its tokens are is not known: tokenizer.json, or vocab.json and merges.txt, must lie there' "$gpt" train $tiny --tokenizer folder
run "$gpt" train $tiny --tokenizer "$repo/tests/fixtures/bpe" --iters 1
done_well 'training on byte pairs of files'

head -n 30 text >half1
tail -n +31 text >half2
run "$gpt" train $tiny --iters 4 --eval-every 2 --out out/whole
run sh -c "cat text | $gpt train ${tiny#--data text} --data - --iters 4 --eval-every 2 --out out/input"
done_well 'standard input'
same 'the tokens are those of the file' out/whole/tokens.bin out/input/tokens.bin
run "$gpt" train ${tiny#--data text} --data half1 --data half2 --iters 4 --eval-every 2 --out out/halves
same 'and those of its halves' out/whole/tokens.bin out/halves/tokens.bin
run "$gpt" train --resume out/input --iters 6
done_well 'going on without standard input'
run "$gpt" train --resume out/whole --iters 6
tail -c 1000 out/whole/last.safetensors >first
tail -c 1000 out/input/last.safetensors >second
same 'it ends as with the file' first second
run "$gpt" train --resume out/halves --iters 6
tail -c 1000 out/halves/last.safetensors >second
same 'and as with its halves' first second
run "$gpt" train --resume out/input --iters 8
done_well 'and going on again'
refuses 1 'this is not the text that the run was trained on' "$gpt" train --resume out/whole --data half1 --iters 8
# Names that a checkpoint, whose texts have newlines between them and are UTF-8, cannot keep.
newline=$(printf 'new\nline') latin=$(printf 'latin\344')
for name in "$newline" "$latin"; do
  cp text "$name"
  run "$gpt" train ${tiny#--data text} --data "$name" --iters 4 --eval-every 2 --out "out/$name"
  run "$gpt" train --resume "out/$name" --iters 6
  done_well 'going on with a text whose name cannot be kept'
  tail -c 1000 "out/$name/last.safetensors" >second
  same 'it ends as with any other' first second
  run "$gpt" eval "out/$name"
  done_well 'eval: the same'
  rm "out/$name/tokens.bin"
  refuses 1 'its text: out/' "$gpt" train --resume "out/$name" --iters 9
  refuses 1 'was trained on a text that it does not name; name a text with --data' "$gpt" eval "out/$name"
  run "$gpt" train --resume "out/$name" --iters 9 --data "$name"
  done_well 'and with its name given again'
done
rm out/input/tokens.bin
refuses 1 'standard input: out/input/tokens.bin: the tokens of the text are not there' \
  "$gpt" train --resume out/input --iters 9
refuses 1 'nowhere: cannot be opened' "$gpt" train --data text --data nowhere
printf 'a%.0s' 1 2 3 4 5 6 7 8 9 0 >one
refuses 1 'one: 10 tokens are too few' "$gpt" train --data one
printf '%03000d' 0 >one
run "$gpt" train ${tiny#--data text} --data one --iters 3 --sample-tokens 5
check 'a text of one character' [ "$(tail -n 1 stdout)" = 00000 ]
check 'one is no plural' grep -q ' parameters, 1 distinct character; ' stderr

mkdir data
cp text data/verses.txt
run env SAMPO_DATA="$tmp/data" "$gpt" train --context 8 --batch 2 --iters 1 --layers 1 --heads 1 --width 4 --eval-batches 1
done_well 'training without --data'
check 'it says which text it reads' grep -q "^gpt: reading $tmp/data/verses.txt" stderr
}

# ---- Ctrl-C, closed pipes, full disks ---------------------------------------------------------------
# interrupt SIGNAL FILE COMMAND...: sends it to the command once FILE has contents, or has lost its .tmp. The command
# runs in the foreground, as the shell starts background commands with Ctrl-C ignored.
interrupt() {
  signal=$1 awaited=$2
  shift 2
  rm -f pid
  : >stdout
  (
    tries=0
    until { [ -s pid ] && { [ -s "$awaited" ] || [ -s "${awaited%.tmp}" ]; }; } || [ $tries -ge 500 ]; do sleep 0.02; tries=$((tries + 1)); done
    kill "-$signal" "$(cat pid)"
  ) &
  # shellcheck disable=SC2016 # for the inner shell to fill in
  run sh -c 'echo $$ >pid; exec "$@"' sh "$@"
  wait
}
if sh -c 'kill -s INT $$; :' 2>/dev/null; then
  skip 'Ctrl-C' 'this test itself was started with Ctrl-C ignored'
else
  # shellcheck disable=SC2086
  interrupt INT out/c/last.safetensors "$gpt" train $tiny --iters 100000000 --eval-every 100000000 --out out/c
  check 'Ctrl-C: exit status 130' [ "$status" -eq 130 ]
  check 'Ctrl-C: it says so' grep -q '^gpt: interrupted after [0-9]* iterations*; saved out/c/last.safetensors; to go on: .*gpt train --resume out/c$' stderr
  check 'Ctrl-C: no sample' [ "$(grep -vc '^Iter' stdout)" -eq 0 ]
  cp stderr said
  run "$gpt" sample out/c/last.safetensors --tokens 5
  done_well 'Ctrl-C: the saved checkpoint works'
  done=$(sed -n 's/.*interrupted after \([0-9]*\) .*/\1/p' said)
  check 'Ctrl-C: the log has each step' [ "$(tail -n +2 out/c/log.csv | wc -l)" -eq "$done" ]
  interrupt TERM stdout "$gpt" train --resume out/c
  check 'SIGTERM: exit status 143' [ "$status" -eq 143 ]
  check 'SIGTERM: it went on and saved' grep -q '; saved out/c/last.safetensors; to go on' stderr
  # shellcheck disable=SC2086
  interrupt INT stdout "$gpt" train $tiny --iters 100000000 --eval-every 100000000 --out none
  check 'Ctrl-C with --out none' grep -q 'iterations*; --out none keeps nothing$' stderr
  mkfifo endless
  exec 9<>endless
  mkdir out/here
  for folder in out/new/er out/here; do
    interrupt INT stderr "$gpt" train --data endless --out $folder
    check 'Ctrl-C before the first iteration: exit status 130' [ "$status" -eq 130 ]
    check 'Ctrl-C before the first iteration: it says so' grep -q '^gpt: interrupted before the first iteration; nothing was saved$' stderr
  done
  exec 9>&-
  awk 'BEGIN { for (i = 0; i < 400000; i++) print i * i * 7919 % 1000003, "sat on the mat" }' >much
  for file in tokens.bin.tmp tokens.bin; do # while the text is cut, and while it is counted
    interrupt INT out/new/er/$file "$gpt" train --data much --prior 8 --out out/new/er
    check "Ctrl-C after $file is there: it says so" \
      [ "$status$(grep -c '^gpt: interrupted before the first iteration; nothing was saved$' stderr)" = 1301 ]
    check "Ctrl-C after $file is there: no new folder stays" [ ! -e out/new ]
  done
  check 'Ctrl-C before the first iteration: no new folder stays' [ ! -e out/new ]
  check 'Ctrl-C before the first iteration: a folder that was there does' [ "$(ls -A out/here)$(ls -d out/here)" = out/here ]
fi
refuses 1 'gpt: nowhere: cannot be opened' "$gpt" train --data nowhere --out out/new/er
check 'without a text no new folder stays' [ ! -e out/new ]

model=out/a/last.safetensors
if [ -w /dev/full ]; then
  full() { # full COMMAND...: with stdout on a full disk
    name=$1
    shift
    "$@" >/dev/full 2>stderr </dev/null
    status=$?
    : >stdout
    check "a full disk: $name" [ "$status" -eq 1 -a "$(grep -c 'cannot write to standard output: No space left' stderr)" -eq 1 ]
    check "a full disk, one line: $name" [ "$(faults)" -eq 1 ]
  }
  # shellcheck disable=SC2086
  full train "$gpt" train $tiny --iters 2
  full sample "$gpt" sample $model
  full eval "$gpt" eval $model --data text
  full help "$gpt" train --help
  full info "$gpt" info $model
  full version "$bigram" --version
else
  skip 'a full disk' 'no /dev/full'
fi
"$gpt" sample $model --tokens 10 >&- 2>stderr
check 'a closed stdout is noticed' [ $? -eq 1 -a "$(wc -l <stderr)" -eq 1 ]
# shellcheck disable=SC2086
"$gpt" train $tiny --iters 1 --sample-tokens 0 --out out/closed >&- 2>stderr
run "$gpt" sample out/closed/last.safetensors --tokens 1
done_well 'a closed stdout does not damage the checkpoint'
{ "$gpt" sample $model --tokens 100000000 2>stderr; echo "$?" >status; } | head -c 1 >stdout
check 'a closed pipe ends it' [ "$(cat status)" -ne 0 ]
check 'a closed pipe ends it quietly' [ ! -s stderr ]

# ---- Sampling ---------------------------------------------------------------------------------------
run "$gpt" sample $model --prompt 'the cat' --tokens 50 --seed 3 --threads 1
done_well 'sample'
cp stdout first
check 'it begins with the prompt' [ "$(head -c 7 first)" = 'the cat' ]
check 'prompt, 50 characters, newline' [ "$(tr -d '\200-\277' <first | wc -c)" -eq 58 ]
run "$gpt" sample $model --prompt 'the cat' --tokens 50 --seed 3 --threads 2
cp stdout second
same 'the same seed, one and two threads: the same text' first second
run "$gpt" sample $model --prompt 'the cat' --tokens 50 --seed 4
cp stdout second
differ 'another seed, another text' first second
run "$gpt" sample $model --temperature 0 --seed 3
cp stdout first
run "$gpt" sample $model --temperature 0 --seed 4
cp stdout second
same 'at temperature 0 the seed does not matter' first second
run "$gpt" sample $model --temperature 1e-5 --seed 4
cp stdout second
same 'a small temperature comes to the same' first second
run "$gpt" sample $model --temperature 1000
done_well 'a high temperature'
run "$gpt" sample $model --prompt 'the cat sat on the mat, number 7' --tokens 3
done_well 'a prompt longer than the context'
run "$gpt" sample $model --prompt 'cat' --tokens 0
matches 'no tokens' 'cat'
run "$bigram" sample out/bigram/last.safetensors --prompt 'the' --tokens 20
done_well 'sample of the bigram'
run "$gpt" sample $model --temperature 0 --tokens 10000 --hop 5
cp stdout first
run "$gpt" sample $model --temperature 0 --tokens 10000 --hop 5 --no-cache
cp stdout second
same '10,000 tokens with the cache and without' first second
run "$gpt" sample $model --tokens 40 --samples 3 --top-k 5 --top-p 0.9 --min-p 0.01 --repetition-penalty 1.2
check 'three samples' [ "$(grep -c '^---$' stdout)" -eq 2 ]
cp stdout first
run "$gpt" sample $model --tokens 40 --top-k 5 --top-p 0.9 --min-p 0.01 --repetition-penalty 1.2
cp stdout second
check 'the first is what it would be alone' cmp -s -n "$(wc -c <second)" first second
full=$("$gpt" sample $model --temperature 0 --prompt 'the cat' --tokens 40 | tail -c +8)
cut=$("$gpt" sample $model --temperature 0 --prompt 'the cat' --tokens 40 --stop ' ' | tail -c +8)
check 'a stop text in what is written, not in the prompt' [ "$cut" = "${full%% *}" ]
printf 'the cat\n' >prompt
run "$gpt" sample $model --prompt 'the cat' --tokens 40
cp stdout first
run "$gpt" sample $model --prompt-file prompt --tokens 40
cp stdout second
same 'a prompt from a file, without its last newline' first second
"$gpt" sample $model --prompt - --tokens 40 <prompt >second
same 'a prompt from standard input' first second
run "$gpt" sample $model --prompt 'the cat' --tokens 40 --watch --pace 1000
cp stdout second
same 'a pace does not change the text' first second
{ cat prompt; echo 'a Zebra'; echo 'the'; } | "$gpt" sample $model --interactive --tokens 40 >second 2>stderr
check 'a line that cannot be continued is a failure at the end' [ $? -eq 1 ]
check 'line by line, the first as ever' cmp -s -n "$(wc -c <first)" first second
check 'and another text after it' [ "$(wc -l <second)" -ge 2 ]
check 'a line that cannot be continued is named' grep -q "the character 'Z'" stderr
refuses 1 'nowhere: cannot be opened: No such file' "$gpt" sample $model --prompt-file nowhere
printf 'a\0b' >nul
refuses 1 'nul: there is a NUL byte in it' "$gpt" sample $model --prompt-file nul
refuses 2 'only one of --prompt, --prompt-file and --interactive' "$gpt" sample $model --prompt a --interactive
refuses 2 '-1 is out of range: 0 to' "$gpt" sample $model --top-k -1
refuses 2 '0 is out of range: 1e-9 to 1' "$gpt" sample $model --top-p 0
refuses 2 '2 is out of range: 0 to 1' "$gpt" sample $model --min-p 2
refuses 2 '0 is out of range: 0.01 to 100' "$gpt" sample $model --repetition-penalty 0
refuses 2 '0 is out of range: 1 to' "$gpt" sample $model --repetition-window 0
refuses 2 '0 is out of range: 1 to' "$gpt" sample $model --samples 0
refuses 2 '0 is out of range: 1 to' "$gpt" sample $model --hop 0
refuses 2 '0 is out of range: 0.1 to' "$gpt" sample $model --pace 0
refuses 1 "the prompt: the character 'Z' U+005A in line 1, column 3 is not in the checkpoint's vocabulary" \
  "$gpt" sample $model --prompt 'a Zebra'
refuses 1 'the prompt: byte 2 is not valid UTF-8 (0xe4)' "$gpt" sample $model --prompt "$(b 'a\0344')"

# ---- Evaluation -------------------------------------------------------------------------------------
run "$gpt" eval $model --data text --threads 1
done_well 'eval'
characters=$(tr -d '\200-\277' <text | wc -c)
validation=$((characters - characters * 9 / 10))
matches 'eval: whole windows of the validation part' "loss [0-9]\.[0-9]\{6\} over $(((validation - 1) / 8 * 8)) tokens"
matches 'eval: bits per token' 'bits per token [0-9]\.[0-9]\{6\}'
matches 'eval: perplexity' 'perplexity [0-9]*\.[0-9]\{6\}'
matches 'eval: loss per character' 'loss per character [0-9]\.[0-9]\{6\} over [0-9]*'
matches 'eval: bits per byte' 'bits per byte [0-9]\.[0-9]\{6\} over [0-9]*'
check 'eval: five lines' [ "$(wc -l <stdout)" -eq 5 ]
check 'eval: they are one figure' awk '{ x[NR] = $(NR == 1 ? 2 : NR < 4 ? NF : 4); n[NR] = NR == 1 ? $4 : $6 }
  END { e = x[1] - x[2] * log(2); f = x[1] - log(x[3]); g = x[1] - x[4]; h = x[2] - x[5] * n[5] / n[1]
        exit !(e * e < 1e-11 && f * f < 1e-11 && g == 0 && n[1] == n[4] && h * h < 1e-11) }' stdout
cp stdout first
run "$gpt" eval $model --data text --threads 2
cp stdout second
same 'eval does not depend on threads' first second
run "$gpt" eval $model --data text --split train
matches 'eval --split train' "loss .* over $(((characters * 9 / 10 - 1) / 8 * 8)) tokens"
run "$gpt" eval $model --data text --split all
matches 'eval --split all' "loss .* over $(((characters - 1) / 8 * 8)) tokens"
run "$bigram" eval out/bigram/last.safetensors --data text
done_well 'eval of the bigram'
refuses 1 "zebra: the character 'Z' U+005A in line 61, column 1 is not in the checkpoint's vocabulary" \
  "$gpt" eval $model --data zebra
head -c 20 text >few
run "$gpt" eval $model --data few
matches 'eval: less than a window' 'loss .* over 1 token'

# ---- Checkpoints that cannot be used ------------------------------------------------------------------
refuses 1 'nowhere' "$gpt" sample nowhere
refuses 1 'folder' "$gpt" sample folder
refuses 1 'empty' "$gpt" eval empty --data text
refuses 1 'text' "$gpt" sample text
check 'which is said of no number in it' grep -qx 'gpt: text: not a safetensors file' stderr
refuses 1 "its architecture is 'bigram', not 'gpt'" "$gpt" sample out/bigram/last.safetensors
refuses 1 "its architecture is 'gpt', not 'bigram'" "$bigram" sample $model
size=$(wc -c <$model)
for part in 4 8 100 $((size / 2)) $((size - 1)); do
  head -c "$part" $model >broken
  refuses 1 broken "$gpt" sample broken
done
# Same length, other contents: the file itself stays well-formed.
damaged() { sed "s/$1/$2/" <$model >damaged; cmp -s $model damaged && verdict "$1 is in the file" 'it is not'; refuses 1 "$3" "$gpt" sample damaged; }
damaged '"n_embd":"8"' '"n_embd":"9"' 'a width of 9 cannot be divided among 2 heads'
damaged '"n_head":"2"' '"n_head":"x"' "n_head: 'x' is not a whole number"
damaged '"n_layer":"1"' '"n_layer":"0"' 'n_layer: 0 is out of range: 1 to 256'
damaged '"n_layer":"1"' '"n_layer":"9"' 'too few for the'
damaged '"n_layer"' '"n_lager"' "the metadata lack 'n_layer'"
damaged '"tokenizer":"char"' '"tokenizer":"chat"' "its tokenizer is 'chat', none of char, byte and bpe"
damaged '"wpe.weight"' '"wpx.weight"' 'wpe.weight'

# ---- Plots ------------------------------------------------------------------------------------------
# log NAME ROWS: a run's folder with a log; reports every 10 iterations.
log() {
  mkdir -p "$1"
  awk -v rows="$2" 'BEGIN {
    print "iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss"
    for (i = 0; i < rows; i++) {
      printf "%d,%.4f,0.01,1.5,100000,", i, 1 + 3 / (1 + i)
      if (i % 10 == 0) printf "%.4f,%.4f\n", 1 + 3 / (1 + i), 1.1 + 3 / (1 + i)
      else print ","
    }
  }' >"$1/log.csv"
}
log runs/a 95
log 'runs/<b>&' 40
run "$gpt" plot runs/a
done_well 'plot'
check 'plot: 80 columns without a terminal' [ "$(wc -L <stdout)" -le 80 ]
check 'plot: no colours, no bytes beyond ASCII' [ "$(LC_ALL=C tr -d '\n -~' <stdout | wc -c)" -eq 0 ]
matches 'plot: how far the run is' 'runs/a: iteration 94, loss 1.032, validation 1.133'
run env COLUMNS=33 "$bigram" plot runs/a 'runs/<b>&/'
check 'plot: as wide as $COLUMNS' [ "$(wc -L <stdout)" -eq 33 ]
check 'plot: marks for each run' grep -qx 'Bb runs/<b>&' stdout
run "$gpt" plot runs/a 'runs/<b>&' --svg a.svg --log x
check 'plot --svg says where' [ "$(cat stderr)" = 'gpt: wrote a.svg' ]
if command -v xmllint >/dev/null; then
  check 'the SVG is well-formed' xmllint --noout a.svg
else
  skip 'the SVG is well-formed' 'no xmllint'
fi
check 'the SVG needs nothing else' [ "$(grep -c -e 'href' -e 'url(' -e '@import' -e '<script' a.svg)" -eq 0 ]
check 'the SVG names the runs, escaped' grep -qF 'runs/&lt;b&gt;&amp;</text>' a.svg
# A small stack that may grow is made larger, and one that may not is refused, instead of a signal in the middle.
if emulated; then
  skip 'a small stack' 'an emulator has a stack of its own'
elif (ulimit -S -s 100 && ulimit -H -s 2048 && "$gpt" --version) >/dev/null 2>&1; then
  for command in "$gpt train $tiny --iters 2" "$gpt sample $model --tokens 9" "$bin/pinn --iters 1"; do
    (ulimit -S -s 100; exec $command) >stdout 2>stderr </dev/null
    check 'a stack of 100 KiB that may grow' [ $? -eq 0 ]
    (ulimit -s 100; exec $command) >stdout 2>stderr </dev/null
    check 'a stack of 100 KiB' [ $? -eq 1 ]
    check 'and why it is refused' grep -q '^[a-z]*: a stack of 100 KiB is too small; 1024 are needed' stderr
  done
else
  skip 'a small stack' 'ulimit -s does not work here'
fi
if ! emulated && (ulimit -v 40000 && "$gpt" --version) >/dev/null 2>&1; then
  log long 1000000
  (ulimit -v 40000; exec "$gpt" plot long) >stdout 2>stderr </dev/null
  check 'plot: a log of a million rows in 40 MB of memory' [ $? -eq 0 -a -s stdout ]
  rm -r long
else
  skip 'plot: a log larger than memory' 'the program does not start in 40 MB'
fi
refuses 2 'no folder is named' "$gpt" plot
refuses 1 'nowhere/log.csv: cannot be opened: No such file or directory' "$gpt" plot runs/a nowhere
refuses 1 'nowhere/a.svg: cannot be written: No such file or directory' "$gpt" plot runs/a --svg nowhere/a.svg
mkdir runs/directory runs/text runs/zero
mkdir runs/directory/log.csv
cp text runs/text/log.csv
refuses 1 'runs/directory/log.csv: cannot be read: Is a directory' "$gpt" plot runs/directory
refuses 1 "runs/text/log.csv: line 1 is not the header of a log: no column 'iteration'" "$gpt" plot runs/text
ln -s /dev/zero runs/zero/log.csv
refuses 1 'runs/zero/log.csv: line 1 is not a row of a log' "$gpt" plot runs/zero
if [ -w /dev/full ]; then
  full plot "$gpt" plot runs/a
  refuses 1 '/dev/full: cannot be written: No space left on device' "$gpt" plot runs/a --svg /dev/full
fi

# ---- What is in a file --------------------------------------------------------------------------------
# shellcheck disable=SC2086
run "$gpt" train $tiny --layers 3 --iters 1 --sample-tokens 0 --out out/three
run "$gpt" info out/three/last.safetensors
done_well 'info'
matches 'info: the size' "$(wc -c <out/three/last.safetensors | sed 's/\(.*\)\(...\)/\1,\2/') bytes"
matches 'info: tensors' '9,355 numbers in 40 tensors'
matches 'info: the configuration' '  width  *8'
matches 'info: training' '  iteration  *1'
check 'info: no options that were not given' [ "$(grep -c '^  patience' stdout)" -eq 0 ]
matches 'info: a tensor' '  wpe\.weight  *\[8, 8\]  *64'
matches 'info: tensors of layers' '  h\.N\.mlp\.c_fc\.weight     3 x \[8, 32\]    768'
check 'info: plain without a terminal' [ "$(LC_ALL=C tr -d '\n -~\200-\377' <stdout | wc -c)" -eq 0 ]
run "$bigram" info out/bigram/last.safetensors
matches 'info of the bigram' '  model       bigram'
refuses 1 'nowhere' "$gpt" info nowhere
refuses 1 'text' "$gpt" info text
refuses 2 'no file is named' "$gpt" info
# tensors JSON [DATA]: a file of tensors with this header.
tensors() { b "\\0$(printf %o ${#1})\\0000\\0000\\0000\\0000\\0000\\0000\\0000"; printf '%s%s' "$1" "${2-}"; }
tensors '{"__metadata__":{"a\u001b[31m":"b\n\u009bc"},"x\u001b]0;":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' 1234 >hostile
run "$gpt" info hostile
done_well 'info: names with control characters'
matches 'info: metadata do not reach the terminal as they are' '  a?\[31m  b??c'
matches 'info: nor do names' '  x?\]0;  \[2\] F16  2'
tensors '{}' >nothing
run "$gpt" info nothing
matches 'info: a file without tensors' '0 numbers in 0 tensors'
if has_terminal; then
  run script -qec "stty cols 40; TERM=xterm '$gpt' info $model" /dev/null
  tr -d '\r' <stdout | sed "s/$(b '\0033')\[[01]m//g" >narrow
  check 'info: fits 40 columns' [ "$(wc -L <narrow)" -le 40 ]
  check 'info: headings are bold on a terminal' grep -q "$(b '\0033')\[1mTensors$(b '\0033')\[0m" stdout
  run script -qec "stty cols 40; NO_COLOR=1 TERM=xterm '$gpt' info $model" /dev/null
  check 'info: NO_COLOR' [ "$(grep -c "$(b '\0033')" stdout)" -eq 0 ]
else
  skip 'info on a terminal' 'no script that could make one'
fi

# ---- A GPT-2 as published -----------------------------------------------------------------------------
published=$repo/tests/fixtures/gpt2
run "$gpt" sample "$published" --prompt 'Vaka vanha' --temperature 0 --tokens 12
matches 'the greedy text of a published GPT-2' 'Vaka vanha.*'
b "$(sed -n 's/.*"text":"\([^"]*\)".*/\1/p' "$published/expected.safetensors" | head -1)\n" >expected
cp stdout greedy
same 'it is that of transformers' greedy expected
run "$gpt" eval "$published/model.safetensors" --data text --split all
done_well 'eval of a published GPT-2'
run "$gpt" info "$published"
matches 'info of a published GPT-2' '  heads                3'
matches 'info: parameters, without masks' '[0-9,]* parameters'
# shellcheck disable=SC2086
run "$gpt" train --init "$published" --data text --iters 30 --batch 8 --lr 0.01 --eval-every 29 --eval-batches 4 --sample-tokens 0 --out out/tuned
check 'fine-tuning lowers the loss' awk '{ sub(",", "", $6); loss[NR] = $6 } END { exit !(loss[2] < 0.8 * loss[1]) }' stdout
run "$gpt" eval out/tuned/last.safetensors --data text
done_well 'a fine-tuned GPT-2 stands alone'
cp "$published/model.safetensors" alone.safetensors
refuses 1 'config.json with its n_head must lie beside it' "$gpt" sample alone.safetensors
refuses 1 'it was not written by Sampo, and is not a GPT-2: it has no table wte.weight' "$gpt" sample hostile
refuses 1 'folder: a folder without model.safetensors, best.safetensors or last.safetensors' "$gpt" sample folder

# ---- Reports ----------------------------------------------------------------------------------------
run "$gpt" report runs/a
check 'report: without a checkpoint it says so' \
  [ "$(cat stderr)" = "gpt: runs/a: no checkpoint, so the page shows no model
gpt: wrote runs/a/report.html" ]
check 'report: the page is there' grep -q '^</html>$' runs/a/report.html
cp $model runs/a/last.safetensors
printf '# iteration 0, 5 bytes\nthe c\n# iteration 10, 5 bytes\ncat s\n# iteration 20, 99 bytes\ncut' >runs/a/samples.txt
run "$gpt" report runs/a --html page.html
check 'report --html says where' [ "$(cat stderr)" = 'gpt: wrote page.html' ]
check 'report: the prompt is from the last whole sample' grep -q '^<p class="prompt">cat s</p>$' page.html
check 'report: a map a head' [ "$(grep -c '<svg class="heat' page.html)" -eq 2 ]
mv runs/a/last.safetensors runs/a/best.safetensors
echo broken >runs/a/last.safetensors
refuses 1 'runs/a/last.safetensors: truncated' "$gpt" report runs/a
cp out/bigram/last.safetensors runs/a/last.safetensors # which the GPT cannot use
run "$gpt" report runs/a --prompt 'the mat'
check 'report: the best checkpoint before the last' [ "$status" -eq 0 ]
cp out/bigram/last.safetensors 'runs/<b>&'
run "$bigram" report 'runs/<b>&'
check 'report: the table of a bigram' grep -q 'What follows what' 'runs/<b>&/report.html'
refuses 1 "its architecture is 'bigram', not 'gpt'" "$gpt" report 'runs/<b>&'
refuses 1 "the prompt: the character 'Z'" "$gpt" report runs/a --prompt Z
refuses 1 'nowhere/log.csv: cannot be opened: No such file or directory' "$gpt" report nowhere
refuses 1 'nowhere/page.html: cannot be written' "$gpt" report runs/a --html nowhere/page.html
[ ! -w /dev/full ] || refuses 1 '/dev/full: cannot be written: No space left on device' "$gpt" report runs/a --html /dev/full
rm runs/a/best.safetensors
refuses 1 'runs/a/last.safetensors' "$gpt" report runs/a
echo 'the cat' >runs/a/samples.txt
refuses 1 'runs/a/samples.txt: what follows sample 0 is not the head of a sample' "$gpt" report runs/a
refuses 2 'no folder is named' "$gpt" report

# ---- Against PyTorch ----------------------------------------------------------------------------------
torch=$shared/parity/kalevala-torch.safetensors
if [ -f "$torch" ] && [ -f "$shared/kalevala.txt" ] && [ -f "$shared/parity/expected.json" ]; then
  run "$gpt" eval "$torch" --data "$shared/kalevala.txt"
  check 'the validation loss of the PyTorch checkpoint, 1.46063750' \
    awk 'NR == 1 { d = $2 - 1.4606375; exit !($1 == "loss" && d * d < 4e-12 && $4 == 54528) }' stdout
  # The JSON has it on one line, with \n and \" and no other escapes.
  sed -n 's/.*"greedy_200": "\(.*\)".*/\1/p' "$shared/parity/expected.json" | sed 's/\\"/"/g' >escaped
  b "$(cat escaped)" >expected
  echo >>expected
  run "$gpt" sample "$torch" --prompt 'Vaka vanha' --temperature 0 --tokens 200
  cp stdout greedy
  same 'the 200 likeliest characters are those of PyTorch' greedy expected
else
  skip 'the PyTorch checkpoint' "not in $shared; set SAMPO_SHARED"
fi

finish
