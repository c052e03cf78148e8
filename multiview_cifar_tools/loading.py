"""All sources of grouped images, opened in one way: as raw rows, or as datasets.

    a folder of images, an archive of it, or a URL      photos, photos.zip, s3://bucket/photos
    a config that needs no files                        shapes, cifar10, cifar100
    a dataset of the Hub                                me/photos, or me/photos@v1 of a revision
    what `save_to_disk` wrote                           saved
    what `export` wrote, by its multiview_cifar.json    exported
    files of a format, by their names                   arrays.h5, or a folder of them
    files of a format, given as source_format           "shards/{000..012}.tar", "webdataset"

`load` gives datasets, `open_source` the raw rows that `export` reads.
"""

from __future__ import annotations

import glob
import inspect
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import datasets
import fsspec
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

import multiview_cifar
from multiview_cifar import (
    METADATA_FILES,
    MultiviewCifar,
    OptionError,
    is_url,
)
from multiview_cifar_tools.arguments import check_count, expect_path, split_name
from multiview_cifar_tools.batches.columns import all_image_columns, image_columns, views_in
from multiview_cifar_tools.defaults import CONFIG_NAMES, FORMATS
from multiview_cifar_tools.digests import hash_text, list_files
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.base import (
    FormatReader,
    format_module,
    format_of_name,
)
from multiview_cifar_tools.formats.builder import make_datasets, read_column
from multiview_cifar_tools.options import is_hub_name, remove_secrets
from multiview_cifar_tools.shards.foreign_rows import (
    RowColumns,
    complete_dataset,
    complete_row,
    has_plain_labels,
    name_classes,
    resolve_columns,
)
from multiview_cifar_tools.shards.manifest import (
    MANIFEST,
    check_digest,
    read_manifest,
    shard_digests,
)
from multiview_cifar_tools.shards.rows import Row
from multiview_cifar_tools.storage.near_places import near_place
from multiview_cifar_tools.storage.redaction import redact_url
from multiview_cifar_tools.storage.regular_file import regular_file
from multiview_cifar_tools.storage.source import FileSource, Options, remote_version

SAVED_FILES = ("dataset_dict.json", "state.json")  # which `save_to_disk` writes
LOADED = "the rows themselves, which need no loading"  # in the place of a source
REACH_TIMEOUT = 10  # seconds until the Hub counts as not to be reached
BATCH_ROWS = 16  # few at a time: images become Python objects


@dataclass(frozen=True)
class SplitRows:
    """The raw rows of a split, see `formats`.

    Args:
        features: Of the rows.
        num_rows: Their number, with those that `on_error` may skip; None where it is not known.
        fingerprint: Text that changes when the rows do; "" where that is not known.
        iterate: Called with the number of a row, by default 0, it gives the rows from there on.
    """

    features: datasets.Features
    num_rows: int | None
    fingerprint: str
    iterate: Callable[..., Iterator[Row]]


SPLIT_KINDS = (datasets.Dataset, datasets.IterableDataset, SplitRows)  # what holds a split's rows


def open_source(
    source: str | os.PathLike[str],
    *,
    streaming: bool = False,
    source_format: str | None = None,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, SplitRows]:
    """Open a source, and give the raw rows of each split.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10" or "cifar100";
            a dataset of the Hub, "user/name", or a branch, tag or commit of it, "user/name@v1"; a
            folder of `save_to_disk`; or a file or folder of one of the formats.
        streaming: Read a folder or a dataset of the Hub while it is iterated, instead of building
            (or downloading) it first. Files of a format are always read directly.
        source_format: A format of `export`. None: the format in multiview_cifar.json, or that of
            the name of the file, or of the names of the files in the folder.
        cache_dir: Where to build and where downloads go. None: the cache of `datasets`.
        num_proc: Processes that build.
        storage_options: Options of the file system of a URL, as fsspec takes them.
        **options: For a folder or config, the fields of `MultiviewCifarConfig`; for a format, the
            options of its `read`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError, FormatError: Depending on what is wrong.
    """
    source = expect_path(source, "open_source({})", OptionError, LOADED)
    place, kind = _detect_source(source, source_format, streaming, num_proc)
    _check_no_split(options)
    if storage_options is not None:
        options["storage_options"] = storage_options
    if kind in ("config", "folder"):
        name, data_dir = (place, None) if kind == "config" else (None, place)
        builder = MultiviewCifar(cache_dir, config_name=name, data_dir=data_dir, **options)
        return stream_rows(builder) if streaming else build_rows(builder, num_proc)
    if kind in ("saved", "hub"):
        _check_no_options(place, options)
        return open_dataset(place, kind, streaming, cache_dir, num_proc)
    return format_rows(*open_format(place, kind, options))


