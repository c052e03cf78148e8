"""Which Parquet shards a split has, with the rows, bytes and sha256 of each; no shard is read.

A folder, or the URL of one, is as `build --output` or `export --format parquet` writes it: its
multiview_cifar.json says all. A dataset of the Hub is that of one commit, whose tree says the
sha256 of data/*.parquet; their footers say the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import datasets
import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
from huggingface_hub.hf_api import RepoFile

from multiview_cifar import MultiviewError
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.errors import ElasticError
from multiview_cifar_tools.loading import detect_source, split_revision
from multiview_cifar_tools.retry import retry
from multiview_cifar_tools.shards.manifest import (
    MANIFEST,
    ManifestError,
    ShardFile,
    parse_manifest,
)
from multiview_cifar_tools.shards.rows import features_from
from multiview_cifar_tools.spelling import did_you_mean
from multiview_cifar_tools.storage.redaction import redact_error, secret_values
from multiview_cifar_tools.storage.source import FileSource, Options, file_system, needed_package

T = TypeVar("T")
ATTEMPTS = 4  # at anything remote
PERMANENT_ERRORS = (
    FileNotFoundError,
    PermissionError,
    ImportError,
    MultiviewError,
    huggingface_hub.errors.RepositoryNotFoundError,
    huggingface_hub.errors.RevisionNotFoundError,
)
NUM_READERS = 8  # footers at a time
SHARD_NAME = re.compile(r"data/(?P<split>\w+(\.\w+)*)-\d{5}(-of-\d{5})?(-\w+)?\.parquet")


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a split.

    Attributes:
        features: Of the rows.
        shards: In row order; the path of each is absolute, or a URL of fsspec.
        options: Of the file system that they are in.
    """

    features: datasets.Features
    shards: list[ShardFile]
    options: Options = field(default_factory=Options, repr=False)

    @property
    def counts(self) -> Integers:
        """The rows of each shard, (S,)."""
        return np.array([shard.num_rows for shard in self.shards], np.int64)

    @property
    def fingerprint(self) -> str:
        """Text that changes with the rows, wherever they are."""
        return hash_text(*(f"{shard.sha256} {shard.num_rows}" for shard in self.shards))


