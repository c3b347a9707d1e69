#!/bin/sh
# What the programs say about themselves, and options from files: test_help.sh FOLDER, the folder with the executables gpt
# and bigram.
# shellcheck disable=SC2016 # programs for other shells
# shellcheck source=tests/models/shell.sh
. "${0%/*}/shell.sh"

PATH=$bin:$PATH gpt=gpt bigram=bigram # help repeats how the program was called
export PATH
commands=$("$gpt" help | sed -n '/^Commands$/,/^$/s/^  \([a-z]*\)  .*/\1/p')
in_terminal() { # in_terminal COLUMNS COMMAND: its output on a terminal so wide
  script -qec "stty cols $1; NO_COLOR=1 TERM=xterm $2" /dev/null </dev/null | tr -d '\r'
}

check 'there are commands' [ "$(echo "$commands" | grep -cx -e train -e sample -e eval -e completion)" -eq 4 ]

# ---- Help -----------------------------------------------------------------------------------------
for program in gpt bengio bigram llama lstm; do
  run "$program"
  check "$program alone: bad usage" [ "$status" -eq 2 -a ! -s stdout ]
  check "$program alone: what to type" grep -q "^  $program train --data book.txt --out run\$" stderr
  cp stderr said
  for word in --help -h help; do
    run "$program" $word
    check "$program $word: the same, as it was asked for" cmp -s stdout said
    check "$program $word: status 0" [ "$status" -eq 0 -a ! -s stderr ]
  done
  for word in -V -v version; do
    run "$program" $word
    matches "$program $word" "$program (Sampo) [0-9.]*"
  done
  for command in $commands; do
    run "$program" "$command" --help
    cp stdout said
    check "$program $command --help" [ "$status" -eq 0 -a -s stdout -a ! -s stderr ]
    run "$program" "$command" -h
    check "$program $command -h" cmp -s stdout said
    [ "$command" = help ] || run "$program" help "$command"
    check "$program help $command" cmp -s stdout said
    check "$program help $command: each option is told in sentences" \
      [ "$(COLUMNS=1000 "$program" "$command" --help | grep -c '^[ *] --[a-z0-9-]*.*  [a-z]')" -eq 0 ]
  done
done
refuses 2 "unknown command 'zebra'" "$gpt" help zebra
refuses 2 'did you mean sample?' "$gpt" generate
refuses 2 '--data is not a command, and a command comes first: gpt train --data' "$gpt" --data x
COLUMNS=100
export COLUMNS
run "$gpt" train --help
check 'groups in their order' [ "$(grep -x '[A-Z][a-z]*' stdout | tr '\n' ' ')" = 'Data Model Training Reports Files Running ' ]
matches 'the defaults of the GPT' '  --context N  .*(default 64)'
run "$gpt" help train --preset gpt2
matches 'the defaults of a preset' '  --context N  .*(default 1024)'
run "$bigram" train --help
matches 'the defaults of the bigram' '  --context N  .*(default 8)'
unset COLUMNS

for columns in 35 40 60 80 120; do
  for command in '' $commands; do
    COLUMNS=$columns "$gpt" help ${command:+"$command"} >stdout 2>stderr
    check "help $command in $columns columns" [ "$(wc -L <stdout)" -le $columns ]
  done
done
check 'no bytes beyond ASCII' [ "$("$gpt" train --help | tr -d '\n -~' | wc -c)" -eq 0 ]
for name in C C.UTF-8; do
  LC_ALL=$name "$gpt" train --help >"help.$name"
