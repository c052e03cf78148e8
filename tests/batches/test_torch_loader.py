"""TorchLoader: the batches of TorchBatches, read by a thread ahead of the loop."""

import threading
import warnings

import numpy as np
import pytest
import torch

from multiview_cifar_tools import BatchError, PKSampler, TorchBatches, TorchLoader
from multiview_cifar_tools.flat_png import flat_png
from pictures import make_rows, png

COLUMNS = ["label", "sample_id"]


def ids(batches):
    return [name for batch in batches for name in batch["sample_id"]]


class Counting:
    """An augmentation that counts the batches that were read."""

    def __init__(self):
        self.batches, self.threads = 0, set()
        self.condition = threading.Condition()

    def __call__(self, images, seeds):
        with self.condition:
            self.batches += 1
            self.threads.add(threading.current_thread())
            self.condition.notify_all()
        return images

    def wait_for(self, batches):
        with self.condition:
            return self.condition.wait_for(lambda: self.batches >= batches, timeout=60)


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize("options", [{}, {"dtype": torch.float32, "contiguous": True}])
def test_batches_are_those_of_torch_batches(encode, options):
    ds = make_rows([2, 1, 2, 2, 1], encode)
    seen = list(TorchLoader(ds, 2, columns=COLUMNS, **options))
    data = TorchBatches(ds, columns=COLUMNS, **options)
    assert len(seen) == 3 and all(type(batch) is dict for batch in seen)
    for batch, samples in zip(seen, [[0, 1], [2, 3], [4]], strict=True):
        right = data[samples]
        assert batch.keys() == right.keys() and batch["sample_id"] == right["sample_id"]
        for name in ("images", "view_mask", "label"):
            assert batch[name].dtype == right[name].dtype and torch.equal(batch[name], right[name])


def test_each_pass_is_another_epoch():
    ds = make_rows([1] * 20)
    loader = TorchLoader(ds, 8, shuffle=True, drop_last=True, columns=COLUMNS)
    first, second = ids(loader), ids(loader)
    assert len(loader) == 2 and len(first) == 16 and first != second
    loader.set_epoch(0)
    assert ids(loader) == first
    assert ids(TorchLoader(ds, 8, shuffle=True, drop_last=True, columns=COLUMNS, seed=1)) != first


def test_samplers():
    ds = make_rows([1] * 12)
    sampler = PKSampler(ds["label"], classes=2, samples=3)
    loader = TorchLoader(ds, sampler=sampler)
    assert len(loader) == len(sampler) == 2
    assert [batch["label"].bincount().tolist() for batch in loader] == [[3, 3]] * 2
    assert sampler.epoch == 1


@pytest.mark.parametrize("prefetch", [1, 3])
def test_batches_are_read_ahead_in_a_thread(prefetch):
    counting = Counting()
    loader = TorchLoader(make_rows([1] * 8), 1, prefetch=prefetch, augment=counting)
    batches = iter(loader)
    next(batches)
    assert counting.wait_for(1 + prefetch)
    assert counting.batches == 1 + prefetch
    assert threading.main_thread() not in counting.threads
    assert len(list(batches)) == 7 and counting.batches == 8


def test_a_loop_that_ends_early_leaves_no_thread():
    counting = Counting()
    batches = iter(TorchLoader(make_rows([1] * 50), 1, prefetch=2, augment=counting))
    next(batches)
    batches.close()
    assert not any(thread.is_alive() for thread in counting.threads)
    assert counting.batches <= 3


def test_an_error_comes_with_its_batch():
    ds = make_rows([1] * 4, png)
    rows = ds.to_list()
    rows[2]["images"][0]["bytes"] = b"no image"
    batches = iter(TorchLoader(type(ds).from_list(rows, features=ds.features), 1))
    assert [int(next(batches)["label"]) for _ in range(2)] == [0, 1]
    with pytest.raises(BatchError, match=r"View '0' \(0\) of cat/2 .* Expected an image"):
        next(batches)


def test_held_batches_stay_as_they_are():
    ds = make_rows([2] * 6, size=(130, 131))
    held = list(TorchLoader(ds, 1, prefetch=2))
    for i, batch in enumerate(held):
        assert np.array_equal(batch["images"], TorchBatches(ds)[[i]]["images"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_pinning_without_cuda_warns():
    ds = make_rows([1, 1])
    with pytest.warns(UserWarning, match="pin_memory=True, and there is no CUDA"):
        loader = TorchLoader(ds, 2, pin_memory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(loader)) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_pinned():
    (batch,) = TorchLoader(make_rows([2, 1]), 2, pin_memory=True, columns=COLUMNS)
    assert batch["images"].is_pinned() and batch["label"].is_pinned()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "batch_size=None is not right"),
        ({"batch_size": 0}, "batch_size=0 is not right"),
        ({"batch_size": 2, "prefetch": 0}, "prefetch=0 is not right"),
        ({"batch_size": 2, "pin_memory": 1}, "pin_memory=1 is not right"),
        ({"batch_size": 2, "num_vews": 2}, "Did you mean 'num_views'"),
        ({"batch_size": 2, "shufle": True}, "Did you mean 'shuffle'"),
        ({"batch_size": 2, "dtyp": torch.float32}, "Did you mean 'dtype'"),
    ],
)
def test_options(options, text):
    with pytest.raises(BatchError, match=text):
        TorchLoader(make_rows([1, 1]), **options)


def test_other_rows():
    with pytest.raises(BatchError, match=r"TorchStream\(stream, batch_size\)"):
        TorchLoader(make_rows([1, 1]).to_iterable_dataset(), 2)
