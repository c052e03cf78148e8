"""Worker processes of this machine, which loky starts, feeds and ends.

This module imports neither `datasets` nor what does, so that a worker is up in a fifth of a second.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from multiview_cifar_tools.parent_watch import watch_parent

# Threads gain nothing in products of small matrices: their waiting doubled a worker's time.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
FEEDER_SECONDS = 2  # a feeder thread that writes to a pipe without a reader never ends


@contextmanager
def start_workers(
    num_proc: int | None, prepare: Callable[..., object] | None = None, *arguments: object
) -> Iterator[Any]:
    """A `loky.ProcessPoolExecutor`, whose processes are starting.

    Args:
        num_proc: How many processes. None: one for each processor.
        prepare: Each process first calls `prepare(*arguments)`.

    A Ctrl-C does not reach the processes. They end at once, whatever they do, when the context or
    this process ends.
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
        with block_control_c():
            workers.submit(os.getpid)
        yield workers
    finally:
        workers.shutdown(kill_workers=True)
        join_feeder_thread(threads)


def join_feeder_thread(before: list[threading.Thread]) -> None:
    """Wait for the thread that fed the workers; loky does not wait for it.

    If Python ends while the thread releases its locks, their names are left in the system, and
    Python warns of each.
    """
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread" and thread not in before:
            thread.join(FEEDER_SECONDS)


@contextmanager
def block_control_c() -> Iterator[None]:
    """Processes that start in this context ignore Ctrl-C, which the parent handles."""
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
    watch_parent(parent)