def read_index(
    source: str,
    split: str,
    revision: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> ShardIndex:
    """The index of a split.

    Args:
        source: A folder, its URL, or a dataset of the Hub, "user/name" or "user/name@v1", as
            `publish` and `push_to_hub` lay it out.
        split: Its name.
        revision: Of the Hub: a branch, tag or commit. None: the default branch, as it is now.
        storage_options: Of a URL's file system, as fsspec takes them.

    Raises:
        ElasticError: There is no such place, split or shard, it lacks what is needed, or it cannot
            be read.
    """
    place, kind = detect_source(source)
    if kind == "hub":
        name, own_revision = split_revision(place)
        return _index_repository(name, split, revision or own_revision)
    if revision is not None:
        raise ElasticError(
            f"revision={revision!r} is given, but {place} is not a dataset of the Hub. "
            "Expected USER/NAME with it.",
            "revision",
        )
    root = FileSource(place.rstrip("/"), "remote", options=Options(storage_options or {}))
    return _index_folder(root, split)


def _index_folder(root: FileSource, split: str) -> ShardIndex:
    where = f"{root.path}/{MANIFEST}"
    try:
        manifest = parse_manifest(_read_manifest(root, where))
    except ManifestError as error:
        raise ElasticError(
            f"{where} is damaged, or of a later version ({error}). Expected what "
            "`build --output` or `export --format parquet` writes: write or copy it "
            "again.",
            where,
        ) from None
    if manifest.format != "parquet":
        raise ElasticError(
            f"{root.path} holds shards of the format {manifest.format!r}. Expected "
            "'parquet': export it with --format parquet.",
            root.path,
        )
    shards = [
        replace(shard, path=f"{root.path}/{shard.path}") for shard in manifest.splits.get(split, [])
    ]
    check_split(bool(shards), root.path, split, [*manifest.splits])
    return ShardIndex(features_from(manifest.features), shards, root.options)


def _read_manifest(root: FileSource, where: str) -> bytes:
    def read() -> bytes:
        fs, path = file_system(where, root.options)
        return bytes(fs.cat_file(path))

    try:
        return retry_remote(read)
    except FileNotFoundError:
        raise ElasticError(
            f"{root.path} holds no {MANIFEST}. Expected a folder, or its URL, that "
            "`build --output` or `export --format parquet` wrote of the images, or "
            "a dataset of the Hub, USER/NAME.",
            root.path,
        ) from None
    except Exception as error:
        raise read_error(where, error, root.options) from None


def _index_repository(repo_id: str, split: str, revision: str | None) -> ShardIndex:
    try:
        commit, files = retry_remote(lambda: list_repository(repo_id, revision))
    except Exception as error:
        place = f"{repo_id}{revision and f' at {revision}' or ''} on the Hub"
        raise read_error(place, error) from None
    splits = {path: match["split"] for path in files if (match := SHARD_NAME.fullmatch(path))}
    paths = sorted(path for path in splits if splits[path] == split)
    check_split(bool(paths), repo_id, split, sorted({*splits.values()}))
    for path in paths:
        if files[path].lfs is None:
            raise ElasticError(
                f"{path} in {repo_id} is not in LFS, so that its sha256 is not "
                "known. Expected shards that `publish` sent.",
                path,
            )
    urls = [f"hf://datasets/{repo_id}@{commit}/{path}" for path in paths]
    with ThreadPoolExecutor(NUM_READERS) as pool:
        footers = [*pool.map(_read_footer, urls)]
    shards = [
        ShardFile(url, footer.num_rows, files[path].size, str(files[path].lfs.sha256))
        for url, path, footer in zip(urls, paths, footers, strict=True)
    ]
    return ShardIndex(_footer_features(urls[0], footers[0]), shards)


def _footer_features(url: str, footer: Any) -> datasets.Features:
    """The features in a Parquet file's footer; ElasticError where there are none."""
    try:
        info = json.loads(footer.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        raise ElasticError(
            f"{url} states no features. Expected shards that `publish` or `push_to_hub` wrote.", url
        ) from None
    return features_from(info)


def list_repository(repo_id: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """A commit, and its files by path."""
    api = huggingface_hub.HfApi()
    commit = str(api.repo_info(repo_id, repo_type="dataset", revision=revision).sha)
    tree = api.list_repo_tree(repo_id, repo_type="dataset", revision=commit, recursive=True)
    return commit, {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _read_footer(url: str) -> Any:
    def read() -> Any:
        fs, path = file_system(url)
        with fs.open(path, "rb", block_size=1 << 16) as file:  # only the footer is read
            return pq.read_metadata(file)

    try:
        return retry_remote(read)
    except Exception as error:
        raise read_error(url, error) from None


def check_split(has_shards: bool, place: str, split: str, splits: list[str]) -> None:
    """ElasticError where a split has no shards; `splits` are those that have some."""
    if not has_shards:
        raise ElasticError(
            f"{place} has no shards of a split {split!r}.{did_you_mean(split, splits)} Expected "
            f"one of {', '.join(map(repr, splits)) or 'several, and it has none'}.",
            split,
        )


def retry_remote(call: Callable[[], T]) -> T:
    """The result of `call`, which is repeated after errors that may be temporary."""
    return retry(lambda error: not isinstance(error, PERMANENT_ERRORS), call, attempts=ATTEMPTS)


def read_error(
    where: str, error: Exception, options: Mapping[str, Any] | None = None
) -> ElasticError:
    """The error of a place that cannot be read, made of the error of any library."""
    found = redact_error(error, secret_values(where, options))
    hint = (
        "it there, whole, and the right to read it: check the address, or try again later; a "
        "store takes its key as storage_options={...}, the Hub in HF_TOKEN"
    )
    if isinstance(error, ImportError):
        hint = needed_package(error)
    return ElasticError(
        f"{where} cannot be read ({type(error).__name__}: {found}). Expected {hint}.", where
    )
