#!/usr/bin/env python3
"""Golden values of a tiny SigLIP (Zhai et al. 2023), by PyTorch's own layers in float64: nn.MultiheadAttention,
nn.LayerNorm, nn.Conv2d, F.gelu(approximate="tanh"), F.logsigmoid and autograd. Names and shapes are those of
HuggingFace's SiglipModel. Run with PyTorch 1.13.1; writes beside itself."""
import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(20261121)
V, VL, VH, VM, SIZE, PATCH = 24, 2, 3, 40, 24, 8
T, TL, TH, TM, L, K = 20, 2, 2, 36, 8, 60
EPS, B = 1e-6, 5
w = {}


def new(name, *shape, scale=0.3, shift=0.0):
    w[name] = (torch.randn(*shape) * scale + shift).float()


def norm_weights(name, d):
    new(name + ".weight", d, scale=0.2, shift=1.0)
    new(name + ".bias", d, scale=0.2)


def linear_weights(name, o, i):
    new(name + ".weight", o, i)
    new(name + ".bias", o, scale=0.2)


def tower_weights(side, d, m, n):
    for k in range(n):
        at = f"{side}.encoder.layers.{k}."
        for p in "kvq":
            linear_weights(at + f"self_attn.{p}_proj", d, d)
        linear_weights(at + "self_attn.out_proj", d, d)
        norm_weights(at + "layer_norm1", d)
        linear_weights(at + "mlp.fc1", m, d)
        linear_weights(at + "mlp.fc2", d, m)
        norm_weights(at + "layer_norm2", d)


new("vision_model.embeddings.patch_embedding.weight", V, 3, PATCH, PATCH, scale=0.1)
new("vision_model.embeddings.patch_embedding.bias", V)
new("vision_model.embeddings.position_embedding.weight", (SIZE // PATCH) ** 2, V)
tower_weights("vision_model", V, VM, VL)
norm_weights("vision_model.post_layernorm", V)
new("vision_model.head.probe", 1, 1, V, scale=1.0)
new("vision_model.head.attention.in_proj_weight", 3 * V, V)
new("vision_model.head.attention.in_proj_bias", 3 * V)
linear_weights("vision_model.head.attention.out_proj", V, V)
norm_weights("vision_model.head.layernorm", V)
linear_weights("vision_model.head.mlp.fc1", VM, V)
linear_weights("vision_model.head.mlp.fc2", V, VM)
new("text_model.embeddings.token_embedding.weight", K, T)
new("text_model.embeddings.position_embedding.weight", L, T)
tower_weights("text_model", T, TM, TL)
norm_weights("text_model.final_layer_norm", T)
linear_weights("text_model.head", V, T)
w["logit_scale"], w["logit_bias"] = torch.tensor([1.2]), torch.tensor([-2.5])

pixels = torch.randn(B, 3, SIZE, SIZE).float()
ids = torch.randint(2, K, (B, L))
for i in range(B):
    ids[i, 3 + i:] = 1  # the end token is also the pad
p = {k: v.double().requires_grad_() for k, v in w.items()}
x0 = pixels.double().requires_grad_()


def norm(x, name):
    return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"], EPS)


def linear(x, name):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def attention(q, k, v, heads, in_w, in_b, out):
    y, _ = F.multi_head_attention_forward(
        q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), q.shape[-1], heads, in_w, in_b, None, None, False, 0.0,
        p[out + ".weight"], p[out + ".bias"], training=False, need_weights=False)
    return y.transpose(0, 1)


def mlp(x, at):
    return linear(F.gelu(linear(x, at + "fc1"), approximate="tanh"), at + "fc2")


def tower(x, side, n, heads, states):
    for k in range(n):
        at = f"{side}.encoder.layers.{k}."
        h = norm(x, at + "layer_norm1")
        in_w = torch.cat([p[at + f"self_attn.{c}_proj.weight"] for c in "qkv"])
        in_b = torch.cat([p[at + f"self_attn.{c}_proj.bias"] for c in "qkv"])
        x = x + attention(h, h, h, heads, in_w, in_b, at + "self_attn.out_proj")
        x = x + mlp(norm(x, at + "layer_norm2"), at + "mlp.")
        states.append(x)
    return x


v_states, t_states = [], []
h = F.conv2d(x0, p["vision_model.embeddings.patch_embedding.weight"], p["vision_model.embeddings.patch_embedding.bias"],
             stride=PATCH).flatten(2).transpose(1, 2)
h = norm(tower(h + p["vision_model.embeddings.position_embedding.weight"], "vision_model", VL, VH, v_states),
         "vision_model.post_layernorm")
a = "vision_model.head."
h = attention(p[a + "probe"].expand(B, -1, -1), h, h, VH, p[a + "attention.in_proj_weight"],
              p[a + "attention.in_proj_bias"], a + "attention.out_proj")
image = (h + mlp(norm(h, a + "layernorm"), a + "mlp."))[:, 0]
h = p["text_model.embeddings.token_embedding.weight"][ids] + p["text_model.embeddings.position_embedding.weight"]
h = norm(tower(h, "text_model", TL, TH, t_states), "text_model.final_layer_norm")
text = linear(h[:, -1], "text_model.head")
I, X = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
logits = I @ X.T * p["logit_scale"].exp() + p["logit_bias"]
loss = -F.logsigmoid((2 * torch.eye(B).double() - 1) * logits).sum(-1).mean()
loss.backward()


def write(path, tensors):
    names = {torch.float32: "F32", torch.int64: "I64", torch.float64: "F64"}
    header, at, out = {}, 0, b""
    for k in sorted(tensors, key=lambda k: (-tensors[k].element_size(), k)):
        x = tensors[k].detach().contiguous()
        raw = x.numpy().tobytes()
        header[k] = {"dtype": names[x.dtype], "shape": list(x.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        out += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(here, path), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + out)


write("model.safetensors", w)
write("inputs.safetensors", {"pixel_values": pixels, "input_ids": ids})
write("expected.safetensors", {
    "image_embeds_raw": image.float(), "text_embeds_raw": text.float(), "image_embeds": I.float(),
    "text_embeds": X.float(), "logits_per_image": logits.float(), "loss": loss, "grad_pixel_values": x0.grad.float(),
    "vision.hidden_states.1": v_states[0].float(), "vision.hidden_states.2": v_states[1].float(),
    "text.hidden_states.1": t_states[0].float(), "text.hidden_states.2": t_states[1].float()})
write("gradients.safetensors", {k: v.grad.float() for k, v in p.items()})
side = dict(hidden_act="gelu_pytorch_tanh", layer_norm_eps=EPS, attention_dropout=0.0)
with open(os.path.join(here, "config.json"), "w") as f:
    json.dump({"architectures": ["SiglipModel"], "model_type": "siglip", "torch_dtype": "float32",
               "text_config": dict(model_type="siglip_text_model", hidden_size=T, intermediate_size=TM,
                                   num_hidden_layers=TL, num_attention_heads=TH, max_position_embeddings=L,
                                   vocab_size=K, projection_size=V, **side),
               "vision_config": dict(model_type="siglip_vision_model", hidden_size=V, intermediate_size=VM,
                                     num_hidden_layers=VL, num_attention_heads=VH, image_size=SIZE, patch_size=PATCH,
                                     num_channels=3, **side)}, f, indent=1)
    f.write("\n")
with open(os.path.join(here, "preprocessor_config.json"), "w") as f:
    json.dump({"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
               "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 3,
               "rescale_factor": 1 / 255, "size": {"height": SIZE, "width": SIZE}}, f, indent=1)
    f.write("\n")
print(float(loss))
