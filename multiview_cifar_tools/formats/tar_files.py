"""Tar files, member by member: written and read several times as fast as tarfile does.

A plain member's header is made and read here; what is special (names above 100 bytes, links,
sparse files, more than 8 GiB) is left to tarfile. Source: POSIX.1-1988, ustar, as in
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "ustar Interchange Format".
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from multiview_cifar import (
    FileSource,
    MultiviewError,
    Options,
    archive_kind,
    file_system,
    is_url,
    open_stream,
)
from multiview_cifar_tools.errors import FormatError

EXTENSIONS = (".tar", ".tar.gz", ".tgz", ".tar.zst")
BLOCK = tarfile.BLOCKSIZE  # 512 bytes: headers and contents fill up whole ones
ZEROS = bytes(BLOCK)
END = 2 * ZEROS  # the end-of-archive mark
BUFFER_BYTES = 1 << 20
# A header's fields: name 100 bytes, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1,
# link name 100, magic 6, version 2, owner 32, group 32, device 16, prefix 155.
OWNER = b"0000644\0" + 2 * b"0000000\0"
TIME = b"00000000000\0"
REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(32 + 32) + 2 * b"0000000\0" + bytes(155 + 12)
FIXED_SUM = sum(OWNER + TIME + REST) + 8 * ord(" ")  # the checksum itself counts as spaces
LARGEST = 8**11 - 1
# Headers that say something of the next one: GNU's long names, and pax records.
BEFORE_ANOTHER = frozenset((b"L", b"K", b"x", b"g", b"X"))
# The pax records that matter; those of times and owners, which many tars have, do not.
CHANGES = (b" path=", b" size=", b" GNU.sparse.", b" hdrcharset=", b" linkpath=")


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
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (FIXED_SUM + sum(encoded) + sum(digits))
    return b"".join((encoded.ljust(100, b"\0"), OWNER, digits, TIME, checksum, REST))


# --- reading --------------------------------------------------------------------------------------


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int  # of its header, in bytes from the tar's beginning, unpacked
    data: bytes | None  # None: not asked for, or it is a link and the like


class _Header(NamedTuple):
    name: str
    size: int  # of the contents in this tar
    kind: str  # "file", "folder" or "other"
    length: int = BLOCK  # its own, with those that say something of it


@contextmanager
def open_tar(path: str, storage_options: dict[str, Any] | None = None) -> Iterator[IO[bytes]]:
    """The bytes of a tar at a path or a URL of fsspec, unpacked where it is called so.

    FormatError in place of what fsspec, its stores, gzip and zstandard raise while it is open.
    """
    try:
        root = FileSource(path, archive_kind(path), options=Options(storage_options or {}))
        if is_url(path):
            remote(path, storage_options)
        with open_stream(root) as stream:
            yield io.BufferedReader(stream, BUFFER_BYTES)
    except MultiviewError:
        raise
    except Exception as error:
        raise unreadable(path, error) from None


def remote(url: str, storage_options: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    fs, path = file_system(FileSource(url, options=Options(storage_options or {})))
    fs.invalidate_cache()  # of listings: what is there now counts
    return fs, path


def unreadable(path: str, error: Exception) -> FormatError:
    """Of any library's error."""
    expected = "a whole tar: copy or make it again"
    if isinstance(error, ImportError):
        expected = "the package that reads it: pip install it"
    elif is_url(path):
        expected = (
            "a whole tar, and the right to read it: check the address, or pass the key in "
            "storage_options={...}"
        )
    found = " ".join(str(error).split())
    return FormatError(
        f"{path} cannot be read ({type(error).__name__}: {found}). Expected {expected}.", path
    )


def read_members(
    path: str, file: IO[bytes], wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Member]:
    """The files of a tar in their order, with the contents of those whose name is `wanted`; of
    links and the like the name alone.

    FormatError where the tar is damaged or cut off, which tarfile takes for its end.
    """
    at, name = 0, "its beginning"
    while (block := file.read(BLOCK)) != ZEROS:
        try:
            header = _read_header(block, file)
        except (tarfile.TarError, ValueError) as error:
            why = f"no header ({error})" if block else "no end-of-archive mark"
            raise _damaged(path, at, f"after {name}", why) from None
        name, size, kind, length = header
        data, padding = None, -size % BLOCK
        if kind == "file" and wanted(name):
            data = file.read(size)
            if len(data) < size:
                raise _damaged(path, at, f"in {name}", f"{len(data)} of its {size} bytes")
            file.read(padding)
        else:
            _skip(file, size + padding)
        if kind != "folder":
            yield Member(name, at, data)
        at += length + size + padding
    while rest := file.read(BUFFER_BYTES):  # up to the end, where gzip's checksum stands
        if any(rest):
            raise _damaged(path, at, f"after {name}", "more data behind the end-of-archive mark")


def _skip(file: IO[bytes], size: int) -> None:
    if file.seekable():
        file.seek(size, io.SEEK_CUR)
    while not file.seekable() and size > 0:
        size -= len(file.read(min(size, BUFFER_BYTES))) or size


def _read_header(block: bytes, file: IO[bytes]) -> _Header:
    """A header, and the blocks that it goes on in; TarError or ValueError where it is none, or a
    sparse file's.
    """
    blocks, size = [block], _size(block)
    while _type(block) in BEFORE_ANOTHER:
        if size > BUFFER_BYTES:
            raise tarfile.TarError(f"a name of {size} bytes")
        blocks += file.read(size + -size % BLOCK), file.read(BLOCK)
        block = blocks[-1]
        size = _size(block)
    if _type(block) == b"0" and block[345] == 0 and not _is_changed(blocks):
        length = sum(map(len, blocks)) if len(blocks) > 1 else BLOCK
        return _Header(block[:100].partition(b"\0")[0].decode(), size, "file", length)
    return _special_header(b"".join(blocks))


def _type(block: bytes) -> bytes:
    return block[156:157]


def _size(block: bytes) -> int:
    """The size that a header says, if its checksum is right."""
    stored = block[148:156]
    try:
        size, checksum = int(block[124:136].rstrip(b" \0"), 8), int(stored.rstrip(b" \0"), 8)
    except ValueError:
        size, checksum = 0, -1
    # The sum of all bytes, the checksum taken as spaces. Adler-32 has it too, from 1 on and modulo
    # 65521, in a tenth of the time of `sum`.
    checksum += sum(stored) - 8 * ord(" ") + 1
    if checksum % 65521 != zlib.adler32(block) & 0xFFFF or len(block) < BLOCK:
        size = tarfile.TarInfo.frombuf(block, "utf-8", "strict").size  # or its TarError
    if size < 0:
        raise tarfile.TarError(f"a size of {size} bytes")
    return size


def _is_changed(blocks: list[bytes]) -> bool:
    """Whether what stands before a header says another name or size than it does itself."""
    return any(_type(before) not in b"xg" for before in blocks[:-1:2]) or any(
        key in records for records in blocks[1::2] for key in CHANGES
    )


def _special_header(header: bytes) -> _Header:
    with tarfile.open(
        fileobj=io.BytesIO(header), mode="r:", encoding="utf-8", errors="strict"
    ) as archive:
        info = archive.next()
    if info is None or info.issparse():
        raise tarfile.TarError("a sparse file")
    has_contents = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
    kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
    return _Header(info.name, info.size if has_contents else 0, kind, len(header))


def _damaged(path: str, at: int, where: str, why: str) -> FormatError:
    return FormatError(
        f"{path} is damaged or cut off at byte {at}, {where}: {why}. Expected a "
        "whole tar: copy or make it again.",
        path,
    )
