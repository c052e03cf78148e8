"""Row groups of Parquet files: where they end, and how many are read at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import xxhash

from multiview_cifar_tools.batches.indices import Integers

# The viewer of the Hub reads whole row groups; a writer has two of them in memory.
MAX_BYTES = 8 << 20
MAX_ROWS = 100
BYTES_AT_ONCE = 32 << 20  # each call of pyarrow costs some 0.2 ms, of small images more than rows


class RowGroups:
    """Says where row groups end, each of at most MAX_ROWS rows and MAX_BYTES of images, or of one
    row that is larger.

    Of the rows that may begin the next group, once this one is half full, the one with the least
    hash of its sample_id does. So a row that comes or goes moves few ends behind it.
    """

    def __init__(self) -> None:
        # Of the rows that are in no group yet.
        self._hashes: list[int] = []
        self._sizes: list[int] = []

    def add(self, sample_id: str, size: int) -> list[int]:
        """Add a row with so many bytes of images; the lengths of the groups that are full now."""
        self._hashes.append(xxhash.xxh3_64_intdigest(sample_id.encode()))
        self._sizes.append(size)
        lengths = []
        while len(self) > 1 and (len(self) > MAX_ROWS or sum(self._sizes) > MAX_BYTES):
            lengths.append(self._first_length())
            del self._hashes[: lengths[-1]], self._sizes[: lengths[-1]]
        return lengths

    def __len__(self) -> int:
        """How many rows are in no group yet."""
        return len(self._sizes)

    def _first_length(self) -> int:
        most = len(self) - 1  # all but the row that was added last fit
        filled = [0, *accumulate(self._sizes)]
        half = MAX_ROWS // 2, MAX_BYTES // 2
        full = (n for n in range(1, most) if n >= half[0] or filled[n] >= half[1])
        least = next(full, most)
        return min(range(least, most + 1), key=self._hashes.__getitem__)


def slice_row_groups(sample_ids: Sequence[str], sizes: Integers) -> Iterator[slice]:
    """The rows of each row group; `sizes` are bytes of images, (N,)."""
    groups, start = RowGroups(), 0
    for sample_id, size in zip(sample_ids, sizes.tolist(), strict=True):
        for length in groups.add(sample_id, size):
            yield slice(start, start + length)
            start += length
    if groups:
        yield slice(start, start + len(groups))


def runs_of_row_groups(metadata: Any) -> Iterator[range]:
    """The numbers of the row groups of a file in runs of at most BYTES_AT_ONCE, which are read in
    one call; or of one that is larger.

    Args:
        metadata: Of a Parquet file, a pq.FileMetaData.
    """
    start, size = 0, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number).total_byte_size
        if size and size + group > BYTES_AT_ONCE:
            yield range(start, number)
            start, size = number, 0
        size += group
    if metadata.num_row_groups:
        yield range(start, metadata.num_row_groups)
