"""Parquet shards for the tests of `elastic`, whose images say which row they are."""

import hashlib
import io
import json

import datasets
from PIL import Image

from multiview_cifar_tools.formats.parquet_files import Writer
from multiview_cifar_tools.shards.manifest import MANIFEST
from multiview_cifar_tools.shards.schema import features_json

FEATURES = datasets.Features(
    {
        "images": datasets.Sequence(datasets.Image()),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "sample_id": datasets.Value("string"),
        "view_names": datasets.Sequence(datasets.Value("string")),
    }
)


def png_of(row):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 2), (row >> 8, row & 255, 7)).save(buffer, "png")
    return buffer.getvalue()


def row_of(number):
    views = [{"bytes": png_of(number), "path": None} for _ in range(2)]
    return {
        "images": views,
        "label": number % 2,
        "sample_id": f"{number:05d}",
        "view_names": ["a", "b"],
    }


def write_shards(folder, counts, split="train", features=FEATURES):
    """Shards of so many rows each, as `export` writes them, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    shards, number = [], 0
    for i, count in enumerate(counts):
        path = folder / f"{split}-{i:05d}-of-{len(counts):05d}.parquet"
        writer = Writer(str(path), features, False)
        for row in range(number, number + count):
            writer.write(row_of(row))
        writer.close()
        number += count
        shards.append(
            {
                "path": path.name,
                "num_rows": count,
                "num_bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    splits = {split: {"num_rows": number, "shards": shards}}
    write_manifest(
        folder,
        {
            "format": "parquet",
            "pixels": False,
            "splits": splits,
            "features": features_json(features),
        },
    )
    return folder


def write_manifest(folder, manifest):
    (folder / MANIFEST).write_text(json.dumps(manifest))


def read_manifest(folder):
    return json.loads((folder / MANIFEST).read_text())


def rows_in(batch):
    """The numbers of the rows in a batch: as its images say, and its labels agree."""
    images = batch["images"]
    channel = images[..., 0, 0, :] if images.shape[-1] == 3 else images[..., 0, 0]
    rows = [(int(pixel[0][0]) << 8) + int(pixel[0][1]) for pixel in channel]
    assert [int(label) for label in batch["label"]] == [row % 2 for row in rows]
    return rows


def together(ranks, batch_size):
    """The order in which ranks that step together see samples, of each rank's batches."""
    steps = max(map(len, ranks))
    return [
        batches[step][i]
        for step in range(steps)
        for i in range(batch_size)
        for batches in ranks
        if step < len(batches) and i < len(batches[step])
    ]
