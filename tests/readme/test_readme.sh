#!/bin/sh
# What docs/ shows is circle.c and load_torch.py to the letter, and circle.c learns: $1 is its executable.
# shellcheck disable=SC2016 # patterns, not commands
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
passed=0 failed=0
check() { # NAME STATUS
    if [ "$2" = 0 ]; then passed=$((passed + 1)) && echo "ok: $1"; else failed=$((failed + 1)) && echo "FAILED: $1"; fi
}

sed -n '/^```c$/,/^```$/p' "$here/../../docs/library.md" | sed '1d;$d' | cmp -s - "$here/circle.c"
check 'docs/library.md shows circle.c' $?
sed -n '/^```python$/,/^```$/p' "$here/../../docs/pytorch.md" | sed '1d;$d' | cmp -s - "$here/load_torch.py"
check 'docs/pytorch.md shows load_torch.py' $?

output=$("$1")
check 'it runs' $?
echo "$output" | awk '/^step    0/ { first = $4 } /^step 1000/ { last = $4 } END { exit !(first > 0.2 && last > 0 && last < 0.08) }'
check "it learns: $(echo "$output" | tail -1)" $?

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
