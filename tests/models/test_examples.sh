#!/bin/sh
# The example programs, each for a few steps: test_examples.sh FOLDER, the folder with the programs.
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

finite='step  *[0-9]*  loss -\{0,1\}[0-9][0-9.e+-]*'
for program in convnet pinn translate vae wgan; do
  run "$bin/$program" --help
  cp stdout said
  check "$program --help" [ "$status" -eq 0 -a ! -s stderr ]
  matches "$program --help: how to call it" "usage: [^ ]*/$program \[options\]"
  check "$program --help: each option is told in sentences" \
    [ "$(COLUMNS=1000 "$bin/$program" --help | grep -c '^  --[a-z0-9-]*.*  [a-z]')" -eq 0 ]
  check "$program --help: at most as wide as a terminal" [ "$(wc -L <said)" -le 80 ]
  run "$bin/$program" -h
  same "$program -h: the same" stdout said
  refuses 2 'unknown option --max-iters; did you mean --iters?' "$bin/$program" --max-iters 3
  refuses 2 '--iters 0 is out of range: 1 to 1e9' "$bin/$program" --iters 0
  refuses 2 "'book.txt'" "$bin/$program" book.txt
  run env SAMPO_ISA=z80 "$bin/$program"
  check "$program: an instruction set that there is not" [ "$status" -eq 2 -a ! -s stdout ]

  run "$bin/$program" --iters 12 --threads 1
  done_well "$program: twelve steps"
  cp stdout one
  check "$program: twelve lines of them" [ "$(grep -cx "$finite" one)" -eq 12 ]
  check "$program: the loss falls" \
    [ "$(awk '/^step/ { if (!n++) first = $4; last = $4 } END { print(last < first) }' one)" -eq 1 ]
  check "$program: the result behind them" [ "$(sed -n '/^step/d; /[0-9]/p' one | wc -l)" -gt 0 ]
  run "$bin/$program" --iters 12 --threads 3
  same "$program: any number of threads gives the same" stdout one
  run "$bin/$program" --iters 12 --seed 7
  differ "$program: another seed gives something else" stdout one
  if [ -e /dev/full ]; then
    "$bin/$program" --iters 2 >/dev/full 2>stderr
    status=$?
    check "$program: what cannot be printed is a failure" [ "$status" -eq 1 -a "$(wc -l <stderr)" -eq 1 ]
  fi
done

# ---- The convolutional network on files -------------------------------------------------------------
idx() { # idx SIZE...: the head of an IDX file of bytes of these sizes, each below 256
  # shellcheck disable=SC2059 # the format has the bytes
  printf "\0\0\010$(printf '\\%03o' $#)"
  # shellcheck disable=SC2059
  for size; do printf "\0\0\0$(printf '\\%03o' "$size")"; done
}
{ idx 20 9 6 && head -c $((20 * 9 * 6)) "$repo/models/convnet.c"; } >images
{ idx 20 && printf '\0\1\2\3\4\5\6\7\10\11\0\1\2\3\4\5\6\7\10\11'; } >labels
{ idx 20 && printf '\0\1\2\3\4\5\6\7\10\12\0\1\2\3\4\5\6\7\10\12'; } >eleven
{ idx 19 && printf '\0\1\2\3\4\5\6\7\10\11\0\1\2\3\4\5\6\7\10'; } >few
convnet() { # convnet IMAGES LABELS: of these files
  echo "$bin/convnet --iters 5 --images $1 --labels $2 --test-images $1 --test-labels $2"
}
# shellcheck disable=SC2046 # words
{
  run $(convnet images labels)
  done_well 'convnet: files'
  matches 'convnet: all pictures of a file are read' '[0-9.]* % of 20 other pictures are read rightly'
  refuses 1 'nowhere: cannot open: No such file or directory' $(convnet nowhere labels)
  refuses 1 'labels and images are not pictures and a label for each' $(convnet labels images)
  refuses 1 'images and few are not pictures and a label for each' $(convnet images few)
  refuses 1 'target 10 of row ' $(convnet images eleven)
}
for options in '--images images' '--labels labels' '--images images --labels labels' '--test-images images --test-labels labels'; do
  # shellcheck disable=SC2086 # a word an argument
  refuses 2 '--images, --labels, --test-images and --test-labels go together' "$bin/convnet" $options
done

finish
