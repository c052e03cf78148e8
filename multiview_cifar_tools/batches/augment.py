"""Random changes to images, the same on every run: each image comes with a seed.

    reader = BatchReader(ds, augment=RandomCropFlip(padding=4), draws="per_sample", seed=0)
    reader = BatchReader(ds, augment=[RandomResizedCrop(), ColorJitter()])    # one after the other

An augmentation is a callable `augment(images, seeds)`: `images` (N, H, W, C) of their own type, as
in batches, and `seeds` (N,) uint64 to the N changed images, all of one size, of any dtype. A seed
depends on (seed, epoch, sample_id) alone (of rows without a sample_id on the bytes of their first
image); order, batches and the number of workers do not matter. With `draws="per_sample"` all views
of a sample get one seed, with "per_view" each its own. An augmentation that uses no other random
numbers is thus repeated exactly:

    def noise(images, seeds):
        drawn = [np.random.default_rng(seed).normal(0, 9, images.shape[1:]) for seed in seeds]
        return np.clip(images + drawn, 0, 255).astype(np.uint8)

Those that move pixels (`GeometricAugmentation`) act on all image columns of a batch alike: what one
draws depends on the seeds and on how many of its own type stand before it, not on the others. The
first one of a type is handed the seeds as they are, further ones get seeds of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from multiview_cifar_tools.arguments import (
    check_count,
    check_flag,
    check_image_size,
    short_repr,
)
from multiview_cifar_tools.batches.decode import Pixels
from multiview_cifar_tools.batches.seeds import Seeds, draw_uniform
from multiview_cifar_tools.errors import BatchError

Box = tuple[float, float, float, float]  # left, top, right, bottom
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow's "L"


class GeometricAugmentation(ABC):
    """Moves or removes pixels, and is to do so to the images and their masks alike."""

    @abstractmethod
    def change(self, images: Pixels, seeds: Seeds, nearest: bool) -> Pixels:
        """(N, H, W, C) images and their (N,) seeds to as many images.

        Args:
            images, seeds: See the top of this module.
            nearest: Make no new values: of masks, and of depth.
        """

    def __call__(self, images: Pixels, seeds: Seeds) -> Pixels:
        """The changed images."""
        return self.change(images, seeds, nearest=False)


class RandomCropFlip(GeometricAugmentation):
    """Pad with zeros, crop to the old size at a random place, and mirror left to right at random.

    Source: the augmentation of CIFAR in He et al., "Deep Residual Learning for Image Recognition"
    (2015), 4.2, with padding 4.

    Args:
        padding: Pixels of zeros on each side.
        flip: Whether half of the images are mirrored.

    Raises:
        BatchError: `padding` is not an integer, or negative; or `flip` is not a bool.
    """

    def __init__(self, padding: int = 4, flip: bool = True) -> None:
        self.padding = check_count("padding", padding, 0, BatchError)
        self.flip = check_flag("flip", flip, BatchError)

    def change(self, images: Pixels, seeds: Seeds, nearest: bool) -> Pixels:
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


class RandomResizedCrop(GeometricAugmentation):
    """Crop a part of random area and shape, and resize it: bilinear, with antialiasing.

    Source: Szegedy et al., "Going Deeper with Convolutions" (2014), 6, with these areas and shapes.
    A part that does not fit is reduced to the image.

    Args:
        size: (height, width) of the result. None: that of the images.
        scale: The smallest and the largest area, as a fraction of the image.
        ratio: The smallest and the largest width / height; its logarithm is drawn uniformly.

    Raises:
        BatchError: An option does not have this form, or is out of range.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = None if size is None else check_image_size("size", size, BatchError)
        self.scale = check_range("scale", scale, 1)
        self.ratio = check_range("ratio", ratio, np.inf)

    def change(self, images: Pixels, seeds: Seeds, nearest: bool) -> Pixels:
        """(N, H, W, C) images and their (N,) seeds to (N, *size, C)."""
        count, height, width, channels = images.shape
        size = self.size or (height, width)
        area, shape, *place = draw_uniform(seeds, 4, "RandomResizedCrop")
        area = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
        low, high = np.log(self.ratio)
        shape = np.exp(low + shape * (high - low))
        crop_widths = np.minimum(np.sqrt(area * shape), width)
        crop_heights = np.minimum(np.sqrt(area / shape), height)
        lefts, tops = place[0] * (width - crop_widths), place[1] * (height - crop_heights)
        out = np.empty((count, *size, channels), images.dtype)
        rights = np.minimum(lefts + crop_widths, width)  # rounding may lead beyond it
        bottoms = np.minimum(tops + crop_heights, height)
        boxes = zip(lefts, tops, rights, bottoms, strict=True)
        resize = resize_nearest if nearest else resize_smooth
        for image, box, own in zip(images, boxes, out, strict=True):
            own[:] = resize(image, size, box)
        return out


class RandomRotate90(GeometricAugmentation):
    """Turn by 0, 90, 180 or 270 degrees, equally likely; images must be square.

    Raises:
        BatchError: When called: the images are not square.
    """

    def change(self, images: Pixels, seeds: Seeds, nearest: bool) -> Pixels:
        """(N, S, S, C) images and their (N,) seeds to as many images of that size."""
        if images.shape[1] != images.shape[2]:
            raise BatchError(
                f"RandomRotate90 turns square images, found (H, W) = {images.shape[1:3]}. Expected "
                "image_size=(32, 32), say, to read or build with, or another augmentation.",
                "augment",
            )
        out, turns = images.copy(), (draw_uniform(seeds, 1, "RandomRotate90")[0] * 4).astype(int)
        for turn in (1, 2, 3):
            out[turns == turn] = np.rot90(images[turns == turn], turn, axes=(1, 2))
        return out


