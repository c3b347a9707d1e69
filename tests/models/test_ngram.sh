#!/bin/sh
# Counted n-grams, as a model and as the prior of a GPT: test_ngram.sh FOLDER, the one with the programs.
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"
ngram=$bin/ngram

n=0
while [ $n -lt 300 ]; do
  echo "number $((n * n % 97)): the cat sat on mat $((n % 7)), and dog $((n * 5 % 11)) did not"
  n=$((n + 1))
done >text
tr abcdefghijklmnopqrstuvwxyz bcdefghijklmnopqrstuvwxyza <text >other
loss_of() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' stdout; }
alone() { sed -n 's/^loss of the counts alone \([0-9.]*\)$/\1/p' stdout; }
less() { awk "BEGIN { exit !($1 + $3 < $2) }"; } # less A B BY

# ---- The model ----------------------------------------------------------------------------------------
run "$ngram" train --data text --order 4 --sample-tokens 40 --out counted
done_well 'counting a text'
matches 'its losses' 'Iter 0 - Train loss: [0-9.]*, Validation loss: [0-9.]*'
check 'it says what was counted' grep -q '^ngram: [0-9]* counted sequences of up to 4 tokens and the next one$' stderr
check 'and nothing of iterations, rates or weights' [ "$(grep -c -e iteration -e '--lr' -e weights stderr)" -eq 0 ]
reported=$(sed -n 's/.*Validation loss: //p' stdout)
run "$ngram" eval counted
check 'its report looked at all of the validation text' [ "$(loss_of | xargs printf %.3f)" = "$reported" ]
run "$ngram" train --data text --order 4 --sample-tokens 40 --out again --threads 3
same 'any number of threads gives the same file' counted/last.safetensors again/last.safetensors
run "$gpt" train --data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --iters 4 --sample-tokens 0 --out over
run "$ngram" train --data text --order 4 --sample-tokens 0 --out over --force
run "$ngram" eval over
done_well 'over the run of another program, nothing of which remains'
refuses 2 '--order 0 is out of range: 1 to ' "$ngram" train --data text --order 0
refuses 2 'unknown option --iters' "$ngram" train --data text --iters 5
refuses 2 'unknown option --lr' "$ngram" train --data text --lr 1
refuses 2 'unknown option --resume' "$ngram" train --resume counted
run "$ngram" eval counted
done_well 'eval'
validation=$(loss_of)
run "$ngram" train --data text --order 1 --sample-tokens 0 --out short
run "$ngram" eval short
check 'longer contexts predict better' less "$validation" "$(loss_of)" 0.2
run "$ngram" eval counted --split train
train=$(loss_of)
cat text other >both
run "$ngram" eval counted --split train --data text
check 'its own text is known by what is in it' [ "$(loss_of)" = "$train" ]
run "$ngram" eval counted --split all
check 'all of it' less 0 "$(loss_of)" 0
head -c 9000 text >part # of what was counted, but another text: each place counts with itself
run "$ngram" eval counted --data part --split all
check 'where a place is counted with itself the loss is lower' less "$(loss_of)" "$train" 0.002
run "$ngram" sample counted --tokens 60 --prompt 'the cat'
done_well 'sample'
run "$ngram" sample counted --tokens 200 --temperature 0 --no-cache
cp stdout plain
run "$ngram" sample counted --tokens 200 --temperature 0
same 'the cache changes nothing' stdout plain
run "$ngram" info counted
matches 'info: what was counted' '[0-9,]* counted sequences in [0-9,]* bytes'
check 'info: no list of lists' [ "$(grep -c 'counts\.' stdout)" -eq 0 ]
run "$ngram" report counted
check 'report' [ "$status" -eq 0 -a -s counted/report.html ]
run "$ngram" plot counted
check 'plot: one line, as there is no curve' [ "$status" -eq 0 -a "$(wc -l <stdout)" -eq 1 ]
for command in sample eval report; do
  refuses 1 "its architecture is 'ngram', not 'gpt'; the program ngram reads it" "$gpt" $command counted
done
refuses 1 'no other program knows the model of ngram' "$ngram" export counted x
run "$ngram" train --data text --tokenizer bpe --vocab-size 300 --order 3 --sample-tokens 20 --out pairs
done_well 'byte pairs'
for length in 1 2 40; do
  head -c $length text >tiny
  run "$ngram" train --data tiny --order 24 --context 1 --sample-tokens 5 --out tiny$length
  check "a text of $length: counted, or one line" \
    [ "$status" -eq 0 -o "$status" -eq 1 -a "$(faults)" -eq 1 ]
