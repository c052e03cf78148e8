"""Metadata files: the columns that a user adds to the rows, by sample or by view.

    sample_id,patient           sample_id,view,angle        or "label" and "sample" in place of
    cat/0001,7                  cat/0001,front,30           "sample_id"; "split" where it is needed

    file_name,angle             {"file_names": ["cat/1/left.png", "cat/1/right.png"], "patient": 7}
    cat/0001/front.png,30       (.jsonl or .parquet), relative to the folder of the metadata file

Where the layout has no {label}, one of the columns may give it.

The loading script imports this where a folder holds such a file; so it imports nothing of this
project. Files are read by pyarrow: pandas turns a column of integers with an empty cell into
floats, and lists and times into objects.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from multiview_cifar_tools.spelling import did_you_mean, quantity

MAX_DEPTH = 64  # of lists and objects in a jsonl; pyarrow crashes at some ten thousand
JSON_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')  # RFC 8259, 7
NO_BRACKETS = bytes({*range(256)} - {*b"{[]}"})
# Columns that say whose a row is: always text, as 0001 is not 1.
KEY_COLUMNS = ("sample_id", "split", "label", "sample", "view", "view_label", "file_name")

FILE_COLUMNS = ("file_name", "file_names")  # or such, of paths: a view, or views of one sample

SampleKey = tuple[str, str, str]  # split folder, label folder, sample
MetadataKey = tuple[str, str, str, str]  # and the view, "" where rows are of whole samples
Views = Mapping[SampleKey, Sequence[str]]  # of each sample


class MetadataError(ValueError):
    """The metadata do not fit the folder; `.path` is their file, `.kind` the script's error."""

    kind = "LayoutError"

    def __init__(
        self,
        paths: Sequence[str],
        found: str,
        expected: str,
        way_out: str = ", or pass drop_metadata=True",
        near: str = "",
    ) -> None:
        super().__init__(f"{' and '.join(paths)} {found}.{near} Expected {expected}{way_out}.")
        self.path = paths[0]


class NoLabelsError(ValueError):
    """There are no labels for the option `class_names`, which is `.path`; as MetadataError."""

    kind, path = "OptionError", "class_names"

    def __init__(self, paths: Sequence[str], columns: Sequence[str]) -> None:
        found = f"columns found: {_join_first(map(repr, columns), 20) or 'none'}"
        super().__init__(
            "class_names is given, but there are no labels: no {label} in the layout, no column "
            f"'label' in {' and '.join(paths)}. Expected {{label}}, or label_column=..., the name "
            f"of the column that gives them ({found})."
        )


class FolderNames(NamedTuple):
    """What the loading script knows of a folder.

    Attributes:
        views: The view keys of each sample.
        view_labels: The names of the view labels; None where the layout has none.
        fields: Of the layout.
        taken: The names of columns that the rows have already.
        locate: The number of the image column, the sample and the view key of the file with a path;
            None where it is none.
        split_name: The split that a split folder holds.
    """

    views: Views
    view_labels: Sequence[str] | None
    fields: Set[str]
    taken: Set[str]
    locate: Callable[[str], tuple[int, SampleKey, str] | None]
    split_name: Callable[[str], str]

    def locate_view(self, path: str) -> MetadataKey | None:
        """Of which view in `images` a file is; None where it is none."""
        column, key, view = self.locate(path) or (1, ("", "", ""), "")
        return None if column else (*key, view)


class Metadata(NamedTuple):
    """The rows of all metadata files."""

    paths: list[str]
    keys: list[str]  # the key columns
    features: datasets.Features
    values: dict[MetadataKey, dict[str, Any]]
    labels: dict[MetadataKey, str | None] | None  # where a column gives them

    @property
    def is_by_view(self) -> bool:
        """Whether each row is of a view, else of a sample."""
        return "view" in self.keys or "file_name" in self.keys

    def format_key(self, key: MetadataKey) -> str:
        """A key for errors: without the split where the files do not tell it."""
        return "/".join(filter(None, key if "split" in self.keys else key[1:]))


def find_files(paths: Sequence[str]) -> dict[str, str]:
    """Metadata files by the folder of their split, or ""; MetadataError where two may be about the
    same sample.
    """
    files = {path.rpartition("/")[0]: path for path in paths}
    if len(files) < len(paths) or ("" in files and len(files) > 1):
        raise MetadataError(
            paths,
            "may be about the same sample",
            "one file at the top, or one in each split folder: merge them",
        )
    return files


