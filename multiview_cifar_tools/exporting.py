"""Rows to files of any format, and back to a folder of images: the very bytes of every view.

    export(load_dataset("me/photos"), "photos")               # photos/train/cat/0001/view_0.png ...
    export(load_dataset("me/photos"), "shards", format="webdataset")
    export(open_source("photos.zip", streaming=True), "arrays", format="hdf5", pixels=True)

All formats but "folder" come as shards beside a manifest, `formats.MANIFEST`, by which
`loading.load` makes the same rows again. Rows that were converted when they were built (`mode`,
`image_size`, `encoding`) give the converted images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import datasets
import PIL.Image

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import check_flag, expect_path, expect_splits
from multiview_cifar_tools.batches.columns import all_image_columns, views_in
from multiview_cifar_tools.conversion import WIDE_MODES
from multiview_cifar_tools.defaults import FORMATS, MAX_SHARD_SIZE
from multiview_cifar_tools.digests import FollowingDigest
from multiview_cifar_tools.errors import ExportError, FormatError
from multiview_cifar_tools.formats.base import check_library, format_module
from multiview_cifar_tools.formats.builder import check_ids
from multiview_cifar_tools.loading import SPLIT_KINDS, SplitRows, complete_splits, to_split_rows
from multiview_cifar_tools.places import check_place
from multiview_cifar_tools.shards.croissant import (
    CROISSANT,
    folder_place,
    make_croissant,
    parse_fields,
    read_author_fields,
)
from multiview_cifar_tools.shards.manifest import MANIFEST, Manifest, ShardFile, format_manifest
from multiview_cifar_tools.shards.partial import PartialExport, partial_export
from multiview_cifar_tools.shards.rows import Row, row_bytes
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.shards.state import ShardResult
from multiview_cifar_tools.shards.writer import parse_size


def export(
    splits: Any,
    dest: str | os.PathLike[str],
    *,
    format: str = "folder",
    pixels: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    croissant: Mapping[str, Any] | str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write rows to files.

    The files are written to the folder `dest` plus ".partial", which becomes `dest` in one step. If
    the export is interrupted, the finished shards stay there, and the same call resumes from them;
    without a finished shard nothing stays. If everything is finished, the call does nothing.

    Args:
        splits: Rows of `multiview_cifar`, or others with a column of image lists, built here,
            loaded from the Hub, or streamed: a `Dataset`, `IterableDataset` or the rows of
            `open_source`, or a dict of them by split. A resumed export recognises an
            `IterableDataset` only by its last sample_id.
        dest: The folder to write: new, empty, or made by the same call.
        format: "folder", "webdataset", "hdf5", "tfrecord", "numpy", "parquet" or "cifar".
        pixels: Write arrays of pixels instead of the bytes of the files; "cifar" always does.
        max_shard_size: The most bytes of images (or pixels) in a shard, such as "500MB"; more only
            for a single larger sample. For a folder: what is not written again after a break.
        croissant: For "parquet": a JSON file, or a dict, with your fields of croissant.json, such
            as "rai:dataBiases". None: keep those of the existing file.

    Returns:
        The arguments that load the same rows. For a folder those of `multiview_cifar.load_dataset`:
        `data_dir`, `layout`, and if needed `class_names`, `view_names`, `num_views` and
        `on_missing_view`. Otherwise those of `load`: `source`.

    Raises:
        OptionError: The format or size is wrong, the format has no pixels; or `croissant` is not a
            JSON object, or given with another format.
        ExportError: For example, these are not rows, the folder is in use, another export was begun
            or made there, its files are damaged, the format cannot hold a row, or the disk is full.
        OutputError: `dest` cannot be written.
        MultiviewError: The source cannot be read.
    """
    return run_export(splits, dest, format, pixels, max_shard_size, croissant)[0]


def run_export(
    splits: Any,
    dest: str | os.PathLike[str],
    format: str,
    pixels: bool,
    max_shard_size: str | int,
    croissant: Mapping[str, Any] | str | os.PathLike[str] | None,
) -> tuple[dict[str, Any], bool]:
    """As `export`, and whether all was there before."""
    module, pixels, max_bytes, author = check_arguments(format, pixels, max_shard_size, croissant)
    sources = checked_rows(expect_splits(splits, "export({}, dest)", ExportError, SPLIT_KINDS))
    features = next(iter(sources.values())).features
    dest = expect_path(dest, "export(rows, {})", ExportError)
    root = os.path.abspath(os.path.expanduser(dest))
    check_place(root, "dest", is_file=False)
    signature = {
        "source": {split: rows.fingerprint for split, rows in sources.items()},
        "columns": features_json(features),
        "format": format,
        "pixels": pixels,
        "max_shard_size": max_bytes,
    }
    with partial_export(root, signature, [*sources]) as state:
        was_there = state.arguments is not None
        if not was_there:
            writer = ExportWriter(state, module, features, pixels, max_bytes)
            write_splits(sources, state, writer)
            state.complete(*name_files(state, module, features))
        if format == "parquet":
            write_croissant(state, features, [*sources], author)
        state.finalize()
    place = "data_dir" if format == "folder" else "source"
    return {place: root, **(state.arguments or {})}, was_there


