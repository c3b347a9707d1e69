#!/bin/sh
# The first run of somebody new: where it goes, what it says before, in between and at its end, and what it refuses.
# test_firstrun.sh FOLDER, the one with gpt and bigram.
# shellcheck disable=SC2016 # awk programs
# shellcheck disable=SC2012 # the names are ours
# shellcheck disable=SC2086 # $tiny is a list of words
# shellcheck disable=SC3045,SC2012 # ulimit -v is tried first; names are ours
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

i=0
while [ $i -lt 300 ]; do echo "the cat sat on the mat, number $i: it was $((i * 37 % 100)) or more"; i=$((i + 1)); done >text
tiny="--data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 2"
says() { if grep -q -e "$2" stderr; then verdict "$1" ''; else verdict "$1" "stderr does not say '$2'"; fi; }
once() { check "$1, once" [ "$(grep -c -e "$2" stderr)" -eq 1 ]; }
never() { check "not: $1" [ "$(grep -c -e "$2" stderr)" -eq 0 ]; }

# ---- A folder for every run -----------------------------------------------------------------------
run "$gpt" train $tiny --iters 20 --eval-every 5 --sample-tokens 20
done_well 'a run that names no folder'
cp stdout first
check 'its files' [ "$(ls -A runs/gpt-1 | tr '\n' ' ')" = 'best.safetensors last.safetensors log.csv run.txt samples.txt tokens.bin ' ]
says 'where they are' 'the run is kept in runs/gpt-1$'
says 'what was reached' '; the best validation loss, [0-9.]*, was at iteration [0-9]*$'
says 'the saved weights' 'saved runs/gpt-1/last.safetensors, and the best weights in runs/gpt-1/best.safetensors$'
next=$(sed -n 's/^gpt: to write with it: //p' stderr)
says 'which weights have written' 'written with the best weights, those of iteration [0-9]*$'
check 'a line to type next' [ -n "$next" ]
run sh -c "$next"
done_well 'which works'
run "$gpt" train $tiny --iters 2
says 'the next run has the next folder' 'the run is kept in runs/gpt-2$'
run "$bigram" train --data text --iters 2
says 'each program has its own' 'the run is kept in runs/bigram-1$'
touch -t 200001010000 runs/gpt-1/last.safetensors runs/bigram-1/last.safetensors
refuses 1 'runs: a folder of runs; name one of them, such as runs/gpt-2' "$gpt" sample runs
refuses 1 'runs: a folder of runs; name one of them, such as runs/gpt-2' "$gpt" report runs
refuses 1 'runs/: a folder of runs; name one of them, such as runs/gpt-2' "$gpt" train --resume runs/
cp runs/gpt-1/last.safetensors runs/.. # is no run in it
refuses 1 'runs: a folder of runs; name one of them, such as runs/gpt-2' "$gpt" eval runs
rm last.safetensors
for _ in 1 2 3 4; do "$gpt" train $tiny --iters 2 >/dev/null 2>&1 </dev/null & done
wait
check 'runs at once share none' [ "$(ls -d runs/gpt-[3-6]/last.safetensors | wc -l)" -eq 4 ]
# What srun without --mpi does: the processes do not know of each other.
run env SLURM_STEP_NUM_TASKS=4 "$bigram" train --data text --iters 2 --batch 2 --eval-batches 1 --out none
says 'processes that do not know of each other' '^bigram: 4 processes were started together, but each works by itself: '
run env SLURM_STEP_NUM_TASKS=1 "$bigram" train --data text --iters 2 --batch 2 --eval-batches 1 --out none
never 'a warning of one process' 'by itself'
mkdir elsewhere
run sh -c "cd elsewhere && exec $gpt train --data ../text --iters 2 --batch 2 --eval-batches 1 --out none"
done_well '--out none'
check 'keeps nothing' [ -z "$(ls -A elsewhere)" ]
says 'and says so' 'nothing is kept$'
echo 'too short' >short
run sh -c "cd elsewhere && exec $gpt train --data ../short"
check 'a run that does not begin leaves no folder' [ "$status" -eq 1 -a -z "$(ls -A elsewhere)" ]
echo >elsewhere/runs
run sh -c "cd elsewhere && exec $gpt train --data ../text --iters 2"
check 'a place without room for a folder' [ "$status" -eq 1 ]
says 'which it says' 'no folder for the run can be made in ./runs: Not a directory; name one with --out, or keep nothing with --out none$'
rm elsewhere/runs
run env SAMPO_PROGRAM=./sampo "$gpt" train $tiny --iters 2
says 'the script names itself' 'to write with it: ./sampo sample runs/gpt-7 '

