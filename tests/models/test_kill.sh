#!/bin/sh
# Ends training at random moments with kill -9 and resumes it to the end, with one thread, two and three: each run's
# files equal those of one that was not disturbed. test_kill.sh FOLDER [COUNT]: the folder with gpt, how many times; a
# run that was over before it could be ended does not count.
set -u
export LC_ALL=C
bin=$(CDPATH='' cd -- "$1" && pwd) || exit 2
count=${2:-10} failed=0 killed=0 early=0 n=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$tmp" || exit 1

while [ $n -lt 60 ]; do echo "number $n sat on the mat, number $((n * n)) did not"; n=$((n + 1)); done >text
train() { # train THREADS OPTIONS...: `exec`, so that $! is the program's
  threads=$1
  shift
  exec "$bin/gpt" train "$@" --threads "$threads" >>log 2>&1 </dev/null
}
start() { # start FOLDER THREADS
  train "$2" --data text --out "$1" --iters 90 --eval-every 4 --eval-batches 2 --batch 8 --accumulate 2 --context 16 \
    --layers 1 --heads 2 --width 8 --dropout 0.1 --schedule linear --warmup 10 --clip 1 --sample-tokens 20
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# random MOST: from 0 up to it. (A seed of the clock's nanoseconds is above what some awks take.)
random() { od -A n -N 2 -t u2 /dev/urandom | awk -v most="$1" '{ printf "%.4f", $1 / 65536 * most }'; }
case $(date +%N) in *N*) echo 'skipped: date has no nanoseconds' && exit 77 ;; esac

begun=$(milliseconds)
(start whole 1) || { cat log && exit 1; }
took=$(($(milliseconds) - begun))
cut -d , -f 1-4,6-7,9- whole/log.csv >whole.csv

n=0
while [ "$killed" -lt "$count" ] && [ "$n" -lt $((5 * count)) ]; do
  rm -rf part
  seconds=$(random "$took")e-3
  (start part $((n % 3 + 1))) &
  sleep "$seconds"
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
  if [ $? -eq 137 ]; then killed=$((killed + 1)); else took=$((took - took / 20)); fi
  if [ -f part/last.safetensors ]; then
    (train $((n / 3 % 3 + 1)) --resume part)
  else
    early=$((early + 1))
    (start part $((n % 3 + 1)))
  fi
  status=$?
  cut -d , -f 1-4,6-7,9- part/log.csv >part.csv
  if [ $status -ne 0 ]; then
    failed=$((failed + 1)) && echo "FAILED: resuming ended with $status: $(tail -n 1 log)"
  elif ! cmp part/last.safetensors whole/last.safetensors || ! cmp part/best.safetensors whole/best.safetensors ||
    ! cmp part/samples.txt whole/samples.txt || ! cmp part.csv whole.csv; then
    failed=$((failed + 1)) && echo "FAILED: the files differ"
  fi
  n=$((n + 1))
done
echo "$n runs of $took ms, $killed killed, $early of them before the first checkpoint; $failed failed"
[ "$failed" = 0 ] && [ "$killed" -eq "$count" ]
