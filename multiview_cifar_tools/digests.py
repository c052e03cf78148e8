"""Digests: of texts, and of files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import datasets

from multiview_cifar_tools.storage.regular_file import regular_file

FOLLOWED_BYTES = 8 << 20  # between two readings: at more of them, threads would wait for each other


def hash_text(*parts: str) -> str:
    """A digest of 32 hexadecimal digits, of these texts in this order."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def list_files(path: str) -> list[str]:
    """The file itself, or all files in a folder, in the order of their names."""
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
    )


def file_digests(
    path: str, files: Iterable[str], known: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The SHA-256 of files of `list_files`, by their paths in it; "." is the file itself. Those
    that are `known` are not read.
    """
    digests, folder = {}, os.path.join(path, "")
    bar = {"unit": " files", "desc": "Hashing", "delay": 1}
    for file in datasets.utils.tqdm([*files], **bar):
        name = "." if file == path else file.removeprefix(folder)
        digests[name] = known.get(name) or _hash_file(file)
    return digests


def _hash_file(path: str) -> str:
    with open(path, "rb", opener=regular_file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: str, files: Iterable[str]) -> str:
    """The SHA-256 of a file, or of a folder: of the list of its files' digests and names.

    Args:
        path: The file or folder.
        files: Those of `list_files`.
    """
    return join_digests(file_digests(path, files))


class FollowingDigest:
    """The SHA-256 of a file that only grows, while it is written: by a thread that reads what is
    there, as Python's lock is free while bytes are read and hashed.

    Args:
        path: Of the file; it may be made later.
    """

    def __init__(self, path: str) -> None:
        self._path, self._sha256 = path, hashlib.sha256()
        self._file: io.FileIO | None = None
        self._buffer = memoryview(bytearray(1 << 20))
        self._pool, self._added = ThreadPoolExecutor(1), 0

    def add(self, num_bytes: int) -> None:
        """Say that so many bytes more were written; now and then what is there is read."""
        self._added += num_bytes
        if self._added >= FOLLOWED_BYTES:
            self._added = 0
            self._pool.submit(self._read)

    def result(self) -> dict[str, str]:
        """The digest of all that is there, as `file_digests`. OSError where it cannot be read."""
        self._pool.submit(self._read).result()
        return {".": self._sha256.hexdigest()}

    def _read(self) -> None:
        self._file = self._file or io.FileIO(self._path)
        while count := self._file.readinto(self._buffer):
            self._sha256.update(self._buffer[:count])

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
        if self._file:
            self._file.close()


def join_digests(digests: Mapping[str, str]) -> str:
    """The digest of a file or folder of what `file_digests` gives."""
    if "." in digests:
        return digests["."]
    return hashlib.sha256("".join(_lines(digests)).encode(errors="surrogateescape")).hexdigest()


def sum_digests(digests: Mapping[str, str]) -> int:
    """A digest of files that knows no order: where they are divided among folders, the digests of
    these add up to it.
    """
    lines = (line.encode(errors="surrogateescape") for line in _lines(digests))
    return sum(int.from_bytes(hashlib.sha256(line).digest()) for line in lines)


def _lines(digests: Mapping[str, str]) -> Iterable[str]:
    return (f"{sha256}  {name}\n" for name, sha256 in digests.items())
