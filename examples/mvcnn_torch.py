"""MVCNN in PyTorch: one CNN sees every view of an object, and its features are pooled over them.

    pip install ".[torch]"
    python examples/mvcnn_torch.py                    # the solids of "shapes"
    python examples/mvcnn_torch.py --data-dir eth80   # class/object/view.png, leave one object out

Source: Su et al., "Multi-view Convolutional Neural Networks for 3D Shape Recognition" (2015).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from multiview_cifar import load_dataset
from multiview_cifar_tools import RandomCropFlip, TorchBatches

SIZE = (32, 32)  # (height, width) of a view


def conv(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution, normalised, with its nonlinearity."""
    layer = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU()]


class MVCNN(nn.Module):
    """(B, V, 3, H, W) views, and which of them are real (B, V), to (B, classes) scores."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            *conv(3, 16, 5, stride=2),
            *conv(16, 32, 3),
            nn.MaxPool2d(2),
            *conv(32, 64, 3),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.classify = nn.Linear(64, num_classes)

    def embed(self, images: torch.Tensor, view_mask: torch.Tensor) -> torch.Tensor:
        """The features (B, 64): of each the largest over all real views."""
        features = self.cnn(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return features.masked_fill(~view_mask[..., None], float("-inf")).amax(1)

    def forward(self, images: torch.Tensor, view_mask: torch.Tensor) -> torch.Tensor:
        """The scores."""
        return self.classify(self.embed(images, view_mask))


def load_batches(rows: Any, shuffle: bool, **options: Any) -> DataLoader:
    """Batches of 16 samples, their images around 0."""
    values = {"dtype": torch.float32, "mean": [0.5] * 3, "std": [0.25] * 3}
    data = TorchBatches(rows, **values, **options)
    return DataLoader(data, batch_size=16, shuffle=shuffle)


def train(rows: Any, epochs: int, seed: int) -> MVCNN:
    """A model that has seen the rows so many times."""
    torch.manual_seed(seed)
    model = MVCNN(rows.features["label"].num_classes).to(memory_format=torch.channels_last)
    augment = RandomCropFlip(padding=2)
    loader = load_batches(rows, True, augment=augment, draws="per_view", seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, epochs * len(loader))
    for epoch in range(epochs):
        loader.dataset.set_epoch(epoch)  # other draws of the augmentation
        total = 0.0
        for batch in loader:
            loss = cross_entropy(model(batch["images"], batch["view_mask"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch["label"])
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(rows):.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def count_right(model: MVCNN, rows: Any) -> int:
    """How many rows get their own class."""
    right = 0
    for batch in load_batches(rows, False):
        scores = model(batch["images"], batch["view_mask"])
        right += int((scores.argmax(1) == batch["label"]).sum())
    return right


def make_folds(data_dir: str | None) -> list[tuple[Any, Any]]:
    """Pairs of rows to train on, and to test on: those of an object of each class."""
    images = {"image_size": SIZE, "mode": "RGB", "encoding": "flat_png"}  # the fastest to read
    if data_dir is None:
        splits = load_dataset("shapes", **images)
        return [(splits["train"], splits["test"])]
    rows = load_dataset(data_dir=data_dir, split="train", **images)
    objects = [name.rpartition("/")[2] for name in rows["sample_id"]]  # of class/object
    numbers = range(len(rows))
    return [
        (
            rows.select([i for i in numbers if objects[i] != left_out]),
            rows.select([i for i in numbers if objects[i] == left_out]),
        )
        for left_out in dict.fromkeys(objects)
    ]


def main() -> None:
    """Train on each fold, and print the accuracy on what was left out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", help='a folder of class/object/view.png (default: "shapes")')
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--num-samples", type=int, help="train on so many samples (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    right = total = 0
    for rows, test_rows in make_folds(args.data_dir):
        rows = rows.shuffle(seed=args.seed).select(range(args.num_samples or len(rows)))
        right += count_right(train(rows, args.epochs, args.seed), test_rows)
        total += len(test_rows)
    seconds = time.perf_counter() - started
    print(f"test accuracy {right / total:.3f} ({right} of {total}), in {seconds:.0f} s")


if __name__ == "__main__":
    main()
