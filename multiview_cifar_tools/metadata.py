"""Metadata files: the columns that a user adds to the rows, by sample or by view.

    sample_id,patient           sample_id,view,angle        or "label" and "sample" in place of
    cat/0001,7                  cat/0001,front,30           "sample_id"; "split" where it is needed

The loading script imports this where a folder holds such a file; so it imports nothing of this
project. Files are read by pyarrow: pandas turns a column of integers with an empty cell into
floats, and lists and times into objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
# Columns that say whose a row is: always text, as 0001 is not 1.
KEY_COLUMNS = ("sample_id", "split", "label", "sample", "view", "view_label")

SampleKey = tuple[str, str, str]  # split folder, label folder, sample
MetadataKey = tuple[str, str, str, str]  # and the view, "" where rows are of whole samples
Views = Mapping[SampleKey, Sequence[str]]  # of each sample


class MetadataError(ValueError):
    """The metadata do not fit the folder; `.path` is their file, `.kind` the script's error."""

    kind = "LayoutError"

    def __init__(self, paths: Sequence[str], found: str, expected: str) -> None:
        super().__init__(
            f"{' and '.join(paths)} {found}. Expected {expected}, or pass drop_metadata=True."
        )
        self.path = paths[0]


class Metadata(NamedTuple):
    """The rows of all metadata files."""

    paths: list[str]
    keys: list[str]  # the key columns
    features: datasets.Features
    values: dict[MetadataKey, dict[str, Any]]

    @property
    def is_by_view(self) -> bool:
        """Whether each row is of a view, else of a sample."""
        return "view" in self.keys

    def format_key(self, key: MetadataKey) -> str:
        """A key for errors: without the split where the files do not tell it."""
        return "/".join(filter(None, key if "split" in self.keys else key[1:]))


def find_files(paths: Iterable[str], folders: Set[str]) -> dict[str, str]:
    """The metadata file of each split folder, or of "", all of them.

    Args:
        paths: Of all files that are no images.
        folders: Of the splits, where they are the top folders.

    Raises:
        MetadataError: Two files may be about the same sample.
    """
    found = [path for path in paths if path.rpartition("/")[2] in FILES]
    found = [path for path in found if path.rpartition("/")[0] in {"", *folders}]
    files = {path.rpartition("/")[0]: path for path in found}
    if len(files) < len(found) or ("" in files and len(files) > 1):
        raise MetadataError(
            found,
            "may be about the same sample",
            "one file at the top, or one in each split folder: merge them",
        )
    return files


def read_files(
    files: Mapping[str, str],
    read: Callable[[str, str], bytes],
    views: Views,
    fields: Set[str],
    taken: Set[str],
    split_name: Callable[[str], str],
) -> Metadata:
    """Read all files.

    Args:
        files: As of `find_files`.
        read: The bytes of a file, by the folder of its split and its path.
        views: The views of each sample.
        fields: Of the layout.
        taken: The names of columns that the rows have already.
        split_name: The split that a split folder holds.

    Raises:
        MetadataError: A file is damaged, they do not go together, or a column or a key is wrong.
    """
    paths = [*files.values()]
    table = concatenate([read_table(path, split, read) for split, path in files.items()], paths)
    keys = key_columns(table.column_names, fields, paths)
    own = {part.name: part.type for part in table.schema if part.name not in keys}
    if bad := {*taken, ""}.intersection(own):
        raise MetadataError(
            paths,
            f"has the column {min(bad)!r}, a name that is taken",
            "names that the rows do not have already: rename or remove it",
        )
    if "view" in keys:
        own = {name: pa.list_(kind) for name, kind in own.items()}
    metadata = Metadata(paths, keys, datasets.Features.from_arrow_schema(pa.schema(own)), {})
    folders = {split: split_name(split) for split, _, _ in views}
    for row in table.to_pylist():
        cells = {name: row.pop(name) for name in keys}
        split = split_name(cells.get("split") or "")
        key = row_key(cells, split, folders, views, paths)
        if key in metadata.values:
            raise MetadataError(
                paths,
                f"has {metadata.format_key(key)} twice",
                'each once: remove one, or add a column "view" where the rows are of views',
            )
        metadata.values[key] = row
    return metadata


