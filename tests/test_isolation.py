"""in_own_process: what a library does there neither ends nor stops this process."""

import ctypes
import os
import signal
import time

import pytest

from multiview_cifar_tools.isolation import in_own_process


class Library:
    """What is called in the other process."""

    def __init__(self, path):
        if path == "absent":
            raise FileNotFoundError(path)

    def close(self):
        pass

    def process(self):
        return os.getpid()

    def crash(self):
        ctypes.string_at(0)

    def loop(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while True:
            pass

    def take(self, num_bytes):
        return len(b"1" * num_bytes)


def opened(path="file"):
    return in_own_process(Library, path, seconds=1, num_bytes=1 << 29)


def test_an_object_in_another_process():
    with opened() as first:
        process = first.process()
        assert process != os.getpid()
        assert first.take(1000) == 1000
        with opened() as second:
            other = second.process()
    assert len({process, other, os.getpid()}) == 3
    with opened() as again:  # one of them is up already
        assert again.process() in (process, other)


def test_a_crash():
    with (
        pytest.raises(OSError, match=r"^its library ended the process, with SIGSEGV$"),
        opened() as library,
    ):
        library.crash()


def test_a_loop():
    with pytest.raises(OSError, match="took more than 1 s of processor time"), opened() as library:
        library.loop()
    with opened() as library:
        assert library.process()


def test_too_much_memory():
    with pytest.raises(MemoryError), opened() as library:
        library.take(1 << 30)


def test_an_error():
    with pytest.raises(FileNotFoundError, match="absent"), opened("absent"):
        pass


def test_to_wait_takes_no_processor_time():
    with opened() as library:
        library.process()
        time.sleep(1.2)
        assert library.process()


def test_a_fork_has_a_process_of_its_own():
    with opened() as library:
        process = library.process()
    read, write = os.pipe()
    if not (pid := os.fork()):
        with opened() as library:
            os.write(write, str(library.process()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(read, 100)) != process
    os.close(read), os.close(write)
