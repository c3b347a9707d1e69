#!/bin/sh
# What `meson install` puts into an empty prefix, and outside programs that are built there and run: by hand, with
# pkg-config, CMake and Meson. $1 is the build folder; CC is the compiler that made it. What needs a tool that is not
# installed is skipped.
set -u
unset LD_LIBRARY_PATH # no library that is not installed
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source=$(CDPATH='' cd -- "$here/../.." && pwd)
build=$1
passed=0 failed=0 skipped=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: whether the command succeeds; its output where it does not.
check() {
    name=$1 && shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1)) && echo "ok: $name"
    else
        failed=$((failed + 1)) && echo "FAILED: $name" && tail -n 40 "$work/log"
    fi
}
# have TOOL NAME: whether the tool is installed; a line that says what is skipped where it is not.
have() {
    command -v "$1" >/dev/null 2>&1 && return
    skipped=$((skipped + 1)) && echo "skipped: $2: no $1"
    return 1
}
names() { (cd "$1" && find . ! -type d | LC_ALL=C sort | tr '\n' ' '); } # names FOLDER: of all files in it

have meson 'the installation' || exit 77
check 'meson install' meson install -C "$build" --no-rebuild --destdir "$work/root"
pc=$(find "$work/root" -name sampo.pc)
prefix=$work/root$(sed -n 's/^prefix=//p' "$pc")
lib=$(dirname -- "$(dirname -- "$pc")")

check 'headers' [ "$(names "$prefix/include")" = "$(names "$source/include" | tr ' ' '\n' | grep '\.h$' | tr '\n' ' ')" ]
each() { # each BEGIN END: a word with each program's name between them, in the order of names
    for program in bengio bigram gpt llama lstm ngram; do printf '%s ' "$1$program${2-}"; done
}
check 'programs' [ "$(names "$prefix/bin")" = "$(each ./sampo-)" ]
check 'manuals and what shells complete' [ "$(names "$prefix/share")" = "$(
    each ./bash-completion/completions/sampo- .bash && each ./man/man1/sampo- .1 && printf './sampo/verses.txt ' &&
        each ./zsh/site-functions/_sampo_)" ]
check 'sampo-gpt runs' "$prefix/bin/sampo-gpt" --version
check 'no libraries but libsampo' [ -z "$(find "$prefix" -name 'lib?*.*' ! -name 'libsampo.*')" ]

if have nm 'exported symbols'; then
    list="nm -D --defined-only '$build/include/libsampo.so' | cut -d ' ' -f 3 | LC_ALL=C sort"
    eval "$list" >"$work/symbols.txt"
    check 'exported symbols' diff "$here/symbols.txt" "$work/symbols.txt"
    cmp -s "$here/symbols.txt" "$work/symbols.txt" || echo "where this is meant: $list >'$here/symbols.txt'"
fi

cp "$here"/outside/* "$source/tests/readme/circle.c" "$work"
cd "$work" || exit 1
c="${CC:-cc} -std=c11 -pedantic-errors -Wall -Wextra -Werror"
cplusplus='-std=c++17 -pedantic -Wall -Wextra -Werror'

# builds NAME COMMAND...: the command makes ./program, which runs.
builds() {
    with=$1 && shift
    rm -f program
    check "$with: builds" "$@" -o program
    check "$with: runs" ./program
}
# headers LANGUAGE COMPILER...: each header is the first that a file includes.
headers() {
    language=$1 && shift
    for header in "$prefix"/include/sampo/*.h; do
        echo "#include <sampo/${header##*/}>" >alone
        check "${header##*/} alone: $1" "$@" -I"$prefix/include" -x "$language" -fsyntax-only alone
    done
}

# shellcheck disable=SC2086 # compilers with their options
{
    headers c $c
    builds 'C and the static library' $c -I"$prefix/include" circle.c "$lib/libsampo.a" -lm -pthread
    for compiler in g++ clang++; do
        have "$compiler" "C++ with $compiler" || continue
        headers c++ "$compiler" $cplusplus
        builds "C++ with $compiler" "$compiler" $cplusplus -I"$prefix/include" cplusplus.cpp -L"$lib" -lsampo -Wl,-rpath,"$lib"
    done
    if have pkg-config 'pkg-config'; then
        flags=$(PKG_CONFIG_PATH=$(dirname -- "$pc") pkg-config --define-variable=prefix="$prefix" --cflags --libs sampo)
        builds 'pkg-config' $c circle.c $flags -Wl,-rpath,"$lib"
    fi
}
if have cmake 'CMake'; then
    check 'CMake: configures' cmake -S . -B cmake -DCMAKE_PREFIX_PATH="$prefix"
    check 'CMake: builds' cmake --build cmake
    check 'CMake: runs' cmake/circle
fi

# Only what the program needs is built, and without optimisation, which is the default of Meson's projects.
mkdir subprojects && ln -s "$source" subprojects/sampo
check 'Meson: configures' meson setup meson --wrap-mode=forcefallback
check 'Meson: builds' ninja -C meson circle
check 'Meson: runs' meson/circle
check 'Meson: the library alone' [ ! -e meson/subprojects/sampo/models ]

# Somebody without Criterion builds everything but the tests.
check 'no tests: configures' meson setup untested "$source" -Dtests=disabled
check 'no tests: all but them is built' grep -q 'benches/train.c"' untested/compile_commands.json
check 'no tests: none of their files is compiled' [ "$(grep -c '"file": ".*/tests/' untested/compile_commands.json)" = 0 ]

# Paths that are built into the programs: what C strings cannot hold is refused in a line.
mkdir 'a tree of "Väinö"' 'back\slash' && ln -s "$source"/* 'a tree of "Väinö"' && ln -s "$source"/* 'back\slash'
refuses() { # refuses NAME ARGUMENT...: setting up names what it cannot take
    with=$1 && shift
    meson setup refused "$@" -Dtests=disabled -Dbenches=false >refusal 2>&1
    check "$with" grep -q 'ERROR: .*the programs cannot be built with a double quote or a backslash in the path' refusal
}
refuses 'a source with a quote in its path' 'a tree of "Väinö"'
refuses 'a source with a backslash in its path' 'back\slash'
refuses 'a prefix with a quote' "$source" --prefix '/usr/"local"'
check 'the library alone can be anywhere' meson setup anywhere 'a tree of "Väinö"' --prefix '/usr/"local"' -Dprograms=false -Dtests=disabled

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
