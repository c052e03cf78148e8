"""Folders of images: a file a view, under the names of the row, as `multiview_cifar` reads them.

    photos/
      train/
        metadata.parquet            the rows' further columns, where there are any
        cat/0001/view_0.png         of rows with view labels: cat/0001/left/view_0.png
        cat/0001/masks/view_0.png   of the further image column "masks"
        0001/view_0.png             of rows without labels

A sample_id "0001" of a row with a label, as rows of others have it, becomes "cat/0001".

A file's extension is no part of a row: the file's contents decide it, so that a `.jpeg` becomes a
`.jpg`. Rows are read back in natural order, whatever order they had.

A shard is a folder of this form, without the folder of the split; `merge_shards` makes one folder
of all shards. There is no `read`: `multiview_cifar` reads it.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import (
    IMAGE_EXTENSIONS,
    OWN_COLUMNS,
    SUPPORTED_EXTENSIONS,
    SYSTEM_NAMES,
    join_first,
    natural_key,
)
from multiview_cifar_tools.batches.columns import (
    all_image_columns,
    image_columns,
    single_image_columns,
)
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.formats.image_bytes import image_extension
from multiview_cifar_tools.planning.similar_names import compose, fold_case
from multiview_cifar_tools.shards.rows import (
    Row,
    check_export_row,
    class_name,
    class_names,
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
USUAL_EXTENSIONS = {".mpo": ".jpg"}
# The summary of no rows, see `summarize_views`.
NO_ROWS: dict[str, Any] = {
    "keys": None,
    "real": [],
    "alike": True,
    "natural": True,
    "whole": True,
    "padded": True,
}


class Writer:
    """A `base.ShardWriter` of a folder of images.

    Its state is what `merge_shards` has to know of all rows of the export: the class name of each
    class folder, which view labels there are, and the summary of `summarize_views`; and whether it
    was said that samples are put into the folders of their classes.

    Attributes:
        digests: The SHA-256 of each file of a view by its path.
    """

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        self.path, self.features = path, features
        self._state: dict[str, Any] = {
            "folders": {},
            "placed": False,
            "view_labels": [],
            "views": NO_ROWS,
        }
        self.digests = dict[str, str]()
        self._classes, self._samples = dict[str, str](), dict[str, str]()  # by the key of a name
        self._metadata = MetadataWriter(os.path.join(path, f".{METADATA}"), features)
        _check_view_labels(features)
        os.mkdir(path)
        self._key = name_key(path)

    def write(self, row: Row) -> None:
        """Write each view to a file. ExportError where a name is none that a file can have, an
        image none that Pillow knows, or the folder would not give the same views.
        """
        check_export_row(row, self.features)
        row = row | {"sample_id": self._place(row)}
        sample = row["sample_id"]
        files = list(row_files(row, self.features))
        num_samples = len(self._samples)
        self._check_names(sample, [path for path, _ in files])
        self._update_state(row)
        if len(self._samples) == num_samples:
            raise _duplicate_error(sample)
        self.digests.update(write_files(self.path, files))
        self._metadata.add(row)

    def _check_names(self, sample: str, paths: Sequence[str]) -> None:
        """ExportError where names of this row and of others are one to what reads the folder."""
        class_folder, slash, _ = sample.rpartition("/")
        if slash:
            add_name(self._classes, self._key(class_folder), class_folder, sample)
        add_name(self._samples, self._key(sample), sample, sample)
        if self._key is not fold_case:
            return
        inner: dict[str, str] = {}
        for path in paths:
            parts = path.removeprefix(f"{sample}/").split("/")
            for name in itertools.accumulate(parts, "{}/{}".format):
                add_name(inner, fold_case(name), name, sample)

    def _place(self, row: Row) -> str:
        """The folder of a sample: its sample_id, behind its class where it does not say it."""
        sample, name = str(row["sample_id"]), class_name(row, self.features)
        if "label" in self.features and not name:
            raise ExportError(
                f"{sample} has no label, and so no class folder. Expected one in each row: leave "
                "it out, or export in another format.",
                sample,
            )
        if not name or "/" in sample:
            return sample
        if not _is_file_name(name):
            raise ExportError(
                f"The class {name!r} of {sample} would be a folder, and none of a dataset can be "
                "called so. Expected names without / and a dot in front: rename it, or export in "
                "another format.",
                name,
            )
        if not self._state["placed"]:
            logger.warning(
                "A sample_id such as %r names no class: the samples are put into the folders of "
                "their classes, and come back as %r and so on.",
                *(sample, f"{name}/{sample}"),
            )
        self._state["placed"] = True
        return f"{name}/{sample}"

    def get_state(self) -> dict[str, Any]:
        """See the class."""
        return self._state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the shard whose writer had this state."""
        self._state = copy.deepcopy(dict(state))
        self._classes = {self._key(name): name for name in self._state["folders"]}

    def _update_state(self, row: Row) -> None:
        """Add a row to the state; ExportError where it does not fit the rows before."""
        sample, folders = row["sample_id"], self._state["folders"]
        folder, name = sample.partition("/")[0], class_name(row, self.features)
        if name and folders.setdefault(folder, name) != name:
            raise ExportError(
                f"{sample} is of class {name!r}, other samples of {folder} are of "
                f"{folders[folder]!r}. Expected one class in a class folder: export "
                "in another format.",
                sample,
            )
        self._state["views"] = summarize_views(self._state["views"], row, self.features)
        for label in row.get("view_labels", ()):
            if label is not None and label not in self._state["view_labels"]:
                self._state["view_labels"].append(label)

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


