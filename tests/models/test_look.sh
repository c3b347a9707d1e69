#!/bin/sh
# eval, info, plot and report as people use them: test_look.sh FOLDER, the one with gpt and bigram.
# shellcheck disable=SC2086,SC2012,SC2016 # options in a variable; names without blanks; awk programs
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

b() { printf '%b' "$1"; }
objects() { # objects NAME FILE...: every line of stdout is an object of JSON with the members
  fault=$(python3 - "$@" <<'END' 2>&1
import json, sys
for line in open("stdout"):
    found = json.loads(line)
    missing = [key for key in sys.argv[2:] if key not in found]
    if missing: print("no", missing, "in", line[:200])
END
  )
  verdict "$1" "$fault"
}
widest() { wc -L <stdout; }

n=0
while [ $n -lt 60 ]; do echo "number $n: the cat sat on the mat, and the dog did not"; n=$((n + 1)); done >text
printf 'and then, a mat.' >>text # the last window is a part of one
head -c 1000 text | tr abcdefghijklmnopqrstuvwxyz bcdefghijklmnopqrstuvwxyza >other
tiny="--context 8 --batch 4 --eval-batches 2 --layers 1 --heads 2 --width 8 --iters 4 --eval-every 2 --sample-tokens 20"
run "$gpt" train --data text $tiny --out a
run "$gpt" train --data other $tiny --out other_run
run "$gpt" train --data text $tiny --tokenizer byte --out bytes

# ---- eval: which text -----------------------------------------------------------------------------------
characters=$(wc -c <text)
validation=$((characters - characters * 9 / 10))
check 'the text ends within a window' [ $(((validation - 1) % 8)) -ne 0 ]
whole="loss [0-9.]* over $(((validation - 1) / 8 * 8)) tokens"
run "$gpt" eval a
matches 'eval: a run on its own text and split' "$whole"
cp stdout own
run "$gpt" eval a --data text
same 'eval: the same as when it is named' own stdout
for file in best last; do
  run "$gpt" eval a/$file.safetensors
  matches "eval: $file.safetensors knows its text" "$whole"
done
mkdir elsewhere
cp a/best.safetensors elsewhere/
run "$gpt" eval elsewhere
matches 'eval: without the tokens it reads the text again' "$whole"
run sh -c "cd elsewhere && exec $gpt eval ../a"
matches 'eval: from another folder' "$whole"
run "$gpt" eval other_run
check 'eval: of a run on another text' [ "$status" -eq 0 ]
mv other kept
run "$gpt" eval other_run
check 'eval: its tokens are enough' [ "$status" -eq 0 ]
rm other_run/tokens.bin
refuses 1 'was trained on other, which cannot be read: No such file or directory; name a text with --data' "$gpt" eval other_run
tail -c 995 kept >other
refuses 1 'other is no longer the text that other_run/' "$gpt" eval other_run
run sh -c "$gpt train $tiny --data - --out piped <text"
run "$gpt" eval piped
matches 'eval: a run on standard input' "$whole"
rm piped/tokens.bin
refuses 1 'was trained on standard input, which is gone; name a text with --data' "$gpt" eval piped
run "$gpt" train --init a --data text $tiny --out tuned
cmp -s tuned/best.safetensors a/best.safetensors && verdict 'best.safetensors' 'the same'
for key in train.data train.batch train.seed train.text_hash; do
  check "best.safetensors has $key" grep -q "\"$key\":\"[^\"]" a/best.safetensors
done

sharded=$shared/cases/programs/published/sharded
if [ -d "$sharded" ]; then
  run env SAMPO_DATA="$repo/models/data" "$gpt" eval "$sharded"
  check 'eval: a published model in several files, on the default text' grep -q '^gpt: reading .*--data FILE names another text$' stderr
  done_well 'eval: and it has a loss'
else
  skip 'eval of a published model in several files' "no $sharded"
fi

# ---- eval: how much of it -------------------------------------------------------------------------------
printf cat >three
run "$gpt" eval a --data three --split all
matches 'eval: a text shorter than the context' 'loss [0-9.]* over 2 tokens'
cp stdout short
run "$gpt" eval a --data three --split all --all-tokens
same 'eval: --all-tokens changes nothing there' short stdout
run "$gpt" eval a --all-tokens
matches 'eval --all-tokens: the last partial window too' "loss [0-9.]* over $((validation - 1)) tokens"
printf c >one
refuses 1 'one: this part of the text has 1 token; a loss needs 2 at least' "$gpt" eval a --data one --split all

