"""Engines of this machine: its processes, or this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from typing import Any

from multiview_cifar_tools.engines.base import CALLS_AHEAD, Engine, T, iter_completed
from multiview_cifar_tools.engines.workers import start_workers
from multiview_cifar_tools.errors import EngineError


@contextmanager
def local_engine(num_proc: int) -> Iterator[Engine]:
    """An engine of this number of processes; with 1 it is the calling process."""
    if num_proc == 1:
        yield InProcessEngine()
        return
    with start_workers(num_proc) as workers:
        yield ProcessEngine(workers, num_proc)


class InProcessEngine:
    """An Engine that calls the functions in this process."""

    def check(self, paths: Sequence[str], free_bytes: int, folder: str = "") -> None:
        """As an Engine. Nothing is checked: what is wrong on this machine shows at once."""

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine, in the order of the calls."""
        for call in calls:
            yield function(*call)


class ProcessEngine(InProcessEngine):
    """An Engine of several processes of this machine."""

    def __init__(self, workers: Any, num_proc: int) -> None:
        self.workers, self.num_proc = workers, num_proc

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine."""
        import loky

        def wait_for_some(pending: list[Any]) -> list[Any]:
            return list(wait(pending, return_when=FIRST_COMPLETED).done)

        submitted = (self.workers.submit(function, *call) for call in calls)
        max_pending = CALLS_AHEAD * self.num_proc
        try:
            # After an early end, pending calls end with the workers. They are not cancelled: loky
            # fails on cancelled calls when it kills the workers.
            for future in iter_completed(submitted, [], wait_for_some, lambda: max_pending):
                yield future.result()
        except loky.BrokenProcessPool:
            raise EngineError(
                "A worker process ended (killed, or out of memory). Expected it "
                "to live on: run the same again, which goes on from what is "
                "finished, with a smaller num_proc if memory was short.",
                "num_proc",
            ) from None
