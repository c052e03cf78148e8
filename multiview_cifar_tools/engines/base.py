"""The interface of an engine, and the loop that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import short_repr

CALLS_AHEAD = 2  # calls submitted for each processor: the next one waits where the last one ends

T = TypeVar("T")


class Engine(Protocol):
    """Calls functions, here or elsewhere."""

    def check(self, paths: Sequence[str], free_bytes: int, folder: str = "") -> None:
        """EngineError if a machine cannot do the work.

        Args:
            paths: Files and folders that every machine must be able to read.
            free_bytes: The disk space that it needs for the file that it writes.
            folder: Where it writes that file; "" for its own folder of temporary files.
        """

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Call the function with each of `calls`, and give the results in any order.

        `calls` is read a few calls ahead of the work. The function, its arguments and its results
        are pickled.

        Raises:
            EngineError: A process ended, and so did the processes that took over its work.
            Exception: If the function raises an error, the work ends with it.
        """


def check_engine(engine: Any) -> Engine:
    """The engine; OptionError where it is none, such as a name, or `open_engine` without `with`."""
    if not all(callable(getattr(engine, name, None)) for name in ("check", "run")):
        raise OptionError(
            f"engine={short_repr(engine)} is not right. Expected what open_engine gives: "
            'with open_engine("local") as engine: ...',
            "engine",
        )
    checked: Engine = engine
    return checked


def iter_completed(
    submitted: Iterator[Any],
    pending: list[Any],
    wait_for_some: Callable[[list[Any]], list[Any]],
    max_pending: Callable[[], int],
) -> Iterator[Any]:
    """The calls in the order in which they are completed.

    Args:
        submitted: Submits the next call each time it is asked, and gives its future.
        pending: The futures that are not completed; the caller may cancel what is left of them.
        wait_for_some: Waits until some of the futures are completed, and gives these.
        max_pending: How many futures may be pending at a time.
    """
    for future in submitted:
        pending.append(future)
        while len(pending) >= max_pending():
            for completed in wait_for_some(pending):
                pending.remove(completed)
                yield completed
    while pending:
        for completed in wait_for_some(pending):
            pending.remove(completed)
            yield completed