# ---- eval: several, JSON, widths ------------------------------------------------------------------------
run "$gpt" eval a bytes a/best.safetensors
check 'eval: a line for each of several checkpoints' [ "$(wc -l <stdout)" -eq 4 ]
check 'eval: the loss is the same alone' grep -q "$(sed -n 's/^loss \([0-9.]*\) .*/\1/p' own).* a\$" stdout
for columns in 40 60 80; do
  run env COLUMNS=$columns "$gpt" eval a bytes ./a/../a/best.safetensors
  check "eval: $columns columns" [ "$status" -eq 0 -a "$(widest)" -le $columns ]
  check "eval: $columns columns, the names" grep -q ' a$' stdout
  run env COLUMNS=$columns "$gpt" eval a
  check "eval: $columns columns, one" [ "$(widest)" -le $columns ]
done
mkdir -p long/er/than/any/terminal/of/forty/columns
cp -r a bytes long/er/than/any/terminal/of/forty/columns/
run env COLUMNS=40 "$gpt" eval long/er/than/any/terminal/of/forty/columns/*
check 'eval: of a long name the end is shown' grep -q ' \.\.\..*columns/bytes$' stdout
run "$gpt" eval a bytes --json
objects 'eval --json: an object a line' checkpoint text split tokens loss perplexity bits_per_byte loss_per_character
check 'eval --json: two of them' [ "$(wc -l <stdout)" -eq 2 ]
cp -r a "$(b 'q"\0033\0377')"
run "$gpt" eval "$(b 'q"\0033\0377')" --json
objects 'eval --json: any name' checkpoint loss
refuses 2 'data - can be read once, for one checkpoint' "$gpt" eval a bytes --data -
refuses 1 'nowhere' "$gpt" eval a nowhere

# ---- info -----------------------------------------------------------------------------------------------
run "$gpt" info a
for word in model context vocab-size layers heads width qkv-bias attention-scale batch lr 'best validation loss' 'tokens of the text'; do
  check "info: '$word', as the option is called" grep -q "^  $word  " stdout
done
check 'info: no other names for them' [ "$(grep -c 'n_layer\|n_embd\|n_head\|context_length\|vocab_size\|best_loss' stdout)" -eq 0 ]
matches 'info: yes and no, as options have them' '  qkv-bias  *no'
check 'info: one vocab-size' [ "$(grep -c '^  vocab-size' stdout)" -eq 1 ]
matches 'info: large numbers in groups' "  tokens of the text .* $(echo $characters | sed 's/\(.*\)\(...\)/\1,\2/')"
check 'info: the best loss is rounded' grep -q '^  best validation loss  [0-9]\.[0-9]\{1,3\}$' stdout
refuses 1 text "$gpt" info a text
run "$gpt" info a bytes other_run
check 'info: a line for each of several files' [ "$status" -eq 0 -a "$(wc -l <stdout)" -eq 4 ]
for columns in 40 60 80; do
  run env COLUMNS=$columns "$gpt" info a bytes ./a/../a
  check "info: $columns columns" [ "$status" -eq 0 -a "$(widest)" -le $columns ]
done
run "$gpt" info a a/last.safetensors --json
objects 'info --json: an object a line' file bytes parameters metadata tensors
check 'info --json: keys as in the file' grep -q '"n_layer": "1"' stdout
run "$bigram" info a --json
objects 'info --json: of a file that the program cannot use' file fault metadata tensors

# ---- plot -----------------------------------------------------------------------------------------------
log() { # log NAME AWK: a run whose loss at iteration i is the expression; reports every 10
  mkdir -p "$1"
  awk 'BEGIN { print "iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss"
    for (i = 0; i < 95; i++) { l = '"$2"'; printf "%d,%.4f,0.01,1.5,2000,%s\n", i, l, i % 10 == 4 ? l + 0.02 "," l + 0.1 : "," } }' >"$1/log.csv"
}
log r1 '1 + 3 * exp(-i / 20)'
i=2
while [ $i -le 30 ]; do log r$i "1 + $i / 30 + 3 * exp(-i / 20)"; i=$((i + 1)); done
run "$gpt" plot r?
done_well 'plot of 9 runs'
run "$gpt" plot r* --svg many.svg
done_well 'plot of 30 runs'
check 'plot of 30 runs: all are in the legend' [ "$(grep -c 'class="legend"' many.svg)" -eq 30 ]
check 'plot of 30 runs: and below the chart' [ "$(grep -c '^r[0-9]*: iteration 94' stdout)" -eq 30 ]
check 'plot of 30 runs: dashes where colours end' grep -q 'class="line c0 d3"' many.svg
log gone 'i < 50 ? 1 + 3 * exp(-i / 20) : 69136'
run "$gpt" plot r1 gone --svg gone.svg
matches 'plot: divergence is cut off, and it says so' 'cut off above [0-9.]*: values up to 69.1k'
check 'plot: and does not flatten the rest' [ "$(sed -n 's/^ *\([0-9][0-9.]*\) +.*/\1/p' stdout | sort -g | tail -n 1)" -le 10 ]
check 'plot --svg says it too' grep -q 'cut off above [0-9.]*: values up to 69.1k</text>' gone.svg
run "$gpt" plot r1 gone --y ..70000
check 'plot --y shows it' grep -q '^ *[67]0k +' stdout
run "$gpt" plot r1 gone --log y
check 'plot --log y shows it' [ "$status" -eq 0 -a "$(grep -c 'cut off' stdout)" -eq 0 ]
run "$gpt" plot r1 --x 50..60 --y 1.1..1.4 --svg zoom.svg
done_well 'plot: a part'
check 'plot --x: ticks from one end to the other' [ "$(tail -n 5 stdout | grep -c '50 .*60$')" -eq 1 ]
check 'plot --y: ticks within it' [ "$(sed -n 's/^ *\([0-9][0-9.]*\) +.*/\1/p' stdout | sort -g | head -n 1)" = 1.1 ]
matches 'plot --x: the summary is of the whole run' 'r1: iteration 94, loss 1.027, validation 1.127'
run "$gpt" plot r1 --x 90..
done_well 'plot --x 90..'
refuses 1 'no run has a loss in the iterations 1000..' "$gpt" plot r1 --x 1000..
refuses 2 "'5' is not a range; write 100..5000, 100.. or ..5000" "$gpt" plot r1 --x 5
for range in .. x..y 5..x 1...2 1..2..3 ''; do refuses 2 "'$range' is not a range" "$gpt" plot r1 --y "$range"; done
refuses 2 "'7..5' ends before it begins" "$gpt" plot r1 --x 7..5
for columns in 40 60 80; do
  run env COLUMNS=$columns "$gpt" plot r1 r2 gone
  check "plot: $columns columns" [ "$status" -eq 0 -a "$(widest)" -le $columns ]
  check "plot: $columns columns, nothing of the summary is cut" [ "$(grep -c 'validation 1.127' stdout)" -eq 1 ]
