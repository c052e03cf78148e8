"""What may crash or hang in a C library, in a process of its own with limits.

    with in_own_process(Hdf5File, path, seconds=20, num_bytes=1 << 31) as file:
        file.read("images", 0, 10)

The kernel ends the process when a call takes too much processor time: a library that loops hears no
signal that Python would handle. To wait for a slow disk takes none.

The process imports the module of the class alone, so that it is up in a quarter of a second where
that imports little. This module imports nothing of ours.
"""

from __future__ import annotations

import atexit
import importlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import Any

CODE = (
    "import sys; sys.path[:] = {!r}; from multiview_cifar_tools.isolation import serve; serve({})"
)
# Threads gain nothing where arrays are only read.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")


_idle: list[OwnProcess] = []  # the next file takes it, as it takes a quarter of a second to start


@contextmanager
def in_own_process(kind: type, path: str, *, seconds: int, num_bytes: int) -> Iterator[Any]:
    """An object whose methods are those of `kind(path)`, which is in a process of its own.

    Arguments, results and errors are pickled.

    Args:
        kind: A class of a module that can be imported, with a method `close`.
        path: The argument of the class.
        seconds: Of processor time, the most that a call may take, the one of the class too.
        num_bytes: Of memory, the most that the process may have.

    Raises:
        OSError: By any method too: the process has ended, by its limits or by a crash.
        Exception: What the class or a method raises.
    """
    process = _take_idle() or OwnProcess()
    try:
        process.open(kind, path, seconds, num_bytes)
        yield process
        process.call("close")
        _keep_idle(process)
    finally:
        if process not in _idle:  # after an error: damage may have spoilt more in it than one call
            process.end()


def _take_idle() -> OwnProcess | None:
    with suppress(IndexError):
        process = _idle.pop()
        if process.parent == os.getpid():  # it is no process of a fork
            return process
        _idle.append(process)
    return None


def _keep_idle(process: OwnProcess) -> None:
    if not _idle:
        _idle.append(process)


@atexit.register
def _end_idle() -> None:
    while process := _take_idle():
        process.end()


class OwnProcess:
    """A process that has an object; each of its methods is one here."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self._seconds = 0
        self._pipe, theirs = Pipe()
        code = CODE.format(sys.path, theirs.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            pass_fds=[theirs.fileno()],
            process_group=0,  # which no Ctrl-C goes to
        )
        theirs.close()  # so that its end is an EOFError here

    def open(self, kind: type, path: str, seconds: int, num_bytes: int) -> None:
        """Make the object; see `in_own_process`."""
        self._seconds = seconds
        self.call("open", kind.__module__, kind.__qualname__, path, num_bytes)

    def __getattr__(self, method: str) -> Any:
        return partial(self.call, method)

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method returns."""
        try:
            self._pipe.send((self._seconds, method, *arguments))
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            raise OSError(self._describe_end()) from None
        if error is not None:
            raise error
        return result

    def _describe_end(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return f"its library took more than {self._seconds} s of processor time"
        name = signal.Signals(-code).name if code < 0 else f"code {code}"
        return f"its library ended the process, with {name}"

    def end(self) -> None:
        """End the process, whatever it does."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


# --- in that process ------------------------------------------------------------------------------


def serve(pipe: int) -> None:
    """Answer calls until the other end of a pipe is closed."""
    connection, opened = Connection(pipe), None
    with suppress(EOFError, OSError):
        while True:
            seconds, method, *arguments = connection.recv()
            signal.setitimer(signal.ITIMER_PROF, seconds)
            answer: tuple[Any, Exception | None] = None, None
            try:
                if method == "open":
                    opened = _open(*arguments)
                else:
                    answer = getattr(opened, method)(*arguments), None
            except Exception as error:
                answer = None, error
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(answer)


def _open(module: str, name: str, path: str, num_bytes: int) -> Any:
    kind = getattr(importlib.import_module(module), name)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, most))
    return kind(path)
