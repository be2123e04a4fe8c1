"""tests/hostile/number_classes.py PROBE: every numeric field of every format, with every class of number in it.

Each field has its rule here, written from the documentation of the format and not from the code; the verdict of each of
some thirty literals follows from the rule. Refusals must name the file and, when the text is JSON at all, the field.
Peak memory over all of them may grow by 48 MiB (not asked under a sanitizer).
"""
import copy
import hashlib
import json
import math
import struct
import sys
import zlib

from hostile import Probe, Report, Scratch, js, parts, seeds, st

CLASSES = ["absent", "null", '"7"', "true", "[]", "{}", "-1", "0", "1", "0.5", "1e400", "-1e400", "NaN", "-0", "1e3",
           "65535", "65536", "65537", "2147483647", "2147483648", "2147483649", "4294967295", "4294967296", "4294967297",
           "9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808",
           "9223372036854775809", "18446744073709551615", "-9223372036854775808", "-9223372036854775809"]


def with_edges(low, high):
    more = []
    for edge in (low, high):
        if edge is not None and abs(edge) < 2 ** 63:
            more += [edge - 1, edge, edge + 1] if isinstance(edge, int) else [edge]
    return CLASSES + [repr(v) for v in more if repr(v) not in CLASSES]


def is_json(literal):
    """Would a strict reader of JSON with 64-bit whole numbers take it?"""
    if literal in ("NaN", "1e400", "-1e400"):
        return False
    try:
        return -2 ** 63 <= int(literal) < 2 ** 63
    except ValueError:
        return True


class Whole:
    """A whole number in [low, high]; 512.0 counts as one. more: a further condition."""

    def __init__(self, low, high, required=True, more=None, strict=False, null=None):
        self.low, self.high, self.required, self.more, self.strict = low, high, required, more, strict
        self.null = not required if null is None else null

    def literals(self):
        return with_edges(self.low, self.high)

    def accepts(self, literal):
        if literal == "absent":
            return not self.required
        if literal == "null":
            return self.null
        if not is_json(literal):
            return False
        v = json.loads(literal)
        if isinstance(v, bool) or not isinstance(v, (int, float)) or (isinstance(v, float) and (self.strict or v != int(v))):
            return False
        return self.low <= v <= self.high and (not self.more or self.more(int(v)))


class Real(Whole):
    def accepts(self, literal):
        if literal in ("absent", "null") or not is_json(literal):
            return super().accepts(literal)
        v = json.loads(literal)
        return isinstance(v, (int, float)) and not isinstance(v, bool) and self.low <= v <= self.high


MARK = '"@here@"'


def with_field(o, path, literal):
    """The JSON text of o with `literal` at path, which may be new there."""
    o = copy.deepcopy(o)
    at = o
    for k in path[:-1]:
        at = at[k]
    if literal == "absent":
        if isinstance(at, list) or path[-1] in at:
            del at[path[-1]]
        return json.dumps(o)
    at[path[-1]] = "@here@"
    return json.dumps(o).replace(MARK, literal)


def fields_of(probe, report, most):
    def run(title, base, path, rule, write, kind, named=None, literals=None, also=()):
        for literal in literals or rule.literals():
            target = write(with_field(base, path, literal))
            a = probe.ask(kind, target)
            says = [named or title.split()[0]]
            if is_json(literal) and isinstance(path[-1], str) and not any(w in a["text"] for w in also):
                says.append(path[-1])
            report.judge("%s %s = %s" % (title, ".".join(map(str, path)), literal), a,
                         "accept" if rule.accepts(literal) else "refuse", says, most)
    return run


