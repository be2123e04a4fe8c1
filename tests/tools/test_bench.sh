#!/bin/sh
# tests/tools/test_bench.sh BENCH_CLIP CONFIG: the benchmark's driver answers every case and refuses nonsense.
set -u
program=$1 config=$2
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
passed=0
failed=0
check() { # NAME STATUS
    if [ "$2" = 0 ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}
out=$(printf '%s\n' 'loss f32' 'encode_images f32' 'encode_images bf16' 'encode_texts f32' 'encode_texts bf16' \
    'train_step f32' 'train_step bf16' | "$program" "$config" 6 1 "$place")
check "exit code" $?
echo "$out" | awk 'NR == 1 { ok = /^ready / } NR == 2 { ok = ok && $1 > 0.5 && $1 < 20 } NR > 2 { ok = ok && $1 > 0 && $1 < 60 }
    END { exit !(ok && NR == 8) }'
check "a number for each line: $out" $?
[ -s "$place/model.safetensors" ] && [ "$(wc -c <"$place/ids.i32")" = 384 ] && [ -s "$place/pixels.f32" ]
check "files for the peer" $?
echo 'dance f32' | "$program" "$config" 6 1 "$place" >/dev/null 2>"$place/err"
[ $? = 2 ] && grep -q dance "$place/err"
check "an unknown case" $?
echo 'train_step f64' | "$program" "$config" 6 1 "$place" >/dev/null 2>"$place/err"
[ $? = 2 ]
check "an unknown type" $?
"$program" 2>/dev/null
[ $? = 2 ]
check "no words" $?
echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ $failed = 0 ]
