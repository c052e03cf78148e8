"""Raw rows: the dicts that readers give and writers take, and the checks that all of them share.

    {"images": [{"bytes": b"...", "path": None}, None], "label": 0, "sample_id": "cat/0001",
     "view_names": ["front", "left"], ...}

The columns are those of README, "The row": a missing view is None, further image columns look like
`images`, all other columns hold plain values. Rows without labels have no column `label`; a single
row without one has None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets

from multiview_cifar_tools.arguments import short_repr
from multiview_cifar_tools.batches.columns import image_columns, views_in
from multiview_cifar_tools.errors import ExportError, FormatError

Row = dict[str, Any]
NO_LABELS = datasets.ClassLabel(names=[])


def features_from(info: Any) -> datasets.Features:
    """The features that a manifest or a file holds as JSON, see `schema.features_json`.

    FormatError where it is not JSON of features, or they are not those of multi-view rows.
    """
    try:
        features = datasets.Features.from_dict(info)
    except Exception as error:  # `datasets` raises AttributeError, KeyError, ValueError and more
        raise FormatError(
            f"{short_repr(info)} are not features of a dataset "
            f"({type(error).__name__}: {error}). Expected them as `export` writes "
            "them."
        ) from None
    missing = {"images", "sample_id", "view_names"}.difference(features)
    label = features.get("label", NO_LABELS)
    names = [name for feature in features.values() for name in label_names(feature) or ()]
    is_text = all(isinstance(name, str) for name in names)
    if missing or not isinstance(label, datasets.ClassLabel) or not is_text:
        raise FormatError(
            f"The features name the columns {', '.join(features) or 'none'}. Expected"
            " images, sample_id and view_names among them, a label only as a ClassLabel, and the "
            "names of labels as text."
        )
    return features


def check_row(row: Row, features: datasets.Features, where: str, path: str = "") -> None:
    """Raise FormatError where a raw row does not fit its features and README, "The row".

    That is: a column is missing, the label or a view label is out of range, the sample has no name,
    or the lists of its views differ in length.

    Args:
        row: The row.
        features: Of the row.
        where: Names the row in the error, such as its file and number.
        path: The `.path` of the error.
    """
    found = find_row_error(row, features)
    if found:
        raise FormatError(f"{where}: {found}.", path)


def check_export_row(row: Row, features: datasets.Features) -> None:
    """As `check_row`, for writers: raise ExportError, whose `.path` is the sample."""
    if found := find_row_error(row, features):
        sample = str(row.get("sample_id"))
        raise ExportError(f"the sample {sample}: {found}.", sample)


def find_row_error(row: Row, features: datasets.Features) -> str | None:
    """What is wrong with a row, and what was expected; None where nothing is."""
    if missing := [name for name in features if name not in row]:
        return f"the row has no column {missing[0]!r}. Expected {', '.join(features)}"
    sample = row["sample_id"]
    if not isinstance(sample, str) or not sample:
        return f"sample_id is {sample!r}. Expected a name of one or more letters"
    names = row["view_names"] if isinstance(row["view_names"], list) else []
    if not _is_unicode(sample, *names):
        found = f"sample_id {sample!r} or view_names {names!r} is not Unicode"
        return f"{found}. Expected text in UTF-8"
    label = row.get("label")
    if label is not None and not _is_label(label, features["label"]):
        return f"the label is {row['label']!r}. Expected {label_range(features['label'])}"
    of_views = [*image_columns(features), "view_names", *_view_labels(features)]
    for name in of_views:
        if not isinstance(row[name], list) or len(row[name]) != len(row["images"] or ()):
            return (
                f"{name} is {short_repr(row[name])}, where images are {_size(row['images'])}. "
                f"Expected lists of one length: {', '.join(of_views)}"
            )
    if bad := [name for name in row["view_names"] if not isinstance(name, str | None)]:
        return f"view_names has {bad[0]!r}. Expected names, or None"
    for name in _view_labels(features):
        kind = features[name].feature
        if bad := [each for each in row[name] if each is not None and not _is_label(each, kind)]:
            return f"{name} has {bad[0]!r}. Expected {label_range(kind)}, or None"
    return None


def _is_unicode(*texts: Any) -> bool:
    """Whether UTF-8 can write what of these is text: JSON may hold one half of a pair of codes."""
    try:
        "".join(text for text in texts if isinstance(text, str)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _view_labels(features: datasets.Features) -> list[str]:
    return ["view_labels"] if "view_labels" in features else []


def _is_label(value: Any, kind: datasets.ClassLabel) -> bool:
    return type(value) is int and 0 <= value < kind.num_classes


def label_range(kind: datasets.ClassLabel) -> str:
    """The labels that a column may have, for an error's text."""
    return f"0 to {kind.num_classes - 1}, as there are {kind.num_classes} class names"


def _size(images: Any) -> str:
    return f"{len(images)} views" if isinstance(images, list) else repr(images)


def row_bytes(row: Row, columns: list[str]) -> int:
    """The bytes of a row's images."""
    views = (view for column in columns for view in views_in(row[column]))
    return sum(len(view["bytes"]) for view in views if view is not None)


# --- names of labels ------------------------------------------------------------------------------


def class_names(features: Mapping[str, Any]) -> list[str]:
    """The names of the classes of rows; none where rows have no labels."""
    return list(features.get("label", NO_LABELS).names)


def class_name(row: Row, features: Mapping[str, Any]) -> str:
    """The name of a row's class; "" where it has no label."""
    label = row.get("label")
    return "" if label is None else str(features["label"].names[label])


def label_names(feature: Any) -> list[str] | None:
    """The names of a column of labels, or of lists of labels; None for any other column."""
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def name_labels(value: Any, names: list[str] | None) -> Any:
    """The name of a label, or of each in a list; None, and all without names, stay."""
    if names is None or value is None:
        return value
    return [name_labels(each, names) for each in value] if isinstance(value, list) else names[value]


def name_view_labels(row: Row, features: Mapping[str, Any]) -> list[str | None] | None:
    """The name of each view's label; None where rows have no view labels."""
    if "view_labels" not in features:
        return None
    names: list[str | None] = name_labels(row["view_labels"], label_names(features["view_labels"]))
    return names
