"""MVCNN in Keras: one CNN sees every view of an object, and its features are pooled over them.

    pip install ".[tensorflow]"
    python examples/mvcnn_keras.py    # the solids of "shapes"

Source: Su et al., "Multi-view Convolutional Neural Networks for 3D Shape Recognition" (2015).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import keras
from keras import layers

from multiview_cifar import load_dataset
from multiview_cifar_tools import RandomCropFlip, to_tf_dataset


def conv(channels: int, size: int, stride: int = 1) -> list[layers.Layer]:
    """A convolution, normalised, with its nonlinearity."""
    layer = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)
    return [layer, layers.BatchNormalization(momentum=0.9), layers.ReLU()]


def make_model(image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """From (B, V, H, W, C) views, and which of them are real (B, V), to (B, classes) scores."""
    images = keras.Input((None, *image_shape), dtype="uint8", name="images")
    view_mask = keras.Input((None,), dtype="bool", name="view_mask")
    cnn = keras.Sequential(
        [
            layers.Rescaling(4 / 255, -2),
            *conv(16, 5, 2),
            *conv(32, 3),
            layers.MaxPooling2D(),
            *conv(64, 3),
            layers.GlobalMaxPooling2D(),
        ]
    )
    features = layers.TimeDistributed(cnn)(images)
    features = keras.ops.where(view_mask[..., None], features, -1e9)
    pooled = keras.ops.max(features, axis=1)  # the largest over all real views
    return keras.Model([images, view_mask], layers.Dense(num_classes)(pooled))


def load_batches(rows: Any, shuffle: bool, **options: Any) -> Any:
    """Batches of 16 samples, as Keras takes them: inputs and labels."""
    data = to_tf_dataset(rows, 16, shuffle=shuffle, **options)
    return data.map(lambda b: ({k: b[k] for k in ("images", "view_mask")}, b["label"]))


def train(rows: Any, epochs: int, seed: int) -> keras.Model:
    """A model that has seen the rows so many times."""
    keras.utils.set_random_seed(seed)
    augment = RandomCropFlip(padding=2)
    data = load_batches(rows, True, augment=augment, draws="per_view", seed=seed)
    (inputs, _), steps = data.element_spec, epochs * len(data)
    model = make_model(tuple(inputs["images"].shape[2:]), rows.features["label"].num_classes)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 5, warmup_target=5e-3, warmup_steps=steps // 5
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), loss, metrics=["accuracy"])
    for epoch in range(epochs):  # each pass over `data` is an epoch, of other draws
        history = model.fit(data, shuffle=False, verbose=0).history
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {history['loss'][0]:.3f}", flush=True)
    return model


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
    model = train(rows, args.epochs, args.seed)
    _, accuracy = model.evaluate(load_batches(splits["test"], False), verbose=0)
    total, seconds = len(splits["test"]), time.perf_counter() - started
    print(f"test accuracy {accuracy:.3f} ({accuracy * total:.0f} of {total}), in {seconds:.0f} s")


if __name__ == "__main__":
    main()
