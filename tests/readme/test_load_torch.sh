#!/bin/sh
# PyTorch reads our checkpoints with the script that docs/pytorch.md shows, load_torch.py, and comes to the same loss and the
# same greedy text: test_load_torch.sh GPT, the executable. $PYTHON may name a Python that has torch and safetensors.
# Skipped where none has.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
if ! "$python" -c 'import torch, safetensors' 2>/dev/null; then
  echo "skip: $python has not torch and safetensors; PYTHON=... names another"
  exit 77
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
text=$here/../../models/data/verses.txt failed=0
for preset in kalevala gpt2; do
  out=$tmp/$preset file=$tmp/$preset/last.safetensors
  "$1" train --data "$text" --preset $preset --layers 2 --width 32 --heads 4 --context 32 --batch 16 --lr 0.01 \
    --iters 200 --eval-batches 2 --sample-tokens 0 --out "$out" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
  "$python" "$here/load_torch.py" "$file" "$text" 'Vaka vanha' >"$tmp/theirs" || exit 1
  { "$1" eval "$file" --data "$text" | head -1; "$1" sample "$file" --prompt 'Vaka vanha' --temperature 0 --tokens 100; } >"$tmp/ours"
  if awk 'FNR == 1 { loss[++n] = $2; tokens[n] = $4 }
      END { d = loss[1] - loss[2]; exit !(n == 2 && loss[1] > 1 && loss[1] < 3.2 && d * d < 4e-10 && tokens[1] == tokens[2]) }' \
    "$tmp/theirs" "$tmp/ours" && [ "$(sed 1d "$tmp/theirs")" = "$(sed 1d "$tmp/ours")" ]; then
    echo "ok: $preset, $(head -1 "$tmp/theirs")"
  else
    failed=1
    echo "FAILED: $preset"
    cat "$tmp/theirs" "$tmp/ours"
  fi
done
exit $failed
