"""The names of labels in files that have none: those that the caller gives, or numbers."""

from __future__ import annotations

from collections.abc import Sequence

from multiview_cifar import OptionError


def check_no_class_names(class_names: Sequence[str] | None, path: str) -> None:
    """OptionError where class names are given for files that say theirs."""
    if class_names is not None:
        raise OptionError(
            f"class_names are given, but {path} says its own. Expected them only for "
            "files that another tool made: leave them out.",
            "class_names",
        )


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """The class names that the caller gives; OptionError where they are none."""
    names = [] if isinstance(class_names, str) else [*class_names]
    if not names or len({*names}) < len(names) or not all(isinstance(n, str) for n in names):
        raise OptionError(
            f"class_names={class_names!r} is not right. Expected a list of names, "
            "none of them twice.",
            "class_names",
        )
    return names