done
same 'the same in every locale' help.C help.C.UTF-8
if has_terminal; then
  i=0
  while [ $i -lt 60 ]; do echo "number $i: the cat sat on the mat" && i=$((i + 1)); done >book
  for command in presets 'train --data book --dry-run' 'train --data book --preset fast --iters 1 --sample-tokens 0 --quiet --out none'; do
    in_terminal 40 "'$gpt' $command" | sed "s/$(printf '\033')\[K//g" >stdout
    check "a terminal of 40 columns: $command" [ -s stdout -a "$(wc -L <stdout)" -le 40 ]
  done
  for columns in 40 60 80 120; do
    in_terminal $columns "'$gpt' train --help" >stdout
    check "a terminal of $columns columns: what fits" [ "$(wc -L <stdout)" -le $columns ]
    check "a terminal of $columns columns: no more lines than that needs" [ "$(wc -L <stdout)" -gt $((columns * 3 / 4)) -o $columns -gt 100 ]
  done
  printf '%s\n' iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss \
    0,3,0.01,1,1000,3,3 1,2,0.01,1,1000,, >log.csv
  in_terminal 40 "'$gpt' plot . 2>/dev/null" >stdout
  check 'the terminal counts that the output goes to' [ "$(wc -L <stdout)" -le 40 ]
  for columns in 20 40 60 80; do
    in_terminal $columns "'$bin/gpt' train --lrr" >stdout
    check "a terminal of $columns columns does not break a command" grep -qF "$bin/gpt train --help" stdout
    check "a terminal of $columns columns breaks what stands around it" [ "$(sed "s|$bin/gpt train --help||" stdout | wc -L)" -le $columns ]
    in_terminal $columns "'$gpt' train --data book --preset fast --iters 1 --sample-tokens 0 --quiet --out 'an empty folder/the run $columns'" >stdout
    check "a terminal of $columns columns: the command is one line" \
      grep -q "gpt sample 'an empty folder/the run $columns' --prompt '.*'\$" stdout
  done
  in_terminal 40 "'$gpt' '$(printf '\016a b\017')'" >stdout
  check 'a word with the bytes that mark commands' grep -qF "unknown command '?a b?'" stdout
else
  skip 'help on a terminal' 'no script that could make one'
fi

run "$bin/gpt" --help
check 'a line to type begins as the program was called' grep -qF "  $bin/gpt sample run" stdout
run env SAMPO_PROGRAM=./sampo "$bin/gpt" train --lrr
check 'or as the script was' grep -qF '(./sampo train --help lists the options)' stderr
mkdir 'a place' && ln -s "$bin/gpt" 'a place/gpt'
run 'a place/gpt' train --lrr
check 'a path with blanks is quoted' grep -qF "('a place/gpt' train --help lists the options)" stderr
run 'a place/gpt' --help
check 'in the help, too' grep -qxF "  'a place/gpt' sample run" stdout

# ---- Words of other programs ------------------------------------------------------------------------
while read -r command given ours; do
  refuses 2 "unknown option $given; did you mean $ours?" "$gpt" "$command" "$given" 1
done <<'END'
train --learning-rate --lr
train --learning_rate --lr
train --batch-size --batch
train --batch_size --batch
train --block-size --context
train --block_size --context
train --n-layer --layers
train --n_layer --layers
train --n-head --heads
train --n-embd --width
train --max-iters --iters
train --max_steps --iters
train --output --out
train --output-dir --out
train --input --data
train --grad_clip --clip
train --gradient-accumulation-steps --accumulate
train --warmup-steps --warmup
train --eval-interval --eval-every
train --random-seed --seed
sample --max-new-tokens --tokens
sample --max_new_tokens --tokens
sample --top_k --top-k
sample --num-samples --samples
sample --temp --temperature
sample --start --prompt
sample --file --prompt-file
eval --dataset --data
END
refuses 2 'unknown option --epochs; there are no epochs, --iters says' "$gpt" train --epochs 3
refuses 2 'unknown option --device; there is no GPU to choose, it always runs on the CPU' "$gpt" train --device cuda
refuses 2 'unknown option --model; the model needs no option' "$gpt" sample --model x
run "$bigram" train --n-layer 3
check 'no suggestion of what the command lacks' grep -q 'unknown option --n-layer (' stderr

for command in train sample eval report; do COLUMNS=35 "$gpt" help "$command"; done >stdout
for option in $(grep -o '[^{]"[a-z0-9-]*",' "$repo/models/lm/cli/spelling.c" | tr -d ' ",' | sort -u); do
  check "the suggestion --$option is an option" grep -q -e "^[ *] --$option\( \|\$\)" stdout
done

