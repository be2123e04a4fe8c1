#!/usr/bin/env python3
"""experiments/rank/small.py: the label-free scores of `meridian rank-models` on one small set, straight from the formulas of
docs/methods/ranking.md with NumPy, in O(n m) memory; and Kendall's tau-b with its permutation p by SciPy. tests/eval/test_rank.c
compares with what this prints."""
import numpy as np
from scipy import optimize, special, stats

N, M, D = 14, 17, 5


def rows(n, a, b):
    i, j = np.meshgrid(np.arange(n), np.arange(D), indexing="ij")
    return (((i * a + j * b) * 37 + i * j * 11) % 101 / 50.0 - 1).astype(np.float32).astype(float)


X, Y = rows(N, 7, 3), rows(M, 7, 3) + 0.6 * rows(M, 5, 13)
U, V = (z.astype(np.float32).astype(float) for z in (X, Y))
U /= np.linalg.norm(U, axis=1, keepdims=True)
V /= np.linalg.norm(V, axis=1, keepdims=True)
S = U @ V.T


def tau_of(s, back):
    """least NLL of the answers that the other direction gives: the items whose own first answer is the query."""
    hit = back[None, :] == np.arange(len(s))[:, None]
    asked = hit.any(1)

    def nll(log_tau):
        z = s[asked] / np.exp(log_tau)
        return np.mean(special.logsumexp(z, axis=1) - special.logsumexp(np.where(hit[asked], z, -np.inf), axis=1))

    grid = np.linspace(np.log(1e-3), np.log(10), 400)
    best = grid[np.argmin([nll(g) for g in grid])]
    return np.exp(optimize.minimize_scalar(nll, bounds=(best - .05, best + .05), method="bounded",
                                           options={"xatol": 1e-12}).x)


def uniformity(z):
    i, j = np.triu_indices(len(z), 1)
    return np.log(np.mean(np.exp(-2 * ((z[i] - z[j]) ** 2).sum(1))))


def effective_rank(z):
    s = np.linalg.svd(z - z.mean(0), compute_uv=False)
    p = s / s.sum()
    return np.exp(-(p * np.log(p)).sum())


for name, s in (("image to text", S), ("text to image", S.T)):
    first, back = s.argmax(1), s.argmax(0)
    tau = tau_of(s, back)
    lse = special.logsumexp(s / tau, axis=0)
    top2 = np.sort(s, axis=1)[:, ::-1]
    print(f"/* {name} */")
    print("tau %.9g" % tau)
    print("cycle %.12g" % np.mean(back[first] == np.arange(len(s))))
    print("spread %.12g" % (len(set(first)) / min(s.shape)))
    print("inverted %.12g" % np.mean(special.softmax(s / tau - lse, axis=1)[np.arange(len(s)), first]))
    print("max-p %.12g" % np.mean(special.softmax(s / tau, axis=1).max(1)))
    at = 0.05
    lse = special.logsumexp(s / at, axis=0)
    print("at %g: inverted %.12g max-p %.12g" % (at, np.mean(special.softmax(s / at - lse, axis=1)[np.arange(len(s)), first]),
                                              np.mean(special.softmax(s / at, axis=1).max(1))))
    print("lead %.12g" % np.mean((top2[:, 0] - top2[:, 1]) / s.std(1)))
    print("cosine %.12g" % np.mean(s.max(1)))
print("uniformity %.12g %.12g" % (uniformity(U), uniformity(V)))
print("effective-rank %.12g %.12g" % (effective_rank(U), effective_rank(V)))
gap = U.mean(0) - V.mean(0)
within = 1 - (U.mean(0) @ U.mean(0) + V.mean(0) @ V.mean(0)) / 2
print("centroid %.12g" % np.linalg.norm(gap), "gap %.12g" % (gap @ gap / 4 / (gap @ gap / 4 + within)))


def kendall(a, b):
    t = stats.kendalltau(a, b).statistic
    if len(set(a)) == len(a) and len(set(b)) == len(b):
        p = stats.kendalltau(a, b, method="exact").pvalue
    else:
        p = stats.permutation_test((np.array(a, float),), lambda x: stats.kendalltau(x, b).statistic,
                                   permutation_type="pairings", n_resamples=10**5).pvalue
    print(a, b, "tau-b %.15g p %.15g" % (t, p))


kendall([1, 2, 3, 4], [1, 2, 3, 4])
kendall([3, 1, 4, 1.5, 5, 9, 2, 6], [2, 7, 1, 8, 2.5, 8.5, 1.5, 8.2])
kendall([1, 2, 2, 3, 4, 4, 5], [1, 1, 2, 3, 5, 4, 4])
kendall([1, 1, 2, 2, 3, 3], [3, 1, 2, 2, 1, 3])
kendall(list(range(40)), [(i * 17) % 41 + i * 0.5 for i in range(40)])
