"""Tar files, member by member: written several times as fast as tarfile does.

A plain member's header is made here; what is special (names above 100 bytes, more than 8 GiB) is
left to tarfile. `storage.tar` reads them. Source: POSIX.1-1988, ustar, as in
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "ustar Interchange Format".
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from multiview_cifar import MultiviewError
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.storage.redaction import redact_error, secret_values
from multiview_cifar_tools.storage.source import (
    FileSource,
    Options,
    archive_kind,
    file_system,
    is_url,
    needed_package,
)
from multiview_cifar_tools.storage.tar import BLOCK, ZEROS, DamagedTar, TarReader, open_tar

EXTENSIONS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
END = 2 * ZEROS  # the end-of-archive mark
# A header's fields: name 100 bytes, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1,
# link name 100, magic 6, version 2, owner 32, group 32, device 16, prefix 155.
OWNER = b"0000644\0" + 2 * b"0000000\0"
TIME = b"00000000000\0"
REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(32 + 32) + 2 * b"0000000\0" + bytes(155 + 12)
FIXED_SUM = sum(OWNER + TIME + REST) + 8 * ord(" ")  # the checksum itself counts as spaces
LARGEST = 8**11 - 1


# --- writing --------------------------------------------------------------------------------------


def tar_member(name: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """A member of a tar: its header, its contents, and the zeros behind it. Equal arguments give
    equal bytes: files have no time and no owner.
    """
    return _header(name, len(data)), data, ZEROS[: -len(data) % BLOCK]


def _header(name: str, size: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > 100 or size > LARGEST:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    fields, size_sum = _size_fields(size)
    return b"%b%b%06o\0 %b" % (encoded.ljust(100, b"\0"), fields, sum(encoded) + size_sum, REST)


@lru_cache(4096)
def _size_fields(size: int) -> tuple[bytes, int]:
    """The fields between name and checksum, and the checksum of all but the name."""
    digits = b"%011o\0" % size
    return OWNER + digits + TIME, FIXED_SUM + sum(digits)


# --- reading --------------------------------------------------------------------------------------


@contextmanager
def open_reader(path: str, storage_options: dict[str, Any] | None = None) -> Iterator[TarReader]:
    """A reader of the tar at a path or a URL of fsspec, unpacked where it is called so.

    FormatError in place of what it, fsspec, its stores, gzip and zstandard raise while it is open.
    """
    try:
        source = FileSource(path, archive_kind(path), options=Options(storage_options or {}))
        if is_url(path):
            fresh_file_system(path, storage_options)
        with open_tar(source) as file:
            yield TarReader(file, is_seekable=source.kind == "tar")
    except MultiviewError:
        raise
    except DamagedTar as error:
        raise FormatError(
            f"{path} is {error}. Expected a whole tar: copy or make it again.", path
        ) from None
    except Exception as error:
        raise unreadable_error(path, error, storage_options) from None


def fresh_file_system(url: str, storage_options: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    fs, path = file_system(url, storage_options)
    fs.invalidate_cache()  # of listings: what is there now counts
    return fs, path


def unreadable_error(
    path: str, error: Exception, storage_options: Mapping[str, Any] | None
) -> FormatError:
    """Of any library's error."""
    expected = "a whole tar: copy or make it again"
    if isinstance(error, ImportError):
        expected = needed_package(error)
    elif is_url(path):
        expected = (
            "a whole tar, and the right to read it: check the address, or pass the key in "
            "storage_options={...}"
        )
    found = redact_error(error, secret_values(path, storage_options))
    return FormatError(
        f"{path} cannot be read ({type(error).__name__}: {found}). Expected {expected}.", path
    )
