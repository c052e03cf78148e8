"""Folders of images: a file a view, under the names that the rows hold, for `multiview_cifar`.

    photos/
      train/
        metadata.parquet            the rows' further columns, where there are any
        cat/0001/view_0.png         of rows with view labels: cat/0001/left/view_0.png
        cat/0001/masks/view_0.png   of the further image column "masks"

A file's extension is no part of a row: it follows from the file's contents, so that a `.jpeg`
becomes a `.jpg`. Rows come back in natural order, whatever order they had.

A shard is a folder of the same form, without the split's; `assemble` makes one folder of all. There
is no `read`: `multiview_cifar` reads it.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import IMAGE_EXTENSIONS, OWN_COLUMNS, SYSTEM_NAMES, join_first, natural_key
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.formats.image_bytes import image_extension
from multiview_cifar_tools.shards.rows import (
    Row,
    check_export_row,
    label_names,
    name_labels,
    name_view_labels,
)
from multiview_cifar_tools.shards.writer import make_table

logger = logging.getLogger(__name__)

EXTENSION = ""
CONTENTS = frozenset({"bytes"})
METADATA, BATCH_ROWS = "metadata.parquet", 1000
# Pillow's name of a JPEG with more pictures behind the first one, as phones write it.
RENAMED = {".mpo": ".jpg"}
# What no rows have in common, see `note_views`.
ANY: dict[str, Any] = {
    "keys": None,
    "real": [],
    "alike": True,
    "natural": True,
    "whole": True,
    "padded": True,
}


class Writer:
    """A `formats.ShardWriter` of a folder of images.

    Attributes:
        notes: What `assemble` has to know of all rows, in values of JSON: the class name of each
            class folder, which view labels there are, and what `note_views` says. Handed on from
            one Writer to the next, it holds for the whole export.
    """

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        self.path, self.features = path, features
        self.notes: dict[str, Any] = {"folders": {}, "view_labels": [], "views": ANY}
        self._class_folders: set[str] = set()
        self._metadata = Metadata(os.path.join(path, f".{METADATA}"), features)
        _check_view_labels(features)
        os.mkdir(path)

    def write(self, row: Row) -> None:
        """Write each view to a file. ExportError where a name is none that a file can have, an
        image none that Pillow knows, or the folder would not give the same views.
        """
        check_export_row(row, self.features)
        sample = row["sample_id"]
        files = list(row_files(row, self.features))
        self._note(row)
        folder, made = os.path.join(self.path, sample), {sample}
        if (class_folder := sample.partition("/")[0]) not in self._class_folders:
            os.makedirs(os.path.join(self.path, class_folder), exist_ok=True)
            self._class_folders.add(class_folder)
        try:
            os.mkdir(folder)
        except FileExistsError:
            raise _twice(sample) from None
        for path, data in files:
            if (parent := path.rpartition("/")[0]) not in made:
                os.makedirs(os.path.join(self.path, parent), exist_ok=True)
                made.add(parent)
            with open(os.path.join(self.path, path), "xb", buffering=0) as file:
                file.write(data)
        self._metadata.add(row)

    def _note(self, row: Row) -> None:
        """Keep in mind what `assemble` has to know of the row; ExportError where it does not go
        together with the rows before.
        """
        sample, folders = row["sample_id"], self.notes["folders"]
        folder, name = sample.partition("/")[0], self.features["label"].int2str(row["label"])
        if folders.setdefault(folder, name) != name:
            raise ExportError(
                f"{sample} is of class {name!r}, other samples of {folder} are of "
                f"{folders[folder]!r}. Expected one class in a class folder: export "
                "in another format.",
                sample,
            )
        self.notes["views"] = note_views(self.notes["views"], row, self.features)
        for label in row.get("view_labels", ()):
            if label is not None and label not in self.notes["view_labels"]:
                self.notes["view_labels"].append(label)

    def close(self) -> None:
        """Finish the folder."""
        self._metadata.close()


def _check_view_labels(features: datasets.Features) -> None:
    if "view_labels" in features:
        names = features["view_labels"].feature.names
        if (natural := sorted(names, key=natural_key)) != names:
            raise ExportError(
                f"The view labels are in the order {names}, of which a folder does "
                f"not tell. Expected {natural}: export in another format.",
                "view_labels",
            )


def _twice(sample: str) -> ExportError:
    return ExportError(
        f"The sample {sample!r} stands in one split twice. Expected each sample_id "
        "once: rename or remove one.",
        sample,
    )


# --- files ----------------------------------------------------------------------------------------


def row_files(row: Row, features: datasets.Features) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each view of a row; a view that is None has none.

    ExportError where a path is none that `multiview_cifar` would read as this view.
    """
    sample, names, view_labels = (
        row["sample_id"],
        row["view_names"],
        name_view_labels(row, features),
    )
    parts = sample.split("/")
    if len(parts) != 2:
        raise ExportError(
            f"The sample_id {sample!r} is no class/sample. Expected one slash in it.", sample
        )
    seen = set()
    for column in image_columns(features):
        for i, view in enumerate(row[column]):
            if view is None:
                continue
            labels = [] if view_labels is None else [view_labels[i]]
            path = [*parts, *[column] * (column != "images"), *labels, names[i]]
            if bad := [part for part in path if not _is_file_name(part)]:
                raise ExportError(
                    f"{sample} has the name {bad[0]!r}, which no file of a dataset "
                    "can have. Expected names without / and a dot in front.",
                    sample,
                )
            if "/".join(path) in seen:
                raise ExportError(
                    f"{sample} has the view {names[i]!r} twice in {column!r}. "
                    "Expected names that differ.",
                    sample,
                )
            seen.add("/".join(path))
            yield "/".join(path) + extension(view["bytes"], sample), view["bytes"]
    if not seen:
        raise ExportError(
            f"{sample} has no view that is not None, so that no file would tell of "
            "it. Expected one: leave it out, or export in another format.",
            sample,
        )


