"""The manifest beside shards, multiview_cifar.json: their format and features, and each shard.

    {"format": "parquet",
     "pixels": false,
     "features": {...},
     "splits": {"train": {"num_rows": 9, "shards": [{"path": "data/train-00000.parquet",
                                                     "num_rows": 9, "num_bytes": 5120,
                                                     "sha256": "..."}]}},
     ...}

`export` writes it beside shards of any format, `build --output` beside Parquet shards with some
more keys, which say how they were built. It is read, written and verified here alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from multiview_cifar_tools.digests import file_digest, list_files
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.storage.source import local_version

MANIFEST = "multiview_cifar.json"
KEYS = ("format", "pixels", "features", "splits")


@dataclass(frozen=True)
class ShardFile:
    """A shard's file, or its folder in formats whose shards are folders.

    Attributes:
        path: In the folder of the manifest; with that folder or its URL before it where it is read.
        num_rows: How many samples it holds.
        num_bytes: Of the file, or of all files in the folder.
        sha256: Of the file; of a folder, the digest of what `sha256sum` prints of its files in the
            order of their names.
    """

    path: str
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a manifest says.

    Attributes:
        format: One of `defaults.FORMATS`.
        features: Of the rows, as JSON.
        splits: The shards of each split, in row order.
        pixels: Whether the shards hold arrays of pixels in place of the files' bytes.
        build: The further keys: how the shards were built.
    """

    format: str
    features: dict[str, Any]
    splits: Mapping[str, list[ShardFile]]
    pixels: bool = False
    build: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_rows(self) -> dict[str, int]:
        """The number of rows of each split."""
        return {
            split: sum(shard.num_rows for shard in shards) for split, shards in self.splits.items()
        }


class ManifestError(ValueError):
    """A text is not a manifest; its message says why."""


def parse_manifest(data: str | bytes) -> Manifest:
    """The manifest that a file holds; ManifestError where it holds none."""
    try:
        keys: dict[str, Any] = json.loads(data)
        splits = {
            split: [_parse_shard(shard) for shard in entry["shards"]]
            for split, entry in keys["splits"].items()
        }
        build = {key: value for key, value in keys.items() if key not in KEYS}
        features = dict(keys["features"])
        manifest = Manifest(
            str(keys["format"]), features, splits, bool(keys.get("pixels", False)), build
        )
        counts = {split: entry["num_rows"] for split, entry in keys["splits"].items()}
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ManifestError(f"{type(error).__name__}: {error}") from None
    if wrong := [split for split in splits if not re.fullmatch(r"\w+(\.\w+)*", split)]:
        raise ManifestError(f"{wrong[0]!r} is not a name of a split")
    if not features or counts != manifest.num_rows:
        raise ManifestError("it has no features" if not features else "its num_rows do not add up")
    return manifest


def _parse_shard(entry: Mapping[str, Any]) -> ShardFile:
    sha256 = bytes.fromhex(entry["sha256"]).hex()  # it becomes a part of paths: digits alone
    if not isinstance(entry["path"], str):
        raise TypeError("the path of a shard is not text")
    return ShardFile(entry["path"], int(entry["num_rows"]), int(entry["num_bytes"]), sha256)


def format_manifest(manifest: Manifest) -> str:
    """The text of the file."""
    splits = {
        split: {
            "num_rows": manifest.num_rows[split],
            "shards": [
                {
                    "path": shard.path,
                    "num_rows": shard.num_rows,
                    "num_bytes": shard.num_bytes,
                    "sha256": shard.sha256,
                }
                for shard in shards
            ],
        }
        for split, shards in manifest.splits.items()
    }
    keys = (manifest.format, manifest.pixels, manifest.features, splits)
    return json.dumps({**dict(zip(KEYS, keys, strict=True)), **manifest.build}, indent=1)


def read_manifest(folder: str, formats: Collection[str]) -> Manifest | None:
    """The manifest of a local folder, None where it has none.

    FormatError where it is damaged, or of a format that is none of `formats`.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            manifest = parse_manifest(file.read())
    except ValueError:  # or it is no UTF-8
        manifest = None
    if manifest is None or manifest.format not in formats:
        raise FormatError(
            f"{path} is damaged, or of a later version. Expected JSON with format, "
            "features and splits, as `export` writes it: export again, or name the "
            "files themselves with source_format.",
            path,
        )
    return manifest


def shard_digests(folder: str, manifest: Manifest) -> dict[str, str]:
    """The SHA-256 of each shard in the folder of a manifest, by the path that it is read from."""
    files = (file for own in manifest.splits.values() for file in own)
    return {os.path.join(folder, file.path): file.sha256 for file in files}


def check_digest(path: str, sha256: str) -> None:
    """FormatError where a local shard cannot be read, or its bytes are not those that its manifest
    says.

    They are compared once in a process, and in those that it forks then, while sizes and times
    stay as they are.
    """
    try:
        files = tuple(list_files(path))
        _compare_digest(path, sha256, files, tuple(map(local_version, files)))
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error}). Expected it as {MANIFEST} says: copy or export it "
            "again.",
            path,
        ) from None


@lru_cache(maxsize=1 << 16)
def _compare_digest(
    path: str, sha256: str, files: tuple[str, ...], versions: tuple[str, ...]
) -> None:
    if (found := file_digest(path, [*files])) != sha256:
        raise FormatError(
            f"{path} has the sha256 {found}. Expected {sha256}, as {MANIFEST} says: it is "
            "damaged, so copy or export it again.",
            path,
        )
