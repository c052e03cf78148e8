"""Images, and rows of them."""

from __future__ import annotations

import io
import struct
import zlib

import datasets
import numpy as np
from PIL import Image

import multiview_cifar
from multiview_cifar_tools.flat_png import flat_png

BANDS = {"L": 1, "RGB": 3, "RGBA": 4, "I;16": 1}
DEEP = {"I;16": (np.uint16, 0, 1 << 16), "I": (np.int32, -(1 << 31), (1 << 31) - 1)}


def picture(mode, size, seed=0):
    width, height = size
    if mode == "F":
        drawn = np.random.default_rng(seed).normal(0, 1e9, (height, width))
        return Image.fromarray(drawn.astype(np.float32))
    if mode in DEEP:
        dtype, low, high = DEEP[mode]
        drawn = np.random.default_rng(seed).integers(low, high, (height, width), dtype)
        return Image.fromarray(drawn)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, BANDS[mode]), np.uint8)
    return Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels)


FEATURES = multiview_cifar.row_features(["images"], ["cat", "dog"], None)


def encoded(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(image):
    return encoded(image)


def make_rows(views, encode=flat_png, mode="RGB", size=(5, 4)):
    """A dataset of len(views) samples, sample i of views[i] images; None is a missing view."""
    rows = {name: [] for name in FEATURES}
    for i, count in enumerate(views):
        marks = [True] * count if isinstance(count, int) else count
        images = [mark and encode(picture(mode, size, 100 * i + v)) for v, mark in enumerate(marks)]
        rows["images"].append([image and {"bytes": image, "path": None} for image in images])
        rows["label"].append(i % 2)
        rows["sample_id"].append(f"cat/{i}")
        rows["view_names"].append([str(v) for v in range(len(marks))])
    return datasets.Dataset.from_dict(rows, features=FEATURES)


SIDE = 8  # of the images of `make_masked`


def numbered(side=SIDE):
    """A mask that tells each pixel, and a depth that follows from it: 0 where there is none."""
    mask = np.arange(1, side * side + 1, dtype=np.uint8).reshape(side, side)
    return Image.fromarray(mask), Image.fromarray(mask.astype(np.uint16) * 1001)


def lists_of(ds, make):
    """As many images as each row has views."""
    return [
        [make(i, v) and {"bytes": make(i, v), "path": None} for v in range(len(row))]
        for i, row in enumerate(ds["view_names"])
    ]


def make_masked(views, encode=flat_png, size=(SIDE, SIDE)):
    """Rows with `masks` and `depth` beside the images, and `plan`, one image a row."""
    ds = make_rows(views, encode, size=size)
    mask, depth = numbered()
    masks = lists_of(ds, lambda i, v: encode(mask))
    depths = lists_of(ds, lambda i, v: encode(depth))
    plans = [{"bytes": png(picture("L", (3, 2), i)), "path": None} for i in range(len(ds))]
    ds = ds.add_column("masks", masks, feature=FEATURES["images"])
    ds = ds.add_column("depth", depths, feature=FEATURES["images"])
    return ds.add_column("plan", plans, feature=datasets.Image())


def expected(ds, samples):
    """What `datasets` itself decodes, sample by sample: a list of lists of arrays or None."""
    rows = [ds[i]["images"] for i in samples]
    return [
        [None if v is None else np.asarray(v).reshape(v.height, v.width, -1) for v in row]
        for row in rows
    ]


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(name, data):
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def with_chunk(png, name, data):
    """The PNG with a chunk more, right after IHDR."""
    return png[:33] + chunk(name, data) + png[33:]
