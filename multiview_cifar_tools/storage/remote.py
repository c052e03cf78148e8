"""Folders behind URLs: listed in one go, read ahead by many requests at a time; and downloads."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from multiview_cifar_tools.storage.regular_file import regular_file
from multiview_cifar_tools.storage.source import (
    ARCHIVES,
    READERS,
    FileSource,
    StorageError,
    file_system,
    info_version,
    is_url,
    wrap_source_errors,
)

READ_AHEAD, READ_AHEAD_BYTES = 128, 1 << 26
FIRST_WAIT, LAST_WAIT = 0.2, 0.8  # seconds to the next attempt at a remote file, doubled each time


def list_remote(source: FileSource) -> tuple[dict[str, tuple[int, int]], str]:
    """The bytes of each file of a remote folder, and a number that changes with the file, by path;
    and text that changes with all of them.

    StorageError where it cannot be listed, or there is nothing.
    """
    with wrap_source_errors(source):
        fs, path = file_system(source.path, source.options)
        fs.invalidate_cache()
        found = fs.find(path, detail=True)
    found.pop(f"{path}/", None)  # web pages of stores make a folder by an empty file of its name
    infos = {name[len(path) :].lstrip("/"): info for name, info in sorted(found.items())}
    if not infos or "" in infos:
        what = "is a file" if infos else "is empty, or does not exist"
        raise StorageError(
            f"{source.path} {what}. Expected a folder that holds class/sample/view.png, or an "
            f"archive of one ({' '.join(ARCHIVES)}).",
            source.path,
        )
    files = file_versions(infos)
    lines = "\n".join(f"{name} {size} {version}" for name, (size, version) in files.items())
    digest = hashlib.blake2b(lines.encode(errors="surrogateescape"), digest_size=16)
    return files, digest.hexdigest()


def file_versions(infos: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Of each file its bytes, and a number that changes with its ETag or time."""
    versions = {}
    for name, info in infos.items():
        digest = hashlib.blake2b(info_version(info).encode(), digest_size=7).digest()
        versions[name] = info.get("size") or 0, int.from_bytes(digest, "big")
    return versions


def check_unchanged(source: FileSource) -> None:
    """StorageError where a remote folder is no longer what was listed."""
    if not source.is_archive and list_remote(source)[1] != source.version:
        raise source_changed_error(source)


def source_changed_error(source: FileSource) -> StorageError:
    """The error of a remote folder that is no longer what was listed."""
    return StorageError(
        f"{source.path} changed while it was read. Expected it to stay as it is: build it again.",
        source.path,
    )


def download_archive(source: FileSource, dl_manager: Any) -> FileSource:
    """An archive behind a URL, had by the download manager of `datasets`, which keeps one file an
    ETag. A local one is left as it is.
    """
    if not is_url(source.path):
        return source
    with wrap_source_errors(source):
        fs, path = file_system(source.path, source.options)
        info, how = fs.info(path), dl_manager.download_config
        how.storage_options.update(source.options)
        # By itself it would give the first file of that URL for ever, or ask an old listing.
        how.use_etag = bool(info.get("ETag") or info.get("etag"))
        how.force_download = how.force_download or not how.use_etag
        type(fs).clear_instance_cache()
        return source._replace(local=str(dl_manager.download(source.path)))


@contextmanager
def read_remote(source: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a file to its bytes, which are fetched ahead in the order of
    `wanted`: READERS at a time, READ_AHEAD at most, and fewer where files are large.
    """
    fs, base = file_system(source.path, source.options)
    ahead: deque[tuple[str, Any]] = deque()
    names, largest = iter(wanted), 0

    def read(name: str) -> bytes:
        nonlocal largest
        most = max(2, min(READ_AHEAD, READ_AHEAD_BYTES // max(largest, 1)))
        for each in itertools.islice(names, most - len(ahead)):
            ahead.append((each, pool.submit(fetch, fs, f"{base}/{each}")))
        found, future = ahead.popleft()
        while found != name:  # what a skipped sample did not ask for
            found, future = ahead.popleft()
        data: bytes = future.result()
        largest = max(largest, len(data))
        return data

    pool = ThreadPoolExecutor(READERS)
    try:
        yield read
    finally:
        pool.shutdown(cancel_futures=True)


def fetch(fs: Any, path: str, wait: float = FIRST_WAIT) -> bytes:
    """The bytes of a remote file; OSError where several attempts fail."""
    if isinstance(fs, LocalFileSystem):
        with open(path, "rb", opener=regular_file) as file:
            return file.read()
    try:
        # From byte 0: else s3fs asks for the size first, a request more for each file.
        return bytes(fs.cat_file(path, start=0))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # each store has its own
        if wait > LAST_WAIT:
            raise OSError(f"{type(error).__name__}: {error}, again and again") from None
    time.sleep(wait)
    return fetch(fs, path, 2 * wait)
