"""Zip archives, by the directory that stands at their end."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from multiview_cifar_tools.storage.members import (
    Member,
    archive_error,
    check_link,
    check_members,
    clean_name,
)
from multiview_cifar_tools.storage.redaction import redact
from multiview_cifar_tools.storage.source import FileSource, is_url, wrap_source_errors


def list_zip(source: FileSource) -> dict[str, int]:
    """The bytes of each member by its name, all checked."""
    infos = _open_zip(source.archive, os.getpid()).infolist()
    found: Iterator[Member] = (
        (_name(info), info.file_size, 0) for info in infos if _is_plain(source, info)
    )
    return {name: size for name, size, _ in check_members(source, found)}


@contextmanager
def read_zip(source: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member to its bytes, for any order."""
    with wrap_source_errors(source):
        archive = _open_zip(source.archive, os.getpid())
        infos = _infos(source.archive, os.getpid())

    def read(name: str) -> bytes:
        try:
            return archive.read(infos[name])
        except Exception as error:  # BadZipFile, zlib.error, EOFError and those of stores
            place = f"in {source.shown} at byte {infos[name].header_offset}"
            raise OSError(f"{redact(str(error), source.secrets)}, {place}") from None

    yield read


@lru_cache(maxsize=4)
def _open_zip(source: FileSource, process: int) -> zipfile.ZipFile:
    """The archive, opened once in a `process`: its directory may be long, and a fork would share
    the place in the file.
    """
    return zipfile.ZipFile(source.open() if is_url(source.file) else source.file)


@lru_cache(maxsize=4)
def _infos(source: FileSource, process: int) -> dict[str, zipfile.ZipInfo]:
    infos = _open_zip(source, process).infolist()
    return {clean_name(_name(info)): info for info in infos}


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name. Many tools write UTF-8 without the flag for it (APPNOTE 4.4.4, bit 11), and
    some a backslash in place of "/" (4.4.17.1), which in an older code may be part of a letter.
    """
    name = info.filename
    if not info.flag_bits & 0x800 and not name.isascii():
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            return name
    return name.replace("\\", "/")


def _is_plain(source: FileSource, info: zipfile.ZipInfo) -> bool:
    """Whether it is no link; StorageError where it may not stand there, or needs a password."""
    if info.flag_bits & 1:
        raise archive_error(
            source,
            f"has the member {info.filename!r}, which needs a password",
            "an archive without one",
        )
    if info.external_attr >> 28 != 0xA:  # S_IFLNK
        return True
    target = _open_zip(source.archive, os.getpid()).open(info).read(4096)
    check_link(source, _name(info), target.decode(errors="replace"))
    return False
