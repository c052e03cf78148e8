"""Metric learning in PyTorch: objects of one class get similar features.

    pip install ".[torch]"
    python examples/metric_learning_torch.py    # the solids of "shapes"

`PKSampler` makes batches of 8 classes with 4 samples each, so that each batch has samples of the
same class and of other classes. A test sample gets the class of the nearest training sample. Source
of the loss: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017),
batch hard.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from multiview_cifar import load_dataset
from multiview_cifar_tools import PKSampler, RandomCropFlip, TorchBatches
from mvcnn_torch import MVCNN

VALUES = {"dtype": torch.float32, "mean": [0.5] * 3, "std": [0.25] * 3}


def embed(model: MVCNN, batch: dict[str, Any]) -> torch.Tensor:
    """(B, 64) features of length 1."""
    return normalize(model.embed(batch["images"], batch["view_mask"]))


def triplet_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How much farther the farthest of the own class is than the nearest of another one."""
    distances = torch.cdist(features, features)
    is_same = labels[:, None] == labels
    farthest = distances.masked_fill(~is_same, 0).amax(1)
    nearest = distances.masked_fill(is_same, float("inf")).amin(1)
    return torch.relu(farthest - nearest + 0.2).mean()


def train(rows: Any, epochs: int, seed: int) -> MVCNN:
    """A model that has seen the rows so many times."""
    torch.manual_seed(seed)
    model = MVCNN(rows.features["label"].num_classes).to(memory_format=torch.channels_last)
    augment = RandomCropFlip(padding=2)
    data = TorchBatches(rows, augment=augment, draws="per_view", seed=seed, **VALUES)
    sampler = PKSampler(rows["label"], classes=8, samples=4, seed=seed)
    loader = DataLoader(data, batch_sampler=sampler)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * len(loader))
    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # other batches
        data.set_epoch(epoch)  # other draws of the augmentation
        total = 0.0
        for batch in loader:
            loss = triplet_loss(embed(model, batch), batch["label"])
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
    features = torch.cat([embed(model, batch) for batch in batches])
    return features, torch.cat([batch["label"] for batch in batches])


def main() -> None:
    """Train, and print how often the nearest training sample is of the right class."""
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
    known, labels = embed_all(model, rows)
    features, right_labels = embed_all(model, splits["test"])
    nearest = torch.cdist(features, known).argmin(1)
    right, total = int((labels[nearest] == right_labels).sum()), len(right_labels)
    seconds = time.perf_counter() - started
    print(f"test accuracy {right / total:.3f} ({right} of {total}), in {seconds:.0f} s")


if __name__ == "__main__":
    main()
