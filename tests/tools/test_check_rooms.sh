#!/bin/sh
# tests/tools/test_check_rooms.sh: tools/check-rooms finds each kind of breach, and only breaches.
#
# Builds a house of three rooms, plants one breach at a time and looks for the sentence about it.
set -u
check=$(CDPATH= cd -- "$(dirname -- "$0")/../../tools" && pwd)/check-rooms
house=$(mktemp -d) || exit 1
trap 'rm -rf "$house"' EXIT
passed=0
failed=0
ok() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ -z "${2-}" ] || printf '%s\n' "$2"
}

build_house() {
    rm -rf "$house"/*
    mkdir -p "$house/src/base" "$house/src/io" "$house/src/kernel/cpu" "$house/src/data" "$house/src/loss" \
        "$house/src/api" "$house/src/cli"
    printf '%s\n' 'text' '| level | room | job |' '|--:|--|--|' '| 0 | base | a |' '| 1 | io | b |' '| 1 | kernel | c |' \
        '| 2 | data | d |' '| 3 | loss | e |' '| 5 | api | f |' '| 6 | cli | g |' >"$house/ARCHITECTURE.md"
    for r in base io kernel data loss api cli; do
        printf '/* door */\n#include "base/base.h"\n' >"$house/src/$r/$r.h"
    done
    printf '/* door */\n' >"$house/src/base/base.h"
    printf '#include "io/io.h"\n#include "base/base.h"\n#include "kernel/lapack.h"\n#include "kernel/kernel.h"\n' >"$house/src/data/set.c"
    printf '/* printf("x"); exit(1) and\n abort() in a comment */\nint f(void); /* " */ // exit(2)\nconst char *s = "printf(exit(3)) \\" abort()"; char c = %s;\nint my_exit(int); int g(void) { return my_exit(0) + fprintf(stderr, "x") + snprintf(0, 0, "y"); }\n' "'\"'" >"$house/src/io/tricky.c"
    printf 'int main(void) { printf("x"); exit(0); }\n' >"$house/src/cli/main.c"
    printf 'void bug(void) { abort(); }\n' >"$house/src/base/err.c"
    printf '#include "meridian.h"\n#include "loss/loss.h"\n' >"$house/src/api/api.c"
}
clean() { # NAME
    out=$("$check" "$house" 2>&1) && ok || bad "$1: expected no breach" "$out"
}
breach() { # SENTENCE: the house must now be in breach, in this way and no other
    out=$("$check" "$house" 2>&1)
    rc=$?
    case $out in
    *"$1"*)
        [ $rc = 1 ] || bad "$1: exit code $rc, expected 1"
        case $out in
        *"1 breach of the rules"*) ok ;;
        *) bad "$1: more than this breach" "$out" ;;
        esac
        ;;
    *) bad "$1: not found" "$out" ;;
    esac
    build_house
}
repeat() { # N TEXT
    awk -v n="$1" -v t="$2" 'BEGIN { for (i = 0; i < n; i++) print t }'
}

build_house
clean "the clean house"

echo '#include "loss/loss.h"' >>"$house/src/data/set.c"
breach 'src/data/set.c:5: room data (level 2) includes "loss/loss.h" (level 3); only strictly lower rooms'
echo '#include "kernel/kernel.h"' >>"$house/src/io/tricky.c"
breach 'room io (level 1) includes "kernel/kernel.h" (level 1)'
echo '#include "io/inside.h"' >>"$house/src/data/set.c"
breach 'other rooms only through the door "io/io.h"'
echo '#include "set.h"' >>"$house/src/data/set.c"
breach 'write the path from src/'
echo '#include "data/data.h"' >>"$house/src/loss/loss.h"
breach 'a loss never sees a dataset'
echo '#include "meridian.h"' >>"$house/src/cli/main.c"
breach 'only room api does'
echo '#include <oneapi/dnnl/dnnl.h>' >>"$house/src/kernel/kernel.h"
breach 'includes <oneapi/dnnl/dnnl.h>, allowed in ^src/kernel/cpu/'
echo '  #  include <vips/vips.h>' >>"$house/src/data/set.c"
breach 'includes <vips/vips.h>'
echo '#include <lapacke.h>' >>"$house/src/kernel/cpu/fast.c"
breach 'includes <lapacke.h>'
echo '#include <utf8proc.h>' >>"$house/src/data/set.c"
breach 'includes <utf8proc.h>'
echo '#pragma omp parallel for' >>"$house/src/data/set.c"
breach 'OpenMP outside room kernel'
echo 'void f(void) { printf("x"); }' >>"$house/src/io/tricky.c"
breach 'src/io/tricky.c:6: writes to stdout'
echo 'void f(void) { fputs("x", stdout); }' >>"$house/src/io/tricky.c"
breach 'writes to stdout'
echo 'void f(void) { _exit(1); }' >>"$house/src/io/tricky.c"
breach 'ends the process'
echo 'void f(void) { abort(); }' >>"$house/src/cli/main.c"
breach 'calls abort'
echo 'void f(int x) { assert(x); }' >>"$house/src/cli/main.c"
breach 'calls assert'
echo 'int x;' >"$house/src/kernel/cpu/set.c"
breach 'same file name as'
repeat 801 '/* */' >"$house/src/io/long.c"
breach 'more than 800 lines'
{ echo 'void f(void)'; echo '{'; repeat 81 '    ;'; echo '}'; } >"$house/src/io/long.c"
breach 'function of 81 lines'
mkdir "$house/src/attic"
breach 'src/attic: no room of the table'
echo '| 4 | train | not there |' >>"$house/ARCHITECTURE.md"
breach 'room train has no folder src/train'
repeat 800 'int a;' >"$house/src/io/long.c"
{ echo 'void f(void)'; echo '{'; repeat 80 '    ;'; echo '}'; } >"$house/src/io/limit.c"
clean "just at the limits"
: >"$house/ARCHITECTURE.md"
out=$("$check" "$house" 2>&1)
[ $? = 1 ] && ok || bad "no room table: expected exit code 1" "$out"
"$check" /nowhere >/dev/null 2>&1
[ $? = 2 ] && ok || bad "no house: expected exit code 2"

echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ $failed = 0 ]
