"""What makes an error about a layout more helpful: what was found, and the layout that fits.

The loading script asks for it, and does without it where the package is not installed; so this
imports nothing of the script, and takes plain data and its functions.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from multiview_cifar_tools.planning.suggest_layout import describe_nearest, suggest_columns
from multiview_cifar_tools.spelling import did_you_mean
from multiview_cifar_tools.storage.near_places import near_place

__all__ = ["did_you_mean", "find_misfit", "list_below", "mixed_splits", "nearest_column"]
__all__ += ["folder_below", "near_place", "nearest_layouts", "see_plan", "tell_apart"]


USUAL_LAYOUT = "{label}/{sample}/{view}"  # where the user gives none, and there are no splits
MAX_TRIED = 20  # folders and names by which a folder is compared with its siblings


def nearest_layouts(
    data_dir: str,
    paths: Sequence[str],
    is_by_split: bool,
    in_use: Sequence[Any],
    parse: Callable[[str], Any],
    find_split: Callable[[str], str | None],
    split_name: Callable[[str], str],
) -> str:
    """As `describe_nearest`, for the paths of a listing, in which the archive of a split stands as
    a folder where `is_by_split`; and of a folder the command that says more.

    Where no other layout takes more images than the script's `Template`s that are in use, it says
    how many these take. Where they take none, it names the folder above that may be meant.
    """
    used = sum(any(t.path.fullmatch(path, 0, path.rfind(".")) for t in in_use) for path in paths)
    inner = [path.partition("/")[2] if is_by_split else path for path in paths]
    nearest = describe_nearest(inner, parse, find_split, split_name, is_by_split, used)
    if used and not nearest:
        nearest = f" {used:,} of {len(paths):,} images fit this layout."
    if in_use and not used and (above := find_folder_above(data_dir, paths, in_use[0].depth)):
        if in_use[0].text == USUAL_LAYOUT and _is_split(above, find_split):
            above = os.path.dirname(above)  # which holds the other splits too
        nearest = f" If you meant the folder above, pass {above}.{nearest}"
    if not used and any("\\" in template.text for template in in_use):
        nearest = f' Write "/" between folders, on Windows too.{nearest}'
    return nearest + see_plan(data_dir)


def folder_below(
    data_dir: str, paths: Sequence[str], find_split: Callable[[str], str | None]
) -> str:
    """What to pass as data_dir where all images stand too deep: the first folder from which on down
    they are [split/]class/sample/view, or one of several such; else "".
    """
    folders = paths[0].split("/")[:-1] if os.path.isdir(data_dir) else []
    for depth in range(1, len(folders)):
        start = "/".join(folders[:depth]) + "/"
        inner = [path.removeprefix(start) for path in paths if path.startswith(start)]
        by_split = all(find_split(path.partition("/")[0]) for path in inner)
        if all(path.count("/") == 2 + by_split for path in inner):
            folder = os.path.join(data_dir, *folders[:depth])
            of_several = len(inner) < len(paths)
            further = "a data_dir further down, such as {}" if of_several else "{} as data_dir"
            return further.format(folder)
    return ""


def see_plan(data_dir: str) -> str:
    """The last sentence of `nearest_layouts`, with a space before it; "" where there is none."""
    command = f"multiview-cifar plan {shlex.quote(data_dir)}"
    return f" To see more, run `{command}`." if os.path.isdir(data_dir) else ""


def nearest_column(
    texts: Sequence[str], paths: Sequence[str], ignored: Mapping[str, Sequence[str]]
) -> str:
    """The template, in a sentence, of images that are left out below those which the first of
    these templates takes; "" where there is none.
    """
    left_out = {why: found for why, found in ignored.items() if why.startswith("images")}
    others = [path for found in left_out.values() for path in found]
    taken = {*paths} - {*others}
    near = [text for text in suggest_columns(texts[0], taken, others).values() if text not in texts]
    return f" Nearest is {near[0]}." if near else ""


def find_folder_above(data_dir: str, paths: Sequence[str], depth: int) -> str:
    """The folder above in which the images would stand so deep, where each folder between has a
    sibling that holds files of the same names as deep as it does; else "".
    """
    folder, depths = data_dir, {path.count("/") for path in paths}
    if len(depths) != 1 or (own := depths.pop()) >= depth or not os.path.isdir(folder):
        return ""
    names = {path.rpartition("/")[2] for path in paths[:MAX_TRIED]}
    for level in range(own, depth):
        above = os.path.dirname(folder)
        siblings = (other for other in _list_folders(above) if other != folder)
        if not any(_holds(sibling, level, names) for sibling in siblings):
            return ""
        folder = above
    return folder


def _is_split(folder: str, find_split: Callable[[str], str | None]) -> bool:
    """Whether a folder and all beside it have the names of splits."""
    beside = _list_folders(os.path.dirname(folder))
    return all(find_split(os.path.basename(other)) for other in [folder, *beside])


def _holds(folder: str, depth: int, names: Collection[str]) -> bool:
    """Whether a file of one of these names stands so many folders below."""
    if depth:
        return any(_holds(inner, depth - 1, names) for inner in _list_folders(folder))
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def _list_folders(folder: str) -> list[str]:
    """The first folders in a folder; none where it may not be read."""
    try:
        with os.scandir(folder) as entries:
            folders = (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
            return [*islice(folders, MAX_TRIED)]
    except OSError:
        return []


def tell_apart(other: str, path: str, template: str) -> str:
    """How a template could tell two files that stand for one view from each other."""
    (stem, dot, ending), (other_stem, _, other_ending) = path.rpartition("."), other.rpartition(".")
    if stem == other_stem and ending.lower() != other_ending.lower():
        return (
            f', or say which in the layout: "{template}{dot}{other_ending}"'
            f' and, for a column such as "masks", "{template}{dot}{ending}"'
        )
    if "{*}" in template:
        return f", or write a field such as {{view}} for {{*}} in {template}: there they differ"
    return ""


def find_misfit(path: str, templates: Sequence[Any]) -> str:
    """Why an image fits no template, where it nearly fits one of the script's `Template`s."""
    stem = path.rpartition(".")[0]
    for template in templates:
        if template.path.fullmatch(stem):
            return "images with another extension than that of the layout"
        differing = re.sub(r"\(\?P=\w+\)", "[^/]+", template.path.pattern)
        if re.fullmatch(differing, stem):
            return "images in whose path a repeated field differs"
    return ""


def mixed_splits(tops: Sequence[str], splits: Sequence[str]) -> str:
    """Which of the top folders would be splits, if all were."""
    return f" Only {_join_first(splits)} of {_join_first(tops)} would be a split." if splits else ""


def list_below(folder: str, folders: Sequence[str], ignored: Mapping[str, Sequence[str]]) -> str:
    """What there is in a folder, of what gave no image."""
    names = []
    for reason, paths in {"": folders, **ignored}.items():
        why = f" among {reason}" if reason.startswith("images") else ""
        below = (path.rpartition("/") for path in paths)
        names += [name + why for above, _, name in below if above == folder and name]
    return f" (found: {_join_first(names) or 'nothing'})"


def _join_first(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
