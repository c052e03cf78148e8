"""Processes that end with the one that started them, however that ends: by SIGKILL too.

This module imports nothing of ours: the script imports it, and worker processes have to be up soon.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 1.0  # between two looks at the parent
_forking: dict[int, int] = {}  # the process of each thread that is in `watched_forks`


def watch_parent(parent: int) -> None:
    """End this process, in a thread of its own, once `parent` is not its parent any more."""
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS)
    os._exit(1)


@contextmanager
def watched_forks() -> Iterator[None]:
    """What this thread forks in the context ends when this process does.

    For the workers that `datasets` starts, and the process of their queue: all of them would wait
    for ever for a parent that was killed.
    """
    thread = threading.get_ident()
    _forking[thread] = os.getpid()
    try:
        yield
    finally:
        _forking.pop(thread, None)


def _watch_in_fork() -> None:
    parent = _forking.get(threading.get_ident())
    _forking.clear()
    if parent:
        watch_parent(parent)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_watch_in_fork)