def load(
    source: str | os.PathLike[str],
    *,
    streaming: bool = False,
    source_format: str | None = None,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    **options: Any,
) -> Any:
    """Load the rows of any source as datasets.

    Files of a format are built to Arrow once. Later calls open this cache, if paths, sizes, times
    and options are the same. Rows of other tools with a column of image lists become rows of this
    project: missing columns are added. A dataset with one image per row is not changed.

    Args:
        source, source_format, cache_dir, num_proc, **options: See `open_source`.
        streaming: Build nothing, and read while the rows are iterated.

    Returns:
        A `DatasetDict`, or with `streaming` an `IterableDatasetDict`. Its shards are those of the
        format, which workers and nodes share.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError, FormatError: Depending on what is wrong.

    Examples:
        >>> ds = load("exported")["train"]
        >>> ds[0]["images"], ds.features["label"].int2str(ds[0]["label"])
    """
    source = expect_path(source, "load({})", OptionError, LOADED)
    place, kind = _detect_source(source, source_format, streaming, num_proc)
    how: dict[str, Any] = {"streaming": streaming, "cache_dir": cache_dir, "num_proc": num_proc}
    if kind in ("config", "folder"):
        name, data_dir = (place, None) if kind == "config" else (None, place)
        return multiview_cifar.load_dataset(name, data_dir, **how, **options)
    if kind in ("saved", "hub"):
        _check_no_options(place, options)
        return _load_splits(place, kind, **how)
    reader, fingerprint, _ = open_format(place, kind, options)
    return make_datasets(reader, fingerprint, **how)


def _load_splits(
    place: str, kind: str, streaming: bool, cache_dir: str | None, num_proc: int | None
) -> Any:
    """The splits of a dataset of the Hub, or of what `save_to_disk` wrote: as rows of this project
    where they have lists of images, else as they are.
    """
    splits, _ = open_splits(place, kind, streaming, cache_dir, num_proc)
    complete = _complete_lists(splits)
    if not isinstance(next(iter(splits.values())), datasets.IterableDataset):
        return stream_splits(complete) if streaming else datasets.DatasetDict(complete)
    if all(complete[split] is stream for split, stream in splits.items()):
        return splits
    return rows_to_datasets({split: to_split_rows(each) for split, each in complete.items()}, True)


def _complete_lists(splits: Mapping[str, Any]) -> Mapping[str, Any]:
    """As `complete_splits`, but a dataset without lists of images, which can be grouped, stays."""
    has_lists = all(image_columns(ds.features or {}) for ds in splits.values())
    return complete_splits(splits) if has_lists else splits


def rows_to_datasets(rows: Mapping[str, SplitRows], streaming: bool) -> Any:
    """Raw rows as datasets, which are built once, or as streams."""
    features = next(iter(rows.values())).features
    shards = {split: [split] for split in rows}
    reader = FormatReader(features, shards, partial(_iter_split, rows), [])
    key = hash_text(*(own.fingerprint for own in rows.values()))
    return make_datasets(reader, key, streaming=streaming)


def _iter_split(rows: Mapping[str, SplitRows], split: str) -> Iterator[Row]:
    return rows[split].iterate()


