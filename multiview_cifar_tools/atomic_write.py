"""Files and folders that appear complete or not at all, whatever happens while they are written."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH_PREFIX = "multiview-cifar-"
MIN_AGE = 60  # seconds: a younger folder may be about to be locked
_HOST = f"{zlib.crc32(socket.gethostname().encode()):x}"  # process numbers are those of a machine
MAX_SINGLE_SYNCS = 100  # one by one, small files by the ten thousand would take minutes


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path`, for a file or folder that is renamed to it at the end of the context.
    The folder of both is made where it is missing.

    After an error or Ctrl-C the new file or folder is removed, and what stood at `path` stays. What
    a process of this machine left that was killed is removed by the next one.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_path(target, os.getpid())
    for left in target.parent.glob(glob.escape(f".{target.name}.{_HOST}-") + "*.partial"):
        pid = left.name.removesuffix(".partial").rpartition("-")[2]
        if pid.isdecimal() and not _is_running(int(pid)):
            remove_path(str(left))
    try:
        yield partial
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def _partial_path(target: Path, pid: int) -> Path:
    return target.with_name(f".{target.name}.{_HOST}-{pid}.partial")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@contextmanager
def scratch_folder(parent: str | None = None) -> Iterator[str]:
    """A folder that is removed at the end of the context, and those of killed processes beside it.

    Args:
        parent: Where; None is the folder of temporary files.
    """
    parent = parent or tempfile.gettempdir()
    _remove_left_folders(parent)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=parent) as folder:
        file = os.open(folder, os.O_RDONLY)
        try:
            lock_file(file)
            yield folder
        finally:
            os.close(file)


def _remove_left_folders(parent: str) -> None:
    """Remove the folders of `scratch_folder` that no process has locked any more."""
    for left in glob.glob(f"{SCRATCH_PREFIX}*", root_dir=parent):
        path = os.path.join(parent, left)
        with suppress(OSError):  # another user's, gone meanwhile, or where there are no locks
            file = os.open(path, os.O_RDONLY)
            try:
                is_new = time.time() - os.fstat(file).st_mtime < MIN_AGE
                if not is_new:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(file)


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
