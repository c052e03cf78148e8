"""Rows of every kind, for the formats that hold arrays."""

import datetime
import importlib
import io
import os
from decimal import Decimal

import datasets
import numpy as np
from PIL import Image

from multiview_cifar import row_features
from multiview_cifar_tools.shards.manifest import Manifest, ShardFile
from multiview_cifar_tools.shards.schema import features_json

HDF5, NUMPY, CIFAR = (
    importlib.import_module(f"multiview_cifar_tools.formats.{name}")
    for name in ("hdf5_files", "numpy_arrays", "cifar_records")
)


def image(seed, shape=(4, 5, 3), dtype=np.uint8, kind="png"):
    """A view of random pixels (H, W, C)."""
    drawn = np.random.default_rng(seed)
    if dtype == np.float32:
        pixels = drawn.normal(0, 1e9, shape).astype(dtype)
    else:
        pixels = drawn.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def rows_with(counts, missing=(), **options):
    """A row with each of these numbers of views; `missing`: (row, view) of those that are None."""
    return [
        {
            "images": [
                None if (i, j) in missing else image(10 * i + j, **options) for j in range(count)
            ],
            "label": i % 2,
            "sample_id": f"{'cat' if i % 2 == 0 else 'dog'}/{i:04}",
            "view_names": [f"view_{j}" for j in range(count)],
        }
        for i, count in enumerate(counts)
    ]


def with_columns(rows, **columns):
    return [
        row | {name: values[i] for name, values in columns.items()} for i, row in enumerate(rows)
    ]


def without(column, rows):
    return [{name: value for name, value in row.items() if name != column} for row in rows]


PLAIN = row_features(["images"], ["cat", "dog"], None)
LABELLED = row_features(["images"], ["cat", "dog"], ["left", "ríght"])
MASKED = row_features(["images", "masks"], ["cat", "dog"], None)
UNLABELLED = row_features(["images"], None, None)
DESCRIBED = datasets.Features(
    {
        **PLAIN,
        "weight": datasets.Value("float64"),
        "day": datasets.Value("timestamp[us]"),
        "price": datasets.Value("decimal128(6, 2)"),
        "raw": datasets.Value("binary"),
        "angles": datasets.Sequence(datasets.Value("float32")),
        "kind": datasets.ClassLabel(names=["a", "b"]),
    }
)
ROWS = {
    "equal": (PLAIN, rows_with([2, 2, 2])),
    "ragged": (PLAIN, rows_with([1, 3, 0, 2, 5, 1])),
    "missing views": (
        PLAIN,
        rows_with([3, 3, 3, 1], {(0, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)}),
    ),
    "no real view": (PLAIN, rows_with([2, 1], {(0, 0), (0, 1), (1, 0)})),
    "no view at all": (PLAIN, rows_with([0, 0])),
    "views without names": (
        LABELLED,
        with_columns(
            rows_with([2, 3], {(0, 1), (1, 1)}),
            view_names=[["a", None], ["b", None, "c"]],
            view_labels=[[1, None], [0, None, 1]],
        ),
    ),
    "Unicode": (
        row_features(["images"], ["chat été", "犬"], None),
        with_columns(
            rows_with([1, 2]),
            sample_id=["chat été/a b", "犬/\u2028🐕"],
            view_names=[["前 view"], ["ü", "a\nb"]],
        ),
    ),
    "grey": (PLAIN, rows_with([2, 1], shape=(4, 5, 1))),
    "RGBA": (PLAIN, rows_with([2, 1], shape=(4, 5, 4))),
    "16-bit grey": (PLAIN, rows_with([2, 3], {(1, 1)}, shape=(4, 5, 1), dtype=np.uint16)),
    **{
        f"32 bits, {dtype.__name__}": (
            PLAIN,
            rows_with([2, 1], {(0, 1)}, shape=(4, 5, 1), dtype=dtype, kind="tiff"),
        )
        for dtype in (np.int32, np.float32)
    },
    "two columns": (
        MASKED,
        with_columns(
            rows_with([2, 3], {(1, 0)}),
            masks=[[None, None], [image(7, (2, 3, 1)), None, image(8, (2, 3, 1))]],
        ),
    ),
    "metadata": (
        DESCRIBED,
        with_columns(
            rows_with([1, 2, 1]),
            weight=[1 / 3, float("nan"), None],
            day=[datetime.datetime(2024, 5, 1, 12, 30, 0, 7), None, None],
            price=[Decimal("-12.50"), None, Decimal("0.01")],
            raw=[b"\0\xff", b"", None],
            angles=[[0.5], [float("inf"), None], None],
            kind=[1, 0, None],
        ),
    ),
}
ROWS["no labels"] = (UNLABELLED, without("label", ROWS["missing views"][1]))
ROWS["a row without a label"] = (PLAIN, with_columns(rows_with([2, 1]), label=[None, 1]))
# What records of equal length with one label byte cannot hold.
NOT_IN_RECORDS = {"two columns", "16-bit grey", "no labels", "a row without a label"}
NOT_IN_RECORDS |= {"32 bits, int32", "32 bits, float32"}
IN_RECORDS = [name for name in ROWS if name not in NOT_IN_RECORDS]
# What each format can hold: a module, whether as pixels, and the rows of that name.
HELD = [
    *(
        (module, pixels, name)
        for module in (HDF5, NUMPY)
        for pixels in (False, True)
        for name in ROWS
    ),
    *((CIFAR, True, name) for name in IN_RECORDS),
]
MODES = [(HDF5, False), (HDF5, True), (NUMPY, False), (NUMPY, True), (CIFAR, True)]


def name_of(value):
    """What pytest calls a parameter."""
    if isinstance(value, bool):
        return "pixels" if value else "bytes"
    return value.__name__.rpartition(".")[2] if hasattr(value, "Writer") else None


def write(module, path, rows, pixels, features=PLAIN):
    """Write a shard, and return its path."""
    writer = module.Writer(str(path), features, pixels)
    for row in rows:
        writer.write(row)
    writer.close()
    return str(path)


def read(module, path, manifest=None, **options):
    """All rows of each split."""
    reading = module.read(str(path), manifest, **options)
    return {
        split: [row for shard in shards for row in reading.rows(shard)]
        for split, shards in reading.shards.items()
    }


def shown(rows, features, pixels):
    """The rows as text, which is equal where they are, NaN too; of views their pixels, or bytes."""
    rows = [{name: row[name] for name in features} for row in rows]
    return repr(decoded(rows) if pixels else rows)


def decoded(rows):
    """The same with pixels in place of files."""
    return [
        {
            name: [*map(_pixels, value)] if name in ("images", "masks") else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _pixels(view):
    if view is None:
        return None
    with Image.open(io.BytesIO(view["bytes"])) as opened:
        pixels = np.asarray(opened)
    return pixels.dtype.name, pixels.tolist()


def size_of(path):
    """The bytes of a file, or of all files in a folder."""
    names = [path] if os.path.isfile(path) else [f"{path}/{name}" for name in os.listdir(path)]
    return sum(map(os.path.getsize, names))


def manifest_of(folder, splits, features=PLAIN):
    """What `export` writes beside shards; `splits` has (path, number of rows) of each shard."""
    return Manifest(
        "",
        features_json(features),
        {
            split: [ShardFile(path, n, size_of(f"{folder}/{path}"), "") for path, n in shards]
            for split, shards in splits.items()
        },
    )