def read_files(
    files: Mapping[str, str],
    read: Callable[[str, str], bytes],
    names: FolderNames,
    label_column: str | None,
    has_class_names: bool,
) -> Metadata:
    """Read all files.

    Args:
        files: As of `find_files`.
        read: The bytes of a file, by the folder of its split and its path.
        names: Of the folder.
        label_column: Which column gives the labels, where the layout has none. None: "label", if
            there is one.
        has_class_names: Whether the classes are named, so that there must be labels.

    Raises:
        MetadataError: A file is damaged, they do not go together, or a column or a key is wrong.
        NoLabelsError: Neither the layout nor a column gives labels.
    """
    fields, views = names.fields, names.views
    paths, label = [*files.values()], None if "label" in fields else label_column or "label"
    tables = [read_table(path, split, read, label) for split, path in files.items()]
    table = concatenate(tables, paths)
    keys = key_columns(table.column_names, fields, paths)
    by_file = keys[0] in FILE_COLUMNS
    known = {*keys, label, *["split"] * (by_file and "" not in files)}
    own = {part.name: part.type for part in table.schema if part.name not in known}
    check_columns(own, names.taken, label_column, table.column_names, paths)
    labels = dict[MetadataKey, str | None]() if label in table.column_names else None
    if has_class_names and label is not None and labels is None:
        raise NoLabelsError(paths, [*own])
    metadata = Metadata(paths, keys, datasets.Features(), {}, labels)
    if metadata.is_by_view:
        own = {name: pa.list_(kind) for name, kind in own.items()}
    metadata.features.update(datasets.Features.from_arrow_schema(pa.schema(own)))
    folders = {split: names.split_name(split) for split, _, _ in views}
    places = [split for split, rows in zip(files, tables, strict=True) for _ in range(len(rows))]
    for row, place in zip(table.to_pylist(), places, strict=True):
        cells = {name: row[name] for name in keys}
        if by_file:
            key = file_key(cells, place, names.locate_view, paths)
        else:
            split = names.split_name(cells.get("split") or "")
            key = row_key(cells, split, folders, views, paths)
        add_values(metadata, key, {name: row[name] for name in own})
        if labels is not None:
            labels[key] = row[str(label)]
    return metadata


def add_values(metadata: Metadata, key: MetadataKey, values: dict[str, Any]) -> None:
    """Add the values of a row; MetadataError where there are some of that key."""
    if key in metadata.values:
        raise MetadataError(
            metadata.paths,
            f"has {metadata.format_key(key)} twice",
            'each once: remove one, or add a column "view" where the rows are of views',
        )
    metadata.values[key] = values


def check_columns(
    own: Iterable[str],
    taken: Set[str],
    label_column: str | None,
    names: Sequence[str],
    paths: Sequence[str],
) -> None:
    """MetadataError where a column to be added has a name that is taken, or there is no column of
    labels, and one was asked for.
    """
    if label_column and label_column not in names:
        others = [name for name in names if name == "label" or name not in KEY_COLUMNS]
        known = _join_first(map(repr, others), 20)
        raise MetadataError(
            paths,
            f"has no column {label_column!r}, which label_column names",
            f"one of {known}" if others else "a column of labels: add it",
            way_out="",  # the option allows no drop_metadata=True
            near=did_you_mean(label_column, others),
        )
    if bad := {*taken, ""}.intersection(own):
        raise MetadataError(
            paths,
            f"has the column {min(bad)!r}, a name that is taken",
            "names that the rows do not have already: rename or remove it",
        )


def read_table(
    path: str, split: str, read: Callable[[str, str], bytes], label: str | None
) -> pa.Table:
    """The table of a file, in types of `plain_type`, keys and labels as text, with a column `split`
    where the file is a split's; MetadataError where it is damaged.
    """
    kind, texts = path.rpartition(".")[2], {*KEY_COLUMNS, label}
    try:
        table = parse_table(read(split, path), kind, label)
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"two columns of one name: {_join_first(map(repr, names), 20)}")
        if bad := [name for name in names if "\0" in name]:  # where Arrow cuts names off at times
            raise ValueError(f"a column called {bad[0]!r}")
        types = [pa.string() if c.name in texts else plain_type(c.type) for c in table.schema]
        table = table.cast(pa.schema(zip(names, types, strict=True)))
        datasets.Features.from_arrow_schema(table.schema)
    except Exception as error:  # those of Arrow have no base of their own
        raise MetadataError(
            [path],
            f"cannot be read ({' '.join(str(error).split())})",
            f"a whole {kind} file, text in UTF-8, each column of one type: fix it",
        ) from None
    if split and "split" not in names:
        return table.append_column("split", pa.array([split] * len(table), pa.string()))
    return table