def _detect_source(
    source: str | os.PathLike[str], source_format: str | None, streaming: bool, num_proc: int | None
) -> tuple[str, str]:
    """As `detect_source`; OptionError where processes are given for a stream, or are no number."""
    detected = detect_source(source, source_format)
    if num_proc is not None:
        check_count("num_proc", num_proc, 1, OptionError)
    if streaming and num_proc is not None:
        raise OptionError(
            f"num_proc={num_proc} is for what is built, and streaming builds nothing."
            " Expected one or the other.",
            "num_proc",
        )
    return detected


def _check_no_options(source: str, options: Mapping[str, Any]) -> None:
    _check_no_split(options)
    if options:
        raise OptionError(
            f"{redact_url(source)} is a dataset already, which takes no options. Expected a "
            "folder of images with them.",
            next(iter(options)),
        )


def _check_no_split(options: Mapping[str, Any]) -> None:
    if "split" in options:
        raise OptionError(
            f"split={options['split']!r} is not an option of a source: all its splits are given. "
            'Expected one of them taken from the result: load(source)["train"].',
            "split",
        )


# --- what a source is -----------------------------------------------------------------------------


def detect_source(
    source: str | os.PathLike[str], source_format: str | None = None
) -> tuple[str, str]:
    """The source as text, and its kind: "config", "folder" (or an archive, or a URL), "saved",
    "hub", or the name of a format.

    OptionError where there is no such format, FormatError where a manifest is damaged.
    """
    place = os.fspath(source)
    if source_format is not None:
        format_module(source_format, "source_format")
    if place in CONFIG_NAMES and source_format is None:
        return place, "config"
    if is_url(place):
        return place, source_format or "folder"
    place = os.path.expanduser(place)
    manifest = read_manifest(place, FORMATS)
    if manifest and source_format not in (None, manifest.format):
        raise OptionError(
            f"source_format={source_format!r} is not right: {place} holds "
            f"{manifest.format!r}, as its {MANIFEST} says. Expected that, or "
            "none.",
            "source_format",
        )
    if source_format or manifest:
        return place, source_format or str(manifest and manifest.format)
    if any(os.path.exists(os.path.join(place, name)) for name in SAVED_FILES):
        return place, "saved"
    if os.path.isdir(place):
        return place, _detect_format(place) or "folder"
    if named := format_of_name(place):
        return place, named
    return place, "hub" if is_hub_name(place) else "folder"


def split_revision(place: str) -> tuple[str, str | None]:
    """The name of a dataset of the Hub, and its branch, tag or commit; None where it has none."""
    name, _, revision = place.partition("@")
    return name, revision or None


def _detect_format(folder: str, depth: int = 2) -> str | None:
    """The format of the files in a folder and in its folders, by their names; None where they are
    of several formats or of none, as in a folder of images.
    """
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] != "."]
    files = [entry.name for entry in shown if entry.is_file() and entry.name not in METADATA_FILES]
    found = set(filter(None, map(format_of_name, files)))
    for entry in shown:
        if entry.is_dir():
            inner = _detect_format(entry.path, depth - 1) if depth else None
            if inner is None:  # so that of a folder of images hardly anything is listed
                return None
            found.add(inner)
    return found.pop() if len(found) == 1 else None


# --- folders and configs --------------------------------------------------------------------------


def _fingerprint(builder: Any, split: str) -> str:
    return hash_text(str(builder.config_id), str(builder.hash), split)


def build_rows(builder: MultiviewCifar, num_proc: int | None) -> dict[str, SplitRows]:
    """The splits of a builder, which is built first."""
    builder.download_and_prepare(num_proc=num_proc)
    return {
        split: to_split_rows(ds, _fingerprint(builder, split))
        for split, ds in builder.as_dataset().items()
    }


def stream_rows(builder: MultiviewCifar) -> dict[str, SplitRows]:
    """The splits of a builder, read from the files one by one.

    `datasets` encodes and decodes each row of its own streams, which takes 0.2 (5.2.0) or 1 ms
    (3.6.0) of it; reading its files takes 0.04.
    """
    manager = datasets.StreamingDownloadManager(base_path=builder.base_path)
    return {
        split.name: SplitRows(
            builder.info.features,
            sum(map(len, split.gen_kwargs["chunks"])),
            _fingerprint(builder, split.name),
            partial(_iter_examples, builder, split.gen_kwargs),
        )
        for split in builder._split_generators(manager)
    }


