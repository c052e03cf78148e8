"""MVCNN in plain JAX: one CNN sees every view of an object, and its features are pooled over them.

    pip install ".[jax]"
    python examples/mvcnn_jax.py    # the solids of "shapes"

Source: Su et al., "Multi-view Convolutional Neural Networks for 3D Shape Recognition" (2015).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.example_libraries.optimizers import adam

from multiview_cifar import load_dataset
from multiview_cifar_tools import JaxBatches, RandomCropFlip

Tree = Any  # arrays in dicts and lists
LAYERS = [(5, 3, 16, 2), (3, 16, 32, 1), (3, 32, 64, 1)]  # kernel, channels before, after, stride


def make_parameters(key: jax.Array, num_classes: int) -> Tree:
    """The first weights, by He et al. (2015)."""
    layers = []
    for size, before, after, _ in LAYERS:
        key, own = jax.random.split(key)
        kernel = jax.random.normal(own, (size, size, before, after))
        kernel *= (2 / (size * size * before)) ** 0.5
        layers.append({"kernel": kernel, "gain": jnp.ones(after), "bias": jnp.zeros(after)})
    return {"layers": layers, "classify": jnp.zeros((LAYERS[-1][2], num_classes))}


def embed(layers: Tree, images: jax.Array, moments: Tree = None) -> tuple[jax.Array, Tree]:
    """(N, H, W, 3) images to (N, 64) features, and the mean and variance of each layer's channels.

    They are normalised by these `moments`; None: by those of the batch.
    """
    values, found = (images.astype(jnp.float32) / 255 - 0.5) / 0.25, []
    for i, (layer, (_, _, _, stride)) in enumerate(zip(layers, LAYERS, strict=True)):
        names = ("NHWC", "HWIO", "NHWC")
        values = jax.lax.conv_general_dilated(
            values, layer["kernel"], (stride, stride), "SAME", dimension_numbers=names
        )
        found.append((values.mean((0, 1, 2)), values.var((0, 1, 2))))
        mean, variance = moments[i] if moments else found[i]
        values = (values - mean) * jax.lax.rsqrt(variance + 1e-5)
        values = jax.nn.relu(values * layer["gain"] + layer["bias"])
        if i == 1:
            window = (1, 2, 2, 1)
            values = jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, window, window, "SAME")
    return values.max((1, 2)), found


def score(parameters: Tree, batch: Tree, moments: Tree = None) -> tuple[jax.Array, Tree]:
    """Batches of views (B, V, H, W, 3), of which some are real (B, V), to scores (B, classes)."""
    images, view_mask = batch["images"], batch["view_mask"]
    flat = images.reshape(-1, *images.shape[2:])
    features, found = embed(parameters["layers"], flat, moments)
    features = features.reshape(*view_mask.shape, -1)
    features = jnp.where(view_mask[..., None], features, -jnp.inf)
    return features.max(1) @ parameters["classify"], found  # the largest over all real views


def loss_of(parameters: Tree, batch: Tree) -> tuple[jax.Array, Tree]:
    """The mean cross entropy of a batch."""
    scores, found = score(parameters, batch)
    likelihoods = jax.nn.log_softmax(scores)
    return -jnp.take_along_axis(likelihoods, batch["label"][:, None], 1).mean(), found


def train(rows: Any, epochs: int, seed: int) -> tuple[Tree, Tree]:
    """The parameters after the rows were seen so many times, and the moments of all of them."""
    options = {"augment": RandomCropFlip(padding=2), "draws": "per_view", "seed": seed}
    batches = JaxBatches(rows, 16, shuffle=True, drop_last=True, **options)
    steps = epochs * len(batches)
    start, update, get = adam(lambda step: 5e-3 * (1 - step / steps) * jnp.minimum(1, step / 50))
    num_classes = rows.features["label"].num_classes
    state = start(make_parameters(jax.random.key(seed), num_classes))

    @jax.jit
    def train_on(number: int, state: Any, batch: Tree) -> tuple[Any, Tree, jax.Array]:
        (loss, found), slopes = jax.value_and_grad(loss_of, has_aux=True)(get(state), batch)
        return update(number, slopes, state), found, loss

    number, moments = 0, None
    for epoch in range(epochs):  # each pass over `batches` is an epoch, of other draws
        total = 0.0
        for batch in batches:
            state, found, loss = train_on(number, state, batch)
            moments = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, moments or found, found)
            number, total = number + 1, total + float(loss)
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(batches):.3f}", flush=True)
    return get(state), moments


def count_right(parameters: Tree, moments: Tree, rows: Any) -> int:
    """How many rows get their own class."""
    compiled = jax.jit(score)
    return sum(
        int((compiled(parameters, batch, moments)[0].argmax(1) == batch["label"]).sum())
        for batch in JaxBatches(rows, 64, columns=["label"])
    )


def main() -> None:
    """Train, and print the accuracy on the test split."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--num-samples", type=int, help="train on so many samples (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    splits = load_dataset("shapes", mode="RGB", encoding="flat_png")
    rows = splits["train"].shuffle(seed=args.seed)
    rows = rows.select(range(args.num_samples or len(rows)))
    right = count_right(*train(rows, args.epochs, args.seed), splits["test"])
    total, seconds = len(splits["test"]), time.perf_counter() - started
    print(f"test accuracy {right / total:.3f} ({right} of {total}), in {seconds:.0f} s")


if __name__ == "__main__":
    main()
