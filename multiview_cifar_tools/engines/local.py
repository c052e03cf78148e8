"""An engine of processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from typing import Any

from multiview_cifar_tools.engines.base import AHEAD, Engine, T, _in_any_order
from multiview_cifar_tools.engines.workers import start_workers
from multiview_cifar_tools.errors import EngineError


@contextmanager
def local_engine(num_proc: int) -> Iterator[Engine]:
    """An engine of so many processes, or of this one."""
    if num_proc == 1:
        yield InProcess()
        return
    with start_workers(num_proc) as workers:
        yield Processes(workers, num_proc)


class InProcess:
    """An Engine of this process."""

    def check(self, paths: Sequence[str], free: int, folder: str = "") -> None:
        """As an Engine: what is wrong here shows at once."""

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine, in order."""
        for call in calls:
            yield function(*call)


class Processes(InProcess):
    """An Engine of processes on this machine."""

    def __init__(self, workers: Any, num_proc: int) -> None:
        self.workers, self.num_proc = workers, num_proc

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine."""
        import loky

        def take(pending: list[Any]) -> list[Any]:
            return list(wait(pending, return_when=FIRST_COMPLETED).done)

        submitted = (self.workers.submit(function, *call) for call in calls)
        try:
            # What is pending at an early end is not cancelled, which loky stumbles over when it
            # kills the workers: it ends with them.
            for future in _in_any_order(submitted, [], take, lambda: AHEAD * self.num_proc):
                yield future.result()
        except loky.BrokenProcessPool:
            raise EngineError(
                "A worker process ended (killed, or for want of memory). Expected it "
                "to live on: run the same again, which goes on from what is "
                "finished, with a smaller num_proc if memory was short.",
                "num_proc",
            ) from None
