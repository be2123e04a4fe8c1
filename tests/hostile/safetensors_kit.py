"""tests/hostile/safetensors_kit.py PROBE [N]: hostile safetensors files, and agreement with an independent oracle.

First a kit of named files with their verdicts, one or more a rule of the format. Then N (1,000) random files, about half
of them valid, judged by `oracle`, which knows the format from its published description only and shares no code with the
reader. The two must agree on every file.

Rules where readers may differ are decided so: duplicate names and unknown fields are refused, a header may end in white
space, types that are defined but not read by meridian (8-bit floats, complex) are refused, offsets must tile the data
without holes, a product of dimensions may not wrap, at most 8 dimensions, at most 100,000 tensors.
"""
import json
import random
import struct
import sys

from hostile import Probe, Report, Scratch, js, st

SIZE = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "U8": 1,
        "I8": 1, "BOOL": 1}
MAX_HEADER = 100000000


def no_duplicates(pairs):
    o = {}
    for k, v in pairs:
        if k in o:
            raise ValueError("duplicate")
        o[k] = v
    return o


def refuse_constant(s):
    raise ValueError(s)


def whole(v):
    return isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2 ** 63


def oracle(data):
    """True when the file keeps every rule."""
    if len(data) < 8:
        return False
    n = int.from_bytes(data[:8], "little")
    if n > MAX_HEADER or n > len(data) - 8:
        return False
    header, body = data[8:8 + n], data[8 + n:]
    if header[:1] != b"{":
        return False
    try:
        o = json.loads(header.decode("utf-8"), object_pairs_hook=no_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return False
    spans = []
    for name, t in o.items():
        if "\0" in name:
            return False
        if name == "__metadata__":
            if not isinstance(t, dict) or not all(isinstance(v, str) and "\0" not in v and "\0" not in k for k, v in t.items()):
                return False
            continue
        if not isinstance(t, dict) or set(t) != {"dtype", "shape", "data_offsets"}:
            return False
        shape, offsets = t["shape"], t["data_offsets"]
        if not isinstance(t["dtype"], str) or t["dtype"] not in SIZE or not isinstance(shape, list) or len(shape) > 8:
            return False
        if not all(whole(d) for d in shape) or not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)):
            return False
        bytes_ = SIZE[t["dtype"]]
        for d in shape:
            if d:
                bytes_ *= d
        if bytes_ >= 2 ** 64:
            return False
        if 0 in shape:
            bytes_ = 0
        begin, end = offsets
        if end - begin != bytes_ or end > len(body):
            return False
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            return False
        at = end
    return at == len(body)


# ---- the kit ----