def _iter_examples(
    builder: MultiviewCifar, arguments: dict[str, Any], start: int = 0
) -> Iterator[Row]:
    skipped = 0
    if builder.config.on_error == "raise":  # then every sample is a row
        samples = list(itertools.chain.from_iterable(arguments["chunks"]))
        arguments, skipped = {**arguments, "chunks": [samples[start:]]}, start
    for _, row in itertools.islice(builder._generate_examples(**arguments), start - skipped, None):
        yield row
    builder.check_unchanged()


# --- datasets -------------------------------------------------------------------------------------


def open_dataset(
    place: str, kind: str, streaming: bool, cache_dir: str | None, num_proc: int | None
) -> dict[str, SplitRows]:
    """The splits of what `save_to_disk` wrote, or of the Hub."""
    splits, identity = open_splits(place, kind, streaming, cache_dir, num_proc)
    return {
        split: to_split_rows(data, identity and hash_text(identity, split))
        for split, data in _complete_lists(splits).items()
    }


def open_splits(
    place: str, kind: str, streaming: bool, cache_dir: str | None, num_proc: int | None
) -> tuple[Mapping[str, Any], str]:
    """The same with the columns that they have, and text that changes with all of them, "" where
    the fingerprint of each does.
    """
    if kind == "saved":
        return as_split_dict(_load_from_disk(place)), ""
    splits, identity = _load_from_hub(place, streaming, cache_dir, num_proc)
    return as_split_dict(splits), identity


def _load_from_hub(
    place: str, streaming: bool, cache_dir: str | None, num_proc: int | None
) -> tuple[Any, str]:
    """The dataset, and text that changes with it, "" where its own fingerprint does."""
    name, revision = split_revision(place)
    how = {"revision": revision, "cache_dir": cache_dir}
    _check_reachable(place, cache_dir)
    try:
        if not streaming:
            return datasets.load_dataset(name, num_proc=num_proc, **how), ""
        builder = datasets.load_dataset_builder(name, **how)
        return builder.as_streaming_dataset(), f"{builder.config_id} {builder.hash}"
    except Exception as error:  # `datasets` lets through those of all its libraries
        raise _load_error(place, error) from error


def _check_reachable(place: str, cache_dir: str | None) -> None:
    """FormatError where the Hub cannot be reached, and nothing of its user is in the cache: the
    libraries would first try for half a minute.
    """
    name, revision = split_revision(place)
    cached = os.path.join(cache_dir or datasets.config.HF_DATASETS_CACHE, name.partition("/")[0])
    if glob.glob(f"{glob.escape(os.path.expanduser(cached))}___*"):
        return
    try:
        HfApi().dataset_info(name, revision=revision, timeout=REACH_TIMEOUT)
    except (HfHubHTTPError, HFValidationError):
        return  # it is there, and `datasets` says what it answers
    except Exception as error:  # those of requests or httpx, by the version of `huggingface_hub`
        raise FormatError(
            f"{place} cannot be loaded: there is no such folder (looked at "
            f"{os.path.abspath(place)}), and the Hub at {constants.ENDPOINT} cannot be reached "
            f"({type(error).__name__}).{near_place(place)} Expected a folder, or the network for a "
            "dataset of the Hub.",
            place,
        ) from None


def _load_from_disk(place: str) -> Any:
    try:
        for file in list_files(place):  # `datasets` would wait for a pipe
            os.close(regular_file(file, os.O_RDONLY))
        loaded = datasets.load_from_disk(place)
        for ds in loaded.values() if isinstance(loaded, dict) else [loaded]:
            ds.data.table.validate(full=True)  # offsets and text, else Arrow ends the process later
        return loaded
    except Exception as error:
        raise _load_error(place, error) from error