def models(run, s):
    def tower(**more):
        return dict({"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4, "hidden_act": "gelu",
                     "layer_norm_eps": 1e-5}, **more)

    clip = {"model_type": "clip", "projection_dim": 4, "vision_config": tower(image_size=64, patch_size=32),
            "text_config": tower(max_position_embeddings=8, vocab_size=100)}
    blip = {"model_type": "blip", "architectures": ["BlipForImageTextRetrieval"], "image_text_hidden_size": 4,
            "vision_config": tower(image_size=64, patch_size=32), "text_config": tower(max_position_embeddings=8, vocab_size=100,
                                                                                    bos_token_id=98, sep_token_id=5, pad_token_id=0)}

    def write(text):
        return s.put("config.json", text)

    def fields(base, side, *rows):
        for name, rule, *also in rows:
            run("config.json of " + base["model_type"], base, [side, name] if side else [name], rule, write, "config", also=also)

    # a picture may be no multiple of its patches: the convolution leaves the rest out
    # transformers leaves out what equals its class's default, so nothing is required; null is no number where CLIP is
    # concerned, and counts as left out for BLIP
    for base, null in ((clip, False), (blip, True)):
        def whole(low, high, more=None, **k):
            return Whole(low, high, required=False, more=more, null=k.get("null", null))

        for side in ("vision_config", "text_config"):
            layers = 64 if base is blip and side == "text_config" else 1000
            fields(base, side, ("num_hidden_layers", whole(1, layers)), ("intermediate_size", whole(1, 16 * 65536)),
                   ("hidden_size", whole(1, 65536)), ("layer_norm_eps", Real(1e-12, 1.0, required=False)),
                   # left out there are 8 or 12, which do not divide 4
                   ("num_attention_heads", Whole(1, 1024, more=lambda v: 4 % v == 0)))
        fields(base, "vision_config", ("image_size", whole(1, 8192, lambda v: v >= 32), "patch_size"),
               ("patch_size", whole(1, 8192, lambda v: v <= 64)))
        fields(base, "text_config", ("max_position_embeddings", whole(2, 65536)))
    fields(clip, None, ("projection_dim", Whole(1, 65536, required=False)))
    fields(clip, "text_config", ("vocab_size", Whole(2, 10000000, required=False, null=False)),
           ("bos_token_id", Whole(0, 99, required=False)), ("eos_token_id", Whole(0, 99, required=False)))
    fields(blip, None, ("image_text_hidden_size", Whole(1, 65536, required=False)))
    fields(blip, "text_config", ("vocab_size", Whole(99, 10000000, required=False), "bos_token_id"),
           ("sep_token_id", Whole(0, 99), "vocab_size"), ("pad_token_id", Whole(0, 99, required=False)))

    # open_clip: missing fields have the library's defaults; heads follow from widths
    oc = {"model_cfg": {"embed_dim": 4, "vision_cfg": {"width": 64, "layers": 1, "head_width": 16, "patch_size": 32, "image_size": 64,
                                                       "mlp_ratio": 4.0},
                        "text_cfg": {"width": 64, "layers": 1, "heads": 4, "context_length": 8, "vocab_size": 100}}}

    def write_oc(text):
        return s.put("open_clip_config.json", text)

    def rows(path, *list_of):
        for name, rule, *also in list_of:
            run("open_clip_config.json", oc, ["model_cfg", *path, name], rule, write_oc, "config", also=also)

    def opt(low, high, more=None):
        return Whole(low, high, required=False, more=more)

    rows([], ("embed_dim", Whole(1, 65536)))
    rows(["vision_cfg"], ("width", opt(1, 65536, lambda v: v // 16 and v // 16 <= 1024 and v % (v // 16) == 0), "head_width"), ("layers", opt(1, 1000)),
         ("head_width", opt(1, 65536, lambda v: 64 // v and 64 % (64 // v) == 0)),
         ("patch_size", opt(1, 8192, lambda v: v <= 64)), ("image_size", opt(1, 8192, lambda v: v >= 32), "patch_size"),
         ("mlp_ratio", Real(0.015625, 16.0, required=False)))
    rows(["text_cfg"], ("width", opt(1, 65536, lambda v: v % 4 == 0), "heads"), ("layers", opt(1, 1000)),
         ("heads", opt(1, 1024, lambda v: 64 % v == 0)), ("context_length", opt(2, 65536)), ("vocab_size", opt(2, 10000000)))

    siglip = {"model_type": "siglip", "vision_config": tower(hidden_act="gelu_pytorch_tanh", image_size=64, patch_size=32),
              "text_config": tower(hidden_act="gelu_pytorch_tanh", max_position_embeddings=8, vocab_size=100, projection_size=4)}
    for side in ("vision_config", "text_config"):
        fields(siglip, side, ("num_hidden_layers", opt(1, 1000)), ("intermediate_size", opt(1, 16 * 65536)),
               ("layer_norm_eps", Real(1e-12, 1.0, required=False)), ("num_attention_heads", Whole(1, 1024, more=lambda v: 4 % v == 0)))
    fields(siglip, "vision_config", ("image_size", opt(1, 8192, lambda v: v >= 32), "patch_size"),
           ("patch_size", opt(1, 8192, lambda v: v <= 64)))
    fields(siglip, "text_config", ("max_position_embeddings", opt(2, 65536)), ("vocab_size", opt(2, 10000000)),
           ("projection_size", opt(1, 65536, lambda v: v == 4)))


def preprocessing(run, s):
    base = {"crop_size": {"height": 8, "width": 8}, "size": {"shortest_edge": 8}, "do_center_crop": True, "do_resize": True,
            "do_rescale": True, "rescale_factor": 0.00392, "do_normalize": True, "resample": 3, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5]}
    folder = s.dir("pre")

    def write(text):
        s.put("pre/preprocessor_config.json", text)
        return folder

    def field(path, rule, o=base):
        run("preprocessor_config.json", o, path, rule, write, "preprocessor", also=("height",))

    both = dict(base, size={"height": 8, "width": 8})
    side = Whole(1, 65535)
    field(["crop_size", "height"], side)
    field(["crop_size", "width"], side)
    field(["size", "shortest_edge"], side)
    field(["size", "height"], side, both)
    field(["size", "width"], side, both)
    field(["resample"], Whole(0, 5, required=False))
    field(["rescale_factor"], Real(1e-9, 1e9, required=False))
    for i in range(3):
        field(["image_mean", i], Real(-1e6, 1e6))
        field(["image_std", i], Real(1e-6, 1e6))


def weights(run, s, probe, report, most):
    name = "x.safetensors"
    header = {"w": {"dtype": "U8", "shape": [4, 2], "data_offsets": [0, 8]}, "v": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}

    def write(text):
        return s.put(name, st(text.encode(), bytes(16)))

    def one_of(*v):
        return Whole(0, 2 ** 63 - 1, strict=True, more=lambda x: x in v)

    for t, k, dims in (("w", 0, [4]), ("w", 1, [2]), ("v", 0, [2])):
        run("x.safetensors", header, [t, "shape", k], one_of(*dims), write, "safetensors")
    for t, k, v in (("w", 0, 0), ("w", 1, 8), ("v", 0, 8), ("v", 1, 16)):
        run("x.safetensors", header, [t, "data_offsets", k], one_of(v), write, "safetensors")
    body = js(header)
    for n in sorted({0, 1, 2, 7, 8, len(body) - 1, len(body), len(body) + 1, 10 ** 8, 10 ** 8 + 1} |
                    {2 ** k + d for k in (16, 31, 32, 53, 63) for d in (-1, 0, 1)} | {2 ** 64 - 1, 2 ** 64 - 8}):
        a = probe.ask("safetensors", s.put(name, struct.pack("<Q", n) + body + bytes(16)))
        report.judge("length of the header = %d" % n, a, "accept" if n == len(body) else "refuse", [name], most)


def arrays(s, probe, report, most):
    def npy(shape, version=1, n_header=None, data=bytes(24)):
        text = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % shape).encode()
        text += b" " * (-(12 + len(text) + 1) % 64) + b"\n"
        n = len(text) if n_header is None else n_header
        return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", n) + text + data

    def ask(title, data, want):
        report.judge("npy " + title, probe.ask("npy", s.put("x.npy", data)), want, ["x.npy"], most)

    literals = [c for c in CLASSES if c not in ("absent",)] + ["2", "3", "5", "02", "+2", "2L", "0x2", "2e0", ""]
    for at, right in ((0, 2), (1, 3)):
        for literal in literals:
            dims = ["2", "3"]
            dims[at] = literal
            ask("dimension %d = %s" % (at, literal), npy("%s, %s" % tuple(dims)), "accept" if literal in (str(right), "0%d" % right, "%dL" % right) else "refuse")
    for version in (1, 2, 3):
        true = len(npy("2, 3", version)) - 24 - (10 if version == 1 else 12)
        for n in sorted({0, 1, true - 1, true, true + 1, 65535} | ({2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 10 ** 8, 10 ** 8 + 1} if version > 1 else set())):
            # one byte fewer leaves out the line end, and then the array is a byte longer
            ask("version %d, header of %d" % (version, n), npy("2, 3", version, n), "accept" if n == true else "refuse")
    for version in range(256):
        ask("version %d" % version, npy("2, 3", version if version == 1 else max(version, 0)), "accept" if version in (1, 2, 3) else "refuse")


def sets(run, s, probe, report, most):
    full = parts(dict(seeds("set"))["full"])
    names = ["set.json", "image.npy", "text.npy", "images.csv", "texts.csv", "pairs.csv"]
    folder = s.dir("set")
    for n, data in zip(names, full):
        s.put("set/" + n, data)
    base = json.loads(full[0])

    def write(text):
        s.put("set/set.json", text)
        return folder

    def right(v, required=False, high=2 ** 63 - 1):
        return Whole(0, high, required=required, more=lambda x: x == v)

    for name, rule in (("n_images", right(2)), ("n_texts", right(3)), ("width", right(2)), ("n_pairs", right(3)), ("version", right(1)),
                       ("logit_scale", Real(0, 1e6, required=False))):
        run("set.json", base, [name], rule, write, "set")
    write(full[0].decode())
    cells = ["", " 1", "1 ", "+1", "0x1", "01", "1.0", "1e0", "x", "1,2"] + [c for c in CLASSES if c not in ("absent",)]
    for name, column, n, empty in (("pairs.csv", 0, 2, False), ("pairs.csv", 1, 3, False), ("texts.csv", 2, 2, True)):
        text = full[names.index(name)].decode()
        lines = text.split("\n")
        base_set = {k: v for k, v in base.items() if k != "n_pairs"}
        s.put("set/set.json", js(base_set))
        if name == "texts.csv":
            (s.put("set/pairs.csv", "") and __import__("os").unlink(folder + "/pairs.csv"))
        for literal in cells:
            row = lines[1].split(",")
            row[column] = '"%s"' % literal.replace('"', '""')
            s.put("set/" + name, "\n".join([lines[0], ",".join(row)] + lines[2:]))
            ok = (literal == "" and empty) or (literal.isdigit() and int(literal) < n) or literal == "-0"
            report.judge("%s column %d = %s" % (name, column, literal), probe.ask("set", folder), "accept" if ok else "refuse", [name], most)
        s.put("set/" + name, text)


def tokenizers(run, s):
    data = dict(seeds("tokenizer_json"))["good"]
    base = json.loads(parts(data)[0])
    n = len(base["model"]["vocab"])
    base["added_tokens"] = [{"id": n, "content": "<new>"}]
    folder = s.dir("tok")

    def write(text):
        s.put("tok/tokenizer.json", text)
        return folder

    run("tokenizer.json", base, ["model", "vocab", "the</w>"], Whole(0, 2 ** 31, strict=True, more=lambda v: v == base["model"]["vocab"]["the</w>"]),
        write, "tokenizer", "tok", literals=[c for c in with_edges(0, n) if c != "absent"])
    run("tokenizer.json", base, ["added_tokens", 0, "id"], Whole(0, 2 ** 31, strict=True, more=lambda v: v == n), write, "tokenizer", "tok",
        literals=with_edges(0, n))


def checkpoints(run, s):
    manifest, state = parts(dict(seeds("checkpoint"))["bytes"])[0], dict(seeds("checkpoint"))["bytes"].split(b"\n%%\n", 1)[1]
    folder = s.dir("run")
    tiny = {"model_type": "clip", "projection_dim": 4,
            "vision_config": {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4, "image_size": 4,
                              "patch_size": 4, "hidden_act": "gelu"},
            "text_config": {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4,
                            "max_position_embeddings": 4, "vocab_size": 4, "hidden_act": "gelu"}}
    s.put("run/config.json", js(tiny))
    s.put("run/checkpoints/step-000000001/state.safetensors", state)
    base = json.loads(manifest)
    base["state_sha256"] = hashlib.sha256(state).hexdigest()
    base["state_bytes"] = len(state)

    def write(text):
        s.put("run/checkpoints/step-000000001/checkpoint.json", text)
        return folder

    count = Whole(0, 2 ** 63 - 1)
    for name, rule in (("epoch", count), ("step", count), ("done", count), ("optimizer_step", count), ("best_epoch", Whole(-1, 2 ** 63 - 1)),
                       ("loss_mean", Real(-1e300, 1e300)), ("best", Real(-1e300, 1e300, null=True))):
        # what is no JSON is no complete checkpoint, and is passed over for an older one
        run("checkpoint.json", base, [name], rule, write, "checkpoint", "run", literals=[c for c in rule.literals() if is_json(c)])


def pictures(s, probe, report, most):
    """Sizes in the headers. Only the true one is sure to be right; no other may crash or take memory."""
    sizes = sorted({0, 1, 2 ** 16 - 1, 2 ** 16, 2 ** 16 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 16383, 16384, 100, 10 ** 4, 10 ** 5})

    def ask(title, name, data, want=None):
        report.judge(title, probe.ask("picture", s.put(name, data)), want, [name], most)

    png = dict(seeds("png"))["RGB"]
    for at in (16, 20):
        for v in sizes:
            d = png[:at] + struct.pack(">I", v) + png[at + 4:]
            d = d[:29] + struct.pack(">I", zlib.crc32(d[12:29])) + d[33:]
            ask("png size at %d = %d" % (at, v), "x.png", d, "refuse" if v == 0 or v > 65535 else None)
    for bits in range(256):
        d = png[:24] + bytes([bits]) + png[25:]
        ask("png bits = %d" % bits, "x.png", d[:29] + struct.pack(">I", zlib.crc32(d[12:29])) + d[33:], "accept" if bits == 8 else None)
        d = png[:25] + bytes([bits]) + png[26:]
        ask("png colour type = %d" % bits, "x.png", d[:29] + struct.pack(">I", zlib.crc32(d[12:29])) + d[33:], "accept" if bits == 2 else None)
    for kind, name, places in (("gif", "palette", (6, 8)), ("webp", "lossy", (26, 28))):
        d = dict(seeds(kind))[name]
        for at in places:
            for v in [x for x in sizes if x < 65536]:
                ask("%s size at %d = %d" % (kind, at, v), "x." + kind, d[:at] + struct.pack("<H", v) + d[at + 2:])
    d = dict(seeds("jpeg"))["rgb"]
    at = d.index(b"\xff\xc0")
    for k in (5, 7):
        for v in [x for x in sizes if x < 65536]:
            ask("jpeg size at %d = %d" % (k, v), "x.jpg", d[:at + k] + struct.pack(">H", v) + d[at + k + 2:])
    for k in (4, 9, 10, 11, 12):
        for v in range(0, 256, 5):
            ask("jpeg header byte %d = %d" % (k, v), "x.jpg", d[:at + k] + bytes([v]) + d[at + k + 1:])


def main():
    probe, report = Probe(together=True), Report("F3 number classes")
    most = 48 * 1024  # over all files together, and of an accepted model of 1,000 layers most
    run = fields_of(probe, report, most)
    with Scratch() as s:
        models(run, s)
        preprocessing(run, s)
        weights(run, s, probe, report, most)
        arrays(s, probe, report, most)
        sets(run, s, probe, report, most)
        tokenizers(run, s)
        checkpoints(run, s)
        pictures(s, probe, report, most + 64 * 1024)
        if report.n < 1000:
            report.fail("only %d files" % report.n)
        return report.end(probe)


assert not math.isnan(0)
sys.exit(main())
