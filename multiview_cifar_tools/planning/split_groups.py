"""What stays in one split: samples of one patient, class or name.

The loading script imports this where `split_by` is given; so it imports nothing of this project,
and errors are GroupErrors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from multiview_cifar_tools.spelling import did_you_mean


class GroupError(ValueError):
    """Samples have no group, or several.

    Attributes:
        path: The option, or the first of the samples.
        kind: The loading script's error that it becomes.
    """

    def __init__(self, message: str, path: str, kind: str = "LayoutError") -> None:
        super().__init__(message)
        self.path, self.kind = path, kind


def find_groups(
    samples: Iterable[Any], split_by: str, class_names: Sequence[str] | None
) -> list[str]:
    """The name of the group of each sample.

    Args:
        samples: The script's `Sample`s.
        split_by: A column of their metadata, by sample or by view; or "label", or "sample", which
            is the name without the class.
        class_names: Of their labels; None where there are none.

    Raises:
        GroupError: There is no such column (OptionError), a sample has no value in it, or its views
            have several.
    """
    groups, missing = list[str](), list[str]()
    for sample in samples:
        values = list_groups(sample, "split_by", split_by, class_names)
        if len(values) > 1:
            raise GroupError(
                f"split_by={split_by!r}: {sample.sample_id} has {_join_first(sorted(values))}. "
                "Expected one for all its views: fix the metadata, or name another column.",
                sample.sample_id,
            )
        if not values:
            missing.append(sample.sample_id)
        groups += values
    if missing:
        raise GroupError(
            f"split_by={split_by!r}: {len(missing)} samples have none ({_join_first(missing)}). "
            "Expected one for each: add it to the metadata.",
            missing[0],
        )
    return groups


def list_groups(
    sample: Any, option: str, name: str, class_names: Sequence[str] | None
) -> list[str]:
    """The different groups of a sample and its views, as text, without None.

    GroupError where `name`, which was given as `option`, is neither a column of the metadata nor
    "label" or "sample", see `find_groups`.
    """
    if name in sample.metadata:
        values = [sample.metadata[name]]
    elif name in sample.view_metadata:
        values = sample.view_metadata[name]
    elif name == "label" and class_names is not None:
        values = [None if sample.label is None else class_names[sample.label]]
    elif name == "sample":
        values = [sample.sample_id.rpartition("/")[2]]
    else:
        columns = [*sample.metadata, *sample.view_metadata]
        known = [*columns, *["label"] * (class_names is not None), "sample"]
        raise GroupError(
            f"{option}={name!r} is not a column of the metadata.{did_you_mean(name, known)} "
            f"Expected one of {_join_first(map(repr, known), 20)}.",
            option,
            "OptionError",
        )
    return [*dict.fromkeys(str(value) for value in values if value is not None)]


def _join_first(names: Iterable[str], most: int = 5) -> str:
    names = [*names]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
