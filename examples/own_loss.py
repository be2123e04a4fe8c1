"""examples/own_loss.py: a linear map trained with meridian's loss and plain numpy.

Two clouds of points, the second a rotated and noisy copy of the first. A matrix W is learned that turns the second back,
so that each point finds its own again: gradient descent on mrd.loss("clip", ...), whose gradients of the inputs are all
that a program outside needs. Prints recall at 1 before and after.
"""

import numpy as np

import meridian as mrd

N, D, STEPS, RATE = 256, 16, 200, 2.0


def main() -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(N, D))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    rotation, _ = np.linalg.qr(random.normal(size=(D, D)))
    texts = images @ rotation + 0.1 * random.normal(size=(N, D))

    w = np.eye(D)
    before = mrd.retrieval(images, texts @ w, bootstrap=0)["image_to_text"]["recall"]["1"]
    for step in range(STEPS):
        value, _, gradient = mrd.loss("clip", images, texts @ w, normalize=True, tau=0.1)
        w -= RATE * texts.T @ gradient  # d value / d W = texts^t (d value / d (texts W))
    after = mrd.retrieval(images, texts @ w, bootstrap=0)["image_to_text"]["recall"]["1"]
    print(f"loss {value:.4f}, recall at 1: {before:.3f} before, {after:.3f} after")


if __name__ == "__main__":
    main()
