"""Public sets whose samples are several images: the line of each, and which one a folder is.

All that is known of them stands in known_sets.toml, which also says what its fields mean.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from multiview_cifar import IMAGE_EXTENSIONS, FileListing

PATH = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class KnownSet:
    """A public set; the fields are those of known_sets.toml."""

    name: str
    kind: str
    home: str
    folder: str
    options: dict[str, Any]
    files: list[str]
    example: list[str]
    images: list[str]
    rows: str
    views: str
    licence: str = ""
    note: str = ""
    named: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Fits the path of each image of the set, from its folder on."""
        return re.compile("|".join(f"(?:{text})" for text in self.images))

    def fits(self, path: str, folder: str) -> bool:
        """Whether the path of an image, in a folder of this name, may be one of the set."""
        is_named = not self.named or folder == os.path.basename(self.folder)
        return is_named and bool(self.pattern.fullmatch(path))


class Greeting(NamedTuple):
    """A folder is a known set."""

    known: KnownSet
    data_dir: str  # the folder itself, or the only one in it that holds images


def read_sections() -> dict[str, list[dict[str, Any]]]:
    """known_sets.toml: the fields of all sets, by whether a line loads them ("set") or not."""
    with open(PATH, "rb") as file:
        return tomllib.load(file)


@lru_cache(maxsize=1)
def read_known_sets() -> list[KnownSet]:
    """The sets that a line loads."""
    return [KnownSet(**fields) for fields in read_sections()["set"]]


def find_known_set(tree: FileListing) -> Greeting | None:
    """The set that a folder is: each of its images has a name as in that set, and in no other one.

    Folders around everything are passed over. The first image decides for nearly every folder.
    """
    paths = iter_images(tree)
    found = _sets_of_image(next(paths, ""), tree.data_dir)
    for path in paths:
        if not found:
            break
        found = [
            (known, around)
            for known, around in found
            if path.startswith(around) and known.pattern.fullmatch(path, len(around))
        ]
    if len(found) != 1:
        return None
    ((known, around),) = found
    return Greeting(known, f"{tree.data_dir}/{around}".rstrip("/"))


def _sets_of_image(path: str, data_dir: str) -> list[tuple[KnownSet, str]]:
    """The sets that an image may be of, with the folders that would stand around the set."""
    arounds = [path[:i] for i in range(len(path)) if not i or path[i - 1] == "/"]
    return [
        (known, around)
        for around in arounds
        for known in read_known_sets()
        if known.fits(path[len(around) :], os.path.basename(f"{data_dir}/{around}".rstrip("/")))
    ]


def iter_images(tree: FileListing) -> Iterator[str]:
    """The paths of all images."""
    for path in tree.paths:
        if os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS:
            yield path
