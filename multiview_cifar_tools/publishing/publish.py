"""Publish a dataset on the Hub so that every version of `datasets` loads it, and in one commit.

    publish(load_dataset(data_dir="photos"), "me/photos")

The rows become Parquet shards of the same bytes each time. Each is written, sent (where the Hub
does not have it) and removed again; then one commit makes shards and card visible together. So a
reader sees the old dataset or the new one; a publication that was cut off is finished by running it
again, and only what is missing travels.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub.errors import (
    HFValidationError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from multiview_cifar_tools.batches.columns import Integers, image_columns
from multiview_cifar_tools.engines.base import Engine
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.options import without_secrets
from multiview_cifar_tools.planning.table import plan_source
from multiview_cifar_tools.publishing.card import PICTURE, contact_sheet, make_card, planned_sheet
from multiview_cifar_tools.publishing.hub import HubOutput, Repository, is_data, split_of
from multiview_cifar_tools.shards.build import (
    check_made,
    in_order,
    local_source,
    plan_tasks,
    run_tasks,
)
from multiview_cifar_tools.shards.schema import (
    PublishedShard,
    digest_rows,
    features_json,
)
from multiview_cifar_tools.shards.stats import SplitStats, facts_of
from multiview_cifar_tools.shards.store import FsspecStore
from multiview_cifar_tools.shards.task import ShardResult
from multiview_cifar_tools.shards.writer import (
    MAX_SHARD_SIZE,
    ShardRows,
    divide_into_shards,
    parse_size,
    row_sizes,
    write_shard,
)


class Work(NamedTuple):
    """What has to be done to a repository."""

    shards: list[ShardRows]  # to be written
    stale: list[str]  # files to be deleted
    said: list[str]  # lines for the user


def publish(
    splits: datasets.DatasetDict,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    append: bool = False,
    overwrite: bool = False,
    license: str | None = None,
    made_with: Mapping[str, Any] | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    token: str | None = None,
) -> str:
    """Publish rows of `multiview_cifar` as a dataset repository.

    Args:
        splits: The rows, as `load_dataset(data_dir="photos")` gives them.
        repo_id: "user/name".
        private: Of a repository that is made anew.
        revision: The branch to publish on, made where it is not there. None: "main".
        create_pr: Open a pull request instead of publishing on the branch.
        max_shard_size: The most bytes of images in a file, such as "500MB"; one sample more where
            it is larger.
        append: Compare with what is published, by sample_id and contents: new samples come in new
            shards, and only shards with a sample that changed or went are written anew.
        overwrite: Replace a dataset of other features.
        license: Of the card, such as "cc-by-4.0". None: what the card says, or "unknown".
        made_with: The options that the rows were built with, for the card.
        dry_run: A folder to leave the files in, instead of publishing them.
        token: Of the Hub. None: the one that `hf auth login` left, or HF_TOKEN.

    Returns:
        Where the dataset is: the address of the commit or pull request, or of the folder.

    Raises:
        OptionError: `max_shard_size` is no size.
        PublishError: What is wrong with the name, the rights, the published dataset, or the
            network; nothing is half published, and the same call finishes the work later.
        OSError: The disk is full, say.
    """
    check_name(repo_id)
    splits = datasets.DatasetDict(
        {
            name: ds.flatten_indices() if ds._indices is not None else ds
            for name, ds in splits.items()
        }
    )
    for name, ds in splits.items():
        check_rows(name, ds)
    most = parse_size(max_shard_size)
    hub = Repository(repo_id, revision, create_pr, token) if not dry_run or append else None
    if hub is not None and not dry_run:
        hub.create(private)
    published = hub.read() if hub is not None else {}
    sizes = {name: row_sizes(ds) for name, ds in splits.items()}
    held = hub.read_shards(published, everything=append) if hub is not None else {}
    features = next(iter(splits.values())).features
    if not overwrite:
        check_features(features, held, repo_id)
    work = (
        plan_append(splits, held, sizes, most)
        if append and held
        else plan_all(splits, published, sizes, most)
    )
    for line in work.said:
        print(line)
    facts = {name: facts_of(ds) for name, ds in splits.items()}
    card = {
        "README.md": make_card(
            hub.read_text("README.md", published) if hub else "",
            facts,
            features,
            repo_id,
            dict(made_with or {}),
            license,
        ).encode(),
        PICTURE: contact_sheet(splits),
    }
    if dry_run is not None:
        return leave_files(splits, work, sizes, card, os.fspath(dry_run))
    assert hub is not None
    with tempfile.TemporaryDirectory(prefix="multiview-cifar-") as folder:
        additions = [*hub.send(splits, work.shards, sizes, published, folder)]
    return hub.conclude(additions, work.stale, card, published, append=bool(append and held))


def publish_source(
    source: str,
    repo_id: str,
    *,
    engine: Engine,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    license: str | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    token: str | None = None,
    cache_dir: str | None = None,
    **options: Any,
) -> str:
    """Publish a source's rows, each shard from where it is made: nothing is built here first.

    The shards are those of `publish` where the images are the files' own and none is skipped: else
    `max_shard_size` counts what is known before any is read: the bytes of their files, or with
    `image_size` of their pixels, skipped ones too.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10", "cifar100".
        engine: See `engines.open_engine`. All its machines have to see the source, and the Hub.
        repo_id, private, revision, create_pr, max_shard_size, overwrite, license, dry_run, token:
            As for `publish`.
        cache_dir: For downloads.
        **options: The fields of `MultiviewCifarConfig`.

    Returns:
        As `publish`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: By what is wrong with the source.
        PublishError, OutputError: As `publish`.
        EngineError: A machine is not fit, or ended too often.
    """
    check_name(repo_id)
    most = parse_size(max_shard_size)
    hub = None if dry_run else Repository(repo_id, revision, create_pr, token)
    published: dict[str, RepoFile] = {}
    held: dict[str, PublishedShard] = {}
    if hub is not None:
        hub.create(private)
        published = hub.read()
        held = hub.read_shards(published, everything=False)
    engine.check(local_source(source), most)
    plan = plan_source(source, engine, cache_dir=cache_dir, **options)
    if not overwrite:
        check_features(plan.features, held, repo_id)
    files = FsspecStore(os.fspath(dry_run)) if dry_run else None
    shards = [
        *run_tasks(
            engine,
            plan_tasks(
                plan, lambda name: files or HubOutput(hub, published.get(name)), most, facts=True
            ),
            plan,
        )
    ]
    check_made(plan, shards, engine)
    shards = [shard for shard in in_order(shards, plan) if shard.num_rows]
    facts = {split: SplitStats() for split in plan.splits}
    for shard in shards:
        facts[shard.split].add(shard.facts or SplitStats())
    card = {
        "README.md": make_card(
            hub.read_text("README.md", published) if hub else "",
            facts,
            plan.features,
            repo_id,
            without_secrets(options),
            license,
        ).encode(),
        PICTURE: planned_sheet(plan),
    }
    if files is not None:
        return leave_card(files, shards, card)
    assert hub is not None
    names = {shard.name for shard in shards}
    stale = [path for path in published if is_data(path) and path not in names]
    additions = [shard.receipt for shard in shards if shard.receipt is not None]
    return hub.conclude(additions, stale, card, published)


def leave_card(files: FsspecStore, shards: Iterable[ShardResult], card: Mapping[str, bytes]) -> str:
    """Put the card beside shards that are in a folder, and print what is there."""
    for shard in shards:
        print(f"{shard.num_bytes:12,} bytes  {shard.name} ({shard.num_rows} samples)")
    for name, data in card.items():
        files.write(name, data)
        print(f"{len(data):12,} bytes  {name}")
    files.remove_work()
    return files.place


def check_name(repo_id: str) -> None:
    """PublishError where it is no "user/name"."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        good = False
    else:
        good = repo_id.count("/") == 1
    if not good:
        raise PublishError(
            f'{repo_id!r} is no name of a repository. Expected "user/name", of '
            "letters, digits, -, _ and .",
            repo_id,
        )


