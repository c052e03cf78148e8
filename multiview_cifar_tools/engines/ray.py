"""An engine that calls functions on a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from multiview_cifar import MultiviewError, OptionError
from multiview_cifar_tools.engines.base import CALLS_AHEAD, Engine, T, iter_completed
from multiview_cifar_tools.engines.nodes import (
    NodeReport,
    code_digest,
    incompatibilities,
    make_probe,
)
from multiview_cifar_tools.errors import EngineError

RETRIES = 4  # of a call whose process or node ended


PROBE_SECONDS = 120  # a node's first process imports everything


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
        check_address(address)
    else:
        check_ray_folder()
    with restore_sigterm():
        try:
            ray.init(**started, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of its C++ parts too, which have no common base
            raise no_cluster_error(address or "this machine", error) from None
        try:
            yield RayEngine(ray)
        finally:
            ray.shutdown()


@contextmanager
def restore_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces, when the context ends.

    With Ray's handler, processes that are forked later do not end at a SIGTERM, and `datasets`,
    which waits for them, would wait for ever.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def check_address(address: str) -> None:
    """EngineError where nothing listens at the address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise no_cluster_error(address, error) from None


def check_ray_folder() -> None:
    """EngineError where no worker of a local Ray could start: Ray itself would wait for ever."""
    folder = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    environment = os.environ.get("VIRTUAL_ENV")
    if environment and Path(folder).resolve().is_relative_to(Path(environment).resolve()):
        raise EngineError(
            f"Ray would keep its files in {folder}, which is in the virtual "
            f"environment {environment}: no worker starts there. Expected another "
            "folder: give one by the variable RAY_TMPDIR.",
            folder,
        )


def no_cluster_error(address: str, error: Exception) -> EngineError:
    """The error of an address at which Ray finds no cluster."""
    found = " ".join(str(error).split())[:300]
    return EngineError(
        f"No Ray cluster answers at {address} ({found}). Expected one: start it "
        "with `ray start --head`, and give the address that it prints.",
        address,
    )


class RayEngine:
    """An Engine that calls functions on a Ray cluster."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def check(self, paths: Sequence[str], free_bytes: int, folder: str = "") -> None:
        """As an Engine: asks every node for versions, paths and free space, before any work."""
        driver_code = code_digest()
        # Several nodes on one machine have the same reasons: each is named once.
        reasons = [
            *dict.fromkeys(
                f"node {name} {reason}"
                for name, report in self.node_reports([*paths], folder)
                for reason in incompatibilities(report, driver_code, free_bytes)
            )
        ]
        if reasons:
            raise EngineError(
                f"{'; '.join(reasons[:5])}. Expected each node to have the same "
                "packages, to see the same paths, and to have room: fix them, or "
                "take them out of the cluster.",
                reasons[0].split()[1],
            )

    def node_reports(self, paths: list[str], folder: str) -> Iterator[tuple[str, NodeReport]]:
        """The address of each node, and what the probe found there."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        probe = self.ray.remote(num_cpus=0, max_retries=0)(make_probe())
        nodes = [
            node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
        ]
        answers = [
            probe.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(
                paths, folder
            )
            for node in nodes
        ]
        for node, answer in zip(nodes, answers, strict=True):
            name = f"{node['NodeManagerAddress']} ({node['NodeName']})"
            try:
                yield name, self.ray.get(answer, timeout=PROBE_SECONDS)
            except self.ray.exceptions.TaskUnschedulableError:
                continue  # the node has left the cluster, and will be given nothing
            except self.ray.exceptions.RayError as error:
                found = type(error).__name__
                raise EngineError(
                    f"node {name} does not answer ({found}). Expected it to run "
                    f"Python within {PROBE_SECONDS} s: fix it, or take it out of "
                    "the cluster.",
                    name,
                ) from None

    def run(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """As an Engine. Calls of a process or node that ended are repeated by another one."""
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(
            function
        )

        def wait_for_some(pending: list[Any]) -> list[Any]:
            completed: list[Any] = self.ray.wait(pending, num_returns=1)[0]
            return completed

        def max_pending() -> int:
            return CALLS_AHEAD * max(1, int(self.ray.cluster_resources().get("CPU", 1)))

        pending: list[Any] = []
        submitted = (remote.remote(*call) for call in calls)
        try:
            for answer in iter_completed(submitted, pending, wait_for_some, max_pending):
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
                f"over its work ({found}). Expected one that keeps running: look into Ray's "
                "logs (most likely memory was short), and run the same again, which "
                "goes on from what is finished.",
                "ray",
            ) from None