def _load_error(place: str, error: Exception) -> FormatError:
    found = " ".join(str(error).split()).rstrip(".")
    near = "" if os.path.exists(place) else near_place(place)
    return FormatError(
        f"{place} cannot be loaded: {found}.{near} Expected a dataset of the Hub, "
        "USER/NAME or USER/NAME@REVISION, or what save_to_disk wrote.",
        place,
    )


def as_split_dict(loaded: Any) -> Any:
    """A dict of splits, also where one dataset is given."""
    if isinstance(loaded, dict):
        return loaded
    split = split_name(loaded)
    if isinstance(loaded, datasets.IterableDataset):
        return datasets.IterableDatasetDict({split: loaded})
    return datasets.DatasetDict({split: loaded})


def stream_splits(splits: Mapping[str, datasets.Dataset]) -> datasets.IterableDatasetDict:
    """Built datasets as streams."""
    return datasets.IterableDatasetDict(
        {split: ds.to_iterable_dataset() for split, ds in splits.items()}
    )


def complete_splits(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Splits with rows of this project, of rows of others too; see `shards.foreign_rows`.

    Args:
        splits: Each a `Dataset`, an `IterableDataset` or `SplitRows`.

    Returns:
        Each split as it was, or where something was added a `Dataset` of a `Dataset`, and
        `SplitRows` of a stream.

    Raises:
        FormatError: The rows have no list of images, say; or labels of a stream have no names.
    """
    features_of = {split: to_split_rows(data).features for split, data in splits.items()}
    names = name_split_classes(splits)
    complete: dict[str, Any] = {}
    for split, data in splits.items():
        where = f"The split {split!r}"
        columns = resolve_columns(where, split, features_of[split], names)
        if columns.are_complete:
            complete[split] = data
        elif isinstance(data, datasets.Dataset):
            complete[split] = complete_dataset(data, columns)
        else:
            rows = to_split_rows(data)
            iterate = partial(_iter_complete, rows, columns)
            complete[split] = replace(rows, features=columns.features, iterate=iterate)
    return complete


def name_split_classes(splits: Mapping[str, Any]) -> list[str] | None:
    """The names of all labels that are text or integers; None where there are none such.

    FormatError where they are those of a stream.
    """
    plain = [s for s, data in splits.items() if has_plain_labels(to_split_rows(data).features)]
    labels: set[Any] = set()
    for split in plain:
        if not isinstance(splits[split], datasets.Dataset):
            raise FormatError(
                f"The labels of the split {split!r} have no names, and a stream does not tell all "
                "of them beforehand. Expected a ClassLabel: cast the column, or do not stream.",
                split,
            )
        labels.update(read_column(splits[split], "label").unique().to_pylist())
    return name_classes(labels) if plain else None


def _iter_complete(rows: SplitRows, columns: RowColumns, start: int = 0) -> Iterator[Row]:
    for number, row in enumerate(rows.iterate(start), start):
        yield complete_row(row, number, columns)


def to_split_rows(
    data: datasets.Dataset | datasets.IterableDataset | SplitRows, fingerprint: str = ""
) -> SplitRows:
    """The raw rows of a dataset; `fingerprint` replaces its own.

    FormatError where a stream does not know its features.
    """
    if isinstance(data, SplitRows):
        return data
    if isinstance(data, datasets.Dataset):
        return SplitRows(
            data.features, len(data), fingerprint or data._fingerprint, partial(_iter_dataset, data)
        )
    if data.features is None:
        raise FormatError(
            "This stream does not say what its columns are. Expected features: pass "
            "them where it is made, or cast it."
        )
    split_info = (data.info.splits or {}).get(str(data.split))
    return SplitRows(
        data.features,
        split_info and split_info.num_examples,
        fingerprint,
        partial(_iter_stream, data),
    )


def _iter_dataset(ds: datasets.Dataset, start: int = 0) -> Iterator[Row]:
    columns = all_image_columns(ds.features)
    rest = ds.skip(start) if start < len(ds) else ds.select([])  # as `skip` skips no whole dataset
    for table in rest.with_format("arrow").iter(BATCH_ROWS):
        for row in table.to_pylist():
            yield embed_views(row, columns)


def _iter_stream(ds: datasets.IterableDataset, start: int = 0) -> Iterator[Row]:
    columns = all_image_columns(ds.features)
    for row in ds.with_format(None).decode(False).skip(start):
        yield embed_views(row, columns)


def embed_views(row: Row, columns: list[str]) -> Row:
    """The row with the bytes of its views in place of paths; it is changed in place."""
    for column in columns:
        views = views_in(row[column])
        for i, view in enumerate(views):
            if view is not None and (view["bytes"] is None or view["path"] is not None):
                views[i] = embed_view(view)
        if isinstance(row[column], dict):
            (row[column],) = views
    return row


def embed_view(view: dict[str, Any]) -> dict[str, Any] | None:
    """A view with its bytes instead of its path; None where it has neither. FormatError where the
    file cannot be read.
    """
    data, path = view["bytes"], view["path"]
    if data is None and path is None:
        return None
    try:
        if data is None:
            local = not is_url(path)
            with (
                open(path, "rb", opener=regular_file) if local else fsspec.open(path, "rb") as file
            ):
                data = file.read()
    except Exception as error:  # those of fsspec and its stores have no common base
        raise FormatError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Expected the "
            "image that the dataset names: put it there.",
            str(path),
        ) from None
    return {"bytes": data, "path": None}


# --- files of a format ----------------------------------------------------------------------------


def open_format(
    place: str, name: str, options: Mapping[str, Any]
) -> tuple[FormatReader, str, dict[str, int]]:
    """The reader of files of a format; a text that changes with paths, sizes and times of the files
    and with the options; and the number of rows of each split, where there is a manifest. The bytes
    of a shard that a manifest speaks of are compared before its first row is read.

    OptionError where the format has no such option, FormatError where the files are not right.
    """
    read = format_module(name).read
    _check_no_split(options)
    parameters = [*inspect.signature(read).parameters][2:]
    if unknown := [option for option in options if option not in parameters]:
        raise OptionError(
            f"{redact_url(place)} is of the format {name!r}, which has no option {unknown[0]!r}. "
            f"Expected {' or '.join(parameters) or 'none'}.",
            unknown[0],
        )
    manifest = read_manifest(place, FORMATS)
    reader: FormatReader = read(place, manifest, **options)
    stamps = [_file_version(path, options.get("storage_options")) for path in reader.files]
    fingerprint = hash_text(name, repr(sorted(remove_secrets(options).items())), *stamps)
    if manifest is None:
        return reader, fingerprint, {}
    rows = partial(_read_compared, shard_digests(place, manifest), reader.rows)
    return replace(reader, rows=rows), fingerprint, manifest.num_rows


def _read_compared(
    digests: Mapping[str, str], rows: Callable[[Any], Iterator[Row]], shard: Any
) -> Iterator[Row]:
    check_digest(shard.path, digests[shard.path])
    return rows(shard)


def _file_version(path: str, storage_options: Mapping[str, Any] | None) -> str:
    if is_url(path):
        source = FileSource(path, options=Options(storage_options or {}))
        return f"{source.shown} {remote_version(source)}"
    stat = os.stat(path)
    return f"{os.path.abspath(path)} {stat.st_size} {stat.st_mtime_ns}"


def format_rows(
    reader: FormatReader, fingerprint: str, counts: Mapping[str, int]
) -> dict[str, SplitRows]:
    """The splits of a FormatReader."""
    return {
        split: SplitRows(
            reader.features,
            counts.get(split),
            hash_text(fingerprint, split),
            partial(_iter_shards, reader, shards),
        )
        for split, shards in reader.shards.items()
    }


def _iter_shards(reader: FormatReader, shards: list[Any], start: int = 0) -> Iterator[Row]:
    rows = itertools.chain.from_iterable(map(reader.rows, shards))
    return itertools.islice(rows, start, None)