def check_features(
    features: datasets.Features, held: dict[str, PublishedShard], repo_id: str
) -> None:
    """PublishError where what is published has other features."""
    ours = features_json(features)
    for path, shard in held.items():
        names = [n for n in {**shard.features, **ours} if shard.features.get(n) != ours.get(n)]
        if names:
            found, right = (each.get(names[0], "no such column") for each in (shard.features, ours))
            raise PublishError(
                f"{repo_id} holds another dataset: its column {names[0]!r} is {found} in {path}, "
                f"and would become {right}. Expected the same features: choose another name, build "
                "with the same options (class_names, say), or replace it with overwrite.",
                path,
            )


# --- what has to be done --------------------------------------------------------------------------


def plan_all(
    splits: datasets.DatasetDict,
    published: Mapping[str, Any],
    sizes: dict[str, Integers],
    most: int,
) -> Work:
    """All rows in new shards; every other Parquet file in data/ goes."""
    shards = [
        shard
        for name, ds in splits.items()
        for shard in divide_into_shards(name, np.arange(len(ds)), sizes[name], most)
    ]
    paths = {shard.name for shard in shards}
    return Work(shards, [path for path in published if is_data(path) and path not in paths], [])


def plan_append(
    splits: datasets.DatasetDict,
    held: dict[str, PublishedShard],
    sizes: dict[str, Integers],
    most: int,
) -> Work:
    """Only shards in which a sample changed or went, and new shards for new samples."""
    shards: list[ShardRows] = []
    stale: list[str] = []
    said: list[str] = []
    for name, ds in splits.items():
        digests = digest_rows(ds.data.table, ds.features)
        rows = {key: row for row, key in enumerate(ds["sample_id"][:])}
        numbers = [-1]
        for path in [p for p in held if split_of(p) == name]:
            shard = held[path]
            kept = [rows.pop(key, -1) for key in shard.sample_ids]
            gone = kept.count(-1)
            changed = sum(
                row >= 0 and digests[row] != digest
                for row, digest in zip(kept, shard.digests, strict=True)
            )
            numbers.append(int(path[-13:-8]))
            if gone or changed:
                left = np.array([row for row in kept if row >= 0], np.int64)
                said.append(f"{path}: {changed} samples changed, {gone} gone: written anew")
                if len(left):
                    shards.append(ShardRows(path, name, left))
                else:
                    stale.append(path)
        if rows:
            new = divide_into_shards(
                name, np.array(sorted(rows.values())), sizes[name], most, max(numbers) + 1
            )
            shards += new
            said.append(f"{len(rows)} new samples in {', '.join(shard.name for shard in new)}")
    lost = [path for path in held if split_of(path) not in splits]
    said += [f"{path}: its split is gone" for path in lost]
    return Work(shards, stale + lost, said or ["no sample is new, changed or gone"])


