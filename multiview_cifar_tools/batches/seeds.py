"""Seeds that follow from (seed, epoch, sample_id) alone, and what is drawn from them.

They are the same in any process, order, batch and framework: nothing is drawn from a generator that
has a state.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

Seeds = npt.NDArray[np.uint64]

# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), with
# the constants of its reference, https://prng.di.unimi.it/splitmix64.c
GAMMA = np.uint64(0x9E3779B97F4A7C15)
STEPS = [
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
]
LAST_SHIFT = np.uint64(31)


def hash_bytes(data: Any) -> int:
    """64 bits that depend on these bytes alone: their XXH3."""
    return xxhash.xxh3_64_intdigest(data)


def epoch_seeds(keys: Seeds, seed: int, epoch: int) -> Seeds:
    """The seed of each sample in an epoch, in the shape of `keys`, which tell the samples apart."""
    return _mix(keys + np.uint64(hash_bytes(f"{seed} {epoch}".encode())))


def derive_seeds(seeds: Seeds, numbers: Any, purpose: str) -> Seeds:
    """Seeds for the parts of what has a seed, by their numbers: its copies, say, or its views.

    Args:
        seeds, numbers: Of shapes that broadcast; that is the shape of the result.
        purpose: What they are for: of another purpose they are others.
    """
    places = np.asarray(numbers).astype(np.uint64) * GAMMA
    return _mix(seeds + _purpose_key(purpose) + places)


def draw_uniform(seeds: Seeds, count: int, purpose: str) -> npt.NDArray[np.float64]:
    """So many numbers in [0, 1) for each of N seeds, (count, N): a row for each thing to draw."""
    bits = derive_seeds(seeds, np.arange(count)[:, None], purpose) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53  # as many bits as a float64 holds


@cache
def _purpose_key(purpose: str) -> np.uint64:
    return np.uint64(hash_bytes(purpose.encode()))


def _mix(numbers: Seeds) -> Seeds:
    """The outputs of SplitMix64 in these states."""
    mixed = numbers + GAMMA
    for shift, factor in STEPS:
        mixed ^= mixed >> shift
        mixed *= factor
    mixed ^= mixed >> LAST_SHIFT
    return mixed