def read_table(path: str, split: str, read: Callable[[str, str], bytes]) -> pa.Table:
    """The table of a file, in types of `plain_type`, with a column `split` where the file is a
    split's; MetadataError where it is damaged.
    """
    kind = path.rpartition(".")[2]
    try:
        table = parse_table(read(split, path), kind)
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"two columns of one name: {_join_first(map(repr, names), 20)}")
        types = [pa.string() if c.name in KEY_COLUMNS else plain_type(c.type) for c in table.schema]
        table = table.cast(pa.schema(zip(names, types, strict=True)))
        datasets.Features.from_arrow_schema(table.schema)
    except Exception as error:  # those of Arrow have no base of their own
        raise MetadataError(
            [path],
            f"cannot be read ({error})",
            f"a whole {kind} file, text in UTF-8, each column of one type: mend it",
        ) from None
    if split and "split" not in names:
        return table.append_column("split", pa.array([split] * len(table), pa.string()))
    return table


def parse_table(data: bytes, kind: str) -> Any:
    """The pyarrow.Table of a whole file, its types inferred over all rows.

    In a csv an empty cell is None, and nothing else is; so is in a jsonl what a line lacks.
    """
    file, size, keys = pa.BufferReader(data), len(data) + 1, dict.fromkeys(KEY_COLUMNS, pa.string())
    if kind == "parquet":
        return pa.parquet.read_table(file)
    data.decode()  # pyarrow takes text in another encoding for bytes
    if kind == "csv":
        return pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(block_size=size),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=keys, null_values=[""], strings_can_be_null=True),
        )
    table = pa.json.read_json(
        file,
        pa.json.ReadOptions(block_size=size),
        pa.json.ParseOptions(explicit_schema=pa.schema(keys)),
    )
    return table.drop_columns([key for key in keys if table[key].null_count == len(table)])


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
            f"do not go together ({error})",
            "columns of the same type in each split: mend them",
        ) from None


def key_columns(names: Sequence[str], fields: Set[str], paths: Sequence[str]) -> list[str]:
    """The columns that say whose a row is; MetadataError where one is not there."""
    keys = ["sample_id"] if "sample_id" in names else ["label", "sample"]
    if "view" in names:
        keys += ["view_label", "view"] if "view_label" in fields else ["view"]
    if absent := [key for key in keys if key not in names]:
        raise MetadataError(
            paths,
            f"has no column {absent[0]!r} (found: {_join_first(map(repr, names), 20)})",
            'columns, in a csv between commas, "sample_id" (class folder/sample), or '
            '"label" (class folder) and "sample"; under {view_label}, "view_label" with '
            '"view"',
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
    sample_id = cells.get("sample_id") or f"{cells['label']}/{cells['sample']}"
    label, _, sample = sample_id.partition("/")
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


def join(
    metadata: Metadata, rows: Views, views: Views, on_missing: str
) -> tuple[dict[SampleKey, dict[str, Any]], list[str]]:
    """The values of each row's columns; and the metadata that are of no sample or view.

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
    joined = {}
    for key, own in keys.items():
        found = [metadata.values.get(each, blank) for each in own]
        aligned = {name: [values[name] for values in found] for name in blank}
        joined[key] = aligned if by_view else found[0]
    return joined, strays


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
        found.append(f"no row for {len(incomplete)} {what}s ({_join_first(incomplete)})")
    if strays:
        found.append(f"{len(strays)} rows for no {what} ({_join_first(strays)})")
    if found and on_missing == "raise":
        raise MetadataError(
            metadata.paths,
            f"has {' and '.join(found)}",
            f'a row for each {what}: mend it, pass on_missing_metadata="null" (None for '
            "what is missing, other rows are ignored)",
        )
    return strays


def _join_first(names: Iterable[object], most: int = 5) -> str:
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if texts[most:] else "")
