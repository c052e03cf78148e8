"""What images are like, counted: mean and deviation of each channel, sizes, views and classes.

stats = channel_stats(ds)
TorchBatches(ds, dtype=torch.float32, mean=stats.mean, std=stats.std)
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np

from multiview_cifar_tools.arguments import check_count, expect_dataset
from multiview_cifar_tools.batches.decode import Pixels
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.engines.local import local_engine
from multiview_cifar_tools.errors import BatchError
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.spelling import quantity

if TYPE_CHECKING:
    import pandas

LARGEST = {"uint8": 255, "uint16": 65535}  # of the types whose range has a meaning
BLOCK = 1 << 16  # pixels that are added up at once: squares of 16 bits stay below 2 ** 53
BYTES_A_PROCESS = 1 << 27  # from which on another process is worth its start
CHUNKS_A_PROCESS = 8

Number = int | Fraction


@dataclass(frozen=True, repr=False)
class ChannelStats(Report):
    """The result of `channel_stats`.

    Attributes:
        mean, std: One number per channel, in the range of `TorchBatches(dtype=torch.float32)`: 0 to
            1 for 8 and 16 bits, unchanged for others.
        dtype: The type of the images: "uint8", "uint16", "int32" or "float32".
        num_samples: The number of samples, also of those without an image.
        num_images: The number of images; views that are None do not count.
        sizes: How many images have each (height, width), in pixels, turned as EXIF says.
        views: How many samples have each number of images.
        classes: How many samples each class has, by name; "" is for those without a label. {} if
            there is no column of labels.
    """

    mean: list[float]
    std: list[float]
    dtype: str
    num_samples: int
    num_images: int
    sizes: dict[tuple[int, int], int]
    views: dict[int, int]
    classes: dict[str, int]

    def summary(self) -> list[str]:
        """How much was counted, and the mean and deviation of each channel."""
        images, samples = quantity(self.num_images, "image"), quantity(self.num_samples, "sample")
        mean, std = [round(n, 6) for n in self.mean], [round(n, 6) for n in self.std]
        return [f"{images} of {samples}, {self.dtype}", f"mean={mean}, std={std}"]

    def tables(self) -> Iterator[pandas.DataFrame]:
        """The samples of each class, and the images of each size in pixels."""
        import pandas

        yield pandas.DataFrame(self.classes.items(), columns=["class", "samples"])
        sizes = [(height, width, images) for (height, width), images in self.sizes.items()]
        yield pandas.DataFrame(sizes, columns=["height", "width", "images"])

    def to_dict(self) -> dict[str, Any]:
        """All of it as values of JSON."""
        sizes = [
            {"height": height, "width": width, "images": count}
            for (height, width), count in self.sizes.items()
        ]
        return {**asdict(self), "sizes": sizes}


def channel_stats(
    dataset: datasets.Dataset, column: str = "images", *, num_proc: int | None = None
) -> ChannelStats:
    """Mean and standard deviation of each channel over all pixels of all images, and counts.

    Integers are added exactly, and divided at the end: the result is rounded once, and the same for
    any number of processes. 32-bit floats are added as float64, image by image. The deviation is
    that of the whole set: the sum is divided by the number of pixels.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences, such as the split "train".
        column: The image column. Default: `images`, or the only image column.
        num_proc: Processes that decode. None: one per processor, fewer for small datasets.

    Raises:
        BatchError: As for `BatchReader`; there are no images, they differ in channels or type, one
            cannot be decoded or has values that are not finite; or `num_proc` is not an integer, or
            below 1.
        EngineError: A process ended.
    """
    expect_dataset(dataset, "channel_stats({})", BatchError)
    BatchReader(dataset, column, columns=[])  # raises where there is no such column
    if num_proc is None:
        table = dataset.data.table
        num_bytes = table.nbytes * len(dataset) // max(1, len(table))  # as it may be a selection
        num_proc = min(os.cpu_count() or 1, num_bytes // BYTES_A_PROCESS + 1)
    num_proc = check_count("num_proc", num_proc, 1, BatchError)
    sums = ChannelSums()
    with (
        datasets.utils.tqdm(total=len(dataset), unit=" samples", desc="Adding up", delay=1) as bar,
        local_engine(num_proc) as engine,
    ):
        for part in engine.run(add_up, iter_chunks(dataset, column, num_proc)):
            sums.add(part)
            bar.update(sum(part.views.values()))
    return sums.finish(count_classes(dataset))


def iter_chunks(
    dataset: datasets.Dataset, column: str, num_proc: int
) -> Iterator[tuple[datasets.Dataset, str]]:
    """The samples in parts, as arguments of `add_up`."""
    size = -(-len(dataset) // (CHUNKS_A_PROCESS * num_proc)) or 1
    for start in range(0, len(dataset), size):
        yield dataset.select(range(start, min(start + size, len(dataset)))), column


@dataclass
class ChannelSums:
    """Sums over the images of some samples, which add up.

    Attributes:
        name: Of the first sample that has an image.
        channels, dtype: Of its images, and so of all.
        num_pixels: Of each channel.
        totals, squares: The sum of each channel's values, and of their squares, (C,).
        sizes, views: As for `ChannelStats`.
    """

    name: str = ""
    channels: int = 0
    dtype: str = ""
    num_pixels: int = 0
    totals: list[Number] = field(default_factory=list)
    squares: list[Number] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    views: Counter[int] = field(default_factory=Counter)

    def add_image(self, name: str, pixels: Pixels) -> None:
        """Add the pixels (H, W, C) of an image; `name` is that of its sample."""
        height, width, channels = pixels.shape
        totals, squares = sum_pixels(name, pixels)
        image = ChannelSums(name, channels, pixels.dtype.name, height * width, totals, squares)
        image.sizes[height, width] = 1
        self.add(image)

    def add(self, other: ChannelSums) -> None:
        """Add other sums; BatchError where their images are of other channels or another type."""
        self.views += other.views
        if not other.num_pixels:
            return
        if not self.num_pixels:
            self.name, self.channels, self.dtype = other.name, other.channels, other.dtype
            self.totals, self.squares = [0] * self.channels, [0] * self.channels
        if (self.channels, self.dtype) != (other.channels, other.dtype):
            raise BatchError(
                f"{other.name} has images of {other.channels} channels, {other.dtype}, {self.name} "
                f"of {self.channels}, {self.dtype}. Expected one number and type: build with "
                'mode="RGB".',
                other.name,
            )
        self.num_pixels += other.num_pixels
        self.totals = [a + b for a, b in zip(self.totals, other.totals, strict=True)]
        self.squares = [a + b for a, b in zip(self.squares, other.squares, strict=True)]
        self.sizes += other.sizes

    def finish(self, classes: dict[str, int]) -> ChannelStats:
        """The statistics; BatchError where there are no images."""
        if not self.num_pixels:
            raise BatchError("There are no images. Expected one or more.", "dataset")
        largest = LARGEST.get(self.dtype, 1)
        means = [Fraction(total) / self.num_pixels for total in self.totals]
        pairs = zip(self.squares, means, strict=True)
        variances = [Fraction(square) / self.num_pixels - mean**2 for square, mean in pairs]
        return ChannelStats(
            [float(mean / largest) for mean in means],
            # Rounded sums of floats may make it a little less than 0.
            [math.sqrt(max(variance / largest**2, Fraction(0))) for variance in variances],
            self.dtype,
            self.views.total(),
            self.sizes.total(),
            dict(sorted(self.sizes.items())),
            dict(sorted(self.views.items())),
            classes,
        )


def add_up(dataset: datasets.Dataset, column: str) -> ChannelSums:
    """The sums of these samples."""
    reader, sums = BatchReader(dataset, column, columns=[]), ChannelSums()
    for sample in range(len(dataset)):
        name, images = reader.read_images(sample)
        num_images = 0
        for pixels in images:
            sums.add_image(name, pixels)
            num_images += 1
        sums.views[num_images] += 1
    return sums


def sum_pixels(name: str, pixels: Pixels) -> tuple[list[Number], list[Number]]:
    """Of each channel of an image (H, W, C) the sum of its values, and that of their squares;
    BatchError where some are not finite.
    """
    values = pixels.reshape(-1, pixels.shape[-1])
    if values.dtype.kind == "f":
        return sum_floats(name, values)
    if values.dtype.itemsize > 2:
        return sum_wide_integers(values)
    totals, squares = [0] * values.shape[1], [0] * values.shape[1]
    for start in range(0, len(values), BLOCK):
        # Exact, as all sums in between are integers below 2 ** 53; and faster than integers.
        block = values[start : start + BLOCK].T.astype(np.float64, order="C")
        for channel, row in enumerate(block):
            totals[channel] += int(row.sum())
            squares[channel] += int(np.einsum("i,i->", row, row))  # BLAS would start threads
    return [*totals], [*squares]


def sum_wide_integers(values: Pixels) -> tuple[list[Number], list[Number]]:
    """As `sum_pixels`, of 32-bit integers (N, C): squares are added up in parts of 16 bits."""
    wide = values.astype(np.int64)
    high, low = wide >> 16, wide & 0xFFFF
    parts = [(a * b).sum(0).tolist() for a, b in ((high, high), (high, low), (low, low))]
    squares = [(a << 32) + (b << 17) + c for a, b, c in zip(*parts, strict=True)]
    return wide.sum(0).tolist(), [*squares]


def sum_floats(name: str, values: Pixels) -> tuple[list[Number], list[Number]]:
    """As `sum_pixels`, of floats (N, C)."""
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise BatchError(
            f"{name} has values that are not finite. Expected numbers: build with value_range="
            '(low, high) and mode="L".',
            name,
        )
    sums = (wide.sum(0), np.square(wide).sum(0))
    totals, squares = ([Fraction(number) for number in each.tolist()] for each in sums)
    return [*totals], [*squares]


def count_classes(dataset: datasets.Dataset) -> dict[str, int]:
    """The samples of each class, by its name, in the order of the classes."""
    feature = dataset.features.get("label")
    if not isinstance(feature, datasets.ClassLabel):
        return {}
    labels = dataset.with_format("arrow")["label"]
    counts = Counter(-1 if label is None else label for label in labels.to_pylist())
    none = {"": counts[-1]} if counts[-1] else {}
    return {name: counts[i] for i, name in enumerate(feature.names)} | none
