#!/bin/sh
# Ends training by several processes at random moments with kill -9 of one of them, and resumes it on another number of them:
# the run ends with a status other than 0, and the resumed one with the files of one process that was not disturbed.
# test_kill_ranks.sh GPT [COUNT]: the program, built with MPI, how many times. $MPIRUN starts the processes.
set -u
export LC_ALL=C OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
gpt=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)/${1##*/} || exit 2
mpirun=${MPIRUN:-mpirun} count=${2:-4} failed=0 killed=0 early=0 n=0
command -v "$mpirun" >/dev/null || { echo 'skipped: no mpirun' && exit 77; }
case $(date +%N) in *N*) echo 'skipped: date has no nanoseconds' && exit 77 ;; esac
tmp=$(mktemp -d) || exit 1
name=rank-$$ # by which processes are found
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cp "$gpt" "$tmp/$name" && cd "$tmp" || exit 1

while [ $n -lt 60 ]; do echo "number $n sat on the mat, number $((n * n)) did not"; n=$((n + 1)); done >text
start() { # start FOLDER RANKS
  "$mpirun" -n "$2" "$tmp/$name" train --data text --out "$1" --iters 1000 --eval-every 50 --eval-batches 2 --batch 8 \
    --context 32 --layers 1 --heads 2 --width 16 --dropout 0.1 --sample-tokens 0 --threads 1 --shards 8 >>log 2>&1 </dev/null
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# random MOST: from 0 up to it. (A seed of the clock's nanoseconds is above what some awks take.)
random() { od -A n -N 2 -t u2 /dev/urandom | awk -v most="$1" '{ printf "%.4f", $1 / 65536 * most }'; }

begun=$(milliseconds)
start whole 1 || { cat log && exit 1; }
took=$(($(milliseconds) - begun))
n=0
while [ "$killed" -lt "$count" ] && [ "$n" -lt $((5 * count)) ]; do
  size=$((n % 3 + 2))
  rm -rf part
  start part "$size" &
  sleep "$(random "$took")e-3"
  victim=$(pgrep -x "$name" | sed -n "$(random "$size" | cut -d . -f 1 | awk '{ print $1 + 1 }')p")
  [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null && struck=1 || struck=0
  wait $!
  status=$?
  if [ "$struck" = 1 ] && [ $status -ne 0 ]; then
    killed=$((killed + 1))
  elif [ "$struck" = 1 ] && ! cmp -s part/last.safetensors whole/last.safetensors; then
    failed=$((failed + 1)) && echo 'FAILED: a rank was killed, and the run ended with 0'
  fi
  if [ -f part/last.safetensors ]; then
    "$mpirun" -n $(((n / 3) % 3 + 1)) "$tmp/$name" train --resume part --threads 1 >>log 2>&1 </dev/null
  else
    early=$((early + 1))
    start part 2
  fi
  status=$?
  if [ $status -ne 0 ]; then
    failed=$((failed + 1)) && echo "FAILED: resuming ended with $status: $(tail -n 1 log)"
  elif ! cmp part/last.safetensors whole/last.safetensors || ! cmp part/best.safetensors whole/best.safetensors; then
    failed=$((failed + 1)) && echo 'FAILED: the files differ'
  fi
  n=$((n + 1))
done
echo "$n runs of about $took ms, $killed ranks killed, $early of them before the first checkpoint; $failed failed"
[ "$failed" = 0 ] && [ "$killed" -eq "$count" ]
