"""Segmentation in PyTorch: masks beside the images, view by view, augmented together with them.

    pip install ".[torch]"
    python examples/segmentation_torch.py    # the solids of "shapes"

The masks are made here from the colours: pixels with another hue than the ground belong to the
solid. So they have holes where solid and ground have the same hue, and the model learns these too.
For a folder with masks, layout={"images": "{label}/{sample}/{view}", "masks": "..."} makes the
same column. The model is a small U-Net: Ronneberger et al., "U-Net: Convolutional Networks for
Biomedical Image Segmentation" (2015).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate
from torch.utils.data import DataLoader

from multiview_cifar import load_dataset
from multiview_cifar_tools import ColorJitter, RandomCropFlip, TorchBatches

VALUES = {"dtype": torch.float32, "mean": [0.5] * 3, "std": [0.25] * 3}


def find_solid(image: Image.Image) -> Image.Image:
    """255 where the shares of red, green and blue are not those at the picture's left edge."""
    pixels = np.asarray(image.convert("RGB"), np.float32) + 1
    shares = pixels / pixels.sum(2, keepdims=True)
    ground = np.median(shares[:, :2], axis=(0, 1))
    return Image.fromarray((np.abs(shares - ground).max(2) > 0.03).astype(np.uint8) * 255)


def add_masks(rows: Any) -> Any:
    """The rows with a column of masks, one for each view."""
    masks = [{"masks": [find_solid(view) for view in views]} for views in rows["images"]]
    features = datasets.Features({"masks": datasets.Sequence(datasets.Image())})
    column = datasets.Dataset.from_list(masks, features=features)
    return datasets.concatenate_datasets([rows, column], axis=1)


class UNet(nn.Module):
    """(N, 3, H, W) images to (N, 1, H, W) scores: above 0 is solid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = self.conv(3, 16), self.conv(16, 32), self.conv(32, 32)
        self.up, self.last = self.conv(64, 16), nn.Conv2d(32, 1, 1)
        self.down = nn.MaxPool2d(2)

    @staticmethod
    def conv(before: int, after: int) -> nn.Module:
        """A convolution, normalised, with its nonlinearity."""
        layer = nn.Conv2d(before, after, 3, padding=1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The scores."""
        first = self.first(images)
        second = self.second(self.down(first))
        third = self.third(self.down(second))
        up = self.up(torch.cat([interpolate(third, scale_factor=2), second], 1))
        return self.last(torch.cat([interpolate(up, scale_factor=2), first], 1))


def real_views(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """All real views of all samples, (N, 3, H, W), and their masks (N, 1, H, W) of 0 and 1."""
    is_real = batch["view_mask"]
    return batch["images"][is_real], (batch["masks"][is_real] > 127).float()


def train(rows: Any, epochs: int, seed: int) -> UNet:
    """A model that has seen the rows so many times."""
    torch.manual_seed(seed)
    model = UNet().to(memory_format=torch.channels_last)
    augment = [RandomCropFlip(padding=2), ColorJitter()]  # the first moves the masks too
    data = TorchBatches(
        rows, columns=["masks"], augment=augment, draws="per_view", seed=seed, **VALUES
    )
    loader = DataLoader(data, batch_size=16, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs * len(loader))
    for epoch in range(epochs):
        data.set_epoch(epoch)  # other draws of the augmentation
        total = 0.0
        for batch in loader:
            images, masks = real_views(batch)
            loss = binary_cross_entropy_with_logits(model(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def evaluate(model: UNet, rows: Any) -> tuple[float, float]:
    """The share of pixels that are right; and of solid, the intersection over the union."""
    right = pixels = both = either = 0
    for batch in DataLoader(TorchBatches(rows, columns=["masks"], **VALUES), batch_size=16):
        images, masks = real_views(batch)
        found, solid = model(images) > 0, masks > 0
        right, pixels = right + int((found == solid).sum()), pixels + solid.numel()
        both, either = both + int((found & solid).sum()), either + int((found | solid).sum())
    return right / pixels, both / either


def main() -> None:
    """Train, and print the accuracy on the test split."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--num-samples", type=int, help="train on so many samples (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    splits = load_dataset("shapes", mode="RGB", encoding="flat_png")
    rows = splits["train"].shuffle(seed=args.seed)
    rows = add_masks(rows.select(range(args.num_samples or len(rows))))
    accuracy, overlap = evaluate(train(rows, args.epochs, args.seed), add_masks(splits["test"]))
    seconds = time.perf_counter() - started
    print(f"test accuracy {accuracy:.3f} of the pixels, IoU {overlap:.3f}, in {seconds:.0f} s")


if __name__ == "__main__":
    main()
