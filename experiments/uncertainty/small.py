# Values of tests/eval/test_uncertainty.c by NumPy, in double, straight from the formulas.
import numpy as np
N, D, TAU = 60, 8, 0.05
i, j = np.arange(N)[:, None], np.arange(D)[None]
A = ((i * i * 7 + i * j * 13 + j * j * 5 + 3 * i) % 101 - 50).astype(float)
B = 2 * A + 2 * ((i * i * 3 + i * j * j * 17 + 11 * j) % 97 - 48)
norm = np.linalg.norm
print('min norms', norm(A, axis=1).min(), norm(B, axis=1).min())
part = np.arange(N) % 3  # 0 train, 1 val, 2 test
def lse(x, axis):
    m = x.max(axis, keepdims=True)
    return (m + np.log(np.exp(x - m).sum(axis, keepdims=True))).squeeze(axis)
def auroc(u, hit):
    a, b = u[~hit][:, None], u[hit][None]
    return (a > b).mean() + .5 * (a == b).mean()
for way, (X, Y) in enumerate(((A, B), (B, A))):
    Q, G = X / norm(X, axis=1, keepdims=True), Y / norm(Y, axis=1, keepdims=True)
    S = Q @ G.T
    t, r = np.flatnonzero(part == 2), np.flatnonzero(part == 0)
    s = S[t]; top = s.argmax(1); k = np.arange(len(t)); hit = top == t
    o = np.sort(s, 1)[:, ::-1]
    lp = s / TAU - lse(s / TAU, 1)[:, None]; p = np.exp(lp)
    u = {'cosine': 1 - o[:, 0], 'margin': o[:, 1] - o[:, 0], 'entropy': -(p * lp).sum(1), 'max-p': 1 - p.max(1)}
    near = np.sort(S, 0)[::-1][:10].mean(0)
    c = 2 * s - near; c = c / TAU - lse(c / TAU, 1)[:, None]
    u['csls'] = 1 - np.exp(c[k, top])
    for name, ref, own in (('', slice(None), False), ('-ref', r, True)):
        col = lse(S[ref] / TAU, 0)[None]
        inv = s / TAU - col; inv = inv - lse(inv, 1)[:, None]
        dn = 2 * s / TAU - col; dn = dn - lse(dn, 1)[:, None]
        cc = np.logaddexp(col, s / TAU) if own else col
        u['dual' + name] = 1 - np.exp((lp + s / TAU - cc)[k, top])
        u['dual-norm' + name] = 1 - np.exp(dn[k, top])
        u['inverted' + name] = 1 - np.exp(inv[k, top])
    K = Q[t] @ Q[r].T
    u['knn'] = 1 - np.sort(K, 1)[:, ::-1][:, :10].mean(1)
    m = Q[r].mean(0); C = (Q[r] - m).T @ (Q[r] - m) / len(r)
    C = .9 * C + .1 * np.trace(C) / D * np.eye(D)
    u['mahalanobis'] = np.array([(x - m) @ np.linalg.inv(C) @ (x - m) for x in Q[t]])
    hub = np.bincount(np.argsort(-S, 1, kind='stable')[:, :10].ravel(), minlength=N)
    u['hubness'] = hub[top].astype(float)
    u['norm'] = -norm(X[t], axis=1)
    print('way', way, 'hits', hit.sum(), 'gap', (o[:,0]-o[:,1]).min())
    for n, v in u.items():
        print('    {"%s", {{%.12f, %.12f, %.12f}, ' % (n, v[0], v[7], auroc(v, hit)))
# measures
n = 23
x = np.arange(n)
uu = ((x * 29) % 17) / 4.0
hit = ((x * 7 + 3) % 10) < 6
order = np.lexsort((x, uu))
h = hit[order]
aurc = np.mean(np.cumsum(~h) / np.arange(1, n + 1))
def ranks(v):
    v = np.asarray(v, float)
    return np.array([(v < a).sum() + ((v == a).sum() + 1) / 2 for a in v])
def pear(a, b):
    a, b = a - np.mean(a), b - np.mean(b)
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
print('auroc %.12f aurc %.12f rho %.12f' % (auroc(uu, hit), aurc, pear(ranks(uu), hit.astype(float))))
for Bn in (5, 10):
    e = [b * n // Bn for b in range(Bn + 1)]
    rec = [h[e[b]:e[b + 1]].mean() for b in range(Bn)]
    mu = [uu[order][e[b]:e[b + 1]].mean() for b in range(Bn)]
    S_, R = pear(ranks(range(Bn)), ranks(rec)), pear(np.arange(Bn, dtype=float), np.array(rec)) ** 2
    print(Bn, np.diff(e), 'S %.12f R2 %.12f -SR2 %.12f' % (S_, R, -S_ * R), 'rec', rec[:3], 'u', mu[:2])
pr = (1 + 2 * ((x * 13) % 48)) / 97.0
b = np.minimum((pr * 10).astype(int), 9)
print('ece %.12f brier %.12f' % (sum(abs(hit[b == q].mean() - pr[b == q].mean()) * (b == q).sum() for q in range(10) if (b == q).any()) / n, ((pr - hit) ** 2).mean()))
