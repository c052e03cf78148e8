"""Digests: of texts, and of files."""

from __future__ import annotations

import hashlib
import os


def text_digest(*parts: str) -> str:
    """A short text that changes with these."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def files_of(path: str) -> list[str]:
    """The file itself, or all files in a folder, in the order of their names."""
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
    )


def digest(path: str, files: list[str]) -> str:
    """The sha256 of a file, or of a folder's list of them."""
    sums = {}
    for file in files:
        with open(file, "rb") as stream:
            sums[os.path.relpath(file, path)] = hashlib.file_digest(stream, "sha256").hexdigest()
    if files == [path]:
        return sums["."]
    text = "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items())
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