def parse_table(data: bytes, kind: str, label: str | None) -> Any:
    """The pyarrow.Table of a whole file, its types inferred over all rows; of a csv keys and the
    column `label` are text, of a jsonl the keys.

    In a csv an empty cell is None, and nothing else is; so is in a jsonl what a line lacks.
    """
    file, size = pa.BufferReader(data), len(data) + 1
    names = {*KEY_COLUMNS, *filter(None, [label])} if kind == "csv" else {*KEY_COLUMNS} - {label}
    keys = dict.fromkeys(names, pa.string())
    if kind == "parquet":
        table = pa.parquet.read_table(file)
        table.validate(full=True)  # text may be no UTF-8
        return table
    data.decode()  # pyarrow takes text in another encoding for bytes
    if kind == "csv":
        return pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(block_size=size),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=keys, null_values=[""], strings_can_be_null=True),
        )
    check_json(data)
    table = pa.json.read_json(
        file,
        pa.json.ReadOptions(block_size=size),
        pa.json.ParseOptions(explicit_schema=pa.schema(keys)),
    )
    return table.drop_columns([key for key in keys if table[key].null_count == len(table)])


def check_json(data: bytes) -> None:
    """ValueError at JSON on which pyarrow ends the process: a null at its beginning, or lists and
    objects in each other in their thousands.
    """
    if re.match(rb"(?:\xef\xbb\xbf)?\s*null", data):
        raise ValueError("its first line is null, and no object")
    brackets = JSON_TEXT.sub(b"", data).translate(None, NO_BRACKETS)
    steps = np.where(np.isin(np.frombuffer(brackets, np.uint8), [*b"{["]), 1, -1)
    if (depth := np.cumsum(steps).max(initial=0)) > MAX_DEPTH:
        raise ValueError(f"{depth} lists or objects in each other, more than {MAX_DEPTH}")


