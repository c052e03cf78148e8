"""What a dataset card says of a split, counted: rows, labels, views, sizes and modes of images."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import PIL.Image

from multiview_cifar_tools.batches.columns import ImageColumn, all_image_columns, index_rows
from multiview_cifar_tools.batches.decode import PNG_SIGNATURE
from multiview_cifar_tools.flat_png import FLAT_MODES
from multiview_cifar_tools.planning.large_rows import MAX_ROW_BYTES, ImageKind, LargeRows
from multiview_cifar_tools.shards.writer import row_sizes

PNG_MODES = {bytes([kind.depth, kind.colour_type]): mode for mode, kind in FLAT_MODES.items()}
# https://huggingface.co/docs/hub/datasets-cards, "size_categories"
SIZE_CATEGORIES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}


@dataclass
class SplitStats:
    """What a card says of a split, in numbers that add up over its shards.

    Attributes:
        num_rows: Samples.
        num_bytes: Of their Parquet files.
        data_bytes: Of the columns in these, see `schema.count_data_bytes`.
        labels: How many samples have each label; none where rows have no labels.
        views: How many samples have each number of views, missing ones counted.
        kinds: How many of `images` are of each kind.
        large: The rows that are too large for the Hub's viewer.
    """

    num_rows: int = 0
    num_bytes: int = 0
    data_bytes: int = 0
    labels: Counter[int] = field(default_factory=Counter)
    views: Counter[int] = field(default_factory=Counter)
    kinds: Counter[ImageKind] = field(default_factory=Counter)
    large: LargeRows = field(default_factory=LargeRows)

    def add_row(self, row: Mapping[str, Any], columns: Sequence[str]) -> None:
        """Count a raw row, see `rows`, with these columns of images."""
        self.num_rows += 1
        if "label" in row:
            self.labels[-1 if row["label"] is None else row["label"]] += 1
        self.views[len(row["images"])] += 1
        self.kinds.update(image_kind(view["bytes"]) for view in row["images"] if view)
        self.add_if_large(row, columns)

    def add_if_large(self, row: Mapping[str, Any], columns: Sequence[str]) -> None:
        """Count a raw row among the large ones, if it is one."""
        lists = [row[column] for column in columns if isinstance(row[column], list)]
        views = [sum(map(image_bytes, images)) for images in zip(*lists, strict=True)]
        rest = sum(image_bytes(row[c]) for c in columns if not isinstance(row[c], list))
        self.large.add_row(row["sample_id"], views, rest)

    def add(self, other: SplitStats) -> None:
        """Count the rows that another one has counted."""
        self.num_rows += other.num_rows
        self.num_bytes += other.num_bytes
        self.data_bytes += other.data_bytes
        self.labels += other.labels
        self.views += other.views
        self.kinds += other.kinds
        self.large.add(other.large)

    def to_json(self) -> dict[str, Any]:
        """In values of JSON, which has no keys but text."""
        counters = "labels", "views", "kinds"
        pairs = {name: [*getattr(self, name).items()] for name in counters}
        return vars(self) | pairs | {"large": vars(self.large)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SplitStats:
        """What `to_json` gave."""
        labels, views = (Counter(dict(values[name])) for name in ("labels", "views"))
        kinds = Counter({(*kind,): count for kind, count in values["kinds"]})
        large = LargeRows(**values["large"])
        return cls(**{**values, "labels": labels, "views": views, "kinds": kinds, "large": large})


def dataset_stats(ds: datasets.Dataset) -> SplitStats:
    """The SplitStats of a built dataset, which has no Parquet files."""
    table = ds.data.table
    labels = table["label"].fill_null(-1).to_pylist() if "label" in ds.features else ()
    stats = SplitStats(
        len(ds),
        labels=Counter(labels),
        views=Counter(index_rows(table["images"]).views.tolist()),
        kinds=Counter(image_kinds(ds)),
    )
    for i in np.flatnonzero(row_sizes(ds) > MAX_ROW_BYTES).tolist():
        (row,) = table.slice(i, 1).to_pylist()
        stats.add_if_large(row, all_image_columns(ds.features))
    return stats


def image_kinds(ds: datasets.Dataset) -> Iterator[ImageKind]:
    """(width, height, mode) of every image in `images`, from its first bytes."""
    return map(image_kind, ImageColumn(ds.data.table, "images").all_bytes())


def image_bytes(image: Mapping[str, Any] | None) -> int:
    """The bytes of an image of a raw row; 0 for None."""
    return len(image["bytes"]) if image else 0


def image_kind(data: bytes) -> ImageKind:
    """(width, height, mode) of an image; a plain PNG's from its header (PNG 11.2.2)."""
    if data[:8] == PNG_SIGNATURE and data[24:26] in PNG_MODES:
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        return width, height, PNG_MODES[data[24:26]]
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return (*image.size, image.mode)
    except PIL.UnidentifiedImageError:  # built with verify="none"
        return 0, 0, "unknown"
