"""Files and folders that appear complete or not at all, whatever happens while they are written."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_SINGLE_SYNCS = 100  # one by one, small files by the ten thousand would take minutes


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path`, for a file or folder that is renamed to it at the end of the context.

    After an error or Ctrl-C the new file or folder is removed, and what stood at `path` stays.
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


def sync_to_disk(*paths: str) -> None:
    """Wait until files and folders are on disk."""
    if len(paths) > MAX_SINGLE_SYNCS:
        os.sync()
        return
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def remove_path(path: str) -> None:
    """Remove a file or folder, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def lock_file(file: int) -> bool:
    """Lock an open file or folder until it is closed; False where another process has locked it.

    True also where the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as some that are shared over a network
        return True
    return True
