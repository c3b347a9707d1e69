#!/bin/sh
# benches/recipe.py works, not how good its recipes are: test_recipe.sh BUILD. Prints a line a case.
set -u
export LC_ALL=C
repo=$(CDPATH='' cd "${0%/*}/../.." && pwd) || exit 1
command -v python3 >/dev/null || { echo 'skipped: there is no python3' && exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0
check() { # check NAME TEST...
  name=$1
  shift
  if "$@"; then echo "ok    $name"; else failed=1 && echo "FAIL  $name: $*" && sed 's/^/        /' "$tmp/out" "$tmp/err" | tail -5; fi
}
build=$1
python3 "$repo/benches/recipe.py" --list >"$tmp/out" 2>"$tmp/err"
check '--list' grep -q '^best  *gpt train --preset best$' "$tmp/out"
python3 "$repo/benches/recipe.py" --build "$build" --only nothing >"$tmp/out" 2>"$tmp/err"
check 'an unknown recipe' grep -q "there is no recipe 'nothing'" "$tmp/err"
python3 "$repo/benches/recipe.py" --build "$build" --data "$tmp/none" >"$tmp/out" 2>"$tmp/err"
check 'no text' grep -q 'none is not there' "$tmp/err"
python3 "$repo/benches/recipe.py" --build "$build" --data "$repo/models/data/verses.txt" --only 'ngram 3' --only 'fast' --seeds 2 --more '--iters 5' \
  --target 9 --json "$tmp/record" >"$tmp/out" 2>"$tmp/err"
check 'a counted model' grep -q '^ngram 3  *0  *0  *[0-9.]*  *[0-9.]*  *[0-9.]*  *0.0000 *$' "$tmp/out"
check 'a trained one, over seeds' grep -q '^fast  *[0-9]*  *[0-9]*  *[0-9.]*  *[0-9.]*  *[0-9.]*  *0.[0-9]*  *[0-9.]*  *[0-9.e+-]*$' "$tmp/out"
check 'the record' [ "$(grep -c '^{"recipe": "fast", "seed": [12], ' "$tmp/record")" -eq 2 ]
exit "$failed"
