#!/bin/sh
# tests/api/test_headers.sh ROOT CC...: every door compiles alone, meridian.h also as C99 and, where a C++ compiler is
# at hand, as C++; the shared library lets out nothing but mrd_ names.
set -u
root=$1
library=$2
shift 2
passed=0
failed=0
compiles() { # NAME COMMAND...
    name=$1
    shift
    if out=$("$@" 2>&1); then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAILED: %s\n%s\n' "$name" "$out"
    fi
}
strict='-Wall -Wextra -Wstrict-prototypes -pedantic -Werror -fsyntax-only -x'
for std in c99 c11; do
    compiles "meridian.h as $std" "$@" -std=$std $strict c "$root/include/meridian.h"
done
if command -v g++ >/dev/null 2>&1; then
    compiles "meridian.h as C++" g++ -Wall -Wextra -Werror -fsyntax-only -x c++ "$root/include/meridian.h"
fi
for door in "$root"/src/*/*.h; do
    room=$(basename "$(dirname "$door")")
    [ "$(basename "$door")" = "$room.h" ] || continue
    compiles "$room.h" "$@" -std=c11 -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700 -Wall -Wextra -Wno-unused-parameter \
        -Werror -fsyntax-only -I"$root/src" -x c "$door"
done
if command -v nm >/dev/null 2>&1; then
    foreign=$(nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVW]/ && $3 !~ /^mrd_|^_init$|^_fini$|^__|^_edata$|^_end$/ { print $3 }')
    if [ -z "$foreign" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAILED: the library lets out\n%s\n' "$foreign"
    fi
fi
echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ $failed = 0 ]
