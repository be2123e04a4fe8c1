"""What the tests share: golden files, pictures, models that can be opened without anything else, a note before a crash."""

import json
import os
import struct
import tempfile
import unittest
import zlib
from typing import Any, Dict

import numpy as np

GOLDEN = os.environ["MERIDIAN_GOLDEN"]
PROGRAM = os.environ.get("MERIDIAN_PROGRAM", "")
SHARED = os.environ.get("MERIDIAN_SHARED", "")
_last = -1


def note(text: str) -> None:
    """What run.py prints should the next call kill the process."""
    global _last
    if "MERIDIAN_LAST" not in os.environ:
        return
    if _last < 0:
        _last = os.open(os.environ["MERIDIAN_LAST"], os.O_CREAT | os.O_WRONLY, 0o600)
    os.pwrite(_last, text[:4000].ljust(4000).encode("utf-8", "replace"), 0)


def safetensors(*names: str) -> Dict[str, np.ndarray]:
    """The arrays of a golden file."""
    kinds = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1"}
    with open(os.path.join(*names), "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for key, t in json.loads(data[8:8 + n]).items():
        if key != "__metadata__":
            at, end = t["data_offsets"]
            out[key] = np.frombuffer(data[8 + n + at:8 + n + end], kinds[t["dtype"]]).reshape(t["shape"])
    return out


def golden(*names: str) -> Dict[str, np.ndarray]:
    return safetensors(GOLDEN, *names)


def png(path: str, pixels: np.ndarray) -> str:
    """pixels [h, w, 3] uint8."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + pixels[i].tobytes() for i in range(height))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def disc(path: str, colour: Any, size: int = 40) -> str:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    pixels = np.full((size, size, 3), 255, np.uint8)
    pixels[x * x + y * y < (size * 0.4) ** 2] = colour
    return png(path, pixels)


def speaking_model(folder: str, of: str) -> str:
    """A golden BLIP with a vocabulary of made-up words, "wI" for id I: so words say which ids were meant."""
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        os.symlink(os.path.join(GOLDEN, of, name), os.path.join(folder, name))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        n = json.load(f)["text_config"]["vocab_size"] - 2  # [DEC] and [ENC] lie behind
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("".join(f"{words[i] if i < len(words) else f'w{i}'}\n" for i in range(n)))
    return folder


def shipped(test: unittest.TestCase) -> str:
    """The shipped model's name; the test is skipped where it is not there."""
    path = os.path.join(os.environ.get("MERIDIAN_MODELS", ""), "emoji", "model.safetensors")
    if not os.path.exists(path):
        test.skipTest("the shipped model is not in models/emoji")
    return "emoji"


def units(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def scratch(test: unittest.TestCase) -> str:
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return folder.name
