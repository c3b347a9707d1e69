#!/bin/sh
# GPT-2s and Llamas as transformers writes them, of odd sizes, with and without prefix, of other activations and types: logits,
# tokens and greedy text are those of transformers. test_transformers.sh GPT LLAMA TEST_MODELS, the executables; $PYTHON may
# name a Python that has torch, transformers, tokenizers and safetensors. Skipped where none has.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
if ! "$python" -c 'import torch, transformers, tokenizers, safetensors' 2>/dev/null; then
  echo "skip: $python has not torch, transformers, tokenizers and safetensors; PYTHON=... names another"
  exit 77
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
"$python" "$here/published.py" "$tmp" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
failed=0
for folder in "$tmp"/*/; do
  folder=${folder%/}
  echo "${folder##*/}:"
  case ${folder##*/} in llama*) program=$2 ;; *) program=$1 ;; esac
  SAMPO_PUBLISHED=$folder "$3" --filter 'published/equals_transformers' || failed=1
  "$python" - "$program" "$folder" <<'END' || failed=1
import subprocess, sys
from safetensors import safe_open
program, folder = sys.argv[1:]
with safe_open(folder + '/expected.safetensors', 'pt') as f:
    said, count = f.metadata(), f.get_slice('greedy').get_shape()[0]
got = subprocess.run([program, 'sample', folder, '--prompt', said['prompt'], '--temperature', '0', '--tokens', str(count)],
                     capture_output=True, text=True, check=True).stdout
if got != said['text'] + '\n':
    sys.exit(f'sample: {got!r} is not {said["text"]!r}')
END
done
[ "$failed" = 0 ] && echo 'all as transformers has it'
exit "$failed"
