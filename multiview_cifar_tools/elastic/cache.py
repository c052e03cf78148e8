"""Parquet shards as Arrow tables, which are mapped from a local folder of limited size.

    SHA256.arrow      a shard as an Arrow IPC stream, followed by the XXH3 of the stream
    .SHA256.parquet   a shard that is being fetched, .SHA256.arrow the stream that is being written
    .locks            one file for several shards, so that each is fetched once

Any row of a mapped table is read directly, and all processes of a node share the memory and the
work; but the shard must be written to disk first. Small local shards are therefore read to memory,
unless a folder is named. A process that maps a file holds a shared lock on it until its last table
of that file is gone; only files without a lock are removed to make room.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from fsspec.implementations.local import LocalFileSystem

from multiview_cifar import OptionError
from multiview_cifar_tools.elastic.index import ATTEMPTS, read_error, retry_remote
from multiview_cifar_tools.errors import ElasticError, FormatError
from multiview_cifar_tools.shards.manifest import ShardFile, check_digest
from multiview_cifar_tools.shards.row_groups import runs_of_row_groups
from multiview_cifar_tools.shards.writer import parse_size
from multiview_cifar_tools.storage.source import Options, file_system

logger = logging.getLogger(__name__)

DIGEST_BYTES = 16
MAX_BYTES_IN_MEMORY = 64_000_000  # bytes of a local shard: some twenty may be open in a process


class ShardCache:
    """The folder of mapped shards.

    Args:
        folder: Created where it does not exist; several processes may share it. None: one in the
            cache of `datasets`, for shards that are remote, or larger than MAX_BYTES_IN_MEMORY.
        limit: The maximum bytes of shards in it, such as "50GB". Shards that are being fetched are
            not counted.

    Raises:
        OptionError: `limit` is no size.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, limit: str | int) -> None:
        default = os.path.join(datasets.config.HF_DATASETS_CACHE, "multiview_shards")
        self.folder = os.path.abspath(os.path.expanduser(folder or default))
        self.max_bytes_in_memory = 0 if folder else MAX_BYTES_IN_MEMORY
        try:
            self.limit = parse_size(limit)
        except OptionError:
            raise OptionError(
                f'cache_limit={limit!r} is not right. Expected bytes, or a size such as "50GB".',
                "cache_limit",
            ) from None

    def open(self, shard: ShardFile, options: Options) -> pa.Table:
        """A shard's rows, which is fetched first if necessary; see the top of this module.

        ElasticError where it cannot be fetched, differs from the index, or there is no room for it.
        """
        local = _find_local_path(shard, options)
        if local and shard.num_bytes <= self.max_bytes_in_memory:
            _compare(local, shard)
            return pa.concat_tables(_read_tables(local, shard))
        path = os.path.join(self.folder, f"{shard.sha256}.arrow")
        try:
            for _ in range(ATTEMPTS):
                if (table := _map(path)) is not None:
                    return table
                os.makedirs(os.path.join(self.folder, ".locks"), exist_ok=True)
                with _lock(os.path.join(self.folder, ".locks", shard.sha256[:2])):
                    if not os.path.exists(path):
                        self._fetch(shard, local, options, path)
        except OSError as error:
            raise ElasticError(
                f"{shard.path} cannot be kept in {self.folder} ({error}). Expected "
                "room there, and the right to write: lower cache_limit, or name "
                "another cache_dir.",
                self.folder,
            ) from None
        raise ElasticError(
            f"{path} is damaged or removed as soon as it is written. Expected a "
            "folder that keeps what it is given: name another cache_dir.",
            path,
        )

    def _fetch(self, shard: ShardFile, local: str, options: Options, path: str) -> None:
        stem = os.path.join(self.folder, f".{shard.sha256}")
        try:
            if local:
                _compare(local, shard)
            source = local or _download(shard, options, f"{stem}.parquet")
            _write_stream(_read_tables(source, shard), f"{stem}.arrow")
            with _lock(os.path.join(self.folder, ".locks", "room")):
                self._make_room(os.path.getsize(f"{stem}.arrow"))
                os.replace(f"{stem}.arrow", path)
        finally:
            for ending in ("parquet", "arrow"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{stem}.{ending}")

    def _make_room(self, size: int) -> None:
        """Remove the files that were not used for longest, until `size` bytes fit."""
        for _ in range(2):
            files = self._list_files()
            excess = sum(num_bytes for _, num_bytes, _ in files) + size - self.limit
            for _, _, path in sorted(files):
                if excess <= 0:
                    return
                excess -= _remove_unused(path)
            if excess <= 0:
                return
            gc.collect()  # tables in reference cycles
        raise ElasticError(
            f"The shards in use take {self.limit + excess} bytes. Expected at most "
            f"cache_limit={self.limit}: raise it, make smaller shards, or take "
            "fewer lanes or a smaller window.",
            "cache_limit",
        )

    def _list_files(self) -> list[tuple[int, int, str]]:
        """(time it was last opened in ns, bytes, path) of each shard in the folder."""
        files = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(".arrow") and entry.name[0] != ".":
                with suppress(FileNotFoundError):  # found damaged meanwhile
                    files.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
        return files


def _map(path: str) -> pa.Table | None:
    """The table in a file of the folder; None where there is none, or it is damaged: then log it.

    The mapping keeps a copy of the file's descriptor, and so the lock.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        if not os.fstat(file).st_nlink:  # removed meanwhile
            return None
        if os.fstat(file).st_size > DIGEST_BYTES:
            data = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
            if xxhash.xxh3_128_digest(data[:-DIGEST_BYTES]) == data[-DIGEST_BYTES:]:
                os.utime(file)  # used now
                return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        logger.warning("%s is damaged. It is fetched again.", path)
        with suppress(FileNotFoundError):  # by another process that noticed it
            os.unlink(path)
        return None
    finally:
        os.close(file)


def _remove_unused(path: str) -> int:
    """Remove a file if nobody maps it; returns the bytes that this frees."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return os.fstat(file).st_size
    except (BlockingIOError, FileNotFoundError):
        return 0
    finally:
        os.close(file)


@contextmanager
def _lock(path: str) -> Iterator[None]:
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_local_path(shard: ShardFile, options: Options) -> str:
    """The local path of a shard, "" where it is remote. ElasticError where its size is wrong."""
    try:
        fs, path = file_system(shard.path, options)
        if not isinstance(fs, LocalFileSystem):
            return ""
        size = os.path.getsize(path)
    except Exception as error:  # those of fsspec and its stores have no common base
        raise read_error(shard.path, error, options) from None
    if size != shard.num_bytes:
        raise ElasticError(
            f"{shard.path} has {size} bytes. Expected {shard.num_bytes}, as its "
            "index says: it is cut off or changed, copy it again.",
            shard.path,
        )
    return str(path)


def _compare(path: str, shard: ShardFile) -> None:
    """ElasticError where the bytes of a local shard are not those of the index."""
    try:
        check_digest(path, shard.sha256)
    except FormatError as error:
        raise ElasticError(str(error), error.path) from None


def _download(shard: ShardFile, options: Options, path: str) -> str:
    """Download the shard's Parquet file to `path`, and check its sha256."""

    def download() -> str:
        fs, remote = file_system(shard.path, options)
        fs.get_file(remote, path)
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            raise ValueError(f"its sha256 is {found}, not {shard.sha256}")
        return path

    try:
        return retry_remote(download)
    except Exception as error:
        raise read_error(shard.path, error, options) from None


def _read_tables(source: str, shard: ShardFile) -> Iterator[pa.Table]:
    """The rows of a Parquet file, a table of some megabytes each."""
    try:
        with pq.ParquetFile(source, memory_map=True) as parquet:
            if (found := parquet.metadata.num_rows) != shard.num_rows:
                raise ElasticError(
                    f"{shard.path} has {found} rows. Expected {shard.num_rows}, as "
                    "its index says: copy or export it again.",
                    shard.path,
                )
            for groups in runs_of_row_groups(parquet.metadata):
                yield parquet.read_row_groups(groups)
    except pa.ArrowException as error:
        raise read_error(shard.path, error) from None


def _write_stream(tables: Iterator[pa.Table], path: str) -> None:
    """Write tables as an Arrow stream, followed by its digest."""
    first = next(tables)
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        digest = xxhash.xxh3_128_digest(data)
        file.seek(0, os.SEEK_END)
        file.write(digest)
