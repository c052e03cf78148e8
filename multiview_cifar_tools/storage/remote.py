"""Folders behind URLs: listed in one go, read ahead by many requests at a time; and downloads."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import datasets
from fsspec.callbacks import TqdmCallback
from fsspec.implementations.local import LocalFileSystem

from multiview_cifar_tools.defaults import HUB
from multiview_cifar_tools.retry import retry
from multiview_cifar_tools.storage.near_places import near_place
from multiview_cifar_tools.storage.redaction import redact
from multiview_cifar_tools.storage.regular_file import regular_file
from multiview_cifar_tools.storage.source import (
    ARCHIVES,
    READERS,
    FileSource,
    StorageError,
    check_version,
    file_info,
    file_system,
    info_mark,
    info_version,
    is_url,
    local_version,
    source_changed_error,
    wrap_source_errors,
)

PROGRESS = {"desc": "Downloading", "unit": "B", "unit_scale": True, "delay": 1}
READ_AHEAD, READ_AHEAD_BYTES = 128, 1 << 26
ATTEMPTS = 4  # at a remote file


def list_remote(source: FileSource) -> tuple[dict[str, tuple[int, int]], str]:
    """The bytes of each file of a remote folder, and a number that changes with the file, by path;
    and text that changes with all of them.

    StorageError where it cannot be listed, or there is nothing.
    """
    try:
        return _list_remote(source)
    except StorageError as error:
        name = source.path.removeprefix(HUB)
        near = near_place(name) if name != source.path else ""
        if not near:
            raise
        text = f"{error} There is no local folder {name} either.{near}"
        raise StorageError(text, error.path) from None


def _list_remote(source: FileSource) -> tuple[dict[str, tuple[int, int]], str]:
    with wrap_source_errors(source):
        fs, path = file_system(source.path, source.options)
        fs.invalidate_cache()
        found = fs.find(path, detail=True)
    found.pop(f"{path}/", None)  # web pages of stores make a folder by an empty file of its name
    infos = {name[len(path) :].lstrip("/"): info for name, info in sorted(found.items())}
    if not infos or "" in infos:
        what = "is a file" if infos else "is empty, or does not exist"
        raise StorageError(
            f"{source.shown} {what}. Expected a folder that holds class/sample/view.png, or an "
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
    """StorageError where a remote folder or an archive is no longer what was listed."""
    if not source.is_archive:
        if list_remote(source)[1] != source.version:
            raise source_changed_error(source)
    elif is_url(source.file):
        with wrap_source_errors(source):
            check_info(source, file_info(source)[0])
    else:
        check_version(source)


def check_info(source: FileSource, info: Mapping[str, Any]) -> None:
    """StorageError where the store tells another version of an archive than was found, if any."""
    if info_mark(info) and info_version(info) != source.version:
        raise source_changed_error(source)


def download_archive(source: FileSource, dl_manager: Any) -> FileSource:
    """An archive behind a URL, downloaded to where `dl_manager` keeps its files: one file a version
    of it, none for ever where the store tells no version. A local one is left as it is.

    Not by `dl_manager` itself, which notes the whole URL in two files. StorageError where it is no
    longer what was found.
    """
    if not is_url(source.path):
        return source
    how = dl_manager.download_config
    folder = str(how.cache_dir or datasets.config.DOWNLOADED_DATASETS_PATH)
    with wrap_source_errors(source):
        os.makedirs(folder, exist_ok=True)
        info, fs, path = file_info(source)
        check_info(source, info)
        key = f"{source.shown} {info_version(info)}".encode(errors="surrogateescape")
        local = os.path.join(folder, hashlib.blake2b(key, digest_size=16).hexdigest())
        with open(f"{local}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if how.force_download or not info_mark(info) or not os.path.exists(local):
                progress = TqdmCallback(PROGRESS, tqdm_cls=datasets.utils.tqdm)
                fs.get_file(path, f"{local}.incomplete", callback=progress)
                check_info(source, file_info(source)[0])
                os.replace(f"{local}.incomplete", local)
        return source._replace(local=local, version=local_version(local))


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
            ahead.append((each, pool.submit(fetch, source, fs, f"{base}/{each}")))
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


def fetch(source: FileSource, fs: Any, path: str) -> bytes:
    """The bytes of a file of a remote folder; OSError where several attempts fail."""
    if isinstance(fs, LocalFileSystem):
        with open(path, "rb", opener=regular_file) as file:
            return file.read()
    try:
        # From byte 0: else s3fs asks for the size first, a request more for each file.
        return bytes(retry(may_pass, fs.cat_file, path, start=0, attempts=ATTEMPTS))
    except FileNotFoundError:
        raise
    except Exception as error:  # each store has its own
        found = redact(str(error), source.secrets)
        if isinstance(error, PermissionError):
            raise PermissionError(found) from None
        raise OSError(f"{type(error).__name__}: {found}, again and again") from None


def may_pass(error: BaseException) -> bool:
    """Whether an error of a store may be over the next time."""
    return isinstance(error, Exception) and not isinstance(
        error, (FileNotFoundError, PermissionError)
    )
