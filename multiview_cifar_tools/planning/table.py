"""A plan of any size: which rows a source gives, as columns of Arrow, made in parallel.

    plan = plan_source("photos", engine)
    table = plan.splits["train"]            # a row a sample: 50 to 150 bytes a file
    samples = samples_of(rows_between(table, 0, 1000))
    rows = iter_examples(samples, source_of("train", plan.sources), plan.config)

A split's table has the columns

    sample_id      string
    label          int32
    view_names     list of strings, None where a view is missing
    view_labels    list of int32, where the layout has them
    nbytes         int64, of the row's images: of their files, or of their pixels where resized
    version        int64, changes when a file of the row does; 0 where they stand in an archive
    paths          struct, for each image column a list of strings
    metadata       struct, for each column of metadata its value, where there are any
    view_metadata  struct, for each column of metadata of views a list, where there are any

Strings and lists are large ones, with offsets of 8 bytes, so that a table may have any size.

A folder, local or remote, whose layout begins with {label}/ or {split}/{label}/ is planned in
parts: each class folder becomes columns in `plan_folders`, wherever that runs, and `join_parts`
settles what concerns all of them: labels, view labels, splits, order. What else there is (archives,
metadata, several image columns, configs) is planned by the builder, in one process.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import datasets
import pyarrow as pa

import multiview_cifar
from multiview_cifar import (
    IMAGE_EXTENSIONS,
    METADATA_FILES,
    NO_IMAGES,
    SPLIT_WORDS,
    FileListing,
    MultiviewCifar,
    MultiviewCifarConfig,
    MultiviewError,
    Sample,
    SampleKey,
    Template,
    all_views,
    assign_labels,
    check_folders,
    check_incomplete,
    check_unchanged,
    detect_layout,
    is_hidden,
    is_url,
    list_folder,
    list_images,
    log_plan,
    make_rows,
    match_images,
    natural_key,
    no_garbage_collection,
    no_samples,
    number_views,
    parse_template,
    row_features,
    row_order,
    scan_folder,
    scan_remote,
    split_of,
    split_rows,
    wrap_tool_errors,
)
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.engines.base import Engine
from multiview_cifar_tools.options import CONFIG_NAMES, make_config, option_defaults
from multiview_cifar_tools.storage.listing import Listing, add_files, find_source
from multiview_cifar_tools.storage.remote import file_versions as file_infos
from multiview_cifar_tools.storage.remote import list_infos, source_changed_error
from multiview_cifar_tools.storage.source import FileSource

SIDE_BY_SIDE = 8  # folders of a store; what it says of a file takes 1.3 kB while it is listed
CALLS = 64  # at least, that list the folders of a store, where there are so many
CHUNK_ROWS = 1 << 16  # at least, in the table of a split: a chunk takes some kB of its own
STARTS = ("{label}/", "{split}/{label}/")  # of a layout whose class folders are parts
# Why paths are passed over: the script finds these before all others, and those last of all.
FIRST_REASONS = ("links to a folder above themselves", NO_IMAGES)
FOLDER_REASONS = ("sample folders without images", "empty folders")
LIST, READ, MATCH, CHECK = range(4)  # the steps of a part, each of which all parts are to pass


@dataclass(frozen=True)
class RowPlan:
    """All rows of a source, in order.

    Args:
        splits: The table of each split, see above, in the order of the splits.
        features: Of the rows.
        sources: Where the files are, see `multiview_cifar.source_of`.
        ignored: The paths that are passed over, by reason.
        fingerprint: Text that changes when the files, the options or the script do.
        config: What `iter_examples` needs besides samples and a root; small, and it can be pickled.
        layout: That by which it was planned in parts; "" as a whole.
    """

    splits: dict[str, pa.Table]
    features: datasets.Features
    sources: Sequence[str | FileSource]
    ignored: dict[str, list[str]]
    fingerprint: str
    config: MultiviewCifarConfig
    layout: str = ""


def plan_source(
    source: str | os.PathLike[str] | None,
    engine: Engine,
    *,
    cache_dir: str | None = None,
    **options: Any,
) -> RowPlan:
    """Plan all rows of a source; no image is opened.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10" or "cifar100";
            None with `data_files`.
        engine: Where class folders are listed. Errors come from here, the first in the order of
            the names, whatever ran first there.
        cache_dir: Where downloads go. None: the cache of `datasets`.
        **options: Those of `MultiviewCifar`.

    Raises:
        OptionError, LayoutError, ArchiveError: By what is wrong.
    """
    place = None if source is None else os.fspath(source)
    if place in CONFIG_NAMES:
        return plan_builder(MultiviewCifar(cache_dir, config_name=place, **options))
    if place is not None and (is_url(place) or os.path.isdir(os.path.expanduser(place))):
        plan = plan_tree(place, engine, options)
        if plan is not None:
            return plan
    return plan_builder(MultiviewCifar(cache_dir, data_dir=place, **options))


def plan_builder(builder: MultiviewCifar) -> RowPlan:
    """The rows of a builder, planned in this process, with a Python object a file for a while.

    Raises:
        LayoutError, ArchiveError: By what is wrong.
    """
    manager = datasets.StreamingDownloadManager(base_path=builder.base_path)
    splits: dict[str, pa.Table] = {}
    roots: dict[str | FileSource, None] = {}
    columns = image_columns_of(builder.config)
    for split in builder._split_generators(manager):
        samples = [*itertools.chain.from_iterable(split.gen_kwargs["chunks"])]
        splits[split.name] = table_of(samples, columns, builder.info.features)
        roots[split.gen_kwargs["source"]] = None
    ignored = builder.plan.ignored if builder.config.name == "default" else {}
    return RowPlan(
        splits,
        builder.info.features,
        [*roots],
        ignored,
        hash_text(str(builder.config_id), str(builder.hash)),
        builder.config,
    )


# --- rows as columns ------------------------------------------------------------------------------

TEXTS = pa.large_list(pa.large_string())
COLUMNS = {
    "sample_id": pa.large_string(),
    "label": pa.int32(),
    "view_names": TEXTS,
    "view_labels": pa.large_list(pa.int32()),
    "nbytes": pa.int64(),
    "version": pa.int64(),
}


def image_columns_of(config: MultiviewCifarConfig) -> list[str]:
    """The image columns, in the order of `Sample.paths`."""
    return [*config.layout] if isinstance(config.layout, Mapping) else ["images"]


def table_of(
    samples: Sequence[Sample], columns: Sequence[str], features: Mapping[str, Any]
) -> pa.Table:
    """The table of one sample or more; their metadata are of the types that `features` says."""
    arrays = {
        name: pa.array([getattr(sample, name) for sample in samples], kind)
        for name, kind in COLUMNS.items()
        if name != "view_labels" or samples[0].view_labels
    }
    paths = [pa.array([sample.paths[i] for sample in samples], TEXTS) for i in range(len(columns))]
    arrays["paths"] = pa.StructArray.from_arrays(paths, [*columns])
    for name in ("metadata", "view_metadata"):
        values = [getattr(sample, name) for sample in samples]
        if values[0]:
            schema = datasets.Features({key: features[key] for key in values[0]}).arrow_schema
            arrays[name] = pa.array(values, pa.struct([*schema]))
    return pa.table(arrays)


def samples_of(table: pa.Table) -> list[Sample]:
    """The samples of a split's table, or of rows of it."""
    return [
        Sample(
            row["sample_id"],
            row["label"],
            tuple(row["view_names"]),
            tuple(row.get("view_labels", ())),
            tuple(map(tuple, row["paths"].values())),
            row.get("metadata", {}),
            row.get("view_metadata", {}),
            row["nbytes"],
            row["version"],
        )
        for row in table.to_pylist()
    ]