class Cutout(GeometricAugmentation):
    """Set random squares to zero. Their centres are in the image; parts may be outside.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (2017), which uses 16 for CIFAR-10 and 8 for CIFAR-100.

    Args:
        size: Pixels per side.
        count: Squares per image.

    Raises:
        BatchError: An option is not an integer, or below 1.
    """

    def __init__(self, size: int = 8, count: int = 1) -> None:
        self.size = check_count("size", size, 1, BatchError)
        self.count = check_count("count", count, 1, BatchError)

    def change(self, images: Pixels, seeds: Seeds, nearest: bool) -> Pixels:
        """(N, H, W, C) images and their (N,) seeds to as many images of that size."""
        _, height, width, _ = images.shape
        out = images.copy()
        drawn = draw_uniform(seeds, 2 * self.count, "Cutout")
        for rows, columns in drawn.reshape(self.count, 2, -1):
            is_row = self._is_within(rows, height)[:, :, None]
            out[is_row & self._is_within(columns, width)[:, None, :]] = 0
        return out

    def _is_within(self, drawn: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.bool_]:
        """Which of so many pixels in a line the square covers, (N, length)."""
        first = (drawn * length).astype(int)[:, None] - self.size // 2
        pixels = np.arange(length)
        return (first <= pixels) & (pixels < first + self.size)


class ColorJitter:
    """Change brightness, contrast and saturation, in this order; only of `images`.

    Each is multiplied by a random factor between 1 - x and 1 + x. Brightness is the distance of a
    value to black, contrast to the mean grey of the image, saturation to the grey of the pixel. For
    8 and 16 bits the result is rounded and clipped; alpha is not changed.

    Args:
        brightness, contrast, saturation: The x of each, 0 to 1.

    Raises:
        BatchError: One of them is not a number from 0 to 1.
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4
    ) -> None:
        spans = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        self.spans = np.array([check_share(name, span) for name, span in spans.items()])

    def __call__(self, images: Pixels, seeds: Seeds) -> Pixels:
        """(N, H, W, C) images and their (N,) seeds to as many images of that size and dtype."""
        factors = 1 + (2 * draw_uniform(seeds, 3, "ColorJitter") - 1) * self.spans[:, None]
        brightness, contrast, saturation = factors.astype(np.float32)[..., None, None, None]
        channels = images.shape[-1]
        colours = images[..., : 3 if channels >= 3 else 1].astype(np.float32) * brightness
        mean = to_grey(colours).mean((1, 2, 3), keepdims=True)
        colours = mean + (colours - mean) * contrast
        if channels >= 3:
            grey = to_grey(colours)
            colours = grey + (colours - grey) * saturation
        out = images.copy()
        if images.dtype.kind in "iu":
            limits = np.iinfo(images.dtype)
            np.clip(colours.round(out=colours), limits.min, limits.max, out=colours)
        out[..., : colours.shape[-1]] = colours
        return out


# --- what they are made of ------------------------------------------------------------------------


def to_grey(colours: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The grey (..., 1) of colours (..., 3), or of grey (..., 1)."""
    if colours.shape[-1] == 1:
        return colours
    grey: npt.NDArray[np.float32] = colours @ np.array(GREY_WEIGHTS, np.float32)
    return grey[..., None]


def resize_nearest(image: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    """The part of an image (H, W, C) in a box, in another size: each pixel has the value of the one
    on which its centre lies.
    """
    left, top, right, bottom = box
    rows = top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]
    columns = left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]
    resized: Pixels = image[rows.astype(int)[:, None], columns.astype(int)]
    return resized


def resize_smooth(image: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    """The same by Pillow's bilinear filter."""
    if image.dtype == np.uint8 and image.shape[2] in (1, 3, 4):
        planes = [image[..., 0] if image.shape[2] == 1 else np.ascontiguousarray(image)]
    else:
        exact = np.int32 if image.dtype.kind in "iu" else np.float32
        planes = [image[..., channel].astype(exact) for channel in range(image.shape[2])]
    resized = [
        np.asarray(
            PIL.Image.fromarray(plane).resize(size[::-1], PIL.Image.Resampling.BILINEAR, box)
        )
        for plane in planes
    ]
    return resized[0] if resized[0].ndim == 3 else np.stack(resized, -1)


# --- options --------------------------------------------------------------------------------------


def check_range(name: str, values: Any, most: float) -> tuple[float, float]:
    """A least and a greatest number; BatchError where these are none, or not above 0, or above
    `most`.
    """
    try:
        low, high = map(float, values)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0 < low <= high <= most:
        limit = f", {most:g} at most" if most < np.inf else ""
        raise BatchError(
            f"{name}={short_repr(values)} is not right. Expected two numbers, (low, high), above "
            f"0{limit}.",
            name,
        )
    return low, high


def check_share(name: str, value: Any) -> float:
    """A number from 0 to 1; BatchError where it is none."""
    if (
        not isinstance(value, (int, float, np.number))
        or isinstance(value, bool)
        or not 0 <= value <= 1
    ):
        raise BatchError(
            f"{name}={short_repr(value)} is not right. Expected a number from 0 to 1.", name
        )
    return float(value)
