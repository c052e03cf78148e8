"""Tars: by the places of their members; or in one pass, where they are packed or remote.

`TarReader` reads a plain member's header itself, several times as fast as tarfile does; what is
special (long names, links, more than 8 GiB) it leaves to tarfile. Source: POSIX.1-1988, ustar, as
in https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "ustar Interchange Format".
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import IO, Any, NamedTuple

from multiview_cifar_tools.storage.members import (
    FREE_BYTES,
    MAX_IMAGE_BYTES,
    Member,
    check_link,
    check_members,
)
from multiview_cifar_tools.storage.regular_file import regular_file
from multiview_cifar_tools.storage.source import FileSource, StorageError, wrap_source_errors

BLOCK = tarfile.BLOCKSIZE  # 512 bytes: headers and contents fill up whole ones
BUFFER_BYTES = 1 << 20
SPOOL_BYTES = 1 << 26  # of files that stand too early in a tar: in memory, beyond that on disk
ZEROS = bytes(BLOCK)
PLAIN_KINDS = {b"0": "file", b"5": "folder"}
# Headers that say something of the next one: GNU's long names, and pax records.
EXTENSION_HEADERS = frozenset((b"L", b"K", b"x", b"g", b"X"))
# The pax records that matter; those of times and owners, which many tars have, do not.
EXTENSION_KEYS = (b" path=", b" size=", b" GNU.sparse.", b" hdrcharset=", b" linkpath=")


class DamagedTar(Exception):
    """A tar is damaged or cut off, which tarfile takes for its end."""

    def __init__(self, offset: int, where: str, why: str) -> None:
        super().__init__(f"damaged or cut off at byte {offset}, {where}: {why}")


class TarMember(NamedTuple):
    """A member of a tar."""

    name: str
    kind: str  # "file", "folder" or "other": a link, a pipe and the like
    size: int  # of its contents in this tar, bytes
    offset: int  # of its header, in bytes from the tar's beginning, unpacked
    start: int  # of its contents
    target: str  # of a link


class TarReader:
    """The members of a tar in their order; `read` gives the contents of the latest one.

    Args:
        file: The tar, unpacked.
        is_seekable: Whether contents that are not wanted can be passed over.
        errors: What becomes of a name that is not UTF-8, as for `bytes.decode`.

    Raises:
        DamagedTar: While it is iterated or read.
    """

    def __init__(self, file: IO[bytes], is_seekable: bool, errors: str = "strict") -> None:
        self._file, self._is_seekable, self._errors = file, is_seekable, errors
        self._latest = TarMember("", "file", 0, 0, 0, "")
        self._left = 0  # bytes of the contents of the latest one that are not read

    def read(self) -> bytes:
        """All contents of the latest member, once."""
        name, _, size, offset, _, _ = self._latest
        if size > MAX_IMAGE_BYTES:  # which, packed, may be a file of a few kB
            found = f"{size:,} bytes, and {MAX_IMAGE_BYTES:,} are the most"
            raise DamagedTar(offset, f"in {name}", found)
        data = self._file.read(size)
        if len(data) < size:
            raise DamagedTar(offset, f"in {name}", f"{len(data)} of its {size} bytes")
        self._left = 0
        return data

    def __iter__(self) -> Iterator[TarMember]:
        at, file = 0, self._file
        while (block := file.read(BLOCK)) != ZEROS:
            try:
                name, kind, size, length, target = _read_header(block, file, self._errors)
            except (tarfile.TarError, ValueError) as error:
                why = f"no header ({error})" if block else "no end-of-archive mark"
                raise DamagedTar(at, self._place, why) from None
            self._latest = TarMember(name, kind, size, at, at + length, target)
            self._left = size
            yield self._latest
            padding = -size % BLOCK
            self._skip(self._left + padding)
            at += length + size + padding
        self._check_end(at)

    @property
    def _place(self) -> str:
        """Where the reader is, for errors."""
        return f"after {self._latest.name}" if self._latest.name else "at its beginning"

    def _skip(self, size: int) -> None:
        if self._is_seekable:
            if size:
                self._file.seek(size, io.SEEK_CUR)
            return
        while size > 0:
            size -= len(self._file.read(min(size, BUFFER_BYTES))) or size

    def _check_end(self, at: int) -> None:
        """Read up to the end, where gzip's checksum stands."""
        count = 0
        while rest := self._file.read(BUFFER_BYTES):
            count += len(rest)
            if any(rest) or count > FREE_BYTES:
                raise DamagedTar(at, self._place, "more data behind the end mark")


# --- headers --------------------------------------------------------------------------------------

_Header = tuple[str, str, int, int, str]  # name, kind, size, its own length, target


def _read_header(block: bytes, file: IO[bytes], errors: str) -> _Header:
    """A header, and the blocks that it goes on in; TarError or ValueError where it is none, or a
    sparse file's.
    """
    blocks, size = [block], _size(block)
    while block[156:157] in EXTENSION_HEADERS:
        if size > BUFFER_BYTES:
            raise tarfile.TarError(f"a name of {size} bytes")
        blocks += file.read(size + -size % BLOCK), file.read(BLOCK)
        block = blocks[-1]
        size = _size(block)
    kind = PLAIN_KINDS.get(block[156:157])
    if kind and block[345] == 0 and (len(blocks) == 1 or not _has_other_fields(blocks)):
        length = BLOCK if len(blocks) == 1 else sum(map(len, blocks))
        name = block[:100].partition(b"\0")[0].decode("utf-8", errors)
        if kind == "folder":  # as tarfile: no slashes behind its name, and no contents
            name, size = name.rstrip("/"), 0
        return name, kind, size, length, ""
    return _parse_extended_header(b"".join(blocks), errors)


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
        size = tarfile.TarInfo.frombuf(block, "utf-8", "replace").size  # or its TarError
    if size < 0:
        raise tarfile.TarError(f"a size of {size} bytes")
    return size


