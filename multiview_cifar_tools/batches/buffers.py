"""Memory of batches that is used again once nobody holds the batch."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

Free = deque[npt.NDArray[np.uint8]]
MAX_FREE = 2  # blocks that wait for their next use: a loop holds one batch while the next is read


class BufferPool:
    """Makes arrays, in memory that arrays made before no longer need.

    The C library gives large blocks back to the system, which maps and zeroes each page of the next
    one: for a batch of 224x224 this takes as long as the copy itself.

    An array that somebody still holds, or any view of it, is never overwritten: its memory comes
    back when the last of them is gone.
    """

    def __init__(self) -> None:
        self._free: Free = deque(maxlen=MAX_FREE)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of that shape and dtype with arbitrary contents, as `numpy.empty` makes it."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        memory = self._take(size)
        lease = np.asarray(_Lease(memory, self._free))
        return lease[:size].view(dtype).reshape(shape)

    def _take(self, size: int) -> npt.NDArray[np.uint8]:
        """A free block of at least that many bytes; smaller ones are let go."""
        while True:
            try:  # another thread may have taken the last one
                memory = self._free.pop()
            except IndexError:
                return np.empty(size, np.uint8)
            if memory.nbytes >= size:
                return memory


class _Lease:
    """What owns the memory of an array, and gives it back when the array is gone.

    NumPy keeps it alive for the array and its views:
    https://numpy.org/doc/stable/reference/arrays.interface.html
    """

    def __init__(self, memory: npt.NDArray[np.uint8], free: Free) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory, self._free = memory, free

    def __del__(self) -> None:
        self._free.append(self._memory)  # no names of the module: at the end Python forgets them
