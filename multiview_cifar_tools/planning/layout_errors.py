"""What makes an error about a layout more helpful: what was found, and the layout that fits.

The loading script asks for it, and does without it where the package is not installed; so this
imports nothing of the script, and takes plain data and its functions.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multiview_cifar_tools.planning.suggest_layout import describe_nearest
from multiview_cifar_tools.spelling import did_you_mean

__all__ = ["did_you_mean", "find_misfit", "list_below", "mixed_splits", "nearest_layouts"]
__all__ += ["tell_apart"]


def nearest_layouts(
    data_dir: str,
    paths: Sequence[str],
    is_by_split: bool,
    parse: Callable[[str], Any],
    find_split: Callable[[str], str | None],
    split_name: Callable[[str], str],
) -> str:
    """As `describe_nearest`, for the paths of a listing, in which the archive of a split stands as
    a folder where `is_by_split`; and of a folder the command that says more.
    """
    inner = [path.partition("/")[2] if is_by_split else path for path in paths]
    nearest = describe_nearest(inner, parse, find_split, split_name, is_by_split)
    command = f"multiview-cifar plan {shlex.quote(data_dir)}"
    return nearest + (f" To see more, run `{command}`." if os.path.isdir(data_dir) else "")


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
    return f" Of {_join_first(tops)} only {_join_first(splits)} would be a split." if splits else ""


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
