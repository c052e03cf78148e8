"""Images that stand in several places: with the same pixels, or much alike."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from multiview_cifar import NO_LABEL
from multiview_cifar_tools.checks.findings import Finding, ImageIndex

MAX_PAIRED_SAMPLES = 16  # that share an image: of more there is one finding, and not one a pair
# Measured on `shapes` (32x32), ETH-80 (256x256) and random smooth pictures (32x32): of copies as
# JPEG of quality 30 to 90, at half the size, in grey or with less contrast 92 to 100 % are found,
# of copies 1.2 times as bright 79 to 99 %, of trimmed ones (2.5 % at each edge) 75 %. Of pairs of
# different images 2 of 230,400 (`shapes`) and 0 of 9,936 (ETH-80) are taken for look-alikes; by
# the bits alone it would be 302 and 2.
MAX_DIFFERENT_BITS = 6  # of 64, in the perceptual hashes of look-alikes
MIN_COSINE = 0.99  # of the waves of look-alikes
BLOCK_PAIRS = 1 << 17  # pairs of hashes that are compared at a time, so that they stay in the cache
MAX_SUSPECTS = 10_000  # pairs of samples, after which the search ends

Numbers = npt.NDArray[np.intp]
Pairs = dict[tuple[int, int], set[tuple[int, int]]]  # of samples: which images they share


def find_same_pixels(images: ImageIndex, facts: npt.NDArray[Any]) -> Iterator[Finding]:
    """Images of the first column with the same pixels: within a sample, and by pair of samples."""
    shared: Pairs = defaultdict(set)
    for group in _group_by_digest(
        facts["digest"], np.flatnonzero((images.column == 0) & facts["good"])
    ):
        by_sample = defaultdict(list)
        for image in group:
            by_sample[int(images.owner[image])].append(image)
        for same in by_sample.values():
            if len(same) > 1:
                yield images.finding("duplicate-view", "have the same pixels", *same)
        firsts = [same[0] for same in by_sample.values()]
        if len(firsts) > MAX_PAIRED_SAMPLES:
            yield _crowd_finding(images, firsts)
            continue
        for a, b in itertools.combinations(firsts, 2):
            shared[int(images.owner[a]), int(images.owner[b])].add((a, b))
    for samples, pairs in shared.items():
        yield _pair_finding(
            images, _duplicate_kind(images, samples), samples, pairs, "share {} views"
        )


def _group_by_digest(digests: npt.NDArray[np.bytes_], rows: Numbers) -> Iterator[list[int]]:
    """The images of each digest that several have, in the order of the first ones."""
    _, first, codes, counts = np.unique(
        digests[rows], return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(counts) - counts
    several = np.flatnonzero(counts > 1)
    for code in several[np.argsort(first[several])]:
        yield rows[order[starts[code] : starts[code] + counts[code]]].tolist()


def _duplicate_kind(images: ImageIndex, samples: tuple[int, ...]) -> str:
    if len({*images.split[[*samples]].tolist()}) > 1:
        return "leakage"
    labels = {*images.label[[*samples]].tolist()} - {NO_LABEL}
    return "contradiction" if len(labels) > 1 else "duplicate"


def _crowd_finding(images: ImageIndex, firsts: list[int]) -> Finding:
    samples = tuple(images.owner[firsts].tolist())
    splits = [images.splits[i] for i in sorted({*images.split[[*samples]].tolist()})]
    found = f"{len(samples):,} samples of {' and '.join(splits)} share an image"
    return images.finding(
        _duplicate_kind(images, samples), found + _class_clause(images, samples), *firsts
    )


def _class_clause(images: ImageIndex, samples: tuple[int, ...]) -> str:
    labels = sorted({*images.label[[*samples]].tolist()} - {NO_LABEL})
    names = [images.class_names[label] for label in labels]
    return f", of the classes {' and '.join(names)}" if len(names) > 1 else ""


def _pair_finding(
    images: ImageIndex, kind: str, samples: tuple[int, int], pairs: set[tuple[int, int]], verb: str
) -> Finding:
    a, b = (images.samples[sample] for sample in samples)
    n = min(len({*side}) for side in zip(*pairs, strict=True))
    of = " and ".join(str(count) for count in dict.fromkeys(images.views[[*samples]].tolist()))
    found = f"{a} and {b} {verb.format(f'{n} of {of}')}{_class_clause(images, samples)}"
    in_turn = [image for pair in sorted(pairs) for image in pair]
    return images.finding(kind, found, *in_turn)


def find_look_alikes(
    images: ImageIndex, facts: npt.NDArray[Any], known_pairs: set[tuple[str, ...]]
) -> Iterator[Finding]:
    """Pairs of samples in different splits with images that are much alike, by their perceptual
    hashes. Plain images are not compared.

    Args:
        images: All images.
        facts: (N,) FACTS of them.
        known_pairs: Pairs of samples that share an image, which are left out.
    """
    shared: Pairs = defaultdict(set)
    comparable = facts["good"] & ~facts["plain"] & (images.column == 0)
    split = images.split[images.owner]
    # Each picture once a split: a copy is found by its pixels.
    rows = [np.flatnonzero(comparable & (split == i)) for i in range(len(images.splits))]
    rows = [own[np.unique(facts["digest"][own], return_index=True)[1]] for own in rows]
    candidates = (
        _find_near_images(facts, left, right) for left, right in itertools.combinations(rows, 2)
    )
    for i, j in itertools.chain.from_iterable(candidates):
        for a, b in zip(i.tolist(), j.tolist(), strict=True):
            samples = int(images.owner[a]), int(images.owner[b])
            if (images.samples[samples[0]], images.samples[samples[1]]) not in known_pairs:
                shared[samples].add((a, b))
        if len(shared) >= MAX_SUSPECTS:
            yield Finding("suspect", f"the search ended after {len(shared):,} pairs of samples")
            break
    for samples in sorted(shared):
        yield _pair_finding(images, "suspect", samples, shared[samples], "look alike in {} views")


def _find_near_images(
    facts: npt.NDArray[Any], left: Numbers, right: Numbers
) -> Iterator[tuple[Numbers, ...]]:
    """The look-alikes among two lists of images, some of them several times."""
    for i, j in _find_close_hashes(facts["phash"][left], facts["phash"][right]):
        a, b = left[i], right[j]
        is_alike = _cosines(facts["waves"][a], facts["waves"][b]) >= MIN_COSINE
        is_alike &= facts["digest"][a] != facts["digest"][b]
        yield a[is_alike], b[is_alike]


def _find_close_hashes(
    left: npt.NDArray[Any], right: npt.NDArray[Any]
) -> Iterator[tuple[Numbers, Numbers]]:
    """All (i, j) for which left[i] and right[j] differ in at most MAX_DIFFERENT_BITS bits; some of
    them several times.

    Two such hashes are equal in at least one of MAX_DIFFERENT_BITS + 1 bands of bits.
    """
    bands = MAX_DIFFERENT_BITS + 1
    for low, high in itertools.pairwise(64 * i // bands for i in range(bands + 1)):
        mask = np.uint64((1 << high) - (1 << low))
        order = np.argsort(left & mask, kind="stable")
        ordered = left[order]
        first = np.searchsorted(ordered & mask, right & mask, "left")
        counts = np.searchsorted(ordered & mask, right & mask, "right") - first
        ends = np.cumsum(counts)
        cuts = np.searchsorted(
            ends, np.arange(BLOCK_PAIRS, ends[-1] if len(ends) else 0, BLOCK_PAIRS)
        )
        for rows in np.split(np.arange(len(right)), np.unique(cuts)):
            n = counts[rows]
            i = np.arange(n.sum()) + np.repeat(first[rows] - np.cumsum(n) + n, n)
            differing = np.bitwise_count(ordered[i] ^ np.repeat(right[rows], n))
            close = np.flatnonzero(differing <= MAX_DIFFERENT_BITS)
            yield order[i[close]], np.repeat(rows, n)[close]


def _cosines(left: npt.NDArray[np.int8], right: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    a, b = left.astype("f4"), right.astype("f4")
    lengths: npt.NDArray[np.float32] = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dots: npt.NDArray[np.float32] = np.einsum("ij,ij->i", a, b)
    return dots / lengths
