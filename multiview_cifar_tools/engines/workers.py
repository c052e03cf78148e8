"""Processes of this machine: loky starts them, gives them work and ends them.

This module imports neither `datasets` nor the rest of the project, so that a worker is up in a
fifth of a second.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Threads gain nothing in products of small matrices: their waiting doubled a worker's time.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
FEEDER_SECONDS = 2  # one that writes to a pipe that nobody reads any more never ends


@contextmanager
def start_workers(
    num_proc: int | None, prepare: Callable[..., object] | None = None, *arguments: object
) -> Iterator[Any]:
    """A `loky.ProcessPoolExecutor` of processes that are starting, one a processor if None.

    Each first calls `prepare(*arguments)`. They never see a Ctrl-C, and end with this process or
    with the context, at once, whatever they do.
    """
    import loky

    # Not those of the standard library: they would import the caller's main module again, which
    # runs a script without an `if __name__` anew; and they cannot be ended at once.
    workers = loky.ProcessPoolExecutor(
        num_proc or loky.cpu_count(),
        initializer=_start_worker,
        env=ONE_THREAD,
        initargs=(os.getpid(), prepare, arguments),
    )
    threads = threading.enumerate()
    try:
        with _deaf_to_control_c():
            workers.submit(os.getpid)
        yield workers
    finally:
        workers.shutdown(kill_workers=True)
        _join_feeder(threads)


def _join_feeder(before: list[threading.Thread]) -> None:
    """Wait for the thread that fed the workers, for which loky does not: if Python ends while the
    thread lets go of its locks, their names stay behind, with a warning of each.
    """
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread" and thread not in before:
            thread.join(FEEDER_SECONDS)


@contextmanager
def _deaf_to_control_c() -> Iterator[None]:
    """Processes that start here never see a Ctrl-C, which is the parent's affair."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(
    parent: int, prepare: Callable[..., object] | None, arguments: tuple[object, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # loky's own threads may start a worker too
    if prepare is not None:
        prepare(*arguments)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent was killed: it would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
