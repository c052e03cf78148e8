"""Opens an engine by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import check_count
from multiview_cifar_tools.defaults import ENGINES
from multiview_cifar_tools.engines.base import Engine
from multiview_cifar_tools.engines.local import local_engine
from multiview_cifar_tools.engines.ray import ray_engine


@contextmanager
def open_engine(
    name: str = "local", *, num_proc: int | None = None, address: str | None = None
) -> Iterator[Engine]:
    """Open an engine, which the end of the context closes.

    Args:
        name: "local" or "ray".
        num_proc: Processes of "local", or of a Ray that starts here. None: one, and for Ray one per
            processor.
        address: The Ray cluster, "host:port" or "auto". None: RAY_ADDRESS; without it, Ray starts
            on this machine and ends with the context.

    Raises:
        OptionError: A wrong name or number, an address without Ray, or a `num_proc` for a running
            cluster.
        EngineError: Ray is not installed, or no cluster is at the address.
    """
    if name not in ENGINES:
        raise OptionError(
            f"engine={name!r} is not right. Expected one of {', '.join(ENGINES)}.", "engine"
        )
    if name == "local" and address is not None:
        raise OptionError(
            f'address={address!r} is of a Ray cluster. Expected it with engine="ray".', "address"
        )
    if num_proc is not None:
        check_count("num_proc", num_proc, 1, OptionError)
    opened = local_engine(num_proc or 1) if name == "local" else ray_engine(address, num_proc)
    with opened as engine:
        yield engine
