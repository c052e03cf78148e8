"""Where shards go: a folder, whatever else fsspec writes, or a repository of the Hub.

Any number of processes and machines put shards at the same time. A shard is written aside, then
appears under its name complete, or not at all.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any, Protocol

import datasets
import fsspec

from multiview_cifar import MultiviewError, is_url
from multiview_cifar_tools.atomic_write import (
    lock_file,
    remove_path,
    scratch_folder,
    sync_to_disk,
)
from multiview_cifar_tools.errors import OutputError
from multiview_cifar_tools.retry import retry
from multiview_cifar_tools.storage.redaction import redact_error, secret_values
from multiview_cifar_tools.storage.source import needed_package

# Stores in which a file appears when its upload is complete, and not before.
ATOMIC_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2"}
STATE_FOLDER = (
    ".multiview_cifar"  # the folder that stands beside the shards until all of them are there
)
SIGNATURE = f"{STATE_FOLDER}/begun.json"  # what is made there, see `state`
NOTES_FOLDER = f"{STATE_FOLDER}/done"  # a note of each finished shard
ENDED_FOLDER = f"{STATE_FOLDER}/ended"  # a file for each split all rows of which are in shards
SHARD_PREFIX = "shard-"  # of a folder in which a shard is written
FILES_A_REQUEST = 1000  # small files that are read together
DIGESTS_AT_A_TIME = 4  # of shards: a core computes 1.5 GB/s


class ShardStore(Protocol):
    """A place that takes shards; it is pickled."""

    def folder(self) -> Any:
        """A context: a local folder to write a shard in, removed when the context ends."""

    def put(self, path: str, name: str) -> Any:
        """Give a written file its name in the store; returns what finalizing needs to know of it.

        OutputError where that fails for good.
        """

    def note(self, name: str, data: bytes) -> None:
        """Keep the note of a finished shard, which resuming the work reads."""


class FsspecStore:
    """A ShardStore of files, anywhere fsspec writes.

    Args:
        place: A folder, or the URL of one.
        options: Of the URL's file system, as fsspec takes them.
    """

    def __init__(self, place: str, options: Mapping[str, Any] | None = None) -> None:
        self.is_local = not is_url(place) or place.startswith("file://")
        self.place = (
            os.path.abspath(os.path.expanduser(place.removeprefix("file://")))
            if self.is_local
            else place.rstrip("/")
        )
        self.options = dict(options or {})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "fs"}

    @cached_property
    def fs(self) -> Any:
        """The file system, and the path in it. OutputError where there is no such one."""
        with self.wrap_store_errors("be reached"):
            return fsspec.core.url_to_fs(self.place, **self.options)

    @property
    def local_folder(self) -> list[str]:
        """The folder, where it is none behind a URL."""
        return [self.place] if self.is_local else []

    def path(self, name: str) -> str:
        """Where a file of this name is, in the file system."""
        return posixpath.join(self.fs[1], name)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """As a ShardStore. A local place's own, so that giving a name is no copying."""
        if not self.is_local:
            with scratch_folder() as folder:
                yield folder
            return
        within = os.path.join(self.place, STATE_FOLDER)
        with self.wrap_store_errors("be written"):
            os.makedirs(within, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=within, prefix=SHARD_PREFIX) as folder:
            yield folder

    @contextmanager
    def lock(self, taken: str = "") -> Iterator[None]:
        """A local place for one process at a time, without what killed ones left half-written.

        OutputError where another process works there, whose text may be given as `taken`. A URL has
        no lock: what is put there twice is the same twice.
        """
        if not self.is_local:
            yield
            return
        with self.wrap_store_errors("be written"):
            os.makedirs(self.place, exist_ok=True)
            folder = os.open(self.place, os.O_RDONLY)
        try:
            if not lock_file(folder):
                raise OutputError(
                    taken
                    or f"Another process builds to {self.place}. Expected one at a time: wait for "
                    "it, or name another place.",
                    self.place,
                )
            with self.wrap_store_errors("be tidied up"):
                for left in glob.glob(f"{SHARD_PREFIX}*", root_dir=self.path(STATE_FOLDER)):
                    remove_path(self.path(f"{STATE_FOLDER}/{left}"))
            yield
        finally:
            os.close(folder)

    def put(self, path: str, name: str) -> None:
        """As a ShardStore."""
        to = self.path(name)
        with self.wrap_store_errors("be written"):
            if self.is_local:
                os.makedirs(os.path.dirname(to), exist_ok=True)
                sync_to_disk(path)
                os.replace(path, to)
                sync_to_disk(os.path.dirname(to))
            else:
                self._retry(self._upload, path, to)

    def _upload(self, path: str, to: str) -> None:
        fs = self.fs[0]
        if ATOMIC_STORES & ({fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}):
            fs.put_file(path, to)
            return
        aside = f"{to}.{uuid.uuid4().hex}"
        fs.makedirs(posixpath.dirname(to), exist_ok=True)
        fs.put_file(path, aside)
        if fs.exists(to):
            fs.rm_file(to)
        fs.mv(aside, to)

    def note(self, name: str, data: bytes) -> None:
        """As a ShardStore."""
        self.write(note_name(name), data)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; OutputError where that fails for good."""
        with self.folder() as folder:
            path = os.path.join(folder, "file")
            with open(path, "wb") as file:
                file.write(data)
            self.put(path, name)

    def read(self, name: str) -> bytes | None:
        """A small file, or None where there is none."""
        with self.wrap_store_errors("be read"):
            try:
                return bytes(self._retry(self.fs[0].cat_file, self.path(name)))
            except FileNotFoundError:
                return None

    def read_many(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Small files that are there, by name; many at a time where the store can."""
        for at in range(0, len(names), FILES_A_REQUEST):
            paths = {self.path(name): name for name in names[at : at + FILES_A_REQUEST]}
            with self.wrap_store_errors("be read"):
                found = self._retry(self.fs[0].cat, [*paths])
            yield from ((paths[path], data) for path, data in found.items())

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The bytes of each file that is there, or in a folder of it, by name."""
        fs, top = self.fs
        fs.invalidate_cache()
        with self.wrap_store_errors("be listed"):
            try:
                found = self._retry(fs.find, self.path(folder) if folder else top, detail=True)
            except FileNotFoundError:
                return {}
        return {name[len(top) :].lstrip("/"): info["size"] for name, info in found.items()}

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """The SHA-256 of files that are there, by name, under a progress bar where there are any;
        they are read DIGESTS_AT_A_TIME, none is kept.
        """
        with self.wrap_store_errors("be read"), ThreadPoolExecutor(DIGESTS_AT_A_TIME) as pool:
            found = pool.map(partial(self._retry, self._digest), names)
            bar = {"total": len(names), "unit": " shards", "desc": "Comparing shards", "delay": 1}
            return dict(zip(names, datasets.utils.tqdm(found, **bar), strict=True)) if names else {}

    def _digest(self, name: str) -> str:
        with self.fs[0].open(self.path(name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, names: Sequence[str]) -> None:
        """Remove files."""
        with self.wrap_store_errors("be tidied up"):
            if names:
                self._retry(self.fs[0].rm, [self.path(name) for name in names])

    def remove_state(self) -> None:
        """Remove the folder STATE_FOLDER, and with it a local place that holds nothing else."""
        if self.is_local:
            folder = os.path.join(self.place, STATE_FOLDER)
            # The signature last: while it is there, the same call goes on with the removal.
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                if name != os.path.basename(SIGNATURE):
                    remove_path(os.path.join(folder, name))
            remove_path(folder)
            with suppress(OSError):  # there are files in it
                os.rmdir(self.place)
        else:
            self.remove([name for name in self.sizes() if name.startswith(f"{STATE_FOLDER}/")])

    def _retry(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        if self.is_local:
            return call(*args, **kwargs)
        return retry(is_transient, call, *args, **kwargs)

    @contextmanager
    def wrap_store_errors(self, what: str) -> Iterator[None]:
        """Errors of any store as an OutputError."""
        try:
            yield
        except MultiviewError:
            raise
        except Exception as error:  # those of fsspec and its stores have no common base
            found = redact_error(error, secret_values(self.place, self.options))
            expected = (
                "a folder in which files may be written"
                if self.is_local
                else "the right to write there"
            )
            if isinstance(error, ImportError):
                expected = needed_package(error)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                expected = "room on the disk"
            raise OutputError(
                f"{self.place} cannot {what} ({type(error).__name__}: {found}). "
                f"Expected {expected}: fix it and run the same again, which continues "
                "from what is finished.",
                self.place,
            ) from (error if self.is_local else None)  # which may hold a key


def note_name(shard: str) -> str:
    """The name of the note of a shard."""
    return f"{NOTES_FOLDER}/{posixpath.basename(shard)}.json"


def is_transient(error: BaseException) -> bool:
    """Whether an error of a store may be over the next time: not the caller's own mistakes."""
    return not isinstance(
        error,
        (
            MultiviewError,
            FileNotFoundError,
            PermissionError,
            ImportError,
            TypeError,
            ValueError,
            NotImplementedError,
        ),
    )
