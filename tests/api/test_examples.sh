#!/bin/sh
# tests/api/test_examples.sh ROOT NEAREST MODALITY_GAP: the examples run and say what they should.
set -u
root=$1 nearest=$2 gap=$3
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
passed=0
failed=0
skipped=0
ok() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $*"
}
# a red disc on white, 24 x 24
base64 -d >"$place/disc.png" <<'END'
iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAIAAABvFaqvAAAATklEQVR42mP4TyXAQA+D7shpoCGSDcI0gqBxDCQZgcc4BvJMwTSLBgaRagqaWdQ2iDxTkM0aNYj+Bg2+dDQo8xo1ixFqFmxULmoHshYBAFg7bymNIQ95AAAAAElFTkSuQmCC
END

out=$("$gap") && ok || bad "modality_gap ends with $?"
[ "$(echo "$out" | wc -l)" = 4 ] && ok || bad "modality_gap: expected 4 lines, found: $out"
# Each point is lifted along the sphere by the tilt, so the two centres lie sin(tilt) apart.
echo "$out" | awk '{
    if (!match($0, /"centroid_distance":-?[0-9.e+-]+/)) exit 1
    gap = substr($0, RSTART + 20, RLENGTH - 20)
    want = sin(0.3 * (NR - 1))
    if ((gap - want) ^ 2 > 1e-8) { print "line " NR ": gap " gap ", expected " want; exit 1 }
    if ($0 !~ /"recall":{"1":1\.0,/) { print "line " NR ": recall is not 1"; exit 1 }
}' && ok || bad "modality_gap: numbers"

"$nearest" 2>"$place/err"
[ $? = 2 ] && ok || bad "nearest without arguments: expected exit code 2"
"$nearest" /nowhere "$place/disc.png" red 2>"$place/err"
[ $? = 1 ] && grep -q "/nowhere" "$place/err" && ok || bad "nearest: a missing model must be named: $(cat "$place/err")"
if [ -f "$root/models/emoji/model.safetensors" ]; then
    out=$("$nearest" emoji "$place/disc.png" "red circle" "green leaf" "man walking") && ok || bad "nearest ends with $?"
    case $out in *"red circle"*"
"*) ok ;; *) bad "nearest: $out" ;; esac
    echo "$out" | head -n 1 | grep -q "red circle" && ok || bad "nearest: a red disc should be a red circle: $out"
else
    skipped=3
    echo "SKIPPED: nearest with the shipped model, which is not in models/emoji"
fi

# The same in Python, where there is one with numpy (MERIDIAN_PYTHON; not with a sanitizer, which Python does not load).
if [ -n "${MERIDIAN_PYTHON-}" ] && "$MERIDIAN_PYTHON" -c 'import numpy' 2>/dev/null; then
    PYTHONPATH=$root/python PYTHONDONTWRITEBYTECODE=1
    export PYTHONPATH PYTHONDONTWRITEBYTECODE
    out=$("$MERIDIAN_PYTHON" "$root/examples/own_loss.py") && ok || bad "own_loss.py ends with $?"
    case $out in *"recall at 1: 0."*" 1.000 after") ok ;; *) bad "own_loss.py: $out" ;; esac
    "$MERIDIAN_PYTHON" "$root/examples/nearest.py" 2>"$place/err"
    [ $? = 2 ] && ok || bad "nearest.py without arguments: expected exit code 2"
    "$MERIDIAN_PYTHON" "$root/examples/nearest.py" /nowhere "$place/disc.png" red 2>"$place/err"
    [ $? = 1 ] && grep -q "/nowhere" "$place/err" && ok || bad "nearest.py: a missing model must be named: $(cat "$place/err")"
    if [ -f "$root/models/emoji/model.safetensors" ]; then
        "$nearest" emoji "$place/disc.png" "red circle" "green leaf" >"$place/c"
        "$MERIDIAN_PYTHON" "$root/examples/nearest.py" emoji "$place/disc.png" "red circle" "green leaf" >"$place/python"
        cmp -s "$place/c" "$place/python" && ok || bad "nearest.c and nearest.py differ: $(cat "$place/c" "$place/python")"
    fi
else
    skipped=$((skipped + 5))
    echo "SKIPPED: examples in Python, for which there is no python3 with numpy here"
fi
echo "[  PASSED  ] $passed test(s)."
[ $skipped = 0 ] || echo "[  SKIPPED ] $skipped test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ $failed = 0 ]