def leave_files(
    splits: datasets.DatasetDict,
    work: Work,
    sizes: dict[str, Integers],
    card: dict[str, bytes],
    folder: str,
) -> str:
    """Write into a folder what would be published, and print it."""
    for shard in work.shards:
        path = os.path.join(folder, shard.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_shard(splits[shard.split], shard.rows, sizes[shard.split], path)
        print(f"{os.path.getsize(path):12,} bytes  {shard.name} ({len(shard.rows)} samples)")
    for name, data in card.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
        print(f"{len(data):12,} bytes  {name}")
    for path in work.stale:
        print(f"{'':>12} delete {path}")
    return folder


def check_rows(name: str, dataset: datasets.Dataset) -> None:
    """PublishError where a split does not have the rows of `multiview_cifar`, each once, whole."""
    if missing := {"images", "label", "sample_id"} - set(dataset.features):
        raise PublishError(
            f"The split {name!r} has no column {min(missing)!r}. Expected rows of "
            "multiview_cifar.load_dataset.",
            name,
        )
    ids = dataset.data.table["sample_id"]
    twice = [group["values"] for group in ids.value_counts().to_pylist() if group["counts"] > 1]
    if twice:
        raise PublishError(
            f"The split {name!r} has the sample {twice[0]!r} twice. Expected each sample_id once.",
            name,
        )
    for column in image_columns(dataset.features):
        files = pa.chunked_array([chunk.flatten() for chunk in dataset.data.table[column].chunks])
        without = pc.and_(
            pc.is_null(pc.struct_field(files, "bytes")), pc.is_valid(pc.struct_field(files, "path"))
        )
        if pc.any(without).as_py():
            raise PublishError(
                f"The split {name!r} names files in {column!r} instead of holding "
                "their bytes. Expected rows of multiview_cifar.load_dataset.",
                name,
            )
