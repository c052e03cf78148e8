"""What stands at a place: a remote folder, or an archive, local or remote."""

from __future__ import annotations

import gzip
import os
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import fsspec

from multiview_cifar_tools.storage.redaction import redact, redact_error, redact_url, secret_values
from multiview_cifar_tools.storage.regular_file import regular_file

# Up to fsspec 2025 a forked process waits for ever for the thread of its parent that does the
# requests (https://filesystem-spec.readthedocs.io/en/latest/async.html, "Limitations").
os.register_at_fork(after_in_child=fsspec.asyn.reset_lock)

ARCHIVES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
}
READERS = 32  # files of a store that are read at a time: it answers one request in 20 to 100 ms


class StorageError(ValueError):
    """An archive or a remote folder cannot be had, or is not right. URLs are cut in it.

    Attributes:
        path: Of it, or its URL; or the name of an option.
        kind: The loading script's error that it becomes.
    """

    def __init__(self, message: str, path: str, kind: str = "ArchiveError") -> None:
        super().__init__(redact(message))
        self.path, self.kind = redact_url(path), kind


class Options(dict[str, Any]):
    """Storage options that can be a part of a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


class FileSource(NamedTuple):
    """An archive, or a remote folder.

    A path in the listing is `prefix` and the file's name, without `top`.
    """

    path: str  # or URL
    kind: str = "remote"  # a folder behind a URL; or one of ARCHIVES; or "cifar10" or "cifar100"
    version: str = ""  # changes with the files; once downloaded, with the local one
    prefix: str = ""  # the split folder in which they count as standing, such as "train/"
    top: str = ""  # the folder around everything in an archive, such as "photos/"
    options: Options = Options()  # of the file system
    local: str = ""  # where a remote archive was downloaded to
    image_endings: frozenset[str] = frozenset()  # of names, such as ".png": for limits of archives

    @property
    def file(self) -> str:
        """The path or URL that is opened."""
        return self.local or self.path

    @property
    def shown(self) -> str:
        """The path, or what may be shown of the URL."""
        return redact_url(self.path)

    @property
    def secrets(self) -> set[str]:
        """What may not be shown, of its URL and its options."""
        return secret_values(self.path, self.options)

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        return self.kind != "remote"

    @property
    def is_remote_archive(self) -> bool:
        """Whether its names can be had only by a download, or by streaming a whole tar."""
        return self.is_archive and is_url(self.path)

    @property
    def is_one_pass(self) -> bool:
        """Whether it can only be read from its beginning to its end."""
        return self.kind.startswith("tar.") or (self.kind == "tar" and is_url(self.file))

    @property
    def archive(self) -> FileSource:
        """The file alone, whatever is made of its names: a key for what is kept of it."""
        return self._replace(prefix="", top="")

    def name(self, path: str) -> str:
        """What a path in the listing is called there."""
        return self.top + path[len(self.prefix) :]

    def is_image(self, name: str) -> bool:
        """Whether a file of this name counts as an image."""
        return name[name.rfind(".") :].lower() in self.image_endings

    def open(self) -> Any:
        """The file's bytes, of an archive."""
        if not is_url(self.file):
            return open(self.file, "rb", opener=regular_file)
        fs, path = file_system(self.path, self.options)
        return fs.open(path, "rb")


def is_url(place: str) -> bool:
    """Whether it is for fsspec."""
    return "://" in place


def archive_kind(place: str) -> str:
    """Which of ARCHIVES it is called, or ""."""
    path = place.partition("?")[0].lower() if is_url(place) else place.lower()
    return next((kind for ending, kind in ARCHIVES.items() if path.endswith(ending)), "")


def local_version(path: str) -> str:
    """Size, mtime and ctime of a file."""
    stat = os.stat(path)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def check_version(source: FileSource) -> None:
    """StorageError where a local archive, or what was downloaded of one, is no longer the one that
    was found.
    """
    if not is_url(source.file) and local_version(source.file) != source.version:
        raise source_changed_error(source)


