"""Candidate models out of the shipped one: noise in the weights, small weights set to zero, layers left out, an untrained
model, short trainings from scratch and short fine-tunings on a part of the emoji world. Needs NumPy."""
import csv
import json
import os
import shutil
import struct
import subprocess

import numpy as np

TYPES = {"F16": np.float16, "F32": np.float32}


def read_tensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, t in head.items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = np.frombuffer(data[a:b], TYPES[t["dtype"]]).reshape(t["shape"]).astype(np.float32)
    return out


def write_tensors(path, tensors):
    head, at = {}, 0
    for name, x in tensors.items():
        head[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(np.ascontiguousarray(x).tobytes())


def changed(source, folder, change, layers=None):
    """A copy of the model whose tensors went through change(name, x) -> x or None (left out)."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("doctor*", "recipe", "README*"))
    config = json.load(open(os.path.join(folder, "config.json")))
    for part, n in (layers or {}).items():
        config[part]["num_hidden_layers"] = n
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=1)
    kept = {}
    for name, x in read_tensors(os.path.join(source, "model.safetensors")).items():
        y = change(name, x)
        if y is not None:
            kept[name] = np.asarray(y, np.float32)
    write_tensors(os.path.join(folder, "model.safetensors"), kept)


def noisy(source, folder, share):
    rng = np.random.default_rng(7)
    changed(source, folder, lambda name, x: x + share * (x.std() if x.size > 1 else 0) * rng.standard_normal(x.shape))


def pruned(source, folder, share):
    def cut(name, x):
        return x if x.ndim < 2 or "embedding" in name else np.where(np.abs(x) < np.quantile(np.abs(x), share), 0, x)
    changed(source, folder, cut)


def shorter(source, folder, part, n):
    prefix = part.replace("_config", "_model.encoder.layers.")

    def cut(name, x):
        return None if name.startswith(prefix) and int(name[len(prefix):].split(".")[0]) >= n else x
    changed(source, folder, cut, {part: n})


def world():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "meridian", "emoji-world-1")


def part_of_world(path, split, keep, names_only=False):
    """A CSV of pictures and captions: the rows of a split whose group passes keep(group)."""
    def rows(name):
        with open(os.path.join(world(), name), encoding="utf-8") as f:
            return list(csv.DictReader(f))
    images, texts = rows("images.csv"), rows("texts.csv")
    with open(path, "w", encoding="utf-8", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(["filepath", "caption"])
        for p in rows("pairs.csv"):
            i, t = images[int(p["image"])], texts[int(p["text"])]
            if i["split"] == split and keep(i["group"]) and not (names_only and t["kind"] != "name"):
                w.writerow([os.path.join(world(), i["path"]), t["caption"]])


def run(*words):
    subprocess.run([str(w) for w in words], check=True, stdout=subprocess.DEVNULL)


def make(meridian, shipped, folder):
    """name -> (model folder, picture size or None). What is there already stays."""
    made = {"shipped": (shipped, None)}

    def once(name, build):
        path = os.path.join(folder, name)
        if not os.path.isdir(path):
            build(path)
        inner = os.path.join(path, "model")
        made[name] = (inner if os.path.isdir(inner) else path, None)

    os.makedirs(folder, exist_ok=True)
    for share in (0.05, 0.1, 0.2, 0.3, 0.5):
        once(f"noise-{share}", lambda p: noisy(shipped, p, share))
    for share in (0.5, 0.7, 0.85):
        once(f"pruned-{share}", lambda p: pruned(shipped, p, share))
    once("vision-5-layers", lambda p: shorter(shipped, p, "vision_config", 5))
    once("vision-4-layers", lambda p: shorter(shipped, p, "vision_config", 4))
    once("text-3-layers", lambda p: shorter(shipped, p, "text_config", 3))
    for size in (32, 48, 96):
        made[f"pictures-{size}"] = (shipped, size)
    once("untrained", lambda p: run(meridian, "init", os.path.join(shipped, "config.json"), "--data", "emoji", "--split",
                                    "train", "--vocab-size", 2048, "--seed", 1, "--out", p, "-q"))
    for steps in (60, 200):
        once(f"scratch-{steps}-steps",
             lambda p: run(meridian, "train", "--model", made["untrained"][0], "--data", "emoji", "--split", "train",
                           "--val-split", "none", "--batch", 96, "--lr", 1e-3, "--warmup", 20, "--epochs", 7, "--max-steps",
                           steps, "--seed", 1, "--keep", "last", "--dtype", "bf16", "--out", p, "-q"))
    parts = {"flags": lambda g: g == "Flags", "things": lambda g: g in ("Objects", "Food & Drink", "Activities"),
             "people": lambda g: g == "People & Body"}
    for name, keep in parts.items():
        table = os.path.join(folder, f"train-{name}.csv")
        part_of_world(table, "train", keep)
        once(f"tuned-{name}",
             lambda p: run(meridian, "train", "--model", shipped, "--data", f"csv:{table}", "--val-split", "none", "--batch",
                           64, "--lr", 5e-4, "--warmup", 5, "--epochs", 30, "--max-steps", 60, "--seed", 1, "--keep", "last",
                           "--dtype", "bf16", "--out", p, "-q"))
    return made