def _has_other_fields(blocks: list[bytes]) -> bool:
    """Whether what stands before a header says another name or size than it does itself."""
    return any(before[156:157] not in b"xg" for before in blocks[:-1:2]) or any(
        key in records for records in blocks[1::2] for key in EXTENSION_KEYS
    )


def _parse_extended_header(header: bytes, errors: str) -> _Header:
    buffer = io.BytesIO(header)
    with tarfile.open(fileobj=buffer, mode="r:", encoding="utf-8", errors=errors) as archive:
        info = archive.next()
    if info is None or info.issparse():
        raise tarfile.TarError("a sparse file")
    has_contents = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
    kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
    return info.name, kind, info.size if has_contents else 0, len(header), info.linkname


# --- archives -------------------------------------------------------------------------------------


@contextmanager
def open_tar(source: FileSource) -> Iterator[IO[bytes]]:
    """The bytes of a tar, unpacked as they are read."""
    with source.open() as file:
        stream = file
        if source.kind == "tar.gz":
            stream = unpack_gzip(file)
        elif source.kind == "tar.zst":
            import zstandard

            stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        yield io.BufferedReader(stream, BUFFER_BYTES)


def unpack_gzip(file: IO[bytes]) -> Any:
    """The unpacked bytes of a gzip file, checked: by zlib-ng where it is installed, which takes two
    thirds of the time, else by the standard library. Both raise the same errors, but that zlib_ng
    has a `zlib.error` of its own.
    """
    opener: Any = gzip.GzipFile
    with suppress(ImportError):
        from zlib_ng import gzip_ng

        opener = gzip_ng.GzipNGFile
    return opener(fileobj=file)


def list_tar(source: FileSource) -> dict[str, int]:
    """The bytes of each member by its name, all checked."""
    if not source.is_one_pass:
        return {name: size for name, (_, size) in index_tar(source.archive).items()}
    with open_tar(source) as file:
        return {
            name: size for name, size, _ in _walk(source, TarReader(file, False, "surrogateescape"))
        }


@lru_cache(maxsize=4)
def index_tar(source: FileSource) -> dict[str, tuple[int, int]]:
    """(offset, bytes) of each member of a plain, local tar. Worker processes that are forked have
    it from the process that planned.
    """
    with source.open() as file:
        members = _walk(source, TarReader(file, True, "surrogateescape"))
        return {name: (offset, size) for name, size, offset in members}


def _walk(source: FileSource, reader: TarReader) -> Iterator[Member]:
    """(name, bytes, offset) of each member, all checked."""
    return check_members(source, _members(source, reader))


def _members(source: FileSource, reader: TarReader) -> Iterator[Member]:
    try:
        for name, kind, size, _, start, target in reader:
            if kind == "file":
                yield name, size, start
            elif kind == "folder":
                yield f"{name}/", 0, -1
            else:
                check_link(source, name, target)
                yield name, 0, -1
    except DamagedTar as error:
        raise damaged_error(source, error) from None


def damaged_error(source: FileSource, error: DamagedTar) -> StorageError:
    """The error of a tar that is damaged."""
    return StorageError(
        f"{source.shown} is {error}. Expected a whole {source.kind} archive: make or download it "
        "again.",
        source.path,
    )


@contextmanager
def read_tar(source: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member of a plain, local tar to its bytes, for any order."""
    index, file = index_tar(source.archive), regular_file(source.file, os.O_RDONLY)

    def read(name: str) -> bytes:
        offset, size = index[name]
        if len(data := os.pread(file, size, offset)) < size:
            raise OSError(f"{source.shown} was cut off in mid-read, at byte {offset}")
        return data

    try:
        yield read
    finally:
        os.close(file)


@contextmanager
def read_one_pass(source: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member to its bytes, for the order of `wanted`.

    What stands in the tar before its turn waits in a spool: SPOOL_BYTES in memory, more on disk.
    """
    awaited, places = set(wanted), dict[str, tuple[int, int]]()
    with ExitStack() as opened:
        with wrap_source_errors(source):
            stream = opened.enter_context(open_tar(source))
        spool = opened.enter_context(tempfile.SpooledTemporaryFile(SPOOL_BYTES))
        reader = TarReader(stream, False, "surrogateescape")
        members = _walk(source, reader)

        def read_spooled(name: str) -> bytes:
            offset, size = places.pop(name)
            spool.seek(offset)
            data = spool.read(size)
            if not places:
                spool.seek(0)
                spool.truncate()
            return data

        def read(name: str) -> bytes:
            awaited.discard(name)
            if name in places:
                return read_spooled(name)
            with wrap_source_errors(source):
                for found, _, _ in members:
                    if found == name:
                        return reader.read()
                    if found in awaited:
                        data = reader.read()
                        places[found] = spool.seek(0, io.SEEK_END), len(data)
                        spool.write(data)
            raise FileNotFoundError(name)

        yield read