def rows_between(table: pa.Table, start: int, stop: int) -> pa.Table:
    """A copy of the rows from `start` on, up to `stop`: to pickle a slice takes the whole table."""
    return unpack_rows(pack_rows(table, start, stop))


def pack_rows(table: pa.Table, start: int, stop: int) -> pa.Buffer:
    """The rows from `start` on, up to `stop`, as a stream of Arrow's IPC format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(start, stop - start))
    return sink.getvalue()


def unpack_rows(packed: pa.Buffer) -> pa.Table:
    """What `pack_rows` packed."""
    return pa.ipc.open_stream(packed).read_all()


# --- parts ----------------------------------------------------------------------------------------


@dataclass
class Part:
    """What one folder gives, as far as it could be planned.

    Args:
        at: Its place among the parts, in the order of their names.
        step: The last step that was begun.
        error: What ended it there.
        fingerprint: Of its listing.
        shown: Its first image and the one that stands highest, (path, bytes).
        ignored: The paths that are passed over, by reason.
        num_samples: How many there are, those that lack a view too.
        views: Their view keys, where an option or the layout asks for them.
        view_labels: Those that the tables number, in no order.
        lacking: What samples lack that are no rows.
        firsts: The first row of each split folder in each split.
        tables: The rows of each split, their labels yet to be numbered.
    """

    at: int
    step: int = LIST
    error: MultiviewError | None = None
    fingerprint: str = ""
    shown: list[tuple[str, int, int]] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    num_samples: int = 0
    views: set[str] = field(default_factory=set)
    view_labels: list[str] = field(default_factory=list)
    lacking: dict[SampleKey, str] = field(default_factory=dict)
    firsts: dict[SampleKey, Sample] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The class folder of its samples, all of one."""
        return next(iter(self.firsts or self.lacking))[1]


