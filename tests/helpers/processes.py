"""Code of tests that runs in a process of its own."""

from __future__ import annotations

import functools
import multiprocessing
import os
import traceback
from importlib.util import find_spec

import pytest


@functools.cache
def child():
    """Our end of a pipe to it. It ends with the tests, and needs no thread in this process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=serve, args=(theirs,), daemon=True).start()
    theirs.close()  # so that its death is an EOFError here
    return ours


def serve(pipe):
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", JAX_PLATFORMS="cpu")
    while True:
        try:
            function, *arguments = pipe.recv()
            pipe.send((function(*arguments), ""))
        except EOFError:
            return
        except Exception:
            pipe.send((None, traceback.format_exc()))


def in_child(function, *arguments):
    """What function(*arguments) returns there; RuntimeError with its traceback if it raises."""
    pipe = child()
    pipe.send((function, *arguments))
    assert pipe.poll(120), f"{function.__name__} takes more than two minutes"
    result, error = pipe.recv()
    if error:
        raise RuntimeError(error)
    return result


def needs(package, install):
    missing = find_spec(package) is None and "CI" not in os.environ
    return pytest.mark.skipif(missing, reason=f"for this test: pip install {install}")


NEEDS_TF = needs("tensorflow", "tensorflow-cpu")
