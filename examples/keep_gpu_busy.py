"""Does the loader keep a device busy? Trains a small network over views, with and without loading.

    python examples/keep_gpu_busy.py                     # the GPU, if there is one
    python examples/keep_gpu_busy.py --workers 4 --batch-size 256

It times the same training steps twice: on one batch that is already on the device, which is the
fastest that the device can be; and on batches that workers read, pin and send while it computes.
The device is busy for the first time divided by the second.

Expected on a GPU (not measured, as no GPU was available), with one worker per core:

    on cuda: 64 samples of 4 views in a batch, 100 steps
    batches on the device    ... steps/s
    batches from the loader  ... steps/s
    the device is busy for 90 % of the time or more

If it is less, add workers or send fewer bytes: uint8 images, as here, are a quarter of float32. On
a CPU the figure says little, as loading and training share its cores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from multiview_cifar import load_dataset
from multiview_cifar_tools import TorchBatches


class ViewPooling(nn.Module):
    """Convolutions on each view, their features' largest value over the views, and a class."""

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for channels, following in itertools.pairwise(sizes):
            layers += [nn.Conv2d(channels, following, 3, padding=1), nn.BatchNorm2d(following)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(sizes[-1], num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, V, C, H, W) uint8 to (B, classes)."""
        flat = images.flatten(0, 1).float().div(255).contiguous(memory_format=torch.channels_last)
        features: torch.Tensor = self.features(flat).unflatten(0, images.shape[:2])
        scores: torch.Tensor = self.classify(features.amax(1))
        return scores


def copy_dense(batches: list[Any]) -> dict[str, Any]:
    """A batch without the gaps that flat PNG has between rows: so it is sent while others work."""
    return {**batches[0], "images": batches[0]["images"].clone()}


def make_loader(batch_size: int, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Shuffled batches of the example "shapes", as flat PNG."""
    ds = load_dataset("shapes", split="train", encoding="flat_png")
    return DataLoader(
        TorchBatches(ds),
        batch_size=min(batch_size, len(ds)),
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        collate_fn=copy_dense,
    )


def send(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The tensors of a batch, on their way to the device."""
    return {name: values.to(device, non_blocking=True) for name, values in batch.items()}


def iter_forever(loader: DataLoader[Any], device: torch.device) -> Iterator[dict[str, Any]]:
    """The batches of epoch after epoch, on the device."""
    while True:
        for batch in loader:
            yield send(batch, device)


def measure(model: nn.Module, batches: Iterator[dict[str, Any]], steps: int) -> float:
    """Training steps a second."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    began = 0.0
    for step in range(-3, steps):  # the first ones warm up
        if step == 0:
            wait_for_device()
            began = time.perf_counter()
        batch = next(batches)
        loss = nn.functional.cross_entropy(model(batch["images"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wait_for_device()
    return steps / (time.perf_counter() - began)


def wait_for_device() -> None:
    """Until all that was sent to a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    device = torch.device(args.device)
    loader = make_loader(args.batch_size, args.workers, device.type == "cuda")
    model = ViewPooling(num_classes=10).to(device, memory_format=torch.channels_last)
    first = send(next(iter(loader)), device)
    samples, views = first["images"].shape[:2]
    print(f"on {device}: {samples} samples of {views} views in a batch, {args.steps} steps")
    alone = measure(model, iter(lambda: first, None), args.steps)
    print(f"batches on the device    {alone:8.1f} steps/s")
    loaded = measure(model, iter_forever(loader, device), args.steps)
    print(f"batches from the loader  {loaded:8.1f} steps/s")
    print(f"the device is busy for {min(loaded / alone, 1):.0%} of the time")


if __name__ == "__main__":
    main()
