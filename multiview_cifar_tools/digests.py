"""Digests: of texts, and of files."""

from __future__ import annotations

import hashlib
import os

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


def file_digest(path: str, files: list[str]) -> str:
    """The SHA-256 of a file, or of a folder: of the list of its files' digests and names.

    Args:
        path: The file or folder.
        files: Those of `list_files`.
    """
    sums = {}
    for file in files:
        with open(file, "rb", opener=regular_file) as stream:
            sums[os.path.relpath(file, path)] = hashlib.file_digest(stream, "sha256").hexdigest()
    if files == [path]:
        return sums["."]
    text = "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items())
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