def check_arguments(
    format: str,
    pixels: bool,
    max_shard_size: str | int,
    croissant: Mapping[str, Any] | str | os.PathLike[str] | None,
) -> tuple[Any, bool, int, dict[str, Any]]:
    """The module of the format, whether to write pixels, the most bytes of a shard, and the
    author's fields of croissant.json. OptionError where one of the arguments is wrong; FormatError
    where the format's library is not installed.
    """
    module, max_bytes = format_module(format), parse_size(max_shard_size)
    check_library(format)
    author = author_fields(format, croissant)
    pixels = holds_pixels(module, format, check_flag("pixels", pixels, OptionError))
    return module, pixels, max_bytes, author


def holds_pixels(module: Any, format: str, pixels: bool) -> bool:
    """Whether to write pixels; OptionError where the format holds none."""
    if pixels and "pixels" not in module.CONTENTS:
        capable = [name for name in FORMATS if "pixels" in format_module(name).CONTENTS]
        raise OptionError(
            f"pixels is given, but {format!r} holds files' bytes. Expected it with "
            f"one of {', '.join(capable)}; a folder's images are converted with "
            "image_size, mode and encoding when they are built.",
            "pixels",
        )
    return pixels or "bytes" not in module.CONTENTS


def author_fields(
    format: str, croissant: Mapping[str, Any] | str | os.PathLike[str] | None
) -> dict[str, Any]:
    """The author's fields of croissant.json; OptionError where the format gets none."""
    if croissant is not None and format != "parquet":
        raise OptionError(
            f"croissant is given, but {format!r} gets no {CROISSANT}: its tools read rows of "
            "Parquet alone. Expected it with 'parquet'.",
            "croissant",
        )
    return read_author_fields(croissant)


def checked_rows(splits: Mapping[str, Any]) -> dict[str, SplitRows]:
    """The rows of each split; ExportError where they cannot become rows of this project, differ in
    their features, or are known to have a sample twice.
    """
    try:
        complete = complete_splits(splits)
        for split, data in complete.items():
            if isinstance(data, datasets.Dataset):
                check_ids(split, data)
    except FormatError as error:
        raise ExportError(str(error), error.path) from None
    sources = {split: to_split_rows(data) for split, data in complete.items()}
    (first, rows), *others = sources.items()
    for split, other in others:
        if features_json(other.features) != features_json(rows.features):
            raise ExportError(
                f"The splits {first!r} and {split!r} differ in their columns or label"
                " names. Expected the same: cast one, or export each for itself.",
                split,
            )
    return sources


# --- shards ---------------------------------------------------------------------------------------


def write_splits(
    sources: Mapping[str, SplitRows], state: PartialExport, writer: ExportWriter
) -> None:
    """Write all rows that are in no finished shard; ExportError where the rows before them are not
    the same any more, or a split has none.
    """
    counts = [rows.num_rows for rows in sources.values()]
    total = None if None in counts else sum(filter(None, counts))
    done = sum(shard.num_rows for shard in state.finished.values())
    with datasets.utils.tqdm(
        total=total, initial=done, unit=" samples", desc="Writing files"
    ) as bar:
        for split, rows in sources.items():
            if split in state.ended:
                continue
            missing = missing_rows(rows, state.shards_of(split), state.folder)
            row = next(missing, None)
            while row is not None:
                row = writer.write_shard(split, row, missing, bar)
            if not state.shards_of(split):
                raise ExportError(
                    f"The split {split!r} has no rows. Expected one or more: leave it out.", split
                )
            state.end_split(split)


def missing_rows(rows: SplitRows, finished: Sequence[ShardResult], folder: str) -> Iterator[Row]:
    """The rows behind those of the finished shards, the last of which is compared."""
    start = sum(shard.num_rows for shard in finished)
    if not start:
        return rows.iterate()
    missing = rows.iterate(start - 1)
    found = next(missing, {"sample_id": None})["sample_id"]
    if found != finished[-1].key:
        raise ExportError(
            f"Row {start - 1} is the sample {found!r}. Expected "
            f"{finished[-1].key!r}, which was written as such: the source has "
            f"changed; remove {folder} to start again.",
            folder,
        )
    return missing