done

# ---- Files from anywhere -----------------------------------------------------------------------------------
size=$(wc -c <counted/last.safetensors)
head -c $((size - 7)) counted/last.safetensors >cut_off
refuses 1 "cut_off" "$ngram" sample cut_off
sed 's/"order":"4"/"order":"3"/' counted/last.safetensors >fewer
run "$ngram" eval fewer --data text
check 'fewer orders than the file has are read as they are' [ "$status" -eq 0 -o "$(faults)" -eq 1 ]
sed 's/"order":"4"/"order":"9"/' counted/last.safetensors >longer
refuses 1 'counts' "$ngram" eval longer --data text
sed 's/counts\.2\.next/counts.2.nexx/' counted/last.safetensors >renamed
refuses 1 'counts.2.next' "$ngram" eval renamed --data text

# ---- The prior of a GPT -------------------------------------------------------------------------------------
tiny="--context 16 --batch 8 --layers 1 --heads 2 --width 8 --eval-batches 4 --eval-every 20 --sample-tokens 0 --final-norm yes"
# shellcheck disable=SC2086
run "$gpt" train --data text $tiny --eval-batches 0 --iters 7 --eval-every 6 --out all
reported=$(sed -n 's/.*Validation loss: //p' stdout | tail -n 1)
run "$gpt" eval all
check 'so does a GPT that is told to' [ "$(loss_of | xargs printf %.3f)" = "$reported" ]
# shellcheck disable=SC2086
run "$gpt" train --data text $tiny --iters 60 --prior 1 --value-rows 500 --gram-rows 100 --out prior
done_well 'a GPT with a prior'
matches 'beside each loss that of the counts' 'Iter 59 - Train loss: .*, Validation loss: .* (counts alone: [0-9.]*)'
run "$gpt" eval prior
check 'it is better than its counts' less "$(loss_of)" "$(alone)" 0.005
run "$gpt" eval prior --json
matches 'in JSON, too' '.*"loss_of_counts": [0-9.]*.*'
run "$gpt" info prior
matches 'info says so' '  prior  *1'
matches 'info knows the loss of the counts' '  validation loss of the counts alone  [0-9.]*'
run "$gpt" report prior
check 'the page, too' grep -q 'what is counted alone' prior/report.html
refuses 1 'no other program knows a counted prior' "$gpt" export prior y
# shellcheck disable=SC2086
run "$gpt" train --data text $tiny --eval-batches 0 --iters 4 --lr 1 --prior 4 --out ruined
check 'what was counted is kept where training ruins it' [ "$(grep -c 'was at iteration 0$' stderr)" -eq 1 -a -s ruined/best.safetensors ]
run "$gpt" eval ruined
check 'and it is what is used' less "$(loss_of)" "$(alone)" -0.05
# shellcheck disable=SC2086
run "$gpt" train --data text $tiny --time 1s --out timed
check 'the last report of a timed run is in its log' [ -n "$(tail -n 1 timed/log.csv | cut -d , -f 7)" ]
run "$gpt" quantize prior --to int8 --out small.safetensors
run "$gpt" eval small.safetensors --data text
check 'with rounded weights' less 0 "$(loss_of)" 0
# shellcheck disable=SC2086
run "$gpt" train --data other --init prior $tiny --iters 3 --out moved
check 'on another text: a word of what it has not' [ "$status" -eq 0 -o "$(faults)" -eq 1 ]
grep -v '^number .[02468]' text >fewer
# shellcheck disable=SC2086
run "$gpt" train --data fewer --init prior --iters 3 --eval-batches 2 --sample-tokens 0 --out moved --force
done_well '--init counts the new text'
check 'which has other counts' \
  [ "$("$gpt" info moved | grep counted.sequences)" != "$("$gpt" info prior | grep counted.sequences)" ]
for tables in '--prior 4' '--value-rows 500 --gram-rows 100'; do
  for threads in 1 2 3; do
    # shellcheck disable=SC2086
    run "$gpt" train --data text $tiny $tables --iters 10 --dropout 0.1 --threads $threads --out "threads$threads" --force
  done
  same "$tables: the same bits with any threads" threads1/last.safetensors threads2/last.safetensors
  same "$tables: and with three" threads1/last.safetensors threads3/last.safetensors
done

finish
