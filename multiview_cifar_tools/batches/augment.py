"""Random changes to images, the same on every run: each image comes with a seed.

    reader = BatchReader(ds, augment=RandomCropFlip(padding=4), draws="per_sample", seed=0)

An augmentation is a callable `augment(images, seeds)`: `images` (N, H, W, C) of their own type, as
in batches, and `seeds` (N,) uint64 to the N changed images, all of one size, of any dtype. A seed
depends on (seed, epoch, sample_id) alone (of rows without a sample_id on the bytes of their first
image); order, batches and the number of workers do not matter. With `draws="per_sample"` all views
of a sample get one seed, with "per_view" each its own. An augmentation that uses no other random
numbers is thus repeated exactly:

    def noise(images, seeds):
        drawn = [np.random.default_rng(seed).normal(0, 9, images.shape[1:]) for seed in seeds]
        return np.clip(images + drawn, 0, 255).astype(np.uint8)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.arguments import check_count
from multiview_cifar_tools.errors import BatchError

Seeds = npt.NDArray[np.uint64]


class RandomCropFlip:
    """Pad with zeros, crop to the old size at random, mirror left to right at random.

    Source: the augmentation of CIFAR in He et al., "Deep Residual Learning for Image Recognition"
    (2015), 4.2, with padding 4.

    Args:
        padding: Pixels of zeros at each side.
        flip: Whether half of the images are mirrored.

    Raises:
        BatchError: `padding` is no integer, or negative.
    """

    def __init__(self, padding: int = 4, flip: bool = True) -> None:
        self.padding, self.flip = check_count("padding", padding, 0, BatchError), flip

    def __call__(self, images: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[Any]:
        """(N, H, W, C) images and their (N,) seeds to as many images of that size."""
        count, height, width, channels = images.shape
        pad = self.padding
        padded = np.zeros((count, height + 2 * pad, width + 2 * pad, channels), images.dtype)
        padded[:, pad : pad + height, pad : pad + width] = images
        # 21 bits of the seed for each offset, the highest one for the mirror.
        part, places = np.uint64((1 << 21) - 1), np.uint64(2 * pad + 1)
        tops = (seeds & part) * places >> np.uint64(21)
        lefts = (seeds >> np.uint64(21) & part) * places >> np.uint64(21)
        # Every place of the window, of which one an image is copied.
        crops = np.lib.stride_tricks.as_strided(
            padded,
            (count, 2 * pad + 1, 2 * pad + 1, height, width, channels),
            (padded.strides[0], *padded.strides[1:3], *padded.strides[1:]),
        )
        out = crops[np.arange(count), tops.astype(np.intp), lefts.astype(np.intp)]
        if self.flip:
            mirrored = seeds >> np.uint64(63) == 1
            out[mirrored] = out[mirrored, :, ::-1]
        return out
