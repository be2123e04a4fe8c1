#!/usr/bin/python3
"""The other half of bench/adapt: the same network, losses and Adam in PyTorch, on command.

    peer_adapt.py DIR THREADS [foreach]

Written the usual eager way, as the published code has it: three heads in a row, linearised residual, L1 term.
"""
import json
import struct
import sys
import time

import numpy as np
import torch
from torch import nn

where, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
D, HIDDEN, BATCH = 512, 256, 64


class Capsule(nn.Module):
    def __init__(self):
        super().__init__()
        self.mod = nn.Sequential(nn.Linear(D, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
                                 nn.Dropout(0.1), nn.Linear(HIDDEN, D))
        head = lambda *end: nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D), *end)
        self.block_mu, self.block_alpha, self.block_beta = head(), head(nn.ReLU()), head(nn.ReLU())

    def forward(self, x):
        h = self.mod(x) + x
        return self.block_mu(h), self.block_alpha(h), self.block_beta(h)


def term(m, a, b, z):
    r = (m - z).abs()
    a, b = a + 1e-4, b + 1e-4
    u = (r * a * b).clamp(1e-4, 1e3)
    return r.mean() + 0.05 * (u - torch.log(a) + torch.lgamma(1 / b) - torch.log(b)).mean()


model = nn.ModuleDict({"img_BayesCap": Capsule(), "txt_BayesCap": Capsule()})
raw = open(where + "/adapter.safetensors", "rb").read()
(n,) = struct.unpack("<Q", raw[:8])
state = {}
for name, t in json.loads(raw[8:8 + n]).items():
    if name != "__metadata__":
        a, b = t["data_offsets"]
        state[name] = torch.from_numpy(np.frombuffer(raw, np.float32, (b - a) // 4, 8 + n + a).reshape(t["shape"]).copy())
model.load_state_dict(state)
x, y = (torch.from_numpy(np.load(where + "/" + f)) for f in ("image.npy", "text.npy"))


def begin(lift):
    """The first weights, `lift` added to the last biases of the heads of 1/alpha and beta; Adam anew."""
    global adam, at
    model.load_state_dict(state)
    with torch.no_grad():
        for side in model.values():
            side.block_alpha[2].bias += lift
            side.block_beta[2].bias += lift
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, **({"foreach": True} if "foreach" in sys.argv else {}))
    at = 0


begin(0)


def loss_at(i):
    zi, zt = x[i:i + BATCH], y[i:i + BATCH]
    gi, gt = model["img_BayesCap"](zi), model["txt_BayesCap"](zt)
    return term(*gi, zi) + term(*gt, zt) + 1e-4 * (term(*gi, zt) + term(*gt, zi))


print("ready", flush=True)
for line in sys.stdin:
    word = line.split()
    if word[0] == "begin":
        begin(float(word[1]))
        print("begun", flush=True)
    elif word[0] == "loss":
        model.eval()
        with torch.no_grad():
            print("%.9g" % loss_at(0).item(), flush=True)
        model.train()
    else:
        model.train(word[0] != "plain")
        began = time.monotonic()
        for _ in range(int(word[1])):
            adam.zero_grad(set_to_none=True)
            loss_at(at).backward()
            adam.step()
            at = (at + BATCH) % len(x)
        print("%.6f" % (time.monotonic() - began), flush=True)