def ignores_case(folder: str) -> bool:
    """Whether the file system of a folder takes names that differ only in case for one."""
    probe = Path(folder, ".Probe")
    probe.touch()
    try:
        return probe.with_name(".pROBE").exists()
    finally:
        probe.unlink()


def name_key(folder: str) -> Callable[[str], str]:
    """What is equal of two names that are one to the file system of a folder, or look the same."""
    return fold_case if ignores_case(folder) else compose


def add_name(known: dict[str, str], key: str, name: str, sample: str) -> None:
    """Add a name to those known by their keys; ExportError where another one has its key."""
    if (other := known.setdefault(key, name)) != name:
        forms = compose(other) == compose(name)
        why = "one name in two Unicode forms" if forms else "one name to this file system"
        raise ExportError(
            f"{sample} has the name {name!a}, and there is {other!a}, which is {why}. Expected "
            f"names that {'look different' if forms else 'differ in more than case'}: rename one, "
            "or export in another format.",
            sample,
        )


def _duplicate_error(sample: str) -> ExportError:
    return ExportError(
        f"The sample {sample!r} stands in one split twice. Expected each sample_id "
        "once: rename or remove one.",
        sample,
    )


# --- files ----------------------------------------------------------------------------------------


def write_files(root: str, files: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Write new files, and the folders that they need; the SHA-256 of each by its path.

    OSError where one is there, or cannot be written.
    """
    digests, folders = {}, set[str]()
    for path, data in files:
        if (folder := os.path.dirname(path)) not in folders:
            os.makedirs(os.path.join(root, folder), exist_ok=True)
            folders.add(folder)
        with open(os.path.join(root, path), "xb") as file:
            file.write(data)  # buffered: what is not would take a part on a full disk, silently
        digests[path] = hashlib.sha256(data).hexdigest()
    return digests


def row_files(row: Row, features: datasets.Features) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each view of a row; a view that is None has no file.

    ExportError where `multiview_cifar` would not read a path as this view.
    """
    sample, names, view_labels = (
        row["sample_id"],
        row["view_names"],
        name_view_labels(row, features),
    )
    form = "class/sample" if "label" in features else "sample"
    if sample.count("/") != form.count("/"):
        raise ExportError(
            f"The sample_id {sample!r} is no {form}. Expected it in that form, for a folder of "
            f"{form}: map the column, or export in another format.",
            sample,
        )
    paths = set()
    for column in image_columns(features):
        for i, view in enumerate(row[column]):
            if view is None:
                continue
            folders: list[str | None] = [] if column == "images" else [column]
            folders += [] if view_labels is None else [view_labels[i]]
            path = _view_path(sample, [*folders, names[i]])
            if path in paths:
                raise ExportError(
                    f"{sample} has the view {names[i]!r} twice in {column!r}. "
                    "Expected names that differ.",
                    sample,
                )
            paths.add(path)
            yield path + check_extension(view["bytes"], sample), view["bytes"]
    for column in single_image_columns(features):
        if (view := row[column]) is None:
            raise ExportError(
                f"{sample} has no image in {column!r}, which a folder cannot store. Expected "
                "one in each row: leave it out, or export in another format.",
                sample,
            )
        path = _view_path(sample, [column, column])
        yield path + check_extension(view["bytes"], sample), view["bytes"]
    if not paths:
        raise ExportError(
            f"{sample} has no view that is not None, so that no file would tell of "
            "it. Expected one: leave it out, or export in another format.",
            sample,
        )


def _view_path(sample: str, names: Sequence[str | None]) -> str:
    """The path of a view, without its extension; ExportError where no file can have a name."""
    parts = [*sample.split("/"), *names]
    if bad := [part for part in parts if not _is_file_name(part)]:
        raise ExportError(
            f"{sample} has the name {bad[0]!r}, which no file of a dataset "
            "can have. Expected names without / and a dot in front.",
            sample,
        )
    return "/".join(part for part in parts if part)


def _is_file_name(name: str | None) -> bool:
    is_plain = name and name[0] != "." and not set(name) & set("/\\\0")
    return bool(is_plain) and name not in SYSTEM_NAMES


def check_extension(data: bytes, sample: str) -> str:
    """The extension of a file of these bytes, such as ".png"; ExportError where `multiview_cifar`
    would not read it.
    """
    found = image_extension(data, sample)
    if (known := USUAL_EXTENSIONS.get(found, found)) not in IMAGE_EXTENSIONS:
        raise ExportError(
            f"A view of {sample} is a {known} file. Expected {SUPPORTED_EXTENSIONS}: build with "
            'encoding="png", or export in another format.',
            sample,
        )
    return known


class MetadataWriter:
    """Writes the file of the further columns of rows; none where there are no such columns.

    Labels are written as their names.
    """

    def __init__(self, path: str, features: datasets.Features) -> None:
        images = all_image_columns(features)
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
    """The key of each view of a row, by which the option `view_names` selects it."""
    labels = name_view_labels(row, features)
    if labels is None:
        return list(row["view_names"])
    return [
        None if label is None or name is None else f"{label}/{name}"
        for label, name in zip(labels, row["view_names"], strict=True)
    ]


def summarize_views(
    before: Mapping[str, Any], row: Row, features: datasets.Features
) -> dict[str, Any]:
    """What all rows up to this one have in common; `before` is the summary of those before it.

    "keys" are the keys of the first row's views, "real" whether each is not None in some row. Rows
    are "alike" if all have these keys, "natural" if their keys are in natural order, "whole" if no
    view is None, "padded" if all have as many views, and only their last ones are None.
    ExportError where no options of `load_dataset` would make the rows again.
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


def merge_shards(
    folder: str,
    shards: Mapping[str, Sequence[str]],
    state: Mapping[str, Any],
    features: datasets.Features,
) -> dict[str, Any]:
    """Move the samples of all shards to the folders of their splits. If it is interrupted, the next
    call continues.

    Args:
        folder: Where the shards are; it becomes the folder of images.
        shards: Their paths in it, by split.
        state: Of the last Writer.
        features: Of the rows.

    Returns:
        The arguments of `load_dataset`, beside `data_dir`, with which it gives the same rows.

    Raises:
        ExportError: A sample stands in two shards of a split, or one that is called like it.
    """
    for split, names in shards.items():
        target = Path(folder, split)
        target.mkdir(exist_ok=True)
        sources = [Path(folder, name) for name in names]
        # First, while the parts of all shards still exist.
        _join_metadata([source / f".{METADATA}" for source in sources], target / METADATA)
        depth = 2 if "label" in features else 1
        if len(sources) > 1:  # within one, the Writer has seen to it
            _check_samples([target, *sources], depth)
        for source in sources:
            _move_samples(source, target, depth)
    _warn_of_labels(state, features)
    return {
        "layout": resolve_layout(features),
        **_class_options(state["folders"], features),
        **_view_options(state["views"]),
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


def _sample_folders(folder: Path, depth: int) -> list[Path]:
    found = folder.glob("/".join(["*"] * depth))
    return [path for path in found if path.name != f".{METADATA}"]


def _check_samples(folders: Sequence[Path], depth: int) -> None:
    """ExportError where names of samples of a split are one to what reads the folder."""
    key, known = name_key(str(folders[0])), dict[str, str]()
    for folder in folders:
        for path in _sample_folders(folder, depth):
            name = path.relative_to(folder).as_posix()
            add_name(known, key(name), name, name)


def _move_samples(source: Path, target: Path, depth: int) -> None:
    """Move the folders of samples, which stand so many levels deep."""
    if not source.exists():
        return
    for sample in _sample_folders(source, depth):
        name = sample.relative_to(source)
        (target / name).parent.mkdir(exist_ok=True)
        try:
            sample.rename(target / name)
        except OSError:
            if (target / name).exists():
                raise _duplicate_error(name.as_posix()) from None
            raise
    shutil.rmtree(source)


def resolve_layout(features: datasets.Features) -> str | dict[str, str]:
    """The layout of the folder that these rows become."""
    view = "{view_label}/{view}" if "view_labels" in features else "{view}"
    sample = "{split}/{label}/{sample}" if "label" in features else "{split}/{sample}"
    layouts = {
        column: "/".join([sample, *[column] * (column != "images"), view])
        for column in image_columns(features)
    } | {column: f"{sample}/{column}/{column}" for column in single_image_columns(features)}
    return layouts["images"] if len(layouts) == 1 else layouts


def _class_options(folders: Mapping[str, str], features: datasets.Features) -> dict[str, Any]:
    """The option `class_names`, where it differs from what the folder alone would give."""
    names = class_names(features)
    if sorted(folders, key=natural_key) == names:
        return {}
    by_label = sorted(folders, key=lambda folder: names.index(folders[folder]))
    return {"class_names": {folder: folders[folder] for folder in by_label}}


def _view_options(views: Mapping[str, Any]) -> dict[str, Any]:
    """As `view_options`; ExportError where a view in `view_names` has no file at all."""
    options = view_options(views) or {}
    for key, is_real in zip(options.get("view_names", ()), views["real"], strict=False):
        if not is_real:
            raise ExportError(
                f"The view {key!r} is None in all rows, so that no file would tell of"
                " it. Expected one that is not: export in another format.",
                key,
            )
    return options


def _warn_of_labels(state: Mapping[str, Any], features: datasets.Features) -> None:
    names = [name for name in class_names(features) if name not in state["folders"].values()]
    if "view_labels" in features:
        names += [
            name
            for i, name in enumerate(features["view_labels"].feature.names)
            if i not in state["view_labels"]
        ]
    if names:
        logger.warning(
            "No row has the label %s, so that the folder does not show it: the "
            "numbers of labels behind it become smaller.",
            join_first(map(repr, names), most=3),
        )
