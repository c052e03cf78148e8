"""Class names that the caller gives, and labels of files that have no names for them."""

from __future__ import annotations

from collections.abc import Sequence

from multiview_cifar import OptionError

MAX_LABELS = (
    1 << 20
)  # of files without names for them: a damaged label would make millions of names


def number_names(count: int) -> list[str]:
    """The names of labels that have none: their numbers."""
    return [*map(str, range(count))]


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """The class names that the caller gives, as a list; OptionError where they are none."""
    names = [] if isinstance(class_names, str) else [*class_names]
    if not names or len({*names}) < len(names) or not all(isinstance(n, str) for n in names):
        raise OptionError(
            f"class_names={class_names!r} is not right. Expected a list of names, "
            "none of them twice.",
            "class_names",
        )
    return names


def check_no_class_names(class_names: Sequence[str] | None, path: str) -> None:
    """OptionError where class names are given for files that have their own."""
    if class_names is not None:
        raise OptionError(
            f"class_names are given, but {path} has its own. Expected them only for "
            "files that another tool made: leave them out.",
            "class_names",
        )