Folder = tuple[int, str]  # its place among the parts, and its path in the tree


def plan_folders(
    root: str | FileSource, folders: Sequence[Folder], layout: str, config: MultiviewCifarConfig
) -> list[Part]:
    """List folders of a tree, and all below them, and plan each: see `plan_part`."""
    return [
        Part(at, error=tree)
        if isinstance(tree, MultiviewError)
        else plan_part(at, tree, layout, config)
        for at, tree in scan_parts(root, folders)
    ]


def list_folders(root: str | FileSource, folders: Sequence[Folder]) -> list[tuple[int, str]]:
    """List folders of a tree, and all below them; the fingerprint of each, "" where that fails."""
    return [
        (at, "" if isinstance(tree, MultiviewError) else tree.fingerprint)
        for at, tree in scan_parts(root, folders)
    ]


def scan_parts(
    root: str | FileSource, folders: Sequence[Folder]
) -> Iterator[tuple[int, FileListing | MultiviewError]]:
    """The listing of each folder, or why there is none; those of a store at the same time."""

    def scan(folder: Folder) -> tuple[int, FileListing | MultiviewError]:
        at, path = folder
        try:
            return at, scan_remote(root, path) if not isinstance(root, str) else scan_folder(
                root, start=path
            )
        except MultiviewError as error:
            return at, error

    if isinstance(root, str):
        yield from map(scan, folders)
        return
    with ThreadPoolExecutor(len(folders)) as pool:
        yield from pool.map(scan, folders)


def plan_part(
    at: int, tree: FileListing, layout: str, config: MultiviewCifarConfig, is_whole: bool = True
) -> Part:
    """Plan what is listed, one class or nothing but folders above the classes.

    Args:
        at: Its place among the parts.
        tree: The listings of a part of the tree.
        layout: Of the whole tree.
        config: The options.
        is_whole: Whether all is listed that stands in these folders.
    """
    part = Part(at, READ, fingerprint=tree.fingerprint, ignored=tree.ignored)
    try:
        with no_garbage_collection():
            _fill(part, tree, parse_template(layout), config, is_whole)
    except MultiviewError as error:
        part.error = error
    return part


def _fill(
    part: Part, tree: FileListing, template: Template, config: MultiviewCifarConfig, is_whole: bool
) -> None:
    folders, images = list_images(tree)
    if images:
        part.shown = [images[0], min(images, key=lambda image: image[0].count("/"))]
    part.step = MATCH
    samples, totals = match_images(images, tree, {"images": template})
    part.num_samples, part.step = len(samples), CHECK
    if is_whole:
        check_folders(folders, tree, [template], samples, config.on_error == "skip_sample")
    part.views = all_views(samples, template.fields, config)
    if "view_label" in template.fields:
        keys = part.views.union(config.view_names or ())
        part.view_labels = [*{key.partition("/")[0] for key in keys}]
    numbers = {label: 0 for _, label, _ in samples}
    rows, part.lacking = make_rows(samples, totals, numbers, part.view_labels or None, config)
    _take_rows(part, rows, tree, config)


def _take_rows(
    part: Part, rows: Mapping[SampleKey, Sample], tree: FileListing, config: MultiviewCifarConfig
) -> None:
    splits: dict[str, list[Sample]] = defaultdict(list)
    firsts: dict[tuple[str, str], tuple[SampleKey, Sample]] = {}
    for key, sample in rows.items():
        split = split_of(key[0], sample.sample_id, False, config)
        firsts.setdefault((split, key[0]), (key, sample))
        splits[split].append(sample)
    part.firsts = dict(firsts.values())
    for split, own in splits.items():
        part.tables[split] = table_of(own, ["images"], {})


# --- the parts together ---------------------------------------------------------------------------