# ---- Values -----------------------------------------------------------------------------------------
refuses 2 '--lr needs a value' "$gpt" train --lr=
refuses 2 '--iters needs a value' "$gpt" train --iters=
refuses 2 "--preset 'gpt-2' is none of " "$gpt" train --preset gpt-2
check 'it names the nearest' grep -q 'did you mean gpt2?' stderr
refuses 2 '--seed 9223372036854775808 is out of range: 0 to 9223372036854775807' "$gpt" train --seed 9223372036854775808
refuses 2 "--seed '1.5' is not a whole number" "$gpt" train --seed 1.5
refuses 2 '--iters 1e13 is out of range: 1 to 1e12' "$gpt" train --iters 1e13

# ---- Options from files --------------------------------------------------------------------------------
printf 'the cat sat on the mat, and the cat sat on the hat; %.0s' 1 2 3 4 5 6 7 8 9 10 >text
cat >tiny.conf <<'END'
# A model that is done at once.
data = text
context 8
batch = 4   # rows
layers=1
heads = 2
width = 8
eval-batches = 2
iters = 3
sample-tokens = 0
END
run "$gpt" train --config tiny.conf
done_well 'train --config'
check 'its last report' grep -q '^Iter 2 ' stdout
cp stdout by_file
run "$gpt" train --data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 2 --iters 3 --sample-tokens 0
cp stdout by_words
same 'as with the same words' by_file by_words
run "$gpt" train --iters 2e0 --config tiny.conf
check 'the command line overrides it' grep -q '^Iter 1 ' stdout
{ printf '\357\273\277'; sed 's/$/\r/' tiny.conf; printf 'preset = gpt2'; } >windows.conf
run "$gpt" train --config=windows.conf
done_well 'CRLF, a byte order mark, no newline at the end, a preset'
run "$gpt" help train --config windows.conf
check 'its preset counts' grep -q 'default gelu' stdout
run "$gpt" help train --config windows.conf --preset kalevala
check 'unless the command line has another' grep -q 'default relu' stdout
printf 'lr = 0.1\n\nbacth = 3\n' >slip.conf
refuses 2 'slip.conf, line 3: unknown option --bacth; did you mean --batch?' "$gpt" train --config slip.conf
printf 'lr = fast\n' >slip.conf
refuses 2 "slip.conf, line 1: --lr 'fast' is not a number" "$gpt" train --config slip.conf
printf '\nrate\n' >slip.conf
refuses 2 'slip.conf, line 2: unknown option --rate; did you mean --lr?' "$gpt" train --config slip.conf
refuses 2 'nowhere.conf: cannot be opened: No such file or directory' "$gpt" train --config nowhere.conf
refuses 2 '--config needs the name of a file' "$gpt" train --config
refuses 2 'train: .: cannot be read: Is a directory' "$gpt" train --config .
run "$gpt" train --config tiny.conf --out run
printf 'lr = 0.5\n' >other.conf
refuses 2 '--lr 0.5: run/last.safetensors has 0.01, and that cannot change' "$gpt" train --resume run --config other.conf
printf 'iters = 5\n' >more.conf
run "$gpt" train --resume run --config more.conf
check 'a run goes on with a file' grep -q '^Iter 4 ' stdout

# ---- The manual ---------------------------------------------------------------------------------------
for program in gpt bigram; do
  "$program" --man >$program.1
  check "$program --man: each command" [ "$(grep -c '^\.SS ' $program.1)" -eq "$(echo "$commands" | wc -w)" ]
  if command -v mandoc >/dev/null; then
    mandoc -Tlint $program.1 >stdout 2>stderr
    check "$program --man is well-formed" [ "$(grep -vc 'missing date' stdout)" -eq 0 ]
  fi
  if command -v man >/dev/null; then
    if MANWIDTH=80 man -l ./$program.1 >page 2>stderr; then
      check "$program --man: man shows it" grep -q "sampo-$program train --data book.txt --out run" page
      check "$program --man: man has no complaint" [ ! -s stderr ]
    else
      skip "$program --man" 'man shows no files here'
    fi
  fi
