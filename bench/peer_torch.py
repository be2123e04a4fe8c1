#!/usr/bin/python3
"""The other half of `make bench`: the same CLIP in PyTorch, timed one call at a time, on command.

    peer_torch.py DIR

Reads what bench_clip left in DIR: the weights, the batch, the number of threads. Answers lines on stdin like bench_clip,
with a third word naming the variant; `variants CASE DTYPE` lists them, so that the comparison can take PyTorch's best:

    encode   chunks of 64 or the whole batch; for f32 also traced, frozen and optimised for inference; for bf16 under
             autocast or with weights in bfloat16
    train    autocast or weights in bfloat16 (then the optimiser's state is bfloat16 too, less work than ours);
             AdamW one tensor at a time or in its multi-tensor form
    texts    `padded` to the model's context as PyTorch code has it, and `trimmed` to the longest caption by hand,
             which is what meridian does by itself

The model is written the usual eager way: fused q, k, v product, softmax attention as two batched products, quick GELU.
"""
import json
import os
import struct
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # shapes do not change between calls
where = sys.argv[1]
sizes = json.load(open(os.path.join(where, "sizes.json")))
config = json.load(open(os.path.join(where, "config.json")))
torch.set_num_threads(sizes["threads"])


def read_safetensors(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        a, b = t["data_offsets"]
        x = np.frombuffer(raw, np.float32, (b - a) // 4, 8 + n + a).reshape(t["shape"])
        out[name] = torch.from_numpy(x.copy())
    return out


class Block(torch.nn.Module):
    def __init__(self, w, prefix, heads, eps, causal):
        super().__init__()
        p = lambda x: torch.nn.Parameter(x.clone())
        get = lambda name: w[prefix + name]
        self.heads, self.eps, self.causal = heads, eps, causal
        self.n1w, self.n1b = p(get("layer_norm1.weight")), p(get("layer_norm1.bias"))
        self.n2w, self.n2b = p(get("layer_norm2.weight")), p(get("layer_norm2.bias"))
        self.qkv_w = p(torch.cat([get("self_attn.%s_proj.weight" % c) for c in "qkv"]))
        self.qkv_b = p(torch.cat([get("self_attn.%s_proj.bias" % c) for c in "qkv"]))
        self.out_w, self.out_b = p(get("self_attn.out_proj.weight")), p(get("self_attn.out_proj.bias"))
        self.fc1_w, self.fc1_b = p(get("mlp.fc1.weight")), p(get("mlp.fc1.bias"))
        self.fc2_w, self.fc2_b = p(get("mlp.fc2.weight")), p(get("mlp.fc2.bias"))

    def forward(self, x):
        b, n, d = x.shape
        h = F.layer_norm(x, (d,), self.n1w, self.n1b, self.eps)
        q, k, v = F.linear(h, self.qkv_w, self.qkv_b).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        s = torch.matmul(q * (d // self.heads) ** -0.5, k.transpose(-1, -2))
        if self.causal:
            s = s + torch.full((n, n), float("-inf"), dtype=s.dtype).triu(1)
        h = torch.matmul(s.softmax(-1), v).transpose(1, 2).reshape(b, n, d)
        x = x + F.linear(h, self.out_w, self.out_b)
        h = F.linear(F.layer_norm(x, (d,), self.n2w, self.n2b, self.eps), self.fc1_w, self.fc1_b)
        return x + F.linear(h * torch.sigmoid(1.702 * h), self.fc2_w, self.fc2_b)


class Vision(torch.nn.Module):
    def __init__(self, w, c):
        super().__init__()
        p = lambda name: torch.nn.Parameter(w[name].clone())
        v = "vision_model."
        self.patch, self.eps = c["patch_size"], c.get("layer_norm_eps", 1e-5)
        self.embed = p(v + "embeddings.patch_embedding.weight")
        self.token = p(v + "embeddings.class_embedding")
        self.positions = p(v + "embeddings.position_embedding.weight")
        self.prew, self.preb = p(v + "pre_layrnorm.weight"), p(v + "pre_layrnorm.bias")
        self.postw, self.postb = p(v + "post_layernorm.weight"), p(v + "post_layernorm.bias")
        self.project = p("visual_projection.weight")
        self.blocks = torch.nn.ModuleList(
            Block(w, v + "encoder.layers.%d." % i, c["num_attention_heads"], self.eps, False)
            for i in range(c["num_hidden_layers"]))

    def forward(self, pixels):
        x = F.conv2d(pixels, self.embed, stride=self.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], 1, -1), x], 1) + self.positions
        d = x.shape[-1]
        x = F.layer_norm(x, (d,), self.prew, self.preb, self.eps)
        for block in self.blocks:
            x = block(x)
        x = F.linear(F.layer_norm(x[:, 0], (d,), self.postw, self.postb, self.eps), self.project)
        return x / x.norm(dim=-1, keepdim=True)


class Text(torch.nn.Module):
    def __init__(self, w, c):
        super().__init__()
        p = lambda name: torch.nn.Parameter(w[name].clone())
        t = "text_model."
        self.eps = c.get("layer_norm_eps", 1e-5)
        self.table = p(t + "embeddings.token_embedding.weight")
        self.positions = p(t + "embeddings.position_embedding.weight")
        self.lastw, self.lastb = p(t + "final_layer_norm.weight"), p(t + "final_layer_norm.bias")
        self.project = p("text_projection.weight")
        self.blocks = torch.nn.ModuleList(
            Block(w, t + "encoder.layers.%d." % i, c["num_attention_heads"], self.eps, True)
            for i in range(c["num_hidden_layers"]))

    def forward(self, ids, end):
        x = F.embedding(ids, self.table) + self.positions[:ids.shape[1]]
        d = x.shape[-1]
        for block in self.blocks:
            x = block(x)
        x = F.layer_norm(x, (d,), self.lastw, self.lastb, self.eps)
        x = F.linear(x[torch.arange(x.shape[0]), end], self.project)
        return x / x.norm(dim=-1, keepdim=True)


class Clip(torch.nn.Module):
    def __init__(self, w):
        super().__init__()
        self.vision = Vision(w, config["vision_config"])
        self.text = Text(w, config["text_config"])
        self.scale = torch.nn.Parameter(w["logit_scale"].clone())

    def loss(self, pixels, ids, end):
        image, text = self.vision(pixels), self.text(ids, end)
        logits = (self.scale.float().exp().clamp(1, 100) * (image @ text.t())).float()
        target = torch.arange(logits.shape[0])
        return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target))