def plan_tree(
    data_dir: str | os.PathLike[str], engine: Engine, options: Mapping[str, Any]
) -> RowPlan | None:
    """The rows of a folder, planned in parts; None where it has to be planned as a whole."""
    if not options.keys() <= option_defaults().keys():  # the builder knows what these mean
        return None
    config = make_config(data_dir, options, or_url=True)
    root: str | FileSource = str(config.data_dir)
    if not os.path.isdir(str(root)):
        with wrap_tool_errors(str(root)):
            root = find_source(str(root), config.storage_options or {}, IMAGE_EXTENSIONS)
    if not isinstance(root, str) and root.is_archive:
        return None
    for layout in _layouts(root, config):
        if not isinstance(layout, str) or not layout.startswith(STARTS):
            return None
        places = outline(root, layout.startswith("{split}/"))
        if not config.drop_metadata and any(map(_has_metadata, places)):
            return None
        if len(places) == 1 and not isinstance(
            root, str
        ):  # empty, or not there: the builder says it
            return None
        parts = plan_places(root, places, layout, config, engine)
        raise_first(parts, LIST)
        raise_first(parts, READ)
        shown = [image for part in parts for image in part.shown]
        if config.layout or detect_layout(shown, tree_of(parts, root, False)) == layout:
            break
    return join_parts(root, parts, layout, config)


def check_source(plan: RowPlan, engine: Engine) -> None:
    """ArchiveError where a remote source is no longer what was planned."""
    for root in plan.sources:
        if not plan.layout:
            check_unchanged(root)
        elif not isinstance(root, str):
            places = outline(root, plan.layout.startswith("{split}/"))
            found = [(at, tree.fingerprint) for at, (_, tree) in enumerate(places) if tree]
            for listed in engine.run(list_folders, _calls(root, places)):
                found += listed
            if hash_text(*(version for _, version in sorted(found))) != root.version:
                with wrap_tool_errors(root.path):
                    raise source_changed_error(root)


def _layouts(root: str | FileSource, config: MultiviewCifarConfig) -> list[Any]:
    """The layout; or the two between which all listings decide, the likelier one first."""
    if config.layout:
        return [config.layout]
    tops = [name for name, _ in outline(root, False)[1:]]
    by_split = all(name.lower() in SPLIT_WORDS for name in tops)
    return [f"{start}{{sample}}/{{view}}" for start in STARTS[:: -1 if by_split else 1]]


Place = tuple[
    str, FileListing | None
]  # a folder; and its listing, where it stands above the classes


def outline(root: str | FileSource, by_split: bool) -> list[Place]:
    """The folders that are parts, in the order of their names; LayoutError or ArchiveError at one
    above the classes that may not be listed.
    """
    tree, names = _list_alone(root, "")
    places: list[Place] = [("", tree)]
    for name in names:
        tree, inner = _list_alone(root, name) if by_split else (tree, [])
        places += (
            [(name, tree), *((f"{name}/{label}", None) for label in inner)]
            if inner
            else [(name, None)]
        )
    return places


def _list_alone(root: str | FileSource, folder: str) -> tuple[FileListing, list[str]]:
    tree = FileListing(root if isinstance(root, str) else root.path, [root])
    if isinstance(root, str):
        names = list_folder(tree, folder)
    else:
        with wrap_tool_errors(root.path):
            infos = list_infos(root, folder, deep=False)
        below = [path for path, info in infos.items() if info["type"] == "directory"]
        files = file_infos({path: infos[path] for path in infos.keys() - below})
        found_files = Listing([], [], tree.ignored, tree.hidden)
        add_files(found_files, root, files, is_hidden, folder)
        tree.folders += found_files.folders
        found = (path.rstrip("/").rpartition("/")[2] for path in below)
        names = [name for name in found if not is_hidden(name)]
    tree.fingerprint = hash_text(repr(tree.folders))
    return tree, names


def _has_metadata(place: Place) -> bool:
    folders = place[1].folders if place[1] else []
    return any(name in METADATA_FILES for _, files in folders for name, _, _ in files)


def plan_places(
    root: str | FileSource,
    places: Sequence[Place],
    layout: str,
    config: MultiviewCifarConfig,
    engine: Engine,
) -> list[Part]:
    """The part of each place, in their order."""
    parts = [
        plan_part(at, tree, layout, config, is_whole=False)
        for at, (_, tree) in enumerate(places)
        if tree
    ]
    calls = ((*call, layout, config) for call in _calls(root, places))
    for planned in engine.run(plan_folders, calls):
        parts += planned
    return sorted(parts, key=lambda part: part.at)