done
check 'options are in it' grep -q '^.fB.-.-learning-rate\|^.fB.-.-lr.fR .fIX' gpt.1

# ---- Shells ---------------------------------------------------------------------------------------------
mkdir files
echo x >'files/a b.txt'
cat >complete.bash <<'END'
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_sampo_gpt
printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
END
completes() { # completes NAME EXPECTED WORD...: what bash completes behind the words
  what=$1 expected=$2
  shift 2
  bash complete.bash gpt.bash gpt "$@" >stdout 2>stderr
  check "bash: $what" [ "$(cat stdout)" = "$expected" ]
}
if command -v bash >/dev/null; then
  "$gpt" completion bash >gpt.bash
  completes 'commands' 'sample ' sam
  completes 'all commands' "$(printf '%s\n--help\n--version\n' "$commands" | sort | tr '\n' ' ')" ''
  completes 'commands of help' 'train ' help tr
  completes 'options' '--schedule --schedule-end ' train --sch
  completes 'choices' 'constant cosine linear ' train --schedule ''
  completes 'choices behind an equals sign' 'constant cosine ' train --schedule = co
  completes 'choices just behind an equals sign' 'all train val ' eval --split =
  completes 'presets' 'gpt2 gpt2-large gpt2-medium gpt2-xl ' train --preset gpt2
  completes 'yes and no' 'no yes ' train --qkv-bias ''
  completes 'numbers are the own business' ' ' train --lr ''
  completes 'files with spaces' 'files/a b.txt ' train --data files/
  completes 'words and files' 'byte ' train --tokenizer byt
  completes 'operands' 'files/a b.txt ' sample files/
  completes 'options behind operands' '--top-k --top-p ' sample x --top
  completes 'shells' 'bash ' completion ba
  completes 'options of every command' '--config --context ' train --con
  completes 'nothing of what is no command' ' ' zebra --
  bash -c 'source ./gpt.bash; complete -p sampo-gpt gpt' >stdout 2>stderr
  check 'bash: both names' [ "$(grep -c _sampo_gpt stdout)" -eq 2 ]
else
  skip 'completion' 'no bash'
fi
if command -v zsh >/dev/null; then
  "$gpt" completion zsh >gpt.zsh
  check 'zsh: it can be read' zsh -n gpt.zsh
  cat >complete.zsh <<'END' # a shell in a terminal of its own, in which keys are pressed
zmodload zsh/zpty
zpty z "TERM=dumb PS1='%% ' zsh -f -i"
zpty -w z 'stty cols 200; autoload -Uz compinit; compinit -u -D; source ./gpt.zsh; echo rea""dy'
zpty -r -m z line '*ready*2004h*' # keys are awaited
zpty -w -n z "$1"$'\t'
zpty -w -n z $'\x05 #end\n'
sleep 0.2
zpty -r -m z line '*#end*'
print -r -- "$line" | tr -d '\0'
zpty -d z
END
  presses() { # presses NAME PATTERN KEYS: what the line is after the tabulator
    timeout 20 zsh -f complete.zsh "$3" >stdout 2>stderr </dev/null
    check "zsh: $1" grep -q -e "$2" stdout
  }
  if zsh -fc 'zmodload zsh/zpty' 2>/dev/null; then
    presses 'commands' 'gpt sample ' 'gpt sam'
    presses 'commands of help' 'gpt help train ' 'gpt help tr'
    presses 'options' 'gpt train --weight-decay' 'gpt train --weight'
    presses 'choices' 'gpt train --schedule linear' 'gpt train --schedule li'
    presses 'files' 'gpt train --data files/a. b.txt' 'gpt train --data files/a'
    presses 'operands' 'gpt sample files/a. b.txt' 'gpt sample files/a'
    presses 'the installed name' 'sampo-gpt sample ' 'sampo-gpt sam'
  else
    skip 'zsh' 'no zpty'
  fi
else
  skip 'completion in zsh' 'no zsh'
fi
refuses 2 "'fish' is neither bash nor zsh" "$gpt" completion fish
refuses 2 'say which: bash or zsh' "$gpt" completion

finish