def source_changed_error(source: FileSource) -> StorageError:
    """The error of a source that is no longer what was listed."""
    return StorageError(
        f"{source.shown} changed while it was read. Expected it to stay as it is: build it again.",
        source.path,
        "SourceChangedError",
    )


def remote_version(source: FileSource) -> str:
    """Size and ETag of a remote archive, or its time; StorageError where it cannot be had."""
    with wrap_source_errors(source):
        info, _, _ = file_info(source)
    if "?" in source.path and not info_mark(info):
        return f"{info_version(info)} {time.time_ns()}"  # no name holds the query: never the same
    return info_version(info)


def file_info(source: FileSource) -> tuple[dict[str, Any], Any, str]:
    """What its store says of a remote archive now; its fsspec file system, and its path there."""
    fs, path = file_system(source.path, source.options)
    fs.invalidate_cache()  # of listings
    return fs.info(path), fs, path


def info_version(info: Mapping[str, Any]) -> str:
    """What changes with a remote file: its size, and `info_mark`."""
    return f"{info.get('size')} {info_mark(info)}"


def info_mark(info: Mapping[str, Any]) -> str:
    """The ETag or digest of a remote file, else its time, as its store calls it; "" without."""
    keys = (
        "ETag etag blob_id md5Hash Content-MD5 LastModified Last-Modified last_modified updated "
        "mtime created"
    ).split()
    return str(next((info[key] for key in keys if info.get(key)), ""))


def file_system(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Its options may stand under the protocol's name, as `datasets` has them.
    """
    options, protocols = options or {}, fsspec.available_protocols()
    protocol = fsspec.utils.get_protocol(url)
    own = options.get(protocol) or {
        name: value for name, value in options.items() if name not in protocols
    }
    if protocol in ("s3", "s3a"):  # s3fs keeps 10 connections, which our readers would wait for
        own = {"config_kwargs": {"max_pool_connections": READERS}, **own}
    fs, path = fsspec.core.url_to_fs(url, **own)
    return fs, path


@contextmanager
def wrap_source_errors(source: FileSource) -> Iterator[None]:
    """Errors of any library as one StorageError."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:  # those of fsspec, its stores, tarfile and zlib have no common base
        expected = f"a whole {source.kind} archive" if source.is_archive else "a remote folder"
        if isinstance(error, ImportError):
            expected += f", and {needed_package(error)}"
        elif "Protocol not known" in str(error):
            expected += " behind a protocol that fsspec knows, such as s3://, gs:// or https://"
        elif is_url(source.path):
            expected += (
                ", and the right to read it: check the address, pass the key in "
                "storage_options={...} where it needs one, or try again later"
            )
        else:
            expected += ": make or download it again"
        found = f"{type(error).__name__}: {redact_error(error, source.secrets)}"
        problem = f"cannot be read ({found})"
        if _is_damage(error):
            problem = f"is damaged or cut off, or no {source.kind} archive ({found})"
        raise StorageError(f"{source.shown} {problem}. Expected {expected}.", source.path) from None


def needed_package(error: ImportError) -> str:
    """What to install where the library of a store or an archive cannot be imported: by its name
    where it is missing; a version that fits where it is there.
    """
    cause: BaseException = error
    while cause.__cause__ is not None:  # fsspec tells of its own what is missing
        cause = cause.__cause__
    name = (getattr(cause, "name", None) or "").partition(".")[0]
    if isinstance(cause, ModuleNotFoundError):
        return f"the package {name}: pip install {name}"
    return f"a version of {name or 'its package'} that can be imported ({cause})"


def _is_damage(error: Exception) -> bool:
    """Whether an error says that the bytes of an archive are not right; zstandard and zlib-ng may
    be missing, so that their errors are known by name.
    """
    kinds = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
    name = f"{type(error).__module__}.{type(error).__name__}"
    return isinstance(error, kinds) or name.endswith((".ZstdError", "zlib_ng.error"))
