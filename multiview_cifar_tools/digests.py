"""Digests: of texts, and of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping

import datasets

from multiview_cifar_tools.storage.regular_file import regular_file


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


def file_digests(path: str, files: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files of `list_files`, by their paths in it; "." is the file itself."""
    digests = {}
    bar = {"unit": " files", "desc": "Hashing", "delay": 1}
    for file in datasets.utils.tqdm([*files], **bar):
        with open(file, "rb", opener=regular_file) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        digests[os.path.relpath(file, path)] = found
    return digests


def file_digest(path: str, files: Iterable[str]) -> str:
    """The SHA-256 of a file, or of a folder: of the list of its files' digests and names.

    Args:
        path: The file or folder.
        files: Those of `list_files`.
    """
    return join_digests(file_digests(path, files))


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