# ---- The best weights write -------------------------------------------------------------------------
head -c 400 text >little
run "$gpt" train ${tiny#--data text} --data little --iters 900 --eval-every 100 --lr 0.03 --eval-batches 20 --sample-tokens 30 --out over
best=$(sed -n 's/.*was at iteration //p' stderr)
check 'the best is not the last' [ "$best" -lt 800 ]
once 'overfitting' "warning: it begins to learn the text by heart: since iteration $best the validation loss has been rising"
sed '1,/^$/d' stdout >written
run "$gpt" sample over/best.safetensors --tokens 30 --seed 1
same 'the best weights wrote the sample' written stdout
run "$gpt" train ${tiny#--data text} --data little --iters 900 --eval-every 100 --lr 0.03 --eval-batches 20 --sample-tokens 30 --out none
sed '1,/^$/d' stdout >second
same 'also where nothing is kept' written second

# ---- The plan ---------------------------------------------------------------------------------------
run "$gpt" train --data text --dry-run
check 'a short text gets fewer iterations, in some 42 passes' awk '/^iterations/ { exit !($2 < 5000 && $3 >= 42 && $3 <= 43) }' stdout
matches '--dry-run says how much memory' 'memory      about [0-9]* MB: [0-9]* MB for weights, gradients and optimizer, [0-9]* MB for a batch'
matches 'and how long' 'time        roughly [0-9].*'
check 'and keeps nothing' [ ! -e runs/gpt-8 ]
check '--dry-run says nothing of what fits' [ "$(grep -c 'too little' stdout)" -eq 0 ]
if grep -q '^free ' stdout; then
  run "$gpt" train --data text --dry-run --layers 64 --width 65536
  matches '--dry-run says that training would not begin' 'free  *[0-9]* [MG]B, which is too little: it would not begin without --force'
  run "$gpt" train --data text --dry-run --layers 64 --width 65536 --force
  matches '--dry-run says that --force begins' 'free  *[0-9]* [MG]B, which is too little: it begins all the same, by --force'
fi
run "$gpt" train $tiny --iters 777 --dry-run
matches '--iters counts' 'iterations  777, .* passes over the text'
run "$gpt" train $tiny --dry-run --resume runs/gpt-1
done_well '--dry-run of a run to go on with'
if [ -f "$shared/kalevala.txt" ]; then
  run "$gpt" train --data "$shared/kalevala.txt" --dry-run
  matches 'the Kalevala keeps its iterations' 'iterations  5000, 42 passes over the text'
else
  skip 'the Kalevala keeps its iterations' "$shared/kalevala.txt is not there"
fi
head -c 3000 text >text3000
run "$gpt" train ${tiny#--data text} --data text3000 --lr 0.01
says 'it says why they are few' ' iterations, 42 passes over the text; more would learn it by heart$'
check 'reports at every tenth of them' [ "$(grep -c '^Iter' stdout)" -ge 6 -a "$(grep -c '^Iter' stdout)" -le 12 ]

# ---- Time -------------------------------------------------------------------------------------------
begun=$(date +%s)
run "$gpt" train $tiny --time 3s --out timed
took=$(($(date +%s) - begun))
done_well '--time'
check '--time 3s takes some 3 s' [ $took -ge 1 -a $took -le 9 ]
iterations=$(sed -n 's/^gpt: \([0-9]*\) iterations, .*/\1/p' stderr)
"$gpt" info timed/last.safetensors >stdout
check 'its iterations are the run'"'"'s' grep -q "$iterations" stdout
if ! grep -q 'the time ran out' stderr; then # the machine was as fast as it seemed: it is the run of so many iterations
  every=$(awk -F , '$6 != "" { print $1 }' timed/log.csv | sed -n 3p)
  batches=$(tr ',' '\n' <timed/last.safetensors | sed -n 's/^"train.eval-batches":"\([0-9]*\)".*/\1/p')
  run "$gpt" train $tiny --iters "$iterations" --eval-every "$every" --eval-batches "${batches:-2}" --patience 5 --out counted
  tail -c 2000 timed/last.safetensors >first
  tail -c 2000 counted/last.safetensors >second
  same 'it is the run of as many iterations, to the bit' first second
fi
run "$gpt" train --resume timed --time 1s --iters 100000000 --eval-every 1000000
check 'what is left is no more than the time' [ "$(sed -n 's/^iteration.* \([0-9]*\):[0-9]* left$/\1/p; s/^iteration.* h .* left$/99/p' stderr | sort -n | tail -n 1)" = 0 ]
check 'each line of progress comes once' [ "$(grep -c '^iteration' stderr)" -eq "$(grep '^iteration' stderr | sort -u | wc -l)" ]
says '--time may end it before its iterations' '^gpt: 100000000 iterations, .* over the text, or as many as there is time for$'
check 'so many are nothing to warn of' [ "$(grep -c 'far more than is useful' stderr)" -eq 0 ]
says '--time also ends one that goes on' 'the time ran out after [0-9]* of 100000000 iterations$'
run "$gpt" train $tiny --time 10s --dry-run
check '--dry-run says that --time decides' grep -q '^iterations  as many as there is time for in 10 s$' stdout
for time in soon 0 10x -1; do refuses 2 "is not a time; write 90s, 10m, 2h or 1h30m" "$gpt" train $tiny "--time=$time"; done
refuses 2 '--time and --iters both say how long' "$gpt" train $tiny --time 1s --iters 5

# ---- Warnings ---------------------------------------------------------------------------------------
run "$gpt" train ${tiny#--data text} --data little --iters 2000 --eval-every 1000 --out none
once 'far too many passes' 'warning: [0-9]* passes over the text are far more than is useful; [0-9]* iterations would do$'
once 'a small validation part' 'warning: 40 tokens to validate: the loss of so few says little$'
never 'a usual rate' 'warning: a --lr'
run "$gpt" train $tiny --iters 60 --eval-every 30 --lr 0.5 --clip 1000 --out none
once 'a rate far from useful' 'warning: a --lr of 0.5 is far from what is useful'
run "$gpt" train $tiny --iters 200 --eval-every 100 --lr 30 --out none
once 'divergence' 'warning: at iteration [0-9]* the loss is [0-9.e+]*, and mere guessing has [0-9.]*: it diverges'
run "$gpt" train $tiny --iters 20 --out none
never 'a usual run' 'warning'

# ---- Memory -----------------------------------------------------------------------------------------
# shellcheck disable=SC3045 # where there is no ulimit -v this is skipped
limited() { (ulimit -v "$1" && shift && exec "$@"); }
# shellcheck disable=SC3045
if alone && (ulimit -v 3000000) 2>/dev/null; then
  refuses 1 'training would take about 4' limited 3000000 "$gpt" train --data text --preset gpt2-xl
  refuses 1 'a smaller --preset, or --layers, --width or --context takes less; --force tries all the same' \
    limited 3000000 "$gpt" train --data text --preset gpt2-xl
  refuses 1 '--batch 2 --accumulate 2 takes less' limited 3000000 "$gpt" train --data text --preset gpt2
  # Of a text that is long for what is free, counting takes most.
  awk 'BEGIN { for (i = 0; i < 60000; i++) print "the cat sat on mat number", i }' >long
  refuses 1 'a smaller --prior takes less' limited 200000 "$gpt" train --data long --threads 1 --width 8 --prior 12
  rm long
  run limited 3000000 "$gpt" train --data text --preset gpt2-xl --dry-run
  done_well '--dry-run says what that would take'
  run limited 3000000 "$gpt" train $tiny --iters 2 --force --out forced
  done_well 'what fits is trained'
else
  skip 'too little memory' 'ulimit -v does not work here, or not with sanitizers or an emulator'
fi
# What fills memory as it is allocated would touch all of it.
unset MALLOC_PERTURB_
if alone && command -v python3 >/dev/null && [ -r /proc/self/status ]; then
  for options in '' '--preset small' '--preset small --accumulate 2 --dropout 0.1' '--preset medium --batch 8'; do
    python3 - "$gpt" train --data text --out measured --force --iters 2 --eval-batches 1 --sample-tokens 0 $options >stdout 2>stderr <<'PYTHON'
import os, re, subprocess, sys
p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
said = p.stderr.read()
_, status, used = os.wait4(p.pid, 0)
number, unit = re.search(r"about ([0-9.]+) (.B) of memory", said).groups()
estimate = float(number) * {"MB": 1e6, "GB": 1e9}[unit]
print(f"estimate {estimate / 1e6:.0f} MB, peak {used.ru_maxrss * 1024 / 1e6:.0f} MB")
sys.exit(not 2 / 3 < estimate / (used.ru_maxrss * 1024) < 3 / 2 or status != 0)
PYTHON
    check "the estimate is near: ${options:-the defaults}: $(cat stdout)" [ $? -eq 0 ]
  done
else
  skip 'the estimate is near' 'no python3 that could measure, a build with sanitizers, or an emulator'
fi

# ---- Presets ----------------------------------------------------------------------------------------
run "$gpt" presets
done_well 'presets'
for preset in kalevala fast best small medium large huge gpt2 gpt2-medium gpt2-large gpt2-xl; do
  check "presets: $preset" grep -q "^$preset  *[0-9.]* M  *[0-9.]* [MG]B  *[0-9]* .*  [a-zA-Z0-9]" stdout
done
check 'presets: not wider than 60 columns' [ "$(wc -L <stdout)" -le 60 ]
check 'presets: each is larger than the one before' awk '/ M / && !/^(fast|best)/ { if ($2 <= before) exit 1; before = $2 }' stdout
run "$bigram" presets
matches 'presets of a program that has none' 'bigram has one size'
for preset in fast best small medium large huge; do
  run "$gpt" train --data text --preset $preset --dry-run
  done_well "the settings of $preset"
done

# ---- The log ----------------------------------------------------------------------------------------
check 'the columns of the log' [ "$(head -n 1 over/log.csv)" = \
  "iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss,seconds,train_loss_per_character,validation_loss_per_character,train_bits_per_byte,validation_bits_per_byte" ]
check 'characters are tokens, and bytes here too' awk -F , 'NR > 1 && $6 != "" {
  n++; bad += $9 != $6 || $10 != $7; e = $12 * log(2) / $7 - 1; bad += e * e > 1e-12 } END { exit bad || n < 5 }' over/log.csv
check 'the seconds grow' awk -F , 'NR > 2 && $8 < before { exit 1 } { before = $8 } END { exit !(before > 0) }' over/log.csv
run "$gpt" train $tiny --tokenizer bpe --vocab-size 300 --iters 3 --out pairs
check 'a pair has fewer nats by character' awk -F , 'NR == 2 { exit !($9 < $6 && $10 < $7 && $9 > $6 / 9) }' pairs/log.csv
run "$gpt" train $tiny --tokenizer bpe --vocab-size 300 --iters 3 --out none
sed -n 's/.*per character: \([0-9.]*\), .*/\1/p' stdout | head -n 1 >first
awk -F , 'NR == 2 { printf "%.3f\n", $9 }' pairs/log.csv >second
same 'as the report says' first second
run "$gpt" train $tiny --iters 400 --eval-every 1000 --out again
before=$(tail -n 1 again/log.csv | cut -d , -f 8)
run "$gpt" train --resume again --iters 402
check 'a run that goes on counts on' awk -v before="$before" -F , 'END { exit !($8 >= before && before > 0) }' again/log.csv
cut -d , -f 1-7 again/log.csv >old && mv old again/log.csv
run "$gpt" train --resume again --iters 404
check 'the log of an earlier version goes on with its columns' awk -F , 'NF != 7 { exit 1 } END { exit NR != 405 }' again/log.csv
run "$gpt" plot again
done_well 'and can be drawn'

# ---- A sign of life -----------------------------------------------------------------------------------
awk 'BEGIN { srand(3); for (i = 0; i < 900000; i++) printf "%s%s", sprintf("%x", int(rand() * 65536)), i % 9 ? " " : "\n" }' >large
("$gpt" train --data large --tokenizer bpe --vocab-size 30000 --out none >/dev/null 2>alive </dev/null & echo $! >pid; wait $!) 2>/dev/null &
tries=0
until grep -q '^gpt: [a-z ]*, [0-9]* s$\|^gpt: .* parameters' alive 2>/dev/null || [ $tries -ge 30 ]; do sleep 0.1; tries=$((tries + 1)); done
check 'something is said within seconds while tokens are learned' [ $tries -lt 30 ]
kill "$(cat pid)" 2>/dev/null
wait
if python3 -c 'import os; os.openpty()' 2>/dev/null; then
  terminal() { # terminal COMMAND...: with a terminal of 60 columns as its three streams; what it shows into stdout
    python3 - "$@" >stdout 2>stderr <<'PYTHON'
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
try:
    while part := os.read(fd, 65536):
        shown += part
except OSError:
    pass
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
    status=$?
    tr '\r' '\n' <stdout | sed "s/$(printf '\033')\[[0-9]*[mK]//g" >screen
  }
  terminal "$gpt" train ${tiny%--eval-batches 2} --eval-batches 300 --iters 30 --eval-every 10 --sample-tokens 40 --temperature 0 --out seen
  check 'on a terminal' [ $status -eq 0 ]
  check 'it shows how far the evaluation is' grep -q '^iteration 0/30, evaluating [0-9]*/600$' screen
  sed -n '2,/^# /p' seen/samples.txt | sed -n 1p | cut -c 1-20 >sample
  check 'samples are shown' grep -qF "$(cat sample)" screen
  check 'the line of progress fits' [ "$(grep '^iteration' screen | wc -L)" -le 59 ]
  terminal "$gpt" train $tiny --iters 30 --eval-every 10 --sample-tokens 0 --quiet --out none
  check '--quiet: neither progress nor samples' [ "$(grep -c '^iteration' screen)" -eq 0 ]
else
  skip 'on a terminal' 'no python3 that could make one'
fi

finish
