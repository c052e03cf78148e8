"""Files and folders that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside `path`, for a file or folder that takes its place once all is written.

    Broken off by an error or Ctrl-C, what was written goes, and what stood at `path` stays.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


MANY = 100  # files


def sync(*paths: str) -> None:
    """Have files and folders on disk."""
    if len(paths) > MANY:
        os.sync()  # small files by the ten thousand would take minutes, one by one
        return
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def remove(path: str) -> None:
    """Remove a file or folder, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
