"""Which files are the shards of a dataset, and of which split."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from multiview_cifar import SPLIT_WORDS, natural_key
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.shards.manifest import MANIFEST, Manifest

logger = logging.getLogger(__name__)


class Shard(NamedTuple):
    """A file or folder that holds rows, and how many, where a manifest says so."""

    path: str
    num_rows: int | None = None


def shard_files(path: str) -> list[str]:
    """The files of a shard: itself, or all in the folder but hidden ones."""
    if os.path.isfile(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name[0] != ".")
    return [*filter(os.path.isfile, (os.path.join(path, name) for name in names))]


def manifest_shards(
    folder: str, manifest: Manifest, is_there: Callable[[str], bool] = os.path.isfile
) -> dict[str, list[Shard]]:
    """The shards that a manifest names; FormatError where one is not there, or not as large."""
    shards: dict[str, list[Shard]] = {}
    for split, files in manifest.splits.items():
        shards[split] = []
        for file in files:
            path = os.path.join(folder, file.path)
            if not is_there(path):
                raise FormatError(
                    f"{path} is not there, but {MANIFEST} names it. Expected all "
                    "shards of an export: copy it again.",
                    path,
                )
            size = sum(map(os.path.getsize, shard_files(path)))
            if size != file.num_bytes:
                raise FormatError(
                    f"{path} has {size} bytes. Expected {file.num_bytes}, as "
                    f"{MANIFEST} says: it is cut off or changed, copy it again.",
                    path,
                )
            shards[split].append(Shard(path, file.num_rows))
    return shards


def find_shards(path: str, is_shard: Callable[[str], bool], word: str) -> list[str]:
    """The path of each shard, in natural order: `path` itself, or what stands in that folder and in
    the folders in it. What else stands there is logged.

    FormatError where there is none; `word` is what the files are called.
    """
    if is_shard(path):
        return [path]
    found, ignored = [], []
    for name in _list_names(path):
        child = os.path.join(path, name)
        inner = [os.path.join(child, each) for each in _list_names(child)]
        shards = [child] if is_shard(child) else [*filter(is_shard, inner)]
        found += shards
        ignored += [] if shards else [child]
    if not found:
        there = os.path.exists(path)
        raise FormatError(
            f"{path} {'has none' if there else 'does not exist'}. Expected {word}, "
            "a folder of some, or one with a folder for each split.",
            path,
        )
    if ignored:
        logger.warning("Ignored beside %s: %s", word, ", ".join(ignored))
    return found


def _list_names(folder: str) -> list[str]:
    """What stands in a folder, without hidden names."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted((name for name in names if name[0] != "."), key=natural_key)


def group_by_split(paths: Iterable[str]) -> dict[str, list[Shard]]:
    """Shards without a manifest, by the split that they or else their folders are named after, or
    "train"; train comes first, then validation, then test.
    """
    shards: dict[str, list[Shard]] = defaultdict(list)
    for path in paths:
        folder = os.path.dirname(path)
        shards[_split_in_name(path) or _split_in_name(folder) or "train"].append(Shard(path))
    order = [*dict.fromkeys(SPLIT_WORDS.values())]
    return {split: shards[split] for split in order if split in shards}


def _split_in_name(path: str) -> str | None:
    """The split that a file or folder is named after, as "train-00000-of-00002.tar" is."""
    stem = re.sub(r"([-_.]?[\d-]+(of-\d+)?)?(\.[a-z]+)*$", "", os.path.basename(path).lower())
    return SPLIT_WORDS.get(stem)
