"""Where work is done: in processes of this machine, or on a Ray cluster.

    with open_engine("ray", address="10.0.0.1:6379") as engine:
        for result in engine.run(function, calls):
            ...

An engine calls one function with many arguments. What comes of it may not depend on the engine, on
the number of processes, or on the order in which they finish. Nothing here schedules: loky and Ray
do.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from multiview_cifar import MultiviewError, OptionError
from multiview_cifar_tools.nodes import Report, code_digest, differences, make_probe
from multiview_cifar_tools.workers import start_workers

ENGINES = ("local", "ray")
AHEAD = 2  # calls a processor that are handed out: the next one waits where the last one ends
RETRIES = 4  # of a call whose process or node ended
PROBE_SECONDS = 120  # a node's first process imports everything
T = TypeVar("T")


class EngineError(MultiviewError):
    """There is no cluster, a node is not fit, or a process ended; `.path` says which."""


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


@contextmanager
def open_engine(
    name: str = "local", *, num_proc: int | None = None, address: str | None = None
) -> Iterator[Engine]:
    """An engine, for as long as the context.

    Args:
        name: "local" or "ray".
        num_proc: Of "local", and of a Ray that is started here, the processes. None: one, and for
            Ray one a processor.
        address: Of a Ray cluster, "host:port" or "auto". None: RAY_ADDRESS, else a Ray on this
            machine that ends with the context.

    Raises:
        OptionError: A wrong name, an address without Ray, or a `num_proc` for a running cluster.
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
    opened = local_engine(num_proc or 1) if name == "local" else ray_engine(address, num_proc)
    with opened as engine:
        yield engine


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


# --- this machine ---------------------------------------------------------------------------------


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


# --- Ray ------------------------------------------------------------------------------------------


@contextmanager
def ray_engine(address: str | None, num_proc: int | None) -> Iterator[Engine]:
    """An engine of a Ray cluster; see `open_engine`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a tool of ours reports to nobody
    try:
        import ray
    except ImportError:
        raise EngineError(
            'Ray is not installed. Expected it for the engine "ray": pip install '
            "'multiview-cifar[ray]'.",
            "ray",
        ) from None
    address = address or os.environ.get("RAY_ADDRESS")
    if address and num_proc:
        raise OptionError(
            f"num_proc={num_proc} is given, but the cluster at {address} has its own "
            "number of processes. Expected one or the other.",
            "num_proc",
        )
    started: dict[str, Any] = (
        {"address": address}
        if address
        else {"address": "local", "num_cpus": num_proc, "include_dashboard": False}
    )
    if address:
        _check_address(address)
    else:
        _check_ray_folder()
    with _own_sigterm():
        try:
            ray.init(**started, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of its C++ parts too, which have no common base
            raise _no_cluster(address or "this machine", error) from None
        try:
            yield Cluster(ray)
        finally:
            ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """What Ray does at SIGTERM ends with the context: processes that are forked later would not end
    at one, and whoever waits for them, as `datasets` does, would wait for ever.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_address(address: str) -> None:
    """EngineError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise _no_cluster(address, error) from None


def _check_ray_folder() -> None:
    """EngineError where no worker of a Ray would start, for which Ray itself waits for ever."""
    folder = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    environment = os.environ.get("VIRTUAL_ENV")
    if environment and Path(folder).resolve().is_relative_to(Path(environment).resolve()):
        raise EngineError(
            f"Ray would keep its files in {folder}, which is in the virtual "
            f"environment {environment}: no worker starts there. Expected another "
            "folder: give one by the variable RAY_TMPDIR.",
            folder,
        )


def _no_cluster(address: str, error: Exception) -> EngineError:
    found = " ".join(str(error).split())[:300]
    return EngineError(
        f"No Ray cluster answers at {address} ({found}). Expected one: start it "
        "with `ray start --head`, and give the address that it prints.",
        address,
    )


class Cluster:
    """An Engine of a Ray cluster."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def check(self, paths: Sequence[str], free: int, folder: str = "") -> None:
        """As an Engine: asks every node for versions, paths and free space, before any work."""
        here = code_digest()
        # Nodes on one machine say the same.
        wrong = [
            *dict.fromkeys(
                f"node {name} {found}"
                for name, report in self._reports([*paths], folder)
                for found in differences(report, here, free)
            )
        ]
        if wrong:
            raise EngineError(
                f"{'; '.join(wrong[:5])}. Expected each node to have the same "
                "packages, to see the same paths, and to have room: mend them, or "
                "take them out of the cluster.",
                wrong[0].split()[1],
            )

    def _reports(self, paths: list[str], folder: str) -> Iterator[tuple[str, Report]]:
        """The address of each node, and what it says of itself."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        probe = self.ray.remote(num_cpus=0, max_retries=0)(make_probe())
        nodes = [
            node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
        ]
        asked = [
            probe.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(
                paths, folder
            )
            for node in nodes
        ]
        for node, answer in zip(nodes, asked, strict=True):
            name = f"{node['NodeManagerAddress']} ({node['NodeName']})"
            try:
                yield name, self.ray.get(answer, timeout=PROBE_SECONDS)
            except self.ray.exceptions.TaskUnschedulableError:
                continue  # the node has left the cluster, and will be given nothing
            except self.ray.exceptions.RayError as error:
                found = type(error).__name__
                raise EngineError(
                    f"node {name} does not answer ({found}). Expected it to run "
                    f"Python within {PROBE_SECONDS} s: mend it, or take it out of "
                    "the cluster.",
                    name,
                ) from None

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine. What a process or node that ended had in hand is done by another one."""
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(
            function
        )

        def take(pending: list[Any]) -> list[Any]:
            done: list[Any] = self.ray.wait(pending, num_returns=1)[0]
            return done

        def most() -> int:
            return AHEAD * max(1, int(self.ray.cluster_resources().get("CPU", 1)))

        pending: list[Any] = []
        submitted = (remote.remote(*call) for call in calls)
        try:
            for answer in _in_any_order(submitted, pending, take, most):
                yield self._get(answer)
        finally:
            for answer in pending:
                with suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(answer, force=True)

    def _get(self, answer: Any) -> Any:
        try:
            return self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MultiviewError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            found = " ".join(str(error).split())[:300]
            raise EngineError(
                f"A process of the cluster ended, and so did {RETRIES} that took "
                f"over its work ({found}). Expected one to live on: look into Ray's "
                "logs, for want of memory most likely, and run the same again, which "
                "goes on from what is finished.",
                "ray",
            ) from None
