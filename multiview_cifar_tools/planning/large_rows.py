"""Rows too large for the Hub's viewer, and the options that make them fit.

The viewer shows a split in pages of 100 rows (https://huggingface.co/docs/hub/datasets-viewer). To
show one it reads the row groups that hold these rows, and refuses above 300 MB: "Rows from parquet
row groups are too big to be read", or "Scan size limit exceeded" (huggingface/dataset-viewer,
ROWS_INDEX_MAX_ARROW_DATA_IN_MEMORY; libcommon/parquet_utils.py; libviewer/src/parquet.rs). Where no
row has more than 2 MB, a page is 200 MB, and what a row group of 32 MB holds beyond it at either
end is 64 MB more at most.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from typing import Any

from multiview_cifar import Sample, image_columns

MAX_ROW_BYTES = 2_000_000
MAX_NAMES = 3  # of large rows that are shown
# A plan asks for the sizes of so many rows' files first, spread evenly: all of them would take a
# third of its time. It goes on only where a row of files MARGIN times as large might be too large.
SAMPLED_ROWS, MARGIN = 1000, 4
# A pixel of an image of MIN_SIDE or more, at most: RGBA as PNG, or 32-bit grey as TIFF.
BYTES_A_PIXEL = 4.2
# One of RGB or grey as JPEG of quality 95: noise takes 1.2, and black and white at random 1.45.
JPEG_BYTES_A_PIXEL, JPEG_HEADER = 1.5, 1000
CONVERSIONS = ("mode", "value_range", "image_size", "encoding")  # see `is_converted`
MIN_SIDE, SIDE_STEP = 32, 8  # of an image_size that is worth a word

ImageKind = tuple[int, int, str]  # width, height and mode of an image


@dataclass
class LargeRows:
    """The rows whose images have more than MAX_ROW_BYTES, counted; the counts add up.

    Attributes:
        num_rows: How many there are.
        names: Of the first ones.
        num_bytes: Of the largest one's images.
        num_views: So many views of any of them fit, whichever they are.
    """

    num_rows: int = 0
    names: list[str] = field(default_factory=list)
    num_bytes: int = 0
    num_views: int = sys.maxsize

    def add_row(self, name: str, views: Sequence[int], rest: int = 0) -> None:
        """Count a row if it is large.

        Args:
            name: Of the sample.
            views: The bytes of each view, in all columns.
            rest: The bytes of the images that are of all views.
        """
        num_bytes = sum(views) + rest
        if num_bytes <= MAX_ROW_BYTES:
            return
        num_views, left = 0, MAX_ROW_BYTES - rest
        for size in sorted(views, reverse=True):
            left -= size
            num_views += left >= 0
        self.add(LargeRows(1, [name], num_bytes, num_views))

    def add(self, other: LargeRows, split: str = "") -> None:
        """Count the rows that another one has counted, in their split."""
        names = [f"{split}/{name}" if split else name for name in other.names]
        self.num_rows += other.num_rows
        self.names = [*self.names, *names][:MAX_NAMES]
        self.num_bytes = max(self.num_bytes, other.num_bytes)
        self.num_views = min(self.num_views, other.num_views)

    def describe(self, fewest_views: int, most_images: int, jpeg_bytes: float = math.inf) -> str:
        """What is large, and the options that make it fit; "" where nothing is.

        Args:
            fewest_views: Of all rows, small ones too.
            most_images: Likewise, in all columns.
            jpeg_bytes: The bytes of any row as JPEG, at most; infinite where that is not known.
        """
        if not self.num_rows:
            return ""
        side = int(math.sqrt(MAX_ROW_BYTES / BYTES_A_PIXEL / most_images)) // SIDE_STEP * SIDE_STEP
        num_views = min(self.num_views, fewest_views)
        remedies = [f"image_size=({side}, {side})"] if side >= MIN_SIDE else []
        remedies += [f"num_views={num_views}"] if num_views else []
        remedies += ['encoding="jpeg"'] if jpeg_bytes <= MAX_ROW_BYTES else []
        more = self.num_rows - len(self.names)
        shown = ", ".join(self.names) + (f" and {more:,} more" if more else "")
        fit = f"They fit with {' or '.join(remedies)}" if remedies else "Make its images smaller"
        return (
            f"Rows with more than {MAX_ROW_BYTES / 1e6:g} MB of images: {self.num_rows:,} "
            f"({shown}), the largest has {self.num_bytes / 1e6:,.1f} MB. The Hub's viewer reads at "
            "most 300 MB for a page of 100 rows, and does not show pages that are larger. "
            f"{fit}."
        )


def bound_jpeg(num_images: int, kinds: Iterable[ImageKind]) -> float:
    """The bytes that so many images, each of one of these kinds, have as JPEG, at most; infinite
    where it cannot hold one.
    """
    kinds = [*kinds]
    if any(mode not in ("RGB", "L") for *_, mode in kinds):
        return math.inf
    largest = max((width * height for width, height, _ in kinds), default=0)
    return num_images * (JPEG_HEADER + JPEG_BYTES_A_PIXEL * largest)


def describe_large_files(
    data_dir: str, options: Mapping[str, Any], samples: Sequence[tuple[str, Sample]]
) -> str:
    """The large rows of a folder, by the sizes of its files; "" where images are converted, since
    only publishing tells what they become. One that is large among SAMPLED_ROWS small ones may be
    missed; publishing, which reads them all, names it.

    Args:
        data_dir: The folder.
        options: The options of the dataset.
        samples: (split, sample) of each row.
    """
    if any(options.get(name) for name in CONVERSIONS) or options.get("pages") == "views":
        return ""
    most_images = max(sum(map(len, sample.paths)) for _, sample in samples)
    evenly = samples[:: -(-len(samples) // SAMPLED_ROWS)]
    sizes = (file_sizes(data_dir, files) for _, row in evenly for files in row.paths)
    largest = max(itertools.chain.from_iterable(sizes), default=0)
    if MARGIN * largest * most_images <= MAX_ROW_BYTES:
        return ""
    found, are_lists = LargeRows(), [*image_columns(options.get("layout")).values()]
    for split, sample in samples:
        columns = [file_sizes(data_dir, files) for files in sample.paths]
        if sum(map(sum, columns)) > MAX_ROW_BYTES:
            views = [*map(sum, zip(*compress(columns, are_lists), strict=True))]
            rest = sum(map(sum, compress(columns, map(not_, are_lists))))
            found.add_row(f"{split}/{sample.sample_id}", views, rest)
    if not found.num_rows:
        return ""
    fewest_views = min(len(sample.view_names) for _, sample in samples)
    return found.describe(fewest_views, most_images)


def file_sizes(folder: str, paths: Sequence[str | None]) -> list[int]:
    """The bytes of each file; 0 for None, and where there is no such file."""
    try:
        return [os.stat(f"{folder}/{path}").st_size if path else 0 for path in paths]
    except OSError:
        one_by_one = [file_sizes(folder, [path]) for path in paths] if len(paths) > 1 else [[0]]
        return [size for sizes in one_by_one for size in sizes]