class ExportWriter:
    """Writes one shard after the other.

    Args:
        state: Of the export.
        module: Of the format.
        features: Of the rows.
        pixels: As for `export`.
        max_bytes: Of a shard's images.
    """

    def __init__(
        self,
        state: PartialExport,
        module: Any,
        features: datasets.Features,
        pixels: bool,
        max_bytes: int,
    ) -> None:
        self.state, self.module, self.features = state, module, features
        self.pixels, self.max_bytes, self.columns = pixels, max_bytes, all_image_columns(features)
        self.only_grows = getattr(module, "ONLY_GROWS", False)

    def write_shard(self, split: str, row: Row, rows: Iterator[Row], bar: Any) -> Row | None:
        """Write a shard that begins with this row, and goes on with the rows behind it; returns the
        first one that did not fit, None where none is left.
        """
        name = f"{split}-{len(self.state.shards_of(split)):05d}{self.module.EXTENSION}"
        following: Row | None = row
        num_bytes, size, count, last = 0, self.size(row), 0, ""
        with self.state.store.folder() as folder, ExitStack() as opened:
            path, digest = os.path.join(folder, name), None
            if self.only_grows:
                digest = opened.enter_context(closing(FollowingDigest(path)))
            with self.open_writer(path) as writer:
                while following is not None and (
                    not num_bytes or num_bytes + size <= self.max_bytes
                ):
                    writer.write(following)
                    if digest:
                        digest.add(size)
                    num_bytes, count, last = num_bytes + size, count + 1, following["sample_id"]
                    bar.update()
                    following = next(rows, None)
                    size = self.size(following) if following else 0
            known = digest.result if digest else lambda: getattr(writer, "digests", {})
            self.state.put_shard(path, name, split, count, last, get_state(writer), known)
        return following

    def size(self, row: Row) -> int:
        """The bytes that a row's images take in a shard, 1 at least."""
        if not self.pixels:
            return max(1, row_bytes(row, self.columns))
        views = (view for column in self.columns for view in views_in(row[column]))
        return max(1, sum(pixel_bytes(view["bytes"]) for view in views if view is not None))

    @contextmanager
    def open_writer(self, path: str) -> Iterator[Any]:
        """A Writer that goes on with the state of the last one."""
        writer = self.module.Writer(path, self.features, self.pixels)
        last = self.state.last_shard if self.state.finished else None
        if last and last.writer_state is not None:
            writer.set_state(last.writer_state)
        try:
            yield writer
            writer.close()
        except BaseException:
            with suppress(Exception):  # what it wrote will be removed, once nothing writes there
                writer.close()
            raise


def pixel_bytes(data: bytes) -> int:
    """The bytes of an image's pixels, as its header says; 0 where Pillow does not know it."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            depth = 4 if image.mode in WIDE_MODES else 2 if image.mode.startswith("I;16") else 1
            return image.width * image.height * len(image.getbands()) * depth
    except Exception:  # Pillow raises nearly anything on bad files; the Writer says what is wrong
        return 0


def get_state(writer: Any) -> Any:
    """What the writer of the next shard has to know, as JSON; None where it is nothing."""
    return writer.get_state() if hasattr(writer, "get_state") else None


def name_files(
    state: PartialExport, module: Any, features: datasets.Features
) -> tuple[dict[str, Any], dict[str, str]]:
    """Give everything its last name; the arguments that make the same rows of it but for the place,
    and of a folder the digest of each split.
    """
    signature = state.signature
    if signature["format"] == "folder":
        paths = {split: [s.path for s in state.shards_of(split)] for split in signature["source"]}
        last = state.last_shard.writer_state
        arguments = module.merge_shards(state.folder, paths, last, features)
        return arguments, {split: state.split_digest(split, module.METADATA) for split in paths}
    splits = {split: rename_shards(state, split, module.EXTENSION) for split in signature["source"]}
    manifest = Manifest(signature["format"], signature["columns"], splits, signature["pixels"])
    state.store.write(MANIFEST, format_manifest(manifest).encode())
    return {}, {}


def write_croissant(
    state: PartialExport,
    features: datasets.Features,
    splits: Sequence[str],
    author: Mapping[str, Any],
) -> None:
    """Write croissant.json beside the shards, also of a complete export: the author may have more
    to say.
    """
    written = state.store.read(CROISSANT) or b""
    try:
        old = parse_fields(written)
    except ValueError:
        raise state.damaged_error(CROISSANT) from None
    manifest = state.store.read(MANIFEST) or b""
    croissant = make_croissant(folder_place(manifest), features, splits, {}, old, author)
    if croissant != written:
        state.store.write(CROISSANT, croissant)


def rename_shards(state: PartialExport, split: str, extension: str) -> list[ShardFile]:
    """Give the shards of a split their last names, which say how many there are."""
    shards, files = state.shards_of(split), list[ShardFile]()
    for i, shard in enumerate(shards):
        path = f"{split}-{i:05d}-of-{len(shards):05d}{extension}"
        state.rename(shard.path, path)
        files.append(ShardFile(path, shard.num_rows, shard.num_bytes, shard.sha256))
    return files
