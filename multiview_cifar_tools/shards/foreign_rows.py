"""Rows of others as rows of this project: what they lack is added, and the rest stays.

    images       the column of image lists of that name, else the only one
    label        a ClassLabel as it is; text or integers become one, with its names in natural order
    sample_id    text as it is, integers as text; without it the number of the row in its split
    view_names   text as it is, integers as text; without it "0", "1" and so on in each row

Rows without a column `label` have none here either. Further columns stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

from multiview_cifar import natural_key
from multiview_cifar_tools.batches.columns import (
    find_image_column,
    image_columns,
    index_rows,
    single_image_columns,
)
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.shards.rows import Row

TEXT = ("string", "large_string")
IDS, NAMES = datasets.Value("string"), datasets.Sequence(datasets.Value("string"))


class RowColumns(NamedTuple):
    """What the columns of a split become.

    Attributes:
        features: Of the rows of this project.
        image: The column that becomes `images`.
        made: The columns that are made anew, of all columns but images.
    """

    features: datasets.Features
    image: str
    made: frozenset[str]

    @property
    def are_complete(self) -> bool:
        """Whether the rows are those of this project already."""
        return self.image == "images" and not self.made


def resolve_columns(
    where: str, path: str, features: datasets.Features, class_names: Sequence[str] | None
) -> RowColumns:
    """What the columns of a split become.

    Args:
        where: Names the split, or its files, at the beginning of an error.
        path: Of the error.
        features: Of its rows.
        class_names: Of labels that are no ClassLabel, see `name_classes`.

    Raises:
        FormatError: There is no column of image lists, or it is not clear which; or a column that
            has a meaning here holds something else.
    """
    image = _resolve_image_column(where, path, features)
    own = {"images" if name == image else name: feature for name, feature in features.items()}
    made = set[str]()
    if "label" in own and not isinstance(own["label"], datasets.ClassLabel):
        made.add("label")
        own["label"] = datasets.ClassLabel(names=list(class_names or ()))
    for name, feature in {"sample_id": IDS, "view_names": NAMES}.items():
        if name not in own or not _is_text(where, path, own, name):
            made.add(name)
            own[name] = feature
    if not isinstance(label_of_views(own), datasets.ClassLabel):
        raise _kind_error(where, path, "view_labels", own["view_labels"], "a list of ClassLabel")
    return RowColumns(datasets.Features(own), image, frozenset(made))


def label_of_views(features: Mapping[str, Any]) -> Any:
    """What the lists of `view_labels` hold; a ClassLabel where there is no such column."""
    column = features.get("view_labels", datasets.Sequence(datasets.ClassLabel(names=[])))
    return getattr(column, "feature", None)


def _resolve_image_column(where: str, path: str, features: datasets.Features) -> str:
    image = find_image_column(features)
    if image is not None and (image == "images" or "images" not in features):
        return image
    lists = image_columns(features)
    single = single_image_columns(features)
    found, expected = f"the columns {', '.join(features)}", "a column of image lists"
    if lists:
        found = f"several columns of image lists, {', '.join(lists)}, and none called 'images'"
        expected = "one of them called so: rename_column(...)"
        if image is not None:
            found = f"image lists in {image!r}, and something else in 'images'"
            expected = "the image lists there: rename both columns"
    elif single:
        found = f"no column of image lists, but of one image a row: {', '.join(single)}"
        expected += (
            ": group rows to samples (group, --group-by), or make views of several columns "
            "(stack, --view-columns)"
        )
    raise FormatError(f"{where} has {found}. Expected {expected}.", path)


def _is_text(where: str, path: str, features: Mapping[str, Any], name: str) -> bool:
    """Whether a column holds text already, and no integers; FormatError where it is neither."""
    feature = features[name]
    is_list = name == "view_names"
    inner = getattr(feature, "feature", None) if is_list else feature
    if not is_text_or_integers(inner):
        expected = f"{'lists of ' * is_list}text or integers"
        raise _kind_error(where, path, name, feature, expected)
    return str(getattr(inner, "dtype", "")) in TEXT


def is_text_or_integers(feature: Any) -> bool:
    """Whether a column holds text or integers, which labels are too."""
    dtype = str(getattr(feature, "dtype", ""))
    return dtype in TEXT or dtype.lstrip("u").startswith("int")


def _kind_error(where: str, path: str, name: str, feature: Any, expected: str) -> FormatError:
    return FormatError(
        f"{where} has the column {name!r} of {feature}. Expected {expected}: cast it, or rename it "
        "where it means something else.",
        path,
    )


# --- labels ---------------------------------------------------------------------------------------


def has_plain_labels(features: Mapping[str, Any]) -> bool:
    """Whether labels are text or integers, which have names only once all are known.

    FormatError where they are neither these nor a ClassLabel.
    """
    label = features.get("label")
    if label is None or isinstance(label, datasets.ClassLabel):
        return False
    if is_text_or_integers(label):
        return True
    raise FormatError(
        f"The column 'label' is {label}. Expected a ClassLabel, text or integers: cast it, or "
        "rename it where it means something else.",
        "label",
    )


def name_classes(labels: Iterable[Any]) -> list[str]:
    """The class names of labels that are text or integers, in natural order; None and negative
    numbers are no labels.
    """
    return sorted({str(label) for label in labels if _is_class(label)}, key=natural_key)


def _is_class(label: Any) -> bool:
    return label is not None and not (isinstance(label, int) and label < 0)


def number_label(label: Any, classes: datasets.ClassLabel) -> int | None:
    """The number of a label that is text or an integer."""
    return int(classes.str2int(str(label))) if _is_class(label) else None


# --- rows -----------------------------------------------------------------------------------------


def complete_row(row: Row, number: int, columns: RowColumns) -> Row:
    """The row of this project that a row of others becomes, which is number `number` of its split.

    FormatError where it has None in place of a list of images.
    """
    row = {**row, "images": row[columns.image]}
    if columns.image != "images":
        del row[columns.image]
    if row["images"] is None:
        raise _no_list_error(number, columns.image)
    if "label" in columns.made:
        row["label"] = number_label(row["label"], columns.features["label"])
    if "sample_id" in columns.made:
        row["sample_id"] = str(row.get("sample_id", number))
    if "view_names" in columns.made:
        names = row.get("view_names") or range(len(row["images"]))
        row["view_names"] = [None if name is None else str(name) for name in names]
    return row


def complete_dataset(ds: datasets.Dataset, columns: RowColumns) -> datasets.Dataset:
    """A dataset with the rows that `complete_row` makes; of images nothing is copied, but where
    rows were selected or shuffled.

    FormatError where a row has None in place of a list of images.
    """
    if columns.are_complete:
        return ds
    ds = ds.with_format(None)
    ds = ds.flatten_indices() if ds._indices is not None else ds
    if ds.data.table[columns.image].null_count:
        nulls = ds.data.table[columns.image].is_null().to_pylist()
        raise _no_list_error(nulls.index(True), columns.image)
    made = {name: _make_column(ds, name, columns) for name in sorted(columns.made)}
    if columns.image != "images":
        ds = ds.rename_column(columns.image, "images")
    for name, values in made.items():
        key = hash_text("made", ds._fingerprint, name, repr(columns.features[name]))
        ds = ds.remove_columns(name) if name in ds.column_names else ds
        ds = ds.add_column(name, values, new_fingerprint=key, feature=columns.features[name])
    return ds


def _make_column(ds: datasets.Dataset, name: str, columns: RowColumns) -> Any:
    """The values of a column that is made, as Arrow or as a list."""
    old = ds.data.table[name].to_pylist() if name in ds.column_names else None
    if name == "label":
        classes = columns.features["label"]
        return [number_label(label, classes) for label in old or ()]
    if name == "sample_id":
        return [*map(str, range(len(ds)) if old is None else old)]
    views = index_rows(ds.data.table[columns.image]).views.tolist()
    if old is None:
        texts = [*map(str, range(max(views, default=0)))]
        return pa.array([texts[:count] for count in views], pa.list_(pa.string()))
    return [
        [None if name is None else str(name) for name in names or range(count)]
        for names, count in zip(old, views, strict=True)
    ]


def _no_list_error(row: int, column: str) -> FormatError:
    return FormatError(
        f"Row {row} has None in the column {column!r}. Expected a list of images, an empty one "
        "where there is none: filter such rows out.",
        column,
    )
