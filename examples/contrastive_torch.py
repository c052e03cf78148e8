"""Contrastive pre-training in PyTorch: a model that learns from samples without their labels.

    pip install ".[torch]"
    python examples/contrastive_torch.py    # the solids of "shapes"

`copies=2` gives each sample twice. Each copy has its own views (here two of the four) and its own
augmentation, and the model learns which copies belong to one sample. Then a linear classifier is
trained on its features; only this step uses labels. Source: Chen et al., "A Simple Framework for
Contrastive Learning of Visual Representations" (2020).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader

from multiview_cifar import load_dataset
from multiview_cifar_tools import RandomCropFlip, RandomResizedCrop, TorchBatches
from mvcnn_torch import MVCNN

VALUES = {"dtype": torch.float32, "mean": [0.5] * 3, "std": [0.25] * 3}


def recolour(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Random mixtures of red, green and blue, or the model would tell samples by their colours."""
    out = np.empty_like(images)
    for own, image, seed in zip(out, images, seeds.tolist(), strict=True):
        draw = np.random.default_rng(seed)
        mixed = image @ draw.normal(0, 1, (3, 3))
        contrast, brightness = draw.uniform(40, 64, 3), draw.uniform(98, 158, 3)
        mixed = (mixed - mixed.mean((0, 1))) / (mixed.std((0, 1)) + 4) * contrast + brightness
        own[:] = np.clip(mixed, 0, 255)
    return out


def contrastive_loss(features: torch.Tensor) -> torch.Tensor:
    """How badly each of (B, 2, F) features finds the other copy of its sample among all others."""
    flat = normalize(features.flatten(0, 1), dim=-1)
    likeness = flat @ flat.T / 0.2  # the temperature
    likeness.fill_diagonal_(float("-inf"))
    other_copy = torch.arange(len(flat)) ^ 1  # they stand side by side
    return cross_entropy(likeness, other_copy)


def train(rows: Any, epochs: int, seed: int) -> MVCNN:
    """A model that has seen the rows so many times, without their labels."""
    torch.manual_seed(seed)
    model = MVCNN(1).to(memory_format=torch.channels_last)
    project = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))  # for the loss alone
    data = TorchBatches(
        rows,
        columns=[],
        copies=2,
        num_views=2,
        view_sampling="random",
        copy_views="different",
        augment=[RandomResizedCrop(scale=(0.5, 1)), RandomCropFlip(2), recolour],
        draws="per_view",
        seed=seed,
        **VALUES,
    )
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=len(rows) > 64)
    parameters = [*model.parameters(), *project.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, epochs * len(loader))
    for epoch in range(epochs):
        data.set_epoch(epoch)  # other views, and other draws of the augmentation
        total = 0.0
        for batch in loader:
            images, view_mask = batch["images"], batch["view_mask"]  # (B, 2, V, C, H, W), (B, 2, V)
            features = project(model.embed(images.flatten(0, 1), view_mask.flatten(0, 1)))
            loss = contrastive_loss(features.unflatten(0, (-1, 2)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def embed_all(model: MVCNN, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The features (N, 64) and labels (N,) of all rows."""
    batches = [*DataLoader(TorchBatches(rows, **VALUES), batch_size=64)]
    features = [model.embed(batch["images"], batch["view_mask"]) for batch in batches]
    return torch.cat(features), torch.cat([batch["label"] for batch in batches])


def count_right(model: MVCNN, rows: Any, test_rows: Any) -> int:
    """How many test samples a linear classifier of the model's features gets right."""
    features, labels = embed_all(model, rows)
    norm = nn.BatchNorm1d(64, affine=False, momentum=1.0)  # of all rows
    classifier = nn.Sequential(norm, nn.Linear(64, rows.features["label"].num_classes))
    optimizer = torch.optim.AdamW(classifier.parameters(), 0.01, weight_decay=0.1)
    for _ in range(300):
        loss = cross_entropy(classifier(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, labels = embed_all(model, test_rows)
    return int((classifier.eval()(features).argmax(1) == labels).sum())


def main() -> None:
    """Train, and print the accuracy before and after."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--num-samples", type=int, help="train on so many samples (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    splits = load_dataset("shapes", mode="RGB", encoding="flat_png")
    rows = splits["train"].shuffle(seed=args.seed)
    rows, test_rows = rows.select(range(args.num_samples or len(rows))), splits["test"]
    torch.manual_seed(args.seed)
    before = count_right(MVCNN(1).eval(), rows, test_rows) / len(test_rows)
    right, total = count_right(train(rows, args.epochs, args.seed), rows, test_rows), len(test_rows)
    seconds = time.perf_counter() - started
    print(
        f"test accuracy {right / total:.3f} ({right} of {total}), before training {before:.3f}, "
        f"in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