def _calls(
    root: str | FileSource, places: Sequence[Place]
) -> Iterator[tuple[str | FileSource, list[Folder]]]:
    """Which folders one call lists: one of a disk; of a store, which takes its time to answer,
    several side by side, but few where there are few, as each may be large.
    """
    folders = [(at, folder) for at, (folder, tree) in enumerate(places) if not tree]
    several = max(1, min(SIDE_BY_SIDE, len(folders) // CALLS)) if not isinstance(root, str) else 1
    for at in range(0, len(folders), several):
        yield root, folders[at : at + several]


def raise_first(parts: Iterable[Part], step: int) -> None:
    """Raise the first error of a step."""
    for part in parts:
        if part.error and part.step == step:
            raise part.error


def tree_of(parts: Iterable[Part], root: str | FileSource, all_ignored: bool) -> FileListing:
    """The whole tree, without listings: what is passed over, folders only if `all_ignored`."""
    tree = FileListing(root if isinstance(root, str) else root.path, [root])
    ignored: dict[str, list[str]] = {reason: [] for reason in FIRST_REASONS}
    for part in parts:
        for reason, paths in part.ignored.items():
            if all_ignored or reason not in FOLDER_REASONS:
                ignored.setdefault(reason, []).extend(paths)
    tree.ignored.update({reason: paths for reason, paths in ignored.items() if paths})
    return tree


def join_parts(
    root: str | FileSource, parts: Sequence[Part], layout: str, config: MultiviewCifarConfig
) -> RowPlan:
    """The rows of all parts; their tables are taken from them.

    LayoutError or OptionError where a part could not be planned, or they do not fit an option.
    """
    raise_first(parts, MATCH)
    if not any(part.num_samples for part in parts):
        raise no_samples(tree_of(parts, root, False), config)
    raise_first(parts, CHECK)
    full = sorted(
        (part for part in parts if part.num_samples), key=lambda part: natural_key(part.label)
    )
    template, tree = parse_template(layout), tree_of(parts, root, True)
    keys = set().union(*(part.views for part in full))
    view_labels = number_views(keys, template.fields, config)
    labels = list(dict.fromkeys(part.label for part in full))
    class_names, numbers = assign_labels(labels, config.class_names)
    lacking = _in_order(part.lacking for part in full)
    num_samples = sum(part.num_samples for part in full)
    check_incomplete(lacking, num_samples, tree, config)
    firsts = {
        key: sample._replace(label=numbers[key[1]])
        for key, sample in _in_order(part.firsts for part in full).items()
    }
    num_rows, has_splits = num_samples - len(lacking), "split" in template.fields
    splits = split_rows(firsts, num_rows, has_splits, False, config)
    log_plan(tree, splits, class_names)
    tables = {
        split: gather(
            numbered(part, split, numbers[part.label], view_labels)
            for part in full
            if split in part.tables
        )
        for split in splits
    }
    features = row_features(["images"], class_names, view_labels)
    if not isinstance(root, str):
        root = root._replace(version=hash_text(*(part.fingerprint for part in parts)))
    return RowPlan(
        tables, features, [root], dict(tree.ignored), _fingerprint(parts, config), config, layout
    )


V = TypeVar("V")


def _in_order(found: Iterable[Mapping[SampleKey, V]]) -> dict[SampleKey, V]:
    """All of it in the order of rows."""
    merged = {key: value for some in found for key, value in some.items()}
    return {key: merged[key] for key in sorted(merged, key=row_order)}


def _fingerprint(parts: Iterable[Part], config: MultiviewCifarConfig) -> str:
    with open(multiview_cifar.__file__, encoding="utf-8") as file:
        code = file.read()
    options = repr(replace(config, storage_options=None))
    return hash_text(datasets.__version__, code, options, *(part.fingerprint for part in parts))


def numbered(part: Part, split: str, label: int, view_labels: Sequence[str] | None) -> pa.Table:
    """Take the table of a split from a part, its label and view labels numbered as in all parts."""
    table = part.tables.pop(split)
    labels = pa.repeat(pa.scalar(label, pa.int32()), len(table))
    table = table.set_column(table.schema.get_field_index("label"), "label", labels)
    if view_labels is None:
        return table
    numbers = pa.array([view_labels.index(name) for name in part.view_labels], pa.int32())
    lists = table["view_labels"].combine_chunks()
    lists = pa.LargeListArray.from_arrays(lists.offsets, numbers.take(lists.values))
    return table.set_column(table.schema.get_field_index("view_labels"), "view_labels", lists)


def gather(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of them, in chunks of CHUNK_ROWS rows or more."""
    chunks, run, rows = list[pa.Table](), list[pa.Table](), 0
    for table in tables:
        run.append(table)
        rows += len(table)
        if rows >= CHUNK_ROWS:
            chunks.append(pa.concat_tables(run).combine_chunks())
            run, rows = [], 0
    if run:
        chunks.append(pa.concat_tables(run).combine_chunks())
    return pa.concat_tables(chunks)