def _is_file_name(name: str | None) -> bool:
    is_plain = name and name[0] != "." and not set(name) & set("/\\\0")
    return bool(is_plain) and name not in SYSTEM_NAMES


def extension(data: bytes, sample: str) -> str:
    """What a file of these bytes is called, such as ".png"; ExportError where `multiview_cifar`
    would not read it.
    """
    found = image_extension(data, sample)
    if (known := RENAMED.get(found, found)) not in IMAGE_EXTENSIONS:
        raise ExportError(
            f"A view of {sample} is a {known} file. Expected one of "
            f'{" ".join(sorted(IMAGE_EXTENSIONS))}: build with encoding="png", or '
            "export in another format.",
            sample,
        )
    return known


class Metadata:
    """A file of the columns of rows that no image file can say; there is none without such columns.

    Labels stand in it by their names.
    """

    def __init__(self, path: str, features: datasets.Features) -> None:
        images = image_columns(features)
        self._columns = [name for name in features if name not in {*OWN_COLUMNS, *images}]
        self._names = {
            name: label_names(features[name])
            for name in self._columns
            if isinstance(features[name], datasets.ClassLabel)
        }
        schema = features.arrow_schema
        self._schema = pa.schema(
            [
                schema.field("sample_id"),
                *(
                    pa.field(name, pa.string()) if name in self._names else schema.field(name)
                    for name in self._columns
                ),
            ]
        )
        self._path, self._rows = path, list[Row]()
        self._writer: Any = None

    def add(self, row: Row) -> None:
        """Add a row; it may be written later."""
        if self._columns:
            values = {name: row[name] for name in ("sample_id", *self._columns)}
            for name, known in self._names.items():
                values[name] = name_labels(row[name], known)
            self._rows.append(values)
        if len(self._rows) == BATCH_ROWS:
            self._write()

    def _write(self) -> None:
        self._writer = self._writer or pq.ParquetWriter(self._path, self._schema)
        self._writer.write_table(make_table(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Finish the file."""
        if self._rows:
            self._write()
        if self._writer:
            self._writer.close()


# --- views ----------------------------------------------------------------------------------------


def view_keys(row: Row, features: datasets.Features) -> list[str | None]:
    """What the option `view_names` calls each view of a row."""
    labels = name_view_labels(row, features)
    if labels is None:
        return list(row["view_names"])
    return [
        None if label is None or name is None else f"{label}/{name}"
        for label, name in zip(labels, row["view_names"], strict=True)
    ]


def note_views(before: Mapping[str, Any], row: Row, features: datasets.Features) -> dict[str, Any]:
    """What the rows up to this one have in common, where those before it had that.

    "keys" are the first row's, of which "real" ones are not None in some row; all rows are "alike"
    if theirs are the same, "natural" if theirs stand in natural order, "whole" if no view is None,
    "padded" if they are as many, and None only behind the others. ExportError where no options of
    `load_dataset` would make the rows again.
    """
    keys = view_keys(row, features)
    first = keys if before["keys"] is None else before["keys"]
    columns = [row[column] for column in image_columns(features)]
    whole = [None not in views for views in zip(*columns, strict=True)]
    real = [any(views) for views in zip(*columns, strict=True)]
    named = [key for key in keys if key is not None]
    after = {
        "keys": first,
        "real": [a or b for a, b in itertools.zip_longest(before["real"], real)],
        "alike": before["alike"] and keys == first,
        "natural": before["natural"] and named == sorted(named, key=natural_key),
        "whole": before["whole"] and all(whole),
        "padded": before["padded"]
        and len(keys) == len(first)
        and whole == [key is not None for key in keys] == sorted(whole, reverse=True),
    }
    if view_options(after) is None:
        raise ExportError(
            f"{row['sample_id']} has the views {keys}{'' if all(whole) else ' (some are None)'}, "
            f"the first sample {first}. Expected the same views in the same order in all rows, as "
            "a folder tells neither an order of views of its own in each row, nor that one of them "
            "is None: export in another format.",
            row["sample_id"],
        )
    return after


def view_options(views: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options of `load_dataset` that make the rows' views again; None where none do."""
    if views["natural"] and views["whole"]:
        return {}
    if views["alike"] and None not in views["keys"]:
        gaps = {} if views["whole"] else {"on_missing_view": "null"}
        return {"view_names": views["keys"], **gaps}
    if views["natural"] and views["padded"]:
        return {"num_views": len(views["keys"]), "on_missing_view": "null"}
    return None


# --- one folder of all shards ---------------------------------------------------------------------


def assemble(
    folder: str,
    shards: Mapping[str, Sequence[str]],
    notes: Mapping[str, Any],
    features: datasets.Features,
) -> dict[str, Any]:
    """Move what is in the shards of each split to where it belongs. Cut off, it is finished when it
    is called again.

    Args:
        folder: In which the shards are, and which becomes the folder of images.
        shards: Their paths in it, by split.
        notes: Of the last Writer.
        features: Of the rows.

    Returns:
        The arguments of `load_dataset` that make the rows of it, beside `data_dir`.

    Raises:
        ExportError: A sample stands in two shards of a split.
    """
    for split, names in shards.items():
        target = Path(folder, split)
        target.mkdir(exist_ok=True)
        sources = [Path(folder, name) for name in names]
        # First, as long as all parts of it are there.
        _join_metadata([source / f".{METADATA}" for source in sources], target / METADATA)
        for source in sources:
            _move_samples(source, target)
    _warn_of_labels(notes, features)
    return {
        "layout": resolve_layout(features),
        **_class_options(notes["folders"], features),
        **_view_options(notes["views"]),
    }


def _join_metadata(parts: Sequence[Path], target: Path) -> None:
    if target.exists() or not parts[0].exists():
        return
    partial = target.with_name(f".{METADATA}")
    with pq.ParquetWriter(partial, pq.read_schema(parts[0])) as writer:
        for part in parts:
            file = pq.ParquetFile(part)
            for i in range(file.num_row_groups):
                writer.write_table(file.read_row_group(i))
    partial.replace(target)


def _move_samples(source: Path, target: Path) -> None:
    if not source.exists():
        return
    for class_folder in source.iterdir():
        if class_folder.name == f".{METADATA}":
            continue
        (target / class_folder.name).mkdir(exist_ok=True)
        for sample in class_folder.iterdir():
            try:
                sample.rename(target / class_folder.name / sample.name)
            except OSError:
                if (target / class_folder.name / sample.name).exists():
                    raise _twice(f"{class_folder.name}/{sample.name}") from None
                raise
    shutil.rmtree(source)


def resolve_layout(features: datasets.Features) -> str | dict[str, str]:
    """The layout of the folder that these rows become."""
    view = "{view_label}/{view}" if "view_labels" in features else "{view}"
    sample = "{split}/{label}/{sample}"
    layouts = {
        column: "/".join([sample, *[column] * (column != "images"), view])
        for column in image_columns(features)
    }
    return layouts["images"] if len(layouts) == 1 else layouts


def _class_options(folders: Mapping[str, str], features: datasets.Features) -> dict[str, Any]:
    """`class_names`, where they are not what the folder alone would give."""
    names = features["label"].names
    if sorted(folders, key=natural_key) == names:
        return {}
    by_label = sorted(folders, key=lambda folder: names.index(folders[folder]))
    return {"class_names": {folder: folders[folder] for folder in by_label}}


def _view_options(views: Mapping[str, Any]) -> dict[str, Any]:
    """As `view_options`; ExportError where a view that has to be named has no file."""
    options = view_options(views) or {}
    for key, is_real in zip(options.get("view_names", ()), views["real"], strict=False):
        if not is_real:
            raise ExportError(
                f"The view {key!r} is None in all rows, so that no file would tell of"
                " it. Expected one that is not: export in another format.",
                key,
            )
    return options


def _warn_of_labels(notes: Mapping[str, Any], features: datasets.Features) -> None:
    names = [name for name in features["label"].names if name not in notes["folders"].values()]
    if "view_labels" in features:
        names += [
            name
            for i, name in enumerate(features["view_labels"].feature.names)
            if i not in notes["view_labels"]
        ]
    if names:
        logger.warning(
            "No row has the label %s, so that the folder does not tell of it: the "
            "numbers of labels behind it become smaller.",
            join_first(map(repr, names), most=3),
        )