done

# A run of one row: of a model that is only counted, or after one iteration. A point is no curve.
mkdir once
head -n 2 r1/log.csv >once/log.csv
run "$gpt" plot once
check 'plot: of one row a line, and no chart' [ "$status" -eq 0 -a "$(wc -l <stdout)" -eq 1 ]
check 'plot: it says why' grep -q '^once: iteration 0, .*, measured once: no curve$' stdout
run "$gpt" plot once r1
check 'plot: beside another run there is a chart' [ "$(wc -l <stdout)" -gt 10 ]
run "$gpt" report once
check 'report: of one row without charts' [ "$status" -eq 0 -a "$(grep -c '<figure' once/report.html)" -eq 0 ]

units() { # units NAME CHARACTERS: the same with columns per character and byte; so many characters a token
  log "$1" '1 + 3 * exp(-i / 20)'
  awk -F , -v OFS=, -v n="$2" 'NR == 1 { print $0, "seconds", "train_loss_per_character", "validation_loss_per_character", "train_bits_per_byte", "validation_bits_per_byte"; next }
    { print $0, NR * 2, $6 ? $6 / n : "", $7 ? $7 / n : "", $6 ? $6 / n / log(2) : "", $7 ? $7 / n / log(2) : "" }' "$1/log.csv" >units.csv
  mv units.csv "$1/log.csv"
}
units u1 1
units u4 4
run "$gpt" plot u1 u4
matches 'plot: runs with different tokens per character' 'Loss, nats per character; lines: .*'
matches 'plot: the summary too' 'u4: iteration 94, loss 0.257, validation 0.282'
run "$gpt" plot u1 u4 --per token
matches 'plot --per token' 'u4: iteration 94, loss 1.027, validation 1.127'
run "$gpt" plot u4 --per byte
matches 'plot --per byte' 'Loss, bits per byte'
refuses 1 'a log has no losses per byte' "$gpt" plot u1 r1 --per byte
run "$gpt" plot u1 r1
matches 'plot: per token where a log knows no better' 'Loss, nats per token; lines: .*'
run "$gpt" report u4
check 'report: losses of other units, perplexity, duration' [ "$(tr -d '\n' <u4/report.html | grep -o '<div><b>[^<]*</b><span>[^<]*' |
  grep -c '>3.087</b><span>validation perplexity\|>0.282</b><span>validation loss per char\|>0.407</b><span>validation bits per byte\|>3 min 12 s</b><span>of training')" -eq 4 ]

