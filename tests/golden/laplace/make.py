"""Values of tests/adapt/test_laplace.c: Hessians by PyTorch's automatic differentiation, in double; the evidence and
covariances by dense linear algebra in NumPy. Run: python3 make.py. Inputs are formulas, so that no file is needed."""
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
N, M, D, F = 4, 5, 3, 4
SCALE, BIAS = 6.0, -2.0


def wave(n, d, a, b):
    return torch.tensor([[np.sin(a * (i * d + j) ** 2 + b) for j in range(d)] for i in range(n)])


z = wave(N, D, 1.3, 0.2) * torch.tensor([[0.5], [1.0], [2.0], [3.0]])
y = wave(M, D, 0.7, 1.1)
y = y / y.norm(dim=1, keepdim=True)
u0 = z / z.norm(dim=1, keepdim=True)


def loss(u, how):
    logits = SCALE * u @ y.T
    # which answer is right does not matter to the Hessian of a softmax, nor to a sigmoid's
    if how == "softmax":
        return torch.logsumexp(logits, 1).sum() - logits[:, 0].sum()
    if how == "both":
        a = torch.logsumexp(logits, 1).sum() - logits[:, 0].sum()
        b = torch.logsumexp(logits, 0).sum() - logits[0].sum()
        return 0.5 * (a + b)
    sign = -torch.ones(N, M)
    sign[:, 0] = 1
    return -torch.nn.functional.logsigmoid(sign * (logits + BIAS)).sum()


def curvature(how):
    h = torch.autograd.functional.hessian(lambda u: loss(u, how), u0)  # [N,D,N,D]
    total = torch.zeros(D, D)
    for i in range(N):
        j = torch.autograd.functional.jacobian(lambda v: v / v.norm(), z[i])
        total += j.T @ h[i, :, i, :] @ j
    return total


for how in ("softmax", "both", "sigmoid"):
    print(how, [float("%.15g" % v) for v in curvature(how).flatten()])

phi = wave(N, F, 0.9, 0.4).numpy()
a = phi.T @ phi / np.sqrt(N)
b = curvature("softmax").numpy() / np.sqrt(N)
n, prior, square = 7.0, 2.5, 3.2
precision = n * np.kron(b, a) + prior * np.eye(D * F)
exact = np.linalg.inv(precision).reshape(D, F, D, F)
q = phi[1]
print("exact", [float("%.15g" % (q @ exact[k, :, k, :] @ q)) for k in range(D)])
fa = np.linalg.inv(np.sqrt(n) * a + np.sqrt(prior) * np.eye(F))
fb = np.linalg.inv(np.sqrt(n) * b + np.sqrt(prior) * np.eye(D))
print("factored", [float("%.15g" % (q @ fa @ q * fb[k, k])) for k in range(D)])
grid = np.exp(np.linspace(-8, 8, 160001))
ab = np.kron(np.linalg.eigvalsh(b), np.linalg.eigvalsh(a))
evidence = -grid * square / 2 + D * F * np.log(grid) / 2
for v in ab:
    evidence -= 0.5 * np.log(n * max(v, 0) + grid)
print("best prior (to 1e-4)", grid[np.argmax(evidence)])