def entry(dtype="F32", shape=(1,), offsets=(0, 4), **more):
    return dict({"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}, **more)


def kit():
    """(name, bytes, verdict)"""
    A, R = "accept", "refuse"
    four = b"\0\0\x80\x3f"
    good = {"w": entry()}
    yield "good", st(good, four), A
    # the length of the header
    for n in (0, 1, 2, 7, 8, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 8, 2 ** 64 - 1,
              MAX_HEADER, MAX_HEADER + 1):
        yield "length %d" % n, struct.pack("<Q", n) + js(good) + four, R
    for k in range(8):
        yield "only %d bytes" % k, b"\x10\0\0\0\0\0\0\0"[:k], R
    h = js(good)
    for d in (-3, -2, -1, 1, 2, 3, 4, 5):
        yield "length off by %d" % d, struct.pack("<Q", len(h) + d) + h + four, R
    yield "empty file", b"", R
    yield "no header", struct.pack("<Q", 0), R
    yield "empty object", st(b"{}"), A
    yield "empty object and data", st(b"{}", b"x"), R
    # what is around the object
    yield "spaces behind", st(h + b"   ", four), A
    yield "spaces before", st(b" " + h, four), R
    yield "line ends behind", st(h + b"\n\t\r ", four), A
    yield "NUL behind", st(h + b"\0", four), R
    yield "text behind", st(h + b"{}", four), R
    yield "byte order mark", st(b"\xef\xbb\xbf" + h, four), R
    for text in (b"[]", b"null", b"1", b'"x"', b"true", b"{", b"}", b"{]", b"{'w':1}", b"{w:1}", b'{"w"}', b'{"w":}', b'{"w":1,}',
                 b"{,}", b"{}{}", b"/**/{}", b'{"w":NaN}', b'{"w":Infinity}', b'{"w":0x10}', b'{"w":01}', b'{"w":"\n"}',
                 b'{"w":"\\x"}', b'{"w":"\\ud800"}', b'{"\xff":1}', b'{"\xc0\x80":1}', b'{"\xed\xa0\x80":1}'):
        yield "header %r" % text, st(text), R
    for n in (3, 4, 63, 64, 65, 1000, 100000):
        yield "%d brackets" % n, st(b'{"w":' + b"[" * n + b"]" * n + b"}"), R
        yield "%d braces" % n, st(b'{"w":' * n + b"1" + b"}" * n), R
    # the polyglots: other formats that begin or end as this one does not
    for magic in (b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY\x01\x00", b"\x80\x02}", b"GGUF\x03\0\0\0", b"%PDF-1.4", b"#!/bin/sh\n",
                  b"\x1f\x8b\x08\0", b"\x7fELF\x02\x01\x01\0", b"<html>", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xe0"):
        yield "begins as %r" % magic[:4], magic + st(good, four), R
        yield "ends as %r" % magic[:4], st(good, four) + magic, R
        t = {"w": entry("U8", [len(magic)], [0, len(magic)])}
        yield "holds %r" % magic[:4], st(t, magic), A
    # names
    for name, v in (("", A), (" ", A), ("a" * 10000, A), ("\n", A), ("\x1b[2J", A), ("../../etc/passwd", A), ("/etc/passwd", A),
                    ("__metadata", A), ("__METADATA__", A), ("\u202e", A), ("%s%n", A), ("\ud83d\ude00", A), ("\u0000", R),
                    ("w\u0000x", R)):
        yield "name %r" % name[:20], st({name: entry()}, four), v
    yield "duplicate names", st(b'{"w":%s,"w":%s}' % (js(entry()), js(entry())), four), R
    yield "duplicate by escape", st(b'{"w":%s,"\\u0077":%s}' % (js(entry()), js(entry())), four), R
    yield "duplicate field", st(b'{"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', four), R
    yield "duplicate metadata", st(b'{"__metadata__":{},"__metadata__":{}}'), R
    # metadata
    for m, v in (({}, A), ({"a": "b"}, A), ({"": ""}, A), ({"a": "x" * 100000}, A), ({"a": 1}, R), ({"a": None}, R), ({"a": ["b"]}, R),
                 ({"a": {"b": "c"}}, R), ({"a": True}, R), ([], R), ("x", R), (1, R), (None, R), (True, R), ({"a\0": "b"}, R), ({"a": "b\0"}, R)):
        yield "metadata %s" % json.dumps(m)[:30], st(dict(good, __metadata__=m), four), v
    yield "metadata alone", st({"__metadata__": {"format": "pt"}}), A
    yield "metadata as a tensor", st({"__metadata__": entry()}, four), R
    # an entry that is none
    for e in (None, 1, "x", [], [1, 2], True, {}, {"dtype": "F32"}, {"dtype": "F32", "shape": [1]}, {"shape": [1], "data_offsets": [0, 4]},
              {"dtype": "F32", "data_offsets": [0, 4]}, entry(extra=1), entry(offset=0), dict(entry(), Shape=[1])):
        yield "entry %s" % json.dumps(e)[:40], st({"w": e}, four), R
    # types
    for d, n in SIZE.items():
        yield "type " + d, st({"w": entry(d, [3], [0, 3 * n])}, bytes(3 * n)), A
        yield "type %s, one byte short" % d, st({"w": entry(d, [3], [0, 3 * n - 1])}, bytes(3 * n - 1)), R
    for d in ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2", "C64"):
        yield "type " + d, st({"w": entry(d, [4], [0, 4])}, four), R
    for d in ("f32", "float32", "F32 ", "F33", "", "F128", "I4", "Q4_0", "\0F32", "F32\0", 32, None, ["F32"]):
        yield "type %r" % (d,), st({"w": entry(d)}, four), R
    # shapes
    for s, v in (([], A), ([1], A), ([1, 1], A), ([1] * 8, A), ([1] * 9, R), ([1] * 1000, R), ([0], R), ([2], R), ([-1], R), ([1.0], R),
                 ([1.5], R), (["1"], R), ([None], R), ([True], R), ([[1]], R), ("1", R), (1, R), (None, R), ({}, R), ([2 ** 31], R),
                 ([2 ** 32 + 1], R), ([2 ** 62 + 1], R), ([2 ** 63 - 1], R), ([2 ** 63], R), ([2 ** 64 + 1], R), ([-2 ** 63], R)):
        yield "shape %s" % json.dumps(s)[:30], st({"w": dict(entry(), shape=s)}, four), v
    for s in ([2 ** 62], [2 ** 31, 2 ** 31], [2 ** 32, 2 ** 30], [2 ** 16, 2 ** 16, 2 ** 30], [2 ** 61, 2, 2], [2 ** 63 - 1, 4],
              [3, 6148914691236517205, 4], [641, 6700417, 2 ** 31]):
        yield "wraps to 0: %s" % s, st({"w": entry("F32", s, [0, 0])}), R
        yield "wraps to 4: %s" % s, st({"w": entry("F32", s, [0, 4])}, four), R
    for s in ([0, 2 ** 62], [2 ** 62, 0], [2 ** 62, 4, 0], [0, 2 ** 63 - 1, 2 ** 63 - 1]):
        big = 4
        for d in s:
            big *= d or 1
        yield "zero and %s" % s, st({"w": entry("F32", s, [0, 0])}), A if big < 2 ** 64 else R
    yield "zero size", st({"w": entry("F32", [0], [0, 0])}), A
    yield "zero size amid", st({"a": entry(), "z": entry("F32", [0, 3], [4, 4]), "b": entry("F32", [1], [4, 8])}, four * 2), A
    yield "zero size outside", st({"a": entry(), "z": entry("F32", [0], [8, 8])}, four), R
    yield "zero size inside another", st({"a": entry(), "z": entry("F32", [0], [2, 2])}, four), R
    # offsets
    for o in ([0], [], [0, 4, 8], [4, 0], [0, 5], [0, 3], [1, 5], [-4, 0], [0, -4], [0.0, 4.0], ["0", "4"], [None, 4], [True, 4], [[0], 4],
              "0,4", 4, None, {}, [2 ** 63 - 1, 2 ** 63 + 3], [2 ** 64 - 4, 2 ** 64], [2 ** 63, 2 ** 63 + 4], [-2 ** 63, 4], [4, 8], [0, 2 ** 32 + 4],
              [2 ** 32, 2 ** 32 + 4]):
        yield "offsets %s" % json.dumps(o)[:40], st({"w": dict(entry(), data_offsets=o)}, four), R
    yield "data short", st(good, four[:3]), R
    yield "data long", st(good, four + b"x"), R
    yield "hole at the start", st({"w": entry("F32", [1], [4, 8])}, four * 2), R
    yield "hole amid", st({"a": entry(), "b": entry("F32", [1], [8, 12])}, four * 3), R
    yield "hole at the end", st(good, four * 2), R
    yield "overlap", st({"a": entry(), "b": entry("F32", [1], [2, 6])}, b"x" * 6), R
    yield "the same place twice", st({"a": entry(), "b": entry()}, four), R
    yield "one inside the other", st({"a": entry("U8", [8], [0, 8]), "b": entry("U8", [2], [2, 4])}, b"x" * 8), R
    yield "order of the names differs", st({"a": entry("F32", [1], [4, 8]), "b": entry()}, four * 2), A
    yield "unaligned", st({"a": entry("U8", [1], [0, 1]), "b": entry("F64", [1], [1, 9])}, b"x" * 9), A
    # many
    for n, v in ((1000, A), (100000, A), (100001, R)):
        yield "%d tensors" % n, st({"t%d" % i: entry("U8", [1], [i, i + 1]) for i in range(n)}, bytes(n)), v
    yield "10^5 tensors of no size", st({"t%d" % i: entry("U8", [0], [0, 0]) for i in range(100000)}), A
    yield "10^6 numbers in a shape", st({"w": entry("U8", [1] * 1000000, [0, 1])}, b"x"), R
    yield "one number of 10^6 digits", st(b'{"w":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % (b"1" * 1000000), b"x"), R
    yield "a name of 1 MB", st({"n" * 1000000: entry()}, four), A
    yield "10^5 fields of metadata", st({"__metadata__": {"k%d" % i: "" for i in range(100000)}}), A
    yield "spaces of 10 MB", st(b"{" + b" " * 10000000 + b"}"), A


# ---- random headers ----


def random_file(r):
    """Half of the files valid, half with one to three rules broken."""
    rows, at = [], 0
    for i in range(r.randrange(0, 6)):
        dtype = r.choice(list(SIZE))
        shape = [r.choice([0, 1, 1, 2, 3, 5, 17]) for _ in range(r.randrange(0, 5))]
        n = SIZE[dtype]
        for d in shape:
            n *= d
        rows.append([r.choice(["w", "a.b", "\u00e9", "x y", "\n", ""]) + str(i), {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}])
        at += n
    r.shuffle(rows)
    if r.random() < 0.3:
        rows.append(["__metadata__", {"format": "pt", "n": str(r.random())}])
    body, tail, junk = bytes(r.randrange(256) for _ in range(at)), b"", b""
    if r.random() < 0.5:
        for _ in range(r.randrange(1, 4)):
            broken(r, rows)
        if r.random() < 0.2:
            body = body[:-1] if r.random() < 0.5 else body + b"x"
    if r.random() < 0.2:
        tail = r.choice([b" ", b"\n", b"        "])
    if r.random() < 0.03:
        junk = r.choice([b"x", b"\0", b"}", b","])
    pairs = [json.dumps(k) + ":" + (v if isinstance(v, str) else json.dumps(v)) for k, v in rows]
    header = ("{" + ",".join(pairs) + "}").encode() + junk + tail
    length = len(header)
    if r.random() < 0.03:
        length = r.choice([length + 1, length - 1, 0, 2 ** 63, 2 ** 64 - 1, length * 2])
    return struct.pack("<Q", length) + header + body


def broken(r, rows):
    if not rows:
        rows.append(["w", {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}])
        return
    i = r.randrange(len(rows))
    name, e = rows[i]
    odd = [None, True, -1, 0, 1, 1.5, "1", [], {}, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 62, 2 ** 63 - 1, 2 ** 63, 2 ** 64]
    what = r.randrange(8)
    if isinstance(e, dict) and name != "__metadata__" and {"dtype", "shape", "data_offsets"} <= set(e) and \
            isinstance(e["shape"], list) and isinstance(e["data_offsets"], list):
        if what == 0 and e["shape"]:
            e["shape"][r.randrange(len(e["shape"]))] = r.choice(odd)
        elif what == 1 and e["data_offsets"]:
            e["data_offsets"][r.randrange(len(e["data_offsets"]))] = r.choice(odd)
        elif what == 2:
            e["dtype"] = r.choice(["F8_E4M3", "f32", "U8", "F64", None, 7])
        elif what == 3:
            e[r.choice(["dtype", "shape", "data_offsets", "extra"])] = r.choice(odd)
        elif what == 4:
            del e[r.choice(["dtype", "shape", "data_offsets"])]
        elif what == 5:
            e["data_offsets"] = [x + 1 if isinstance(x, int) else x for x in e["data_offsets"]]
        elif what == 6:
            rows.append([name, dict(e)])
        else:
            e["shape"] = e["shape"] + [r.choice([0, 1, 2])] * r.randrange(1, 9)
    elif isinstance(e, dict):
        e["x"] = r.choice(odd)
    if r.random() < 0.1:
        rows[i][1] = r.choice([None, 1, "[]", "{}", "nul", "{\"dtype\":}"])


def main():
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    probe, report = Probe(), Report("F4 safetensors kit")
    with Scratch() as s:
        for name, data, want in kit():
            if oracle(data) != (want == "accept") and "100001" not in name:
                report.fail("%s: the oracle and the list of verdicts differ" % name)
            a = probe.ask("safetensors", s.put("x.safetensors", data))
            report.judge(name, a, want, ["x.safetensors"], 600 * 1024)
        rc = report.end(probe)
        probe, report = Probe(together=True), Report("F4 safetensors against an oracle")
        r = random.Random(20)
        for i in range(n):
            data = random_file(r)
            a = probe.ask("safetensors", s.put("x.safetensors", data))
            report.judge("random %d: %r" % (i, data[8:200]), a, "accept" if oracle(data) else "refuse")
        if not 0.3 < report.accepted / n < 0.8:
            report.fail("%d of %d accepted: the generator lost its balance" % (report.accepted, n))
        return report.end(probe, ", %d disagreements" % report.failures) | rc


sys.exit(main())
