"""Batches in memory that is used again: never what somebody still holds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview_cifar_tools import BatchReader, TorchBatches
from multiview_cifar_tools.batches import columns
from multiview_cifar_tools.flat_png import flat_png
from pictures import expected, make_rows, png
from sampling import examples

KINDS = {
    "flat": (flat_png, "RGB", [1] * 5),
    "16 bits": (flat_png, "I;16", [1] * 5),
    "encoded": (png, "RGB", [1] * 5),
    "padded": (flat_png, "RGB", [1, 2, 1, 2, 1]),
}


@pytest.fixture(params=KINDS)
def rows(request, monkeypatch):
    """Samples so large that their memory is used again, as if few of them were many."""
    monkeypatch.setattr(columns, "LARGE_PART", 1)
    encode, mode, views = KINDS[request.param]
    return make_rows(views, encode, mode, size=(130, 131))


@pytest.fixture(params=["one thread", "two threads"])
def threads(request):
    return 1 if request.param == "one thread" else 2


def address(batch):
    return batch["images"].__array_interface__["data"][0]


def is_right(ds, samples, images):
    views = expected(ds, samples)
    return all(np.array_equal(images[i, : len(row)], row) for i, row in enumerate(views))


def test_batches_that_are_held_keep_their_pixels(rows, threads):
    reader = BatchReader(rows, num_threads=threads)

    @given(st.lists(st.tuples(st.lists(st.integers(0, 4), min_size=1), st.booleans())))
    @examples(10)
    def hold_some(batches):
        held = [(samples, reader[samples]["images"]) for samples, is_held in batches if is_held]
        for samples, is_held in batches:
            images = reader[samples]["images"]
            if is_held:
                held.append((samples, images[1:2]))  # a part holds all of it
        whole = len(held) // 2
        assert all(is_right(rows, samples, images) for samples, images in held[:whole])
        assert all(is_right(rows, samples[1:2], images) for samples, images in held[whole:])

    hold_some()


def test_a_loop_takes_turns_with_two_batches_of_memory(rows):
    reader = BatchReader(rows)
    addresses = [address(batch) for batch in reader.batches(1)]
    addresses += [address(batch) for batch in reader.batches(1)]
    assert len({*addresses}) <= 4 < len(addresses)


def test_tensors_hold_their_memory(rows):
    data = TorchBatches(rows)
    held = [data[[i]]["images"].flatten(0, 1)[0] for i in range(5)]
    list(data.reader.batches(2))
    for i, image in enumerate(held):
        assert np.array_equal(image.movedim(0, -1), expected(rows, [i])[0][0])


def test_memory_does_not_grow_with_the_batches_that_were_held(rows):
    reader = BatchReader(rows)
    held = [reader[[0]] for _ in range(10)]
    del held
    again = [reader[[0]] for _ in range(10)]
    assert len({address(batch) for batch in again}) == 10
    assert len(reader._images._buffers._free) <= 2


LAST = """
import sys
from multiview_cifar_tools import BatchReader
from multiview_cifar_tools.batches import buffers, columns
from pictures import make_rows

columns.LARGE_PART = 1
batch = BatchReader(make_rows([1], size=(130, 131)))[[0]]
sys.module = buffers  # so that Python empties the module, before it lets go of the batch
"""


def test_a_batch_that_is_held_until_the_end_says_nothing():
    helpers = Path(__file__).parents[1] / "helpers"
    command = [sys.executable, "-c", LAST]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": f"{helpers}"}, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
