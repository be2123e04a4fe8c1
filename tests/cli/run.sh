#!/bin/sh
# One case of the command line: run.sh PROGRAM HELPER CASE.sh
#
# A case is a shell file sourced here. It calls `m ARGS...` (the program), whose exit code, stdout and stderr become a transcript;
# the transcript is compared line by line with CASE.exact (as it is) or CASE.glob ('*' stands for anything in a line, a line '...'
# for any lines). Paths of the scratch folder appear as T, so expectations hold on any machine. Exit 77: skipped, with the reason.
# To write an expectation anew: UPDATE=1 run.sh PROGRAM HELPER CASE.sh, and read the difference.
set -u
LC_ALL=C.UTF-8
export LC_ALL
# Threads that spin while they wait make a busy machine crawl.
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
unset NO_COLOR DISPLAY 2>/dev/null || :
program=$1 helper=$2 case=$3
case_name=${case%.sh}
here=$(cd "$(dirname "$0")" && pwd)
case $case_name in /*) ;; *) case_name=$PWD/$case_name ;; esac
case $program in /*) ;; *) program=$PWD/$program ;; esac
case $helper in /*) ;; *) helper=$PWD/$helper ;; esac
# A case whose first line begins with "# quick:" commits thousands of files: in memory, where there is such a place, that is quick.
T=
case $(head -n 1 "$case") in "# quick:"*) T=$(mktemp -d /dev/shm/meridian-cli.XXXXXX 2>/dev/null) ;; esac
[ -n "$T" ] || T=$(mktemp -d "${TMPDIR:-/tmp}/meridian-cli.XXXXXX") || exit 1
# Nothing that a killed case leaves running outlives it.
trap 'for p in $(cat "$T/.pids" 2>/dev/null); do kill -9 "$p" 2>/dev/null; done; rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM
XDG_CACHE_HOME=${MERIDIAN_TEST_CACHE:-$T/cache}
export XDG_CACHE_HOME
transcript=$T/.transcript
: >"$transcript"
cd "$T" || exit 1

say() { printf '%s\n' "$*" >>"$transcript"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; cat "$transcript" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*"; exit 77; }
G=/nonexistent
scrub() { sed -e "s|$T/|T/|g" -e "s|$T|T|g" -e "s|$here|HERE|g" -e "s|$G|GOLDEN|g" "$1"; }

# Progress goes to stderr and depends on the speed of the machine, and the plan names the memory needed on it: those lines are left
# out of the transcript.
talk() { grep -v -E '^(plan: |(pictures|captions|train|selftest|drawing the emoji world)  [0-9])' "$1" | sed 's/^/! /' >>"$transcript"; }

# The leak checker's tracer crashes on the worker threads of the picture library that thumbnails leave; leaks of what draws are
# looked for by the tests of room view.
start() {
    case $1 in
    report | plot | search) ASAN_OPTIONS=detect_leaks=0 "$program" "$@" ;;
    *) "$program" "$@" ;;
    esac
}
# m ARGS: run, record. The last output stays in .out and .err, the exit code in $code.
m() {
    printf '$ meridian' >>"$transcript"
    for word; do
        printf ' %s' "$word" >>"$transcript"
    done
    printf '\n' >>"$transcript"
    start "$@" >.out 2>.err
    code=$?
    cat .out >>"$transcript"
    talk .err
    say "= $code"
    return 0
}
# must ARGS: run, must succeed, nothing recorded
must() { start "$@" >.out 2>.err || { cat .err >&2; fail "meridian $*"; }; }
# absent PATH: no trace of an output may be left, nor a temporary beside it
absent() {
    [ ! -e "$1" ] || fail "$1 exists"
    set -- "$(dirname "$1")"/.*.tmp-*
    [ ! -e "$1" ] || fail "a temporary is left: $1"
}
# pictures DIR N: PNG files and data.csv (filepath, caption)
pictures() { "$helper" pictures "$1" "$2" || fail "helper pictures"; }
# tiny DIR [SEED]: a model of two small layers with its vocabulary learned from the pictures' captions in pics/
tiny() {
    [ -d pics ] || pictures pics 12
    must init "$here/tiny.json" --data csv:pics/data.csv --vocab-size 540 --seed "${2:-1}" --out "$1"
}
golden() {
    for G in "${MERIDIAN_GOLDEN:-/nonexistent}/$1" "${MERIDIAN_SHARED:-/nonexistent}/golden/$1"; do
        [ -d "$G" ] && return 0
    done
    skip "no golden files: set MERIDIAN_SHARED to the folder that holds golden/$1"
}

same_glob() { # expected transcript
    awk '
        function quote(s,   out, i, c) {
            out = "^"
            for (i = 1; i <= length(s); i++) {
                c = substr(s, i, 1)
                if (c == "*") out = out ".*"
                else if (index("\\^$.[]|()+?{}", c)) out = out "\\" c
                else out = out c
            }
            return out "$"
        }
        NR == FNR { want[++n] = $0; next }
        { got[++k] = $0 }
        # lines i.. of want against lines j.. of got
        function match_from(i, j,   l) {
            for (; i <= n && want[i] != "..."; i++) {
                if (j > k || got[j] !~ quote(want[i])) {
                    if (j > worst) { worst = j; at = i }
                    return 0
                }
                j++
            }
            if (i > n) return j > k
            for (l = j; l <= k + 1; l++)
                if (match_from(i + 1, l)) return 1
            return 0
        }
        END {
            if (match_from(1, 1)) exit 0
            printf "first line that differs:\n  expected %s\n  found    %s\n", want[at], worst <= k ? got[worst] : "(end)"
            exit 1
        }' "$1" "$2"
}

. "$case_name.sh" || fail "the case itself"
scrub "$transcript" >.scrubbed
transcript=$T/.scrubbed

if [ -n "${UPDATE:-}" ]; then
    [ -e "$case_name.glob" ] && cp "$transcript" "$case_name.glob" || cp "$transcript" "$case_name.exact"
elif [ -e "$case_name.exact" ]; then
    cmp -s "$case_name.exact" "$transcript" || { diff -u "$case_name.exact" "$transcript" >&2; exit 1; }
elif [ -e "$case_name.glob" ]; then
    same_glob "$case_name.glob" "$transcript" >.why || { cat .why "$transcript" >&2; exit 1; }
else
    [ ! -s "$transcript" ] || fail "no $case_name.exact or $case_name.glob"
fi
