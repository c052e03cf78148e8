"""What an engine is, and what every one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

ENGINES = ("local", "ray")


AHEAD = 2  # calls a processor that are handed out: the next one waits where the last one ends


T = TypeVar("T")


class Engine(Protocol):
    """What calls functions."""

    def check(self, paths: Sequence[str], free: int, folder: str = "") -> None:
        """EngineError where a machine is not fit for the work.

        Args:
            paths: Files and folders that every machine has to see.
            free: The bytes that it has to have for a file in the making.
            folder: Where it makes it; "" for its own folder of temporary files.
        """

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Call the function with each of `calls`, whose results come in any order.

        Few calls are taken ahead of the work. The function, its arguments and results are pickled.

        Raises:
            EngineError: A process ended, and so did those that took over its work.
            Exception: What the function raises ends the work.
        """


def _in_any_order(
    submitted: Iterator[Any],
    pending: list[Any],
    take: Callable[[list[Any]], list[Any]],
    most: Callable[[], int],
) -> Iterator[Any]:
    """What is done of the calls, of which no more than `most` are `pending` at a time."""
    for call in submitted:
        pending.append(call)
        while len(pending) >= most():
            for done in take(pending):
                pending.remove(done)
                yield done
    while pending:
        for done in take(pending):
            pending.remove(done)
            yield done
