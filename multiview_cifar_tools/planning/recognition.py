"""Which public set a folder is, by the names of its images."""

from __future__ import annotations

from typing import NamedTuple

from multiview_cifar import FileListing, is_image
from multiview_cifar_tools.planning.known_sets import KNOWN_SETS, KnownSet


class Greeting(NamedTuple):
    """A folder is a known set."""

    known: KnownSet
    data_dir: str  # the folder itself, or the only one in it that holds images


def find_known_set(tree: FileListing) -> Greeting | None:
    """The set that a folder is: each of its images has a name as in that set, and in no other one.

    Folders around everything are passed over. The first image decides for nearly every folder.
    """
    paths = filter(is_image, tree.paths)
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
        for known in KNOWN_SETS
        if known.pattern.fullmatch(path, len(around))
        and (not known.named or f"/{data_dir}/{around}".rstrip("/").endswith(f"/{known.folder}"))
    ]
