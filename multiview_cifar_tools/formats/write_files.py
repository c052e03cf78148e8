"""Many small files, written and hashed here or by worker processes.

Making a file takes longer than to send its bytes to another process. Threads do not make it
faster. This module imports little, so that a worker is up soon.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

# What is sent to a worker at once, and how often before the first is waited for.
BATCH_FILES, BATCH_BYTES, BATCHES_AHEAD = 256, 1 << 20, 4
MAX_WRITERS = BATCHES_AHEAD + 1  # more would find nothing to write

File = tuple[str, bytes]  # its path in the folder, and what it holds


def write_files(root: str, files: Sequence[File]) -> dict[str, str]:
    """Write new files, and the folders that they need; the SHA-256 of each by its path.

    OSError where one is there, or cannot be written.
    """
    digests, folders = {}, set[str]()
    for path, data in files:
        if (folder := os.path.dirname(path)) not in folders:
            os.makedirs(os.path.join(root, folder), exist_ok=True)
            folders.add(folder)
        with open(os.path.join(root, path), "xb") as file:
            file.write(data)  # buffered: what is not would take a part on a full disk, silently
        digests[path] = hashlib.sha256(data).hexdigest()
    return digests


class FilesWriter:
    """Writes files to a folder.

    Args:
        root: The folder.
        workers: What `start_workers` gives; None: this process writes.

    Attributes:
        digests: The SHA-256 of each file by its path; of all files once `close` returned.
    """

    def __init__(self, root: str, workers: Any = None) -> None:
        self.root, self.workers, self.digests = root, workers, dict[str, str]()
        self._batch, self._batch_bytes = list[File](), 0
        self._pending = deque[Any]()

    def write(self, files: Sequence[File]) -> None:
        """Write these files, at once or by `close`. Errors as of `write_files`, or of the pool."""
        if self.workers is None:
            self.digests.update(write_files(self.root, files))
            return
        self._batch += files
        self._batch_bytes += sum(len(data) for _, data in files)
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._send()

    def _send(self) -> None:
        self._pending.append(self.workers.submit(write_files, self.root, self._batch))
        self._batch, self._batch_bytes = [], 0
        while len(self._pending) > BATCHES_AHEAD:
            self.digests.update(self._pending.popleft().result())

    def close(self) -> None:
        """Wait until all files are written. Errors as of `write`; nothing is written after them."""
        if self._batch:
            self._send()
        wait(self._pending)
        while self._pending:
            self.digests.update(self._pending.popleft().result())
