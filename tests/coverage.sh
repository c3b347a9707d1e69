#!/bin/sh
# Which lines and branches the suites run: tests/coverage.sh [SUITE...], without names tensor, autograd, nn and models
# on one instruction set (tensor on the baseline, too: its kernels are compiled from the same lines), and then the
# programs as the other tests of models run them, and fuzz, and several processes where MPI is there. (Three of these
# limit the size of files, and fail by the counts that gcc's code writes.) It builds with gcc in the folder that BUILD
# names, and prints gcovr's table of the parts, then files with lines that nothing runs. A branch counts where one of
# its ways can be taken in C; those of macros that take the place of functions count, too.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=${BUILD:-$root/build-coverage}
command -v gcovr >/dev/null || { echo 'tests/coverage.sh: it needs gcovr (Debian: apt-get install gcovr)' >&2 && exit 2; }
mpi=disabled
! command -v mpirun >/dev/null || ! command -v mpicc >/dev/null || mpi=enabled
all=
[ $# -gt 0 ] || { all=yes && set -- tensor autograd nn models; }
[ -f "$build/build.ninja" ] ||
    CC=gcc meson setup "$build" "$root" -Db_coverage=true -Doptimization=1 -Disas=avx2 -Dbenches=false -Db_ndebug=true "-Dmpi=$mpi" >"$build.log" 2>&1 ||
    { cat "$build.log" && exit 1; }
rm -f "$build.log"
find "$build" -name '*.gcda' -delete
for suite; do
    ninja -C "$build" "tests/test_$suite" >/dev/null
    isas=${SAMPO_ISA:-avx2}
    [ "$suite" != tensor ] || isas="baseline $isas"
    for isa in $isas; do
        SAMPO_ISA=$isa SAMPO_SHARED=${SAMPO_SHARED:-$root/../shared} "$build/tests/test_$suite" >"$build/$suite.log" 2>&1 ||
            echo "suite $suite fails on $isa; see $build/$suite.log"
    done
done
[ -z "$all" ] || {
    ninja -C "$build" >/dev/null
    meson test -C "$build" --no-rebuild --list --suite models --suite fuzz --suite mpi 2>/dev/null | sed -n '/ on /d; s,.* / ,,p' | tr '\n' '\0' |
        xargs -0 meson test -C "$build" --no-rebuild -t 10 >"$build/programs.log" 2>&1 || grep -E ' (FAIL|TIMEOUT) ' "$build/programs.log"
}
# Threads that count at once may lose a count, or leave one below 0, which gcovr would end at.
gcovr --root "$root" --object-directory "$build" --exclude-unreachable-branches --exclude-throw-branches --print-summary --gcov-ignore-parse-errors \
    --json "$build/coverage.json" --filter "$root/(tensor|autograd|nn|models)/" >"$build/summary" 2>"$build/gcovr.log"
python3 - "$build/coverage.json" <<'END'
import collections, json, sys
parts, files = collections.defaultdict(lambda: [0, 0, 0, 0]), []
for entry in json.load(open(sys.argv[1]))["files"]:
    name = entry["file"]
    lines = [line for line in entry["lines"] if not line.get("gcovr/noncode")]
    branches = [branch for line in lines for branch in line["branches"]]
    counts = [sum(line["count"] > 0 for line in lines), len(lines), sum(b["count"] > 0 for b in branches), len(branches)]
    part = "/".join(name.split("/")[:2]) if name.startswith("models/lm") else name.split("/")[0]
    parts[part] = [a + b for a, b in zip(parts[part], counts)]
    missing = [line["line_number"] for line in lines if line["count"] == 0]
    if missing:
        files.append((name, missing))
print(f"{'part':12} {'lines':>18} {'branches':>18}")
for part, (a, b, c, d) in sorted(parts.items()):
    print(f"{part:12} {a:6} of {b:6} {100 * a / b:5.1f} % {c:6} of {d:6} {100 * c / max(d, 1):5.1f} %")
print("\nLines that nothing runs:")
for name, missing in sorted(files):
    print(f"{name}: {' '.join(map(str, missing))}")
END
