#!/bin/sh
# tests/tools/test_readme.sh MERIDIAN: the commands of README.md work, on a set made as ./demo makes it.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
[ -f "$root/models/emoji/model.safetensors" ] || { echo "SKIPPED: models/emoji has no weights"; exit 77; }
MERIDIAN_MODELS=$root/models # the build folder may lie anywhere
export MERIDIAN_MODELS
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$1" encode --model emoji --data emoji --split test,compositional --captions name \
    --out "$place/set" --quiet >/dev/null
MERIDIAN_BIN=$(CDPATH= cd -- "$(dirname -- "$1")" && pwd) README_PLACE=$place "$root/tools/update-readme" --check