weights = read_safetensors(os.path.join(where, "model.safetensors"))
n, side = sizes["batch"], config["vision_config"]["image_size"]
context, last_id = config["text_config"]["max_position_embeddings"], config["text_config"]["vocab_size"] - 1
pixels = torch.from_numpy(np.fromfile(os.path.join(where, "pixels.f32"), np.float32).reshape(n, 3, side, side))
ids = torch.from_numpy(np.fromfile(os.path.join(where, "ids.i32"), np.int32).reshape(n, context).astype(np.int64))
end = (ids == last_id).int().argmax(1)
longest = int(end.max()) + 1
texts = {"padded": ids, "trimmed": ids[:, :longest].contiguous()}

models, optimisers, traced = {}, {}, {}


def model(kind):
    """kind: f32 (also used under autocast) or bf16 (weights in bfloat16)"""
    if kind not in models:
        models[kind] = Clip(weights).to(torch.bfloat16 if kind == "bf16" else torch.float32)
    return models[kind]


def optimiser(kind, foreach):
    if (kind, foreach) not in optimisers:
        rows = list(model(kind).parameters())
        optimisers[kind, foreach] = torch.optim.AdamW(
            [{"params": [p for p in rows if p.dim() >= 2], "weight_decay": 0.2},
             {"params": [p for p in rows if p.dim() < 2], "weight_decay": 0.0}],
            lr=1e-6, betas=(0.9, 0.98), eps=1e-6, foreach=foreach)
    return optimisers[kind, foreach]


def variants(case, dtype):
    how = ["plain"] if dtype == "f32" else ["autocast", "weights"]
    if case == "encode_images":
        return [h + "," + c for h in how for c in ("64", "all")] + (["traced,64", "traced,all"] if dtype == "f32" else [])
    if case == "encode_texts":
        return [h + "," + t for h in how for t in ("padded", "trimmed")]
    return [h + "," + o + "," + t for h in how for o in ("single", "multi") for t in ("padded", "trimmed")]


def encode_images(dtype, how, chunk):
    k = n if chunk == "all" else 64
    m = model("bf16" if how == "weights" else "f32").vision
    x = pixels.bfloat16() if how == "weights" else pixels
    if how == "traced":
        if k not in traced:
            t = torch.jit.trace(m.eval(), pixels[:k])
            traced[k] = torch.jit.optimize_for_inference(torch.jit.freeze(t))
        m = traced[k]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        return [m(x[i:i + k]) for i in range(0, n, k)]


def encode_texts(dtype, how, length):
    m = model("bf16" if how == "weights" else "f32").text
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        return m(texts[length], end)


def train_step(dtype, how, optimiser_kind, length):
    kind = "bf16" if how == "weights" else "f32"
    m, o = model(kind), optimiser(kind, optimiser_kind == "multi")
    x = pixels.bfloat16() if how == "weights" else pixels
    o.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        loss = m.loss(x, texts[length], end)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    o.step()
    return loss


def main():
    print("ready PyTorch %s, %d threads, longest caption %d of %d tokens" %
          (torch.__version__, torch.get_num_threads(), longest, context), flush=True)
    cases = {"encode_images": encode_images, "encode_texts": encode_texts, "train_step": train_step}
    for line in sys.stdin:
        words = line.split()
        if words[0] == "variants":
            print(" ".join(variants(words[1], words[2])), flush=True)
        elif words[0] == "loss":
            with torch.no_grad():
                print("%.9g" % float(model("f32").loss(pixels, ids, end)), flush=True)
        else:
            started = time.perf_counter()
            cases[words[0]](words[1], *words[2].split(","))
            print("%.9g" % (time.perf_counter() - started), flush=True)


main()