# ---- report reads what is there and no more -------------------------------------------------------------
if alone && command -v valgrind >/dev/null; then
  run env SAMPO_ISA=baseline valgrind -q --error-exitcode=9 "$gpt" report a
  check 'report: under valgrind' [ "$status" -eq 0 ]
else
  skip 'report under valgrind' 'no valgrind, a build with sanitizers, or an emulator'
fi
run "$gpt" train --data text $tiny --sample-tokens 0 --out silent
run "$gpt" report silent
check 'report: without samples it looks at the text of the run' grep -qF "<p class=\"prompt\">$(tail -c +$((characters * 9 / 10 + 1)) text | sed 's/^ *//;q' | cut -c 1-20)" silent/report.html
refuses 2 'a page about several runs needs a name: --html FILE' "$gpt" report a bytes
mkdir torn
cp a/log.csv torn/
b 'started \0033[31mnow\r\ncommand gpt <b>\r\nprocessor' >torn/run.txt
run "$gpt" report torn
check 'report: any run.txt' grep -q '^<p class="command">gpt &lt;b&gt;</p>$' torn/report.html
check 'report: nothing in it controls a terminal' [ "$(grep -c "$(b '\0033')" torn/report.html)" -eq 0 ]
rm torn/run.txt
mkdir torn/run.txt
refuses 1 'torn/run.txt: cannot be read: Is a directory' "$gpt" report torn

# ---- run.txt: how a run was made ------------------------------------------------------------------------
check 'run.txt: a paragraph a start' [ "$(grep -c '^started 20[0-9-]* [0-9:]* UTC$' a/run.txt)" -eq 1 ]
check 'run.txt: the command line' grep -qx "command gpt train --data text $tiny --out a" a/run.txt
check 'run.txt: the machine' [ "$(grep -c '^processor .\|^threads [0-9]\|^instructions [a-z]' a/run.txt)" -eq 3 ]
cp text "it's $(b 'a\nb')"
run "$gpt" train --data "it's $(b 'a\nb')" $tiny --out quoted
check 'run.txt: words are quoted' grep -qF "train --data 'it'\''s a?b' --context" quoted/run.txt
cp -r bytes twice
run "$gpt" train --resume twice --iters 6
check 'run.txt: a second start' [ "$(grep -c '^command ' twice/run.txt)" -eq 2 ]
run "$gpt" train --data text $tiny --out twice --force
check 'run.txt: begins anew with --force' [ "$(grep -c '^command ' twice/run.txt)" -eq 1 ]

# ---- Control characters ---------------------------------------------------------------------------------
n=0
while [ $n -lt 200 ]; do b 'ab\0033[31m\0302\0233c\0007\n'; n=$((n + 1)); done >controls
run "$gpt" train --data controls $tiny --out controls_run
run "$gpt" sample controls_run --tokens 300
check 'sample: in a file everything is as it was written' grep -q "$(b '\0033')" stdout
if has_terminal; then
  run script -qec "TERM=dumb $gpt sample controls_run --tokens 300" /dev/null
  check 'sample: a terminal gets no control characters' [ "$(tr -d '\r\n' <stdout | LC_ALL=C grep -c "$(b '[\0001-\0010\0033]')")" -eq 0 ]
  check 'sample: nor those of two bytes' [ "$(LC_ALL=C grep -c "$(b '\0302\0233')" stdout)" -eq 0 ]
  run script -qec "TERM=vt100 NO_COLOR=1 $gpt train --data controls $tiny --sample-tokens 300 --out controls_again" /dev/null
  check 'train: samples on a terminal neither' [ "$(LC_ALL=C grep -c "$(b '\0302\0233')\|$(b '\0033')\[31m" stdout)" -eq 0 ]
  run script -qec "TERM=dumb $gpt sample controls_run --tokens 300" /dev/null
  check 'sample: they are visible' grep -q "$(b '\0357\0277\0275')" stdout
else
  skip 'sample on a terminal' 'no script that could make one'
fi
refuses 1 'b?[31m?c' "$gpt" eval "$(b 'b\0033[31m\0302\0233c')"
check 'a line of fault has no control characters' [ "$(LC_ALL=C grep -c "$(b '\0302\0233')" stderr)" -eq 0 ]

finish
