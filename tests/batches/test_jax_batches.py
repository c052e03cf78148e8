"""JaxBatches: device arrays of the pixels that Pillow reads, an epoch a pass."""

import datasets
import numpy as np
import pytest

from multiview_cifar_tools.batches.augment import ColorJitter, RandomCropFlip
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.batches.samplers import PKSampler, SizeSampler
from multiview_cifar_tools.flat_png import flat_png
from pictures import encoded, expected, make_masked, make_rows, png


@pytest.fixture
def jax():
    """Imported late; see `pytest_collection_modifyitems`."""
    import jax

    return jax


@pytest.fixture
def JaxBatches(jax):
    from multiview_cifar_tools.batches.jax import JaxBatches

    return JaxBatches


def numbers(batches):
    return [int(name[4:]) for batch in batches for name in batch["sample_id"]]


@pytest.mark.parametrize("encode", [flat_png, png])
def test_equal_samples(jax, JaxBatches, encode):
    ds = make_rows([2] * 7, encode)
    batches = JaxBatches(ds, 3, columns=["label", "sample_id"])
    assert len(batches) == 3
    seen = list(batches)
    assert numbers(seen) == list(range(7))
    for batch in seen:
        assert isinstance(batch["images"], jax.Array)
        assert batch["images"].dtype == np.uint8
        samples = numbers([batch])
        assert np.array_equal(batch["images"], expected(ds, samples))
        assert batch["view_mask"].all()
        assert batch["label"].tolist() == [ds[i]["label"] for i in samples]


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_grey(JaxBatches, mode):
    ds = make_rows([2, 2], lambda image: encoded(image, "tiff"), mode)
    (batch,) = JaxBatches(ds, 2)
    assert np.array_equal(batch["images"], expected(ds, [0, 1]))
    assert batch["images"].dtype == expected(ds, [0])[0][0].dtype


@pytest.mark.parametrize("encode", [flat_png, png])
def test_held_batches_stay_as_they_are(JaxBatches, encode):
    """JAX may take an array as it is, and its memory is used again once nobody holds it."""
    ds = make_rows([1] * 6, encode, size=(130, 131))
    for epoch in range(2):
        for i, batch in enumerate(list(JaxBatches(ds, 1))):
            assert np.array_equal(batch["images"], expected(ds, [i])), epoch


def test_a_fast_transform(JaxBatches):
    ds = make_rows([1, 1], lambda image: encoded(image, "jpeg"), size=(64, 48))
    (fast,), (exact,) = JaxBatches(ds, 2, dct="fast"), JaxBatches(ds, 2)
    assert np.array_equal(fast["images"], BatchReader(ds, dct="fast")[:]["images"])
    assert not np.array_equal(fast["images"], exact["images"])


def test_ragged_samples(jax, JaxBatches):
    ds = make_rows([2, [True, None, True], 1])
    for ragged in ("pad", "flat", "list"):
        (batch,) = JaxBatches(ds, 3, ragged=ragged)
        right = BatchReader(ds, ragged=ragged)[[0, 1, 2]]
        for name in ("images", "view_mask", *["offsets"] * (ragged == "flat")):
            jax.tree.map(np.testing.assert_array_equal, batch[name], right[name])
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(batch))


def test_each_pass_is_an_epoch(JaxBatches):
    options = {"shuffle": True, "seed": 3, "columns": ["sample_id"], "augment": RandomCropFlip(1)}
    batches = JaxBatches(make_rows([1] * 20), 4, **options)
    epochs = [list(batches) for _ in range(2)]
    orders = [numbers(epoch) for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]
    batches.set_epoch(0)
    for batch, again in zip(epochs[0], batches, strict=True):
        assert batch["sample_id"] == again["sample_id"]
        assert np.array_equal(batch["images"], again["images"])


def test_short_batches_are_dropped(JaxBatches):
    batches = JaxBatches(make_rows([1] * 7), 3, drop_last=True)
    assert len(batches) == len(list(batches)) == 2


def test_a_device_of_ones_choice(jax, JaxBatches, fails):
    device = jax.devices()[0]
    sharding = jax.sharding.SingleDeviceSharding(device)
    for place in (device, sharding):
        (batch,) = JaxBatches(make_rows([1] * 2), 2, device=place)
        assert batch["images"].devices() == {device}
    for place in ("cpu", 0, [device]):
        with fails("BatchError", "device=", "is not right. Expected one of jax.devices()"):
            JaxBatches(make_rows([1] * 2), 2, device=place)


def test_errors_are_told(JaxBatches, fails):
    with fails("BatchError", "View '0' (0) of cat/0"):
        list(JaxBatches(make_rows([1], lambda _: b"no image"), 1))
    for size in (0, "4", None, 2.0):
        with fails("BatchError", f"batch_size={size!r} is not right"):
            JaxBatches(make_rows([1]), size)
    with fails("BatchError", "no option 'shufle'. Did you mean 'shuffle'?"):
        JaxBatches(make_rows([1]), 1, shufle=True)
    batches = JaxBatches(make_rows([1]), 1)
    for epoch in (-1, 1.5, None):
        with fails("BatchError", f"epoch={epoch!r} is not right"):
            batches.set_epoch(epoch)
    for rows in ({"train": make_rows([1])}, "photos", make_rows([1]).to_iterable_dataset()):
        with fails("BatchError", "JaxBatches takes one datasets.Dataset, found"):
            JaxBatches(rows, 1)


def test_a_sampler(JaxBatches, fails):
    ds = make_rows([2] * 12)
    sampler = PKSampler(ds["label"], 2, 2, seed=1)
    batches = JaxBatches(ds, sampler=sampler, columns=["sample_id"])
    assert len(batches) == 3
    passes = [numbers(batches) for _ in range(3)]
    assert sampler.epoch == 3  # a pass counts it up
    for epoch, seen in enumerate(passes):
        sampler.set_epoch(epoch)
        assert seen == [i for batch in sampler for i in batch]
    batches.set_epoch(1)
    assert numbers(batches) == passes[1]
    lists = JaxBatches(ds, sampler=[[3], [4, 5]], columns=["sample_id"])
    assert numbers(lists) == numbers(lists) == [3, 4, 5]
    with fails("BatchError", "batch_size=None is not right"):
        JaxBatches(ds)


def test_sizes_that_differ(JaxBatches):
    ds = datasets.concatenate_datasets([make_rows([1, 1], size=size) for size in ((5, 4), (8, 9))])
    batches = JaxBatches(ds, sampler=SizeSampler(ds, 4))
    assert sorted(batch["images"].shape for batch in batches) == [(2, 1, 4, 5, 3), (2, 1, 9, 8, 3)]


def test_views_columns_and_numbers_of_each_view(jax, JaxBatches):
    ds = make_masked([3, 4, 5])
    angles = datasets.Sequence(datasets.Value("float32"))
    ds = ds.add_column("angle", [[1.5] * n for n in (3, 4, 5)], feature=angles)
    options = {
        "columns": ["view_names", "angle", "masks", "plan"],
        "num_views": 3,
        "view_sampling": "random",
        "copies": 2,
        "copy_views": "different",
        "augment": {"images": [RandomCropFlip(2), ColorJitter()], "masks": RandomCropFlip(2)},
    }
    reader = BatchReader(ds, **options)
    batches = JaxBatches(ds, 3, **options)
    for epoch in range(2):
        (batch,), right = batches, reader.read(range(3), epoch)
        for name in ("images", "masks", "plan", "angle", "view_mask"):
            assert isinstance(batch[name], jax.Array)
            assert np.array_equal(batch[name], right[name])
        assert batch["view_names"] == right["view_names"]
