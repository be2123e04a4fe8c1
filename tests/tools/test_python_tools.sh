#!/bin/sh
# tests/tools/test_python_tools.sh MERIDIAN GOLDEN: the scripts for machines that have PyTorch. convert-pickle makes folders that
# meridian opens, make-doctor's values prove the shipped model. Skipped where PyTorch or Pillow is absent.
set -u
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
program=$1 golden=$2
python=${PEER_PYTHON:-/usr/bin/python3}
"$python" -c 'import torch, numpy, PIL' 2>/dev/null || { echo "skipped: no PyTorch and Pillow for $python"; exit 77; }
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
# Pickles as people have them: a plain state dict beside its config.json, a checkpoint of a training, one with code in it.
"$python" - "$golden" "$place" <<'PY' || exit 1
import json, os, shutil, struct, sys
import numpy as np
import torch
golden, place = sys.argv[1:]
def load(name):
    raw = open(f"{golden}/{name}/model.safetensors", "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    types = {"F32": np.float32, "I64": np.int64}
    return {k: torch.from_numpy(np.frombuffer(raw[8 + n:][v["data_offsets"][0]:v["data_offsets"][1]], types[v["dtype"]])
                                .reshape(v["shape"]).copy()) for k, v in head.items() if k != "__metadata__"}
class Code:
    def __reduce__(self):
        return (open, (place + "/ran", "w"))
for d in ("hf", "rn", "half"):
    os.mkdir(f"{place}/{d}")
vit = load("clip_vit_tiny")
torch.save(vit, place + "/hf/pytorch_model.bin")
torch.save({k: v.bfloat16() for k, v in vit.items()}, place + "/half/pytorch_model.bin")
for d in ("hf", "half"):
    shutil.copy(f"{golden}/clip_vit_tiny/config.json", f"{place}/{d}")
torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in load("clip_rn_tiny").items()}}, place + "/rn/RN.pt")
torch.save({"w": Code()}, place + "/code.pt")
PY
"$python" "$root/tools/convert-pickle" "$place/hf/pytorch_model.bin" >"$place/out" 2>&1
check "a state dict" $?
"$program" encode --model "$place/hf" --data "tensors:$golden/clip_vit_tiny/inputs.safetensors" --out "$place/a" --engine ref >/dev/null 2>&1
check "its model encodes" $?
"$program" encode --model "$golden/clip_vit_tiny" --data "tensors:$golden/clip_vit_tiny/inputs.safetensors" --out "$place/b" --engine ref >/dev/null 2>&1
cmp -s "$place/a" "$place/b"
check "the same vectors as from the original" $?
"$python" "$root/tools/convert-pickle" "$place/half/pytorch_model.bin" >/dev/null 2>&1 &&
    "$program" inspect "$place/half/model.safetensors" | grep -q '^bytes_by_dtype *BF16 290594$'
check "bfloat16 stays bfloat16" $?
"$python" "$root/tools/convert-pickle" "$place/rn/RN.pt" >/dev/null 2>"$place/err"
check "a training's checkpoint" $?
grep -q "transformer_heads" "$place/err"
check "heads that cannot be known are said" $?
"$program" inspect "$place/rn" | grep -q '^layout *openai$'
check "OpenAI's state dict gets its configuration" $?
"$python" "$root/tools/convert-pickle" "$place/rn/RN.pt" >/dev/null 2>&1
[ $? != 0 ]
check "an existing file is not replaced" $?
"$python" "$root/tools/convert-pickle" "$place/code.pt" "$place/x" >/dev/null 2>&1
[ $? != 0 ] && [ ! -e "$place/ran" ] && [ ! -e "$place/x/model.safetensors" ]
check "code in a pickle is not run" $?
"$python" "$root/tools/make-doctor" "$root/models/emoji" --out "$place/values.safetensors" >/dev/null 2>&1
check "make-doctor" $?
"$program" doctor "$root/models/emoji" --values "$place/values.safetensors" >"$place/out" 2>&1 &&
    [ "$(grep -c ' right ' "$place/out")" = 6 ]
check "the shipped model is right by PyTorch and Pillow" $?
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
