"""Publish a dataset on the Hub so that every version of `datasets` loads it, and in one commit.

    publish(load_dataset(data_dir="photos"), "me/photos")   # rows that are built
    publish("photos", "me/photos")                          # a folder, of which nothing is built

The rows become Parquet shards of the same bytes each time. Each is written, sent (where the Hub
does not have it) and removed again; then one commit makes shards and card visible together. So a
reader sees the old dataset or the new one; a publication that was cut off is finished by running it
again, and only what is missing travels.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import datasets
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import check_flag, expect_path, expect_splits, short_repr
from multiview_cifar_tools.batches.columns import (
    all_image_columns,
    image_columns,
    single_image_columns,
)
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.defaults import MAX_SHARD_SIZE
from multiview_cifar_tools.engines.base import Engine, check_engine
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.loading import detect_source, load
from multiview_cifar_tools.options import check_option_names, option_defaults
from multiview_cifar_tools.planning.large_rows import LargeRows, bound_jpeg
from multiview_cifar_tools.publishing.card import (
    PICTURE,
    Card,
    author_words,
    make_card,
    parse_card,
    read_citation,
)
from multiview_cifar_tools.publishing.hub import (
    README,
    HubStore,
    PublishedDataset,
    Repository,
    decode_readme,
    is_shard_path,
)
from multiview_cifar_tools.publishing.inputs import DatasetInput, PublishInput, SourceInput
from multiview_cifar_tools.publishing.state import PublishState
from multiview_cifar_tools.shards.croissant import (
    CROISSANT,
    make_croissant,
    parse_fields,
    read_author_fields,
    repository_place,
)
from multiview_cifar_tools.shards.schema import PublishedShard, features_json
from multiview_cifar_tools.shards.state import ShardResult
from multiview_cifar_tools.shards.stats import SplitStats
from multiview_cifar_tools.shards.store import FsspecStore
from multiview_cifar_tools.shards.writer import parse_size
from multiview_cifar_tools.spelling import quantity
from multiview_cifar_tools.storage.redaction import SECRET_OPTIONS

CALL = "publish({}, repo_id)"
OF_STREAM = 'publish("photos", repo_id), which reads the folder itself'


def publish(
    data: datasets.Dataset | Mapping[str, datasets.Dataset] | str | os.PathLike[str],
    repo_id: str,
    *,
    engine: Engine | None = None,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    append: bool = False,
    overwrite: bool = False,
    license: str | None = None,
    citation: str | os.PathLike[str] | None = None,
    croissant: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    made_with: Mapping[str, Any] | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    token: str | None = None,
    cache_dir: str | None = None,
    **options: Any,
) -> str:
    """Publish rows of `multiview_cifar` as a dataset repository.

    Each shard of a source is made and sent where the engine runs: nothing is built here first. If
    images are converted or skipped, `max_shard_size` counts what is known before they are read: the
    bytes of the files, or with `image_size` of the pixels, also of skipped images.

    Args:
        data: The rows of `load_dataset(data_dir="photos")`, or those of one split, or other rows
            with a column of image lists; or a source: a folder, an archive of it, or the URL of
            either; "shapes", "cifar10", "cifar100". The rows of a folder of `save_to_disk`, of a
            dataset of the Hub, and of files of a format are loaded first.
        repo_id: "user/name".
        engine: What makes the shards of a source, see `open_engine`. All machines need access to
            the source and the Hub. None: this process.
        private: Whether a new repository is private.
        revision: The branch; it is created if it does not exist. None: "main".
        create_pr: Open a pull request instead of publishing on the branch.
        max_shard_size: The most bytes of images in a file, such as "500MB"; more only for a single
            larger sample.
        append: Compare with the published dataset, by sample_id and contents. New samples go into
            new shards, and only shards with a changed or removed sample are written again. For a
            source, the engine reads all images to compare them.
        overwrite: Replace a dataset with other features.
        license: For the card, such as "cc-by-4.0". None: keep that of the card, if there is one.
        citation: A text file in UTF-8 for the card, such as BibTeX. None: keep that of the card, if
            there is one.
        croissant: A JSON file, or a dict, with your fields of croissant.json, such as
            "rai:dataBiases". None: keep those of the existing file.
        made_with: The options of rows that are already built, for the card.
        dry_run: A folder to write the files to, instead of publishing them.
        token: The token of the Hub. None: that of `hf auth login`, or HF_TOKEN.
        cache_dir: Where the notes of an interrupted run are; for a source, where downloads go.
            None: the cache of `datasets`.
        **options: The fields of `MultiviewCifarConfig`, for a source.

    Returns:
        Where the dataset is: the address of the commit or pull request, or of the folder.

    Raises:
        OptionError: `max_shard_size` is not a size, a flag is not a bool, `croissant` is not a JSON
            object, or an argument does not fit such data.
        LayoutError, ImageError, ArchiveError: What is wrong with the source.
        PublishError: What is wrong with the rows, the name, the citation, the rights, the published
            dataset, or the network. Nothing is published then, and the same call resumes later.
        OutputError, OSError: For example, the disk is full, or another process of this machine
            publishes to the branch.
        EngineError: A machine cannot do the work, or ended too often.
    """
    check_repo_id(repo_id)
    flags = {"private": private, "create_pr": create_pr, "append": append, "overwrite": overwrite}
    for name, flag in flags.items():
        check_flag(name, flag, OptionError)
    if dry_run is not None:
        dry_run = expect_path(dry_run, 'publish(rows, repo_id, dry_run="files")', PublishError)
    max_bytes = parse_size(max_shard_size)
    given = {"license": license, "citation": read_citation(citation)}
    author = read_author_fields(croissant)
    hub = Repository(repo_id, revision, create_pr, token)
    if isinstance(data, (str, os.PathLike)) and not holds_files(data):
        data, options = load(data, cache_dir=cache_dir, **options), {}
    own = [name for name in inspect.signature(publish).parameters if name != "options"]
    check_option_names(options, [*own, *option_defaults()])
    with nullcontext(check_engine(engine)) if engine is not None else open_engine() as opened:
        rows = make_input(data, opened, max_bytes, cache_dir, made_with or {}, options)
        published = PublishedDataset()
        if not dry_run:
            hub.create(private)
        if append or not dry_run:
            published = hub.read(all_shards=append, must_exist=not dry_run)
        if not overwrite:
            check_features(rows.features, published.shards, repo_id)
        notes = PublishState(hub, published.files, cache_dir)
        place = FsspecStore(os.fspath(dry_run)) if dry_run else notes
        with place.lock():
            return _publish_rows(rows, hub, published, append, given, author, place)


def make_input(
    data: datasets.Dataset | Mapping[str, datasets.Dataset] | str | os.PathLike[str],
    engine: Engine,
    max_bytes: int,
    cache_dir: str | None,
    made_with: Mapping[str, Any],
    options: Mapping[str, Any],
) -> PublishInput:
    """The rows that are given, or those of a source; OptionError at an argument of the other."""
    if isinstance(data, (str, os.PathLike)):
        refuse_arguments({"made_with": made_with}, "a source")
        return SourceInput(os.fspath(data), engine, max_bytes, cache_dir, options)
    splits = expect_splits(data, CALL, PublishError, (datasets.Dataset,), OF_STREAM)
    refuse_arguments(options, "built rows, which have their options already")
    return DatasetInput(splits, max_bytes, made_with)


def holds_files(source: str | os.PathLike[str]) -> bool:
    """Whether a source is files of images, or a config, whose shards are made without a build."""
    return detect_source(source)[1] in ("config", "folder")


def check_repo_id(repo_id: str) -> None:
    """PublishError where it is no "user/name"."""
    try:
        validate_repo_id(repo_id)
        is_valid = isinstance(repo_id, str) and repo_id.count("/") == 1
    except HFValidationError:
        is_valid = False
    if not is_valid:
        raise PublishError(
            f'{short_repr(repo_id)} is not a name of a repository. Expected "user/name", of '
            "letters, digits, -, _ and .",
            str(repo_id),
        )


def refuse_arguments(arguments: Mapping[str, Any], of: str) -> None:
    """OptionError at the first argument that is given, none of which such data takes."""
    for name, value in arguments.items():
        if value:
            shown = name if name in SECRET_OPTIONS else f"{name}={value!r}"
            raise OptionError(f"{shown} is not for {of}. Expected it left out.", name)


def check_features(
    features: datasets.Features, shards: Mapping[str, PublishedShard], repo_id: str
) -> None:
    """PublishError where what is published has other features."""
    ours = features_json(features)
    for name, shard in shards.items():
        columns = {**shard.features, **ours}
        different = [c for c in columns if shard.features.get(c) != ours.get(c)]
        if different:
            column = different[0]
            theirs, new = (each.get(column, "no such column") for each in (shard.features, ours))
            raise PublishError(
                f"{repo_id} holds another dataset: its column {column!r} is {theirs} in {name}, "
                f"and would become {new}. Expected the same features: choose another name, build "
                "with the same options (class_names, say), or replace it with overwrite.",
                name,
            )


def _publish_rows(
    rows: PublishInput,
    hub: Repository,
    published: PublishedDataset,
    append: bool,
    given: Mapping[str, str | None],
    author: Mapping[str, Any],
    place: FsspecStore | PublishState,
) -> str:
    """Write the shards and what describes them, and commit all, where `place` has the state of the
    work; or leave it in the folder that it is.
    """
    folder, state = (None, place) if isinstance(place, PublishState) else (place, None)
    old_card, old_fields = read_old_words(published, folder)
    title = "Publish the dataset"
    if append and published.shards:
        rows.leave_out_unchanged(published.shards)
        title = "Add samples"
    shards = rows.write_shards(
        lambda name: folder or HubStore(hub, published.files.get(name)), state
    )
    stats = rows.split_stats(shards)
    print_lines(*describe_large_rows(stats, rows.features))
    card = make_card(old_card, stats, rows.features, hub.repo_id, rows.made_with, **given)
    repository = repository_place(hub.repo_id, hub.url, hub.revision)
    croissant = make_croissant(
        repository, rows.features, stats, author_words(card), old_fields, author
    )
    pages = {README: card.encode(), PICTURE: rows.draw_picture(), CROISSANT: croissant}
    names = rows.unchanged.keys() | {shard.path for shard in shards}
    stale = [name for name in published.files if is_shard_path(name) and name not in names]
    if not isinstance(place, PublishState):
        return leave_files(place, shards, pages, stale)
    additions = [shard.receipt for shard in shards if shard.receipt is not None]
    address = hub.commit(additions, stale, pages, published.files, title)
    place.store.remove_state()
    return address


def read_old_words(
    published: PublishedDataset, folder: FsspecStore | None
) -> tuple[Card, dict[str, Any]]:
    """The card and the fields of croissant.json that are published, or that stand in the folder of
    a dry run, as the author may have changed them there; PublishError where they are damaged.
    """
    readme, croissant = (folder.read(name) if folder else None for name in (README, CROISSANT))
    card = parse_card(published.readme if readme is None else decode_readme(readme))
    try:
        return card, parse_fields(published.croissant if croissant is None else croissant)
    except ValueError as error:
        raise PublishError(
            f"{CROISSANT} cannot be read ({error}). Expected a JSON object: correct or remove it "
            "first.",
            CROISSANT,
        ) from None


def describe_large_rows(stats: Mapping[str, SplitStats], features: datasets.Features) -> list[str]:
    """A warning of rows that are too large for the Hub's viewer; none where none is."""
    found, total = LargeRows(), SplitStats()
    for split, own in stats.items():
        found.add(own.large, split)
        total.add(own)
    columns, most_views = all_image_columns(features), max(total.views)
    most_images = most_views * len(image_columns(features)) + len(single_image_columns(features))
    has_masks = len(columns) > 1  # which are never written as JPEG
    jpeg_bytes = math.inf if has_masks else bound_jpeg(most_views, total.kinds)
    text = found.describe(min(total.views), most_images, jpeg_bytes)
    return [f"warning: {text}"] if text else []


def leave_files(
    folder: FsspecStore,
    shards: Iterable[ShardResult],
    pages: Mapping[str, bytes],
    stale: Sequence[str],
) -> str:
    """Put the pages beside the shards that are in a folder, remove shards of an earlier run, and
    print what would be committed.
    """
    written = set()
    for shard in shards:
        samples = quantity(shard.num_rows, "sample")
        print_lines(f"{shard.num_bytes:12,} bytes  {shard.path} ({samples})")
        written.add(shard.path)
    folder.remove([p for p in folder.sizes("data") if is_shard_path(p) and p not in written])
    for name, data in pages.items():
        folder.write(name, data)
        print_lines(f"{len(data):12,} bytes  {name}")
    for name in stale:
        print_lines(f"{'':>12} delete {name}")
    folder.remove_state()
    return folder.place
