"""A store that keeps files in chunks, each once, as the Hub does: how much of new files is new.

A chunk ends where a gear hash of the last 64 bytes says so: on average after 64 KB, and after 8 to
128 KB. Source: https://huggingface.co/docs/xet/chunking
"""

import hashlib
from bisect import bisect_left

import numpy as np

MEAN_BITS, MIN_BYTES, MAX_BYTES = 16, 8 << 10, 128 << 10
GEAR = np.random.default_rng(0).integers(0, 1 << 64, 256, np.uint64)
MASK = np.uint64((1 << MEAN_BITS) - 1 << 64 - MEAN_BITS)
BLOCK = 1 << 18  # bytes that are hashed at a time, for the processor's cache


def new_share(old, new):
    """The share of the bytes of some files that a store has to be sent, which has the old ones."""
    known = {digest for data in old for digest, _ in split(data)}
    sent = {digest: size for data in new for digest, size in split(data) if digest not in known}
    return sum(sent.values()) / sum(map(len, new))


def split(data):
    """(digest, bytes) of each chunk."""
    ends, start = possible_ends(data), 0
    while start < len(data):
        at = bisect_left(ends, start + MIN_BYTES)
        stop = min([*ends[at : at + 1], start + MAX_BYTES, len(data)])
        yield hashlib.blake2b(data[start:stop], digest_size=16).digest(), stop - start
        start = stop


def possible_ends(data):
    """Where the hash of the last 64 bytes begins with MEAN_BITS zeros."""
    values, ends = np.frombuffer(data, np.uint8), []
    for start in range(0, len(values), BLOCK):
        first = max(start - 63, 0)
        hashes = GEAR[values[first : start + BLOCK]]
        for shift in (1, 2, 4, 8, 16, 32):  # of the last 2, 4, 8, ... bytes
            hashes[shift:] += hashes[:-shift] << np.uint64(shift)
        found = first + 1 + np.flatnonzero(hashes & MASK == 0)
        ends += found[found > start].tolist()
    return ends
