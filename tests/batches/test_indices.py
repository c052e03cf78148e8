"""What selects samples: whatever NumPy takes for an array of one dimension, and nothing else."""

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from multiview_cifar_tools import BatchReader
from pictures import make_rows
from sampling import examples

SAMPLES = 5
READER = BatchReader(make_rows([1, 2, 1, 0, 2], size=(2, 1)), columns=["sample_id", "label"])

number = st.integers(-SAMPLES, SAMPLES - 1)
numbers = st.lists(number, min_size=1, max_size=7)
bound = st.none() | st.integers(-SAMPLES - 2, SAMPLES + 2)
slices = st.builds(slice, bound, bound, bound.filter(lambda step: step != 0))
masks = st.lists(st.booleans(), min_size=SAMPLES, max_size=SAMPLES)
shapes = arrays.array_shapes(max_dims=3, max_side=3)
indices = st.one_of(
    number,
    st.builds(np.int16, number),
    numbers,
    st.builds(np.asarray, numbers),
    arrays.arrays(np.uint8, shapes, elements=st.integers(0, SAMPLES - 1)),
    arrays.arrays(np.int64, shapes, elements=number).map(np.ndarray.tolist),
    st.builds(range, st.integers(0, 2), st.integers(3, SAMPLES), st.integers(1, 3)),
    slices,
    masks,
    masks.map(np.array),
)


@examples(60)
@given(indices)
def test_an_index_selects_what_it_selects_of_an_array(index):
    selected = np.arange(SAMPLES)[index]
    if not np.size(selected):
        with pytest.raises(ValueError, match="selects none of the 5 samples"):
            READER[index]
        return
    batch = READER[index]
    ids = np.array([f"cat/{i}" for i in range(SAMPLES)])[selected]
    assert batch["sample_id"] == ids.tolist()
    assert np.array_equal(batch["label"], (np.arange(SAMPLES) % 2)[selected])
    flat = READER[np.ravel(selected)]
    for name in ("images", "view_mask"):
        assert batch[name].shape == np.shape(selected) + flat[name].shape[1:]
        assert np.array_equal(batch[name].ravel(), flat[name].ravel())


def test_other_kinds_of_lists_and_masks():
    for index in ((1, 3), datasets.Dataset.from_dict({"i": [1, 3]})["i"], np.uint64([1, 3])):
        assert READER[index]["sample_id"] == ["cat/1", "cat/3"]
    assert READER[READER.to_arrays()["label"] == 1]["sample_id"] == ["cat/1", "cat/3"]


def test_a_mask_of_selected_rows():
    """The mask is of the samples of the reader, whatever rows of the table they are."""
    ds = make_rows([1] * 4).select([3, 1, 2])
    assert BatchReader(ds)[[True, False, True]]["sample_id"] == ["cat/3", "cat/2"]


@pytest.mark.parametrize("ragged", ["flat", "list"])
def test_one_sample_and_lists_of_lists_of_ragged_batches(ragged):
    reader = BatchReader(make_rows([1, 2], size=(3, 2)), ragged=ragged)
    one = reader[1]
    assert one["images"].shape == (2, 2, 3, 3)
    assert (one["sample_id"], one["label"]) == ("cat/1", 1)
    assert "offsets" not in one
    nested = reader[[[1], [0]]]
    assert nested["sample_id"] == [["cat/1"], ["cat/0"]]
    if ragged == "flat":
        assert nested["offsets"].tolist() == [0, 2, 3]
        assert nested["images"].shape == (3, 2, 3, 3)
    else:
        assert [[len(images) for images in row] for row in nested["images"]] == [[2], [1]]


def test_iterating_gives_the_samples():
    assert [sample["sample_id"] for sample in READER] == [f"cat/{i}" for i in range(SAMPLES)]


@pytest.mark.parametrize(
    ("index", "says"),
    {
        "a float": (1.0, "1.0 holds no integers"),
        "floats": ([1.7], "[1.7] holds no integers"),
        "an array of floats": (np.array([1.0, 2.0]), "holds no integers"),
        "text": ("images", "'images' holds no integers"),
        "None": (None, "None holds no integers"),
        "a set": ({1, 2}, "{1, 2} holds no integers"),
        "a huge number": (2**70, "holds no integers"),
        "nothing": ([], "[] selects none of the 5 samples"),
        "an empty mask": ([False] * 5, "selects none of the 5 samples"),
        "a short mask": ([True, False], "[True, False] is a mask of 2 bools for 5 samples"),
        "a long mask": (np.ones(6, bool), "a mask of 6 bools for 5 samples"),
        "a mask of lists": (np.ones((5, 1), bool), "a mask of 5, 1 bools for 5 samples"),
        "one bool": (READER == 1, "False is one bool, no mask: compare an array"),
        "lists of several lengths": ([[1], [2, 3]], "[[1], [2, 3]] cannot be read"),
        "a slice of floats": (slice(1.5), "slice(None, 1.5, None) is not a slice of samples"),
        "a slice of no step": (slice(0, 3, 0), "is not a slice of samples"),
    }.values(),
)
def test_what_is_no_index(fails, index, says):
    with fails("BatchError", says, "Expected a list of sample numbers", "a slice, or a mask"):
        READER[index]


@pytest.mark.parametrize("index", [5, [0, -6], [[1, 2], [5, 0]], [2**40], np.uint64([2**64 - 1])])
def test_a_sample_that_is_not_there(index):
    with pytest.raises(IndexError, match="There are 5 samples, no sample "):
        READER[index]
