"""What is said of a split that was asked for and is not there. Does not import the script."""

from __future__ import annotations

import re
from collections.abc import Sequence

import datasets

from multiview_cifar_tools.spelling import did_you_mean


class SplitError(ValueError):
    """There is no such split; `.kind` is the script's error, `.path` the option."""

    kind, path = "OptionError", "split"


def check_split(split: str, names: Sequence[str], streaming: bool, can_divide: bool) -> None:
    """SplitError where a split, or a part of splits such as "train[:10%]+test", is not there.

    Args:
        split: What was asked for.
        names: Those of the splits.
        streaming: Whether only a whole split may be asked for, as `datasets` streams no others.
        can_divide: Whether `split_ratios` would make more splits.
    """
    known = " or ".join(map(repr, names))
    for part in re.split(r"\s*\+\s*", split):
        found = re.match(r"\w+(\.\w+)*", part)
        is_there = found and (found[0] in names or (found[0] == "all" and not streaming))
        if found and not is_there:
            near, hint = did_you_mean(found[0], names), ""
            if can_divide and not near:
                hint = (
                    ': this tree has no splits, split_ratios={"train": 0.8, "test": 0.2} makes some'
                )
            raise SplitError(f"There is no split {found[0]!r}.{near} Expected {known}{hint}.")
    if streaming and split not in names:
        raise SplitError(
            f"split={split!r} is no whole split, and a stream has no parts. Expected {known}; "
            "take(100) of the stream gives its first rows."
        )
    try:
        datasets.ReadInstruction.from_spec(split)
    except (ValueError, AssertionError):
        raise SplitError(
            f"split={split!r} is not right. Expected {known}, or a part, such as "
            f'"{names[0]}[:10%]" or "{names[0]}[100:200]".'
        ) from None
