"""Finding the files that are the shards of a dataset, and the split of each."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import datasets

from multiview_cifar import SPLIT_WORDS, find_split, join_first, natural_key
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.shards.manifest import MANIFEST, Manifest
from multiview_cifar_tools.storage.redaction import redact_url

logger = logging.getLogger(__name__)

SHARD_NUMBER = re.compile(r"(.*)-(\d+)-of-(\d+)[^/]*")


class Shard(NamedTuple):
    """A file or folder of rows.

    Attributes:
        path: Of it.
        num_rows: Its number of rows; None where there is no manifest.
        num_rows_before: In the shards of its split before it, where a format needs it.
    """

    path: str
    num_rows: int | None = None
    num_rows_before: int = 0


def shard_files(path: str) -> list[str]:
    """The files of a shard: the file itself, or all files in the folder but hidden ones."""
    if os.path.isfile(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name[0] != ".")
    return [*filter(os.path.isfile, (os.path.join(path, name) for name in names))]


def is_file_or_folder(path: str) -> bool:
    """Whether a shard may stand there, of a format whose shards may be folders."""
    return os.path.isfile(path) or os.path.isdir(path)


def manifest_shards(
    folder: str, manifest: Manifest, exists: Callable[[str], bool] = os.path.isfile
) -> dict[str, list[Shard]]:
    """The shards that a manifest names; FormatError where one is not there, or not as large."""
    shards: dict[str, list[Shard]] = {}
    for split, files in manifest.splits.items():
        shards[split] = []
        for file in files:
            path = os.path.join(folder, file.path)
            if not exists(path):
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


def check_num_rows(shard: Shard, found: int, word: str) -> None:
    """FormatError where a shard does not have as many rows as its manifest says; `word` is what its
    format calls them.
    """
    if shard.num_rows not in (None, found):
        raise FormatError(
            f"{shard.path} has {found} {word}. Expected {shard.num_rows}, as when it was "
            "written: put the right file there.",
            shard.path,
        )


def common_features(
    features_of: Mapping[str, datasets.Features | None], word: str
) -> datasets.Features | None:
    """The features in all files, None where they have none; FormatError where they differ.

    `features_of` has those of each file by its path, `word` is what the files are called.
    """
    first, features = next(iter(features_of.items()))
    if different := [path for path, other in features_of.items() if other != features]:
        raise FormatError(
            f"{different[0]} holds other columns or labels than {first}. Expected "
            f"{word} of one dataset: read them one by one.",
            different[0],
        )
    return features


def find_shards(path: str, is_shard: Callable[[str], bool], word: str) -> list[str]:
    """The path of each shard, in natural order: `path` itself, or those in that folder and in the
    folders in it. All else that is there is logged.

    FormatError where there is no shard; `word` is what the files are called.
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
        exists = os.path.exists(path)
        raise FormatError(
            f"{path} {'has none' if exists else 'does not exist'}. Expected {word}, "
            "a folder of some, or one with a folder for each split.",
            path,
        )
    if ignored:
        logger.warning("Ignored beside %s: %s", word, ", ".join(ignored))
    return found


def _list_names(folder: str) -> list[str]:
    """The names in a folder, in natural order, without hidden ones."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted((name for name in names if name[0] != "."), key=natural_key)


def group_by_split(paths: Iterable[str], source: str) -> dict[str, list[Shard]]:
    """Shards without a manifest by their splits, in the order train, validation, test; see
    `find_splits`. `source` is where they were looked for.
    """
    shards: dict[str, list[Shard]] = defaultdict(list)
    for path, split in find_splits([*paths], source).items():
        shards[split].append(Shard(path))
    order = [*dict.fromkeys(SPLIT_WORDS.values())]
    return {split: shards[split] for split in order if split in shards}


def find_splits(paths: Sequence[str], source: str) -> dict[str, str]:
    """The split of each shard without a manifest: the one in its name or in that of its folder,
    else "train", which is logged where others name one. So are shards that are not there, by what
    the names say of their number.

    Args:
        paths: Of the shards.
        source: The folder or pattern that they were found in. Of its own name a whole word counts,
            as of a folder called "train"; in names below it any word set off by anything but
            letters, as in "mine-train-2".
    """
    is_folder = os.path.isdir(source) and source not in paths
    top = source if is_folder else os.path.dirname(source)
    own = SPLIT_WORDS.get(os.path.basename(top).lower())
    found = {path: find_split(os.path.basename(path)) for path in paths}
    for path in paths:
        folder = os.path.dirname(path)
        found[path] = found[path] or (
            own if folder == top else find_split(os.path.basename(folder))
        )
    unnamed = [path for path, split in found.items() if split is None]
    if 0 < len(unnamed) < len(found):
        shown = join_first(map(redact_url, unnamed))
        logger.warning("Taken as train, since they name no split, or two: %s", shown)
    _warn_of_gaps(paths)
    return {path: split or "train" for path, split in found.items()}


def _warn_of_gaps(paths: Iterable[str]) -> None:
    """Log which shards are not there, of "train-00000-of-00002" and the like."""
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in paths:
        if match := SHARD_NUMBER.fullmatch(path):
            numbers[match[1], int(match[3])].add(int(match[2]))
    for (name, count), there in numbers.items():
        if len(there) < count:
            absent = (number for number in range(count) if number not in there)
            logger.warning(
                "%s: %d of %d shards are missing, the first is number %d",
                *(redact_url(name), count - len(there), count, next(absent)),
            )