def plain_type(kind: Any) -> Any:
    """The pyarrow.DataType that such values keep from here through Python to Parquet: no integer
    above int64, and times in microseconds, as Python has no finer and Parquet no coarser ones.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([part.with_type(plain_type(part.type)) for part in kind])
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_time(kind) or types.is_duration(kind):
        return pa.time64("us") if types.is_time(kind) else pa.duration("us")
    return {pa.uint64(): pa.int64(), pa.string_view(): pa.string()}.get(kind, kind)


def concatenate(tables: Sequence[Any], paths: Sequence[str]) -> Any:
    """One pyarrow.Table; MetadataError where names of columns differ, or types more than int and
    float.
    """
    names = tables[0].column_names
    for table, path in zip(tables, paths, strict=True):
        if odd := sorted(set(names) ^ set(table.column_names)):
            raise MetadataError(
                [path, paths[0]],
                f"do not both have {_join_first(map(repr, odd))}",
                "the same columns in each split: add them",
            )
    try:
        return pa.concat_tables(
            [table.select(names) for table in tables], promote_options="permissive"
        )
    except pa.ArrowException as error:
        raise MetadataError(
            paths,
            f"do not go together ({' '.join(str(error).split())})",
            "columns of the same type in each split: fix them",
        ) from None


def key_columns(names: Sequence[str], fields: Set[str], paths: Sequence[str]) -> list[str]:
    """The columns that say whose a row is; MetadataError where one is not there."""
    keys = ["label", "sample"] if "label" in fields else ["sample"]
    if "sample_id" in names:
        keys = ["sample_id"]
    elif not {*keys} <= {*names} and (files := [name for name in FILE_COLUMNS if name in names]):
        return files[:1]
    if "view" in names:
        keys += ["view_label", "view"] if "view_label" in fields else ["view"]
    if absent := [key for key in keys if key not in names]:
        raise MetadataError(
            paths,
            f"has no column {absent[0]!r} (found: {_join_first(map(repr, names), 20)})",
            'columns, in a csv between commas, "sample_id" (class folder/sample), or '
            '"label" (class folder) and "sample", or "file_name" (path of a view); without {label} '
            'in the layout, "sample"; under {view_label}, "view_label" with "view"',
        )
    return keys + ["split"] * ("split" in names and "split" in fields)


def row_key(
    cells: Mapping[str, str],
    split: str,
    folders: Mapping[str, str],
    views: Views,
    paths: Sequence[str],
) -> MetadataKey:
    """Whose a row is, by the cells of its key columns; MetadataError where a cell is empty, or the
    sample stands in several splits.
    """
    if empty := [name for name, cell in cells.items() if not cell]:
        raise MetadataError(
            paths, f"has a row without {empty[0]!r}: {cells}", "it in every row: add it"
        )
    names = [cells[name] for name in ("sample_id", "label", "sample") if name in cells]
    label, _, sample = (sample_id := "/".join(names)).rpartition("/")
    if "split" in cells:
        where = [folder for folder, name in folders.items() if name == split]
    else:
        where = [folder for folder in folders if (folder, label, sample) in views]
    if len(where) > 1:
        raise MetadataError(
            paths,
            f"has {sample_id}, which stands in {_join_first(sorted(where))}",
            'a column "split", or a metadata file in each split folder',
        )
    view = "/".join(cells[name] for name in ("view_label", "view") if name in cells)
    return where[0] if where else cells.get("split", ""), label, sample, view


def file_key(
    cells: Mapping[str, Any],
    folder: str,
    locate: Callable[[str], MetadataKey | None],
    paths: Sequence[str],
) -> MetadataKey:
    """Whose a row is, by the path of a view, or the paths of views of one sample; for a file that
    is no view a key of none. MetadataError where there is no path, or they are of several samples.
    """
    ((column, given),) = cells.items()
    names = [given] if column == "file_name" else given
    if not names or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise MetadataError(
            paths,
            f"has a row whose {column} is {given!r}",
            '"file_name", a path, or in .jsonl and .parquet "file_names", a list of them: fix it',
        )
    files = [posixpath.normpath(posixpath.join(folder, name)) for name in names]
    keys = [locate(file) or ("", "", file, "") for file in files]
    if len(samples := {key[:3]: file for key, file in zip(keys, files, strict=True)}) > 1:
        raise MetadataError(
            paths,
            f"has a row with files of several samples ({_join_first(samples.values())})",
            "the files of one sample in each row: fix it",
        )
    return keys[0] if column == "file_name" else (*keys[0][:3], "")


def join_labels(
    metadata: Metadata, rows: Views, on_missing: str
) -> dict[SampleKey, str | None] | None:
    """The label of each row, as `join` does the values; None where no column gives them.

    MetadataError where a row has none, or its views have several.
    """
    labels, joined = metadata.labels, dict[SampleKey, str | None]()
    if labels is None:
        return None
    for key, views in rows.items():
        own = [(*key, view) for view in (views if metadata.is_by_view else [""])]
        found = {label for each in own if (label := labels.get(each))}
        if len(found) > 1:
            sample = "/".join(filter(None, key[1:]))
            raise MetadataError(
                metadata.paths,
                f"has several labels for {sample}: {_join_first(sorted(found))}",
                "one for all its views: fix it",
            )
        joined[key] = found.pop() if found else None
    empty = ["/".join(filter(None, key[1:])) for key, label in joined.items() if label is None]
    if empty and on_missing == "raise":
        raise MetadataError(
            metadata.paths,
            f"has no label for {quantity(len(empty), 'sample')} ({_join_first(empty)})",
            'a label in each row: add it, pass on_missing_metadata="null" (None for it)',
        )
    return joined


class Joined(NamedTuple):
    """What the metadata say of rows.

    Attributes:
        columns: Of each row the fields of the script's `Sample` that hold its values.
        labels: The label of each row; None where no column gives them.
        strays: The metadata that are of no sample or view.
        strays_reason: Why these are ignored.
    """

    columns: dict[SampleKey, dict[str, Any]]
    labels: dict[SampleKey, str | None] | None
    strays: list[str]
    strays_reason: str


def join(metadata: Metadata, rows: Views, views: Views, on_missing: str) -> Joined:
    """Join the metadata to rows.

    What the options leave out may have metadata, and a view that is None may lack it.

    Args:
        metadata: As of `read_files`.
        rows: The views of each row, "" for a None.
        views: The views of each sample.
        on_missing: "raise", or "null": None stands where metadata are missing.

    Raises:
        MetadataError: Rows lack metadata, or metadata their sample or view, and both must be there.
    """
    by_view = metadata.is_by_view
    there = {(*key, view) for key, own in views.items() for view in (own if by_view else [""])}
    keys = {key: [(*key, view) for view in (own if by_view else [""])] for key, own in rows.items()}
    strays = find_strays(metadata, [*itertools.chain(*keys.values())], there, on_missing)
    blank: dict[str, Any] = dict.fromkeys(metadata.features)
    columns: dict[SampleKey, dict[str, Any]] = {}
    for key, own in keys.items():
        found = [metadata.values.get(each, blank) for each in own]
        aligned = {name: [values[name] for values in found] for name in blank}
        columns[key] = {"view_metadata": aligned} if by_view else {"metadata": found[0]}
    reason = f"rows of metadata for no {'view' if by_view else 'sample'}"
    return Joined(columns, join_labels(metadata, rows, on_missing), strays, reason)


def find_strays(
    metadata: Metadata, wanted: Sequence[MetadataKey], there: Set[MetadataKey], on_missing: str
) -> list[str]:
    """The metadata that are of no sample or view; MetadataError as of `join`."""
    what, known = "view" if metadata.is_by_view else "sample", there | {*wanted}
    incomplete = [
        metadata.format_key(key) for key in wanted if key in there and key not in metadata.values
    ]
    strays = [metadata.format_key(key) for key in metadata.values if key not in known]
    found = []
    if incomplete:
        found.append(f"no row for {quantity(len(incomplete), what)} ({_join_first(incomplete)})")
    if strays:
        found.append(f"{quantity(len(strays), 'row')} for no {what} ({_join_first(strays)})")
    if found and on_missing == "raise":
        raise MetadataError(
            metadata.paths,
            f"has {' and '.join(found)}",
            f'a row for each {what}: fix it, pass on_missing_metadata="null" (None for '
            "what is missing, other rows are ignored)",
        )
    return strays


# --- the rows of the script -----------------------------------------------------------------------


def add_columns(
    rows: dict[SampleKey, Any],
    paths: Sequence[str],
    names: FolderNames,
    config: Any,
    ignored: dict[str, list[str]],
    *,
    read: Callable[[str, str], bytes],
    assign: Callable[[Set[str], str], tuple[list[str], dict[str, int]]],
    leave_out: Callable[[dict[SampleKey, Any], Sequence[SampleKey]], None],
) -> tuple[dict[SampleKey, Any], datasets.Features, list[str] | None]:
    """Rows with the columns of metadata files, the features of these, and the class names where one
    column gives the labels.

    Args:
        rows: The script's `Sample`s.
        paths: Of the metadata files.
        names: Of the folder.
        config: The script's options.
        ignored: To which the metadata are added that are of no sample or view, by reason.
        read: As of `read_files`.
        assign: The class names in label order, and the label of each class, of the names of classes
            and `other_classes`.
        leave_out: Takes rows out, and notes them.

    Raises:
        MetadataError, NoLabelsError: As of `read_files` and `join`.
    """
    has_names = bool(config.class_names)
    metadata = read_files(find_files(paths), read, names, config.label_column, has_names)
    keys = {key: view_keys(row, names.view_labels) for key, row in rows.items()}
    joined = join(metadata, keys, names.views, config.on_missing_metadata)
    ignored[joined.strays_reason] = joined.strays
    class_names = None
    if (labels := joined.labels) is not None:
        # Where metadata may lack, a label that `class_names` leaves out is None.
        others = config.other_classes if config.on_missing_metadata == "raise" else "skip"
        class_names, numbers = assign({label for label in labels.values() if label}, others)
        if config.other_classes == "skip":
            leave_out(rows, [key for key in rows if labels[key] not in (*numbers, None)])
        for key, row in rows.items():
            rows[key] = row._replace(label=numbers.get(labels[key] or ""))
    rows = {key: row._replace(**joined.columns[key]) for key, row in rows.items()}
    return rows, metadata.features, class_names


def view_keys(row: Any, view_labels: Sequence[str] | None) -> list[str]:
    """The views of the script's `Sample` as it matches them: "view", under a layout with
    `{view_label}` "view_label/view", and "" for a None.
    """
    if view_labels is None:
        return [view or "" for view in row.view_names]
    return [
        "" if i is None else f"{view_labels[i]}/{view}"
        for i, view in zip(row.view_labels, row.view_names, strict=True)
    ]


def _join_first(names: Iterable[object], most: int = 5) -> str:
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if texts[most:] else "")
