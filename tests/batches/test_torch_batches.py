"""TorchBatches: the stock DataLoader, samplers and workers, on the pixels that Pillow reads."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

import multiview_cifar
from multiview_cifar_tools.batches.pytorch import TorchBatches, TorchStream
from multiview_cifar_tools.batches.samplers import BalancedSampler, PKSampler
from multiview_cifar_tools.flat_png import flat_png
from pictures import encoded, expected, make_rows, png

# torchdata calls what torch has deprecated.
STATEFUL = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@pytest.fixture
def rows(make_tree, tmp_path):
    """Ten samples of three views as flat PNG, built."""
    tree = make_tree(
        *(f"{c}/{i}/{v}.png" for c in ("cat", "dog") for i in range(5) for v in range(3))
    )
    return multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", encoding="flat_png", cache_dir=str(tmp_path / "cache")
    )


def pixels(ds, sample):
    """(V, C, H, W) uint8 of one row, as `datasets` decodes it."""
    return np.stack(expected(ds, [sample])[0]).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch(rows, workers):
    loader = DataLoader(
        TorchBatches(rows, columns=["label", "sample_id"]),
        batch_size=4,
        shuffle=True,
        num_workers=workers,
    )
    seen = {}
    for batch in loader:
        assert batch["images"].dtype == torch.uint8
        assert batch["images"].shape[1:] == (3, 3, 4, 4)
        assert batch["view_mask"].all()
        for name, images, label in zip(
            *(batch[n] for n in ("sample_id", "images", "label")), strict=True
        ):
            seen[name] = images, label
    assert len(seen) == len(rows)
    for i, row in enumerate(rows):
        images, label = seen[row["sample_id"]]
        assert np.array_equal(images.numpy(), pixels(rows, i))
        assert label == row["label"]


def test_it_shows_what_it_holds(rows):
    assert repr(TorchBatches(rows)) == "TorchBatches(10 samples, images in images)"
    assert repr(TorchBatches(rows).reader) == "BatchReader(10 samples, images in images)"


def test_the_images_are_a_channels_last_view(rows):
    images = next(iter(DataLoader(TorchBatches(rows), batch_size=4)))["images"]
    assert images.stride()[-3] == 1
    copied = next(iter(DataLoader(TorchBatches(rows, contiguous=True), batch_size=4)))["images"]
    assert copied.is_contiguous()
    assert torch.equal(images, copied)


def test_floats(rows):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    data = TorchBatches(rows, dtype=torch.float32, mean=mean, std=std)
    images = data.__getitems__([3])[0]["images"][0].numpy()
    right = pixels(rows, 3) / 255
    right = (right - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert images.dtype == np.float32
    assert np.allclose(images, right, atol=1e-5)
    with pytest.raises(ValueError, match="floating dtype"):
        TorchBatches(rows, mean=mean)


@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize(("mode", "largest"), [("I;16", 65535), ("I", 1), ("F", 1)])
def test_deep_grey(mode, largest, contiguous):
    """16 bits are scaled to 0..1 as 8 are, what has no fixed range stays as it is."""
    encode = flat_png if mode == "I;16" else lambda image: encoded(image, "tiff")
    ds = make_rows([2, 1], encode, mode)
    right = pixels(ds, 0)
    images = TorchBatches(ds, contiguous=contiguous).__getitems__([0])[0]["images"][0].numpy()
    assert images.dtype == right.dtype and np.array_equal(images, right)
    for dtype in (torch.float32, torch.float16)[: 2 if mode == "I;16" else 1]:
        data = TorchBatches(ds, contiguous=contiguous, dtype=dtype)
        images = data.__getitems__([0])[0]["images"]
        assert images.dtype == dtype
        assert np.allclose(images[0].numpy(), right / largest, rtol=1e-3)


@pytest.mark.parametrize("ragged", ["pad", "flat", "list", "error"])
def test_one_sample(rows, ragged):
    sample = TorchBatches(rows, ragged=ragged)[7]
    assert np.array_equal(sample["images"].numpy(), pixels(rows, 7))
    assert sample["view_mask"].tolist() == [True] * 3
    assert sample["label"] == rows[7]["label"]


def test_samplers(rows):
    data = TorchBatches(rows, columns=["sample_id"])
    shares = [
        [
            name
            for batch in DataLoader(
                data,
                batch_size=2,
                sampler=DistributedSampler(data, num_replicas=2, rank=rank, shuffle=True),
            )
            for name in batch["sample_id"]
        ]
        for rank in range(2)
    ]
    assert sorted(sum(shares, [])) == sorted(rows["sample_id"])
    sampler = BatchSampler(RandomSampler(data), batch_size=5, drop_last=True)
    assert [len(batch["sample_id"]) for batch in DataLoader(data, batch_sampler=sampler)] == [5, 5]


@STATEFUL
@pytest.mark.parametrize("loader", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_samplers_of_batches(rows, loader, workers):
    sampler = PKSampler(rows["label"], 2, 2, seed=1)
    loaded = loader(
        TorchBatches(rows, columns=["label", "sample_id"]),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    assert len(loaded) == len(sampler) == 2
    for epoch in range(2):
        sampler.set_epoch(epoch)
        alone = PKSampler(rows["label"], 2, 2, seed=1)
        alone.set_epoch(epoch)
        seen = [batch["sample_id"] for batch in loaded]
        assert seen == [[rows[i]["sample_id"] for i in numbers] for numbers in alone]


@STATEFUL
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_goes_on_with_a_sampler(rows, workers):
    def make():
        return StatefulDataLoader(
            TorchBatches(rows, columns=["sample_id"]),
            batch_sampler=BalancedSampler(rows["label"], 2, seed=1),
            num_workers=workers,
        )

    whole = [batch["sample_id"] for batch in make()]
    before, after = make(), make()
    seen = [batch["sample_id"] for batch in itertools.islice(before, 2)]
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert seen + [batch["sample_id"] for batch in after] == whole


def test_a_sampler_of_single_samples_by_others(rows):
    """Of pytorch-metric-learning, whose samplers give a sample at a time."""
    samplers = pytest.importorskip("pytorch_metric_learning.samplers")
    sampler = samplers.MPerClassSampler(rows["label"], m=2, batch_size=4, length_before_new_iter=8)
    data = TorchBatches(rows, columns=["label"])
    batches = [*DataLoader(data, batch_size=4, sampler=sampler, num_workers=0)]
    assert [sorted(batch["label"].tolist()) for batch in batches] == [[0, 0, 1, 1]] * 2
    fixed = samplers.FixedSetOfTriplets(rows["label"], num_triplets=4)
    assert sum(len(batch["label"]) for batch in DataLoader(data, batch_size=3, sampler=fixed)) == 12


@pytest.mark.parametrize("encode", [flat_png, png])
def test_ragged(encode):
    ds = make_rows([2, 1, 3], encode)
    (padded,) = DataLoader(TorchBatches(ds), batch_size=3)
    assert padded["images"].shape == (3, 3, 3, 4, 5)
    assert padded["view_mask"].sum(1).tolist() == [2, 1, 3]
    (flat,) = DataLoader(TorchBatches(ds, ragged="flat"), batch_size=3)
    assert flat["offsets"].tolist() == [0, 2, 3, 6]
    (listed,) = DataLoader(TorchBatches(ds, ragged="list"), batch_size=3)
    assert torch.equal(torch.cat(listed["images"]), flat["images"])
    assert torch.equal(padded["images"][padded["view_mask"]], flat["images"])


def test_an_error_in_a_worker_says_what_is_wrong():
    ds = make_rows([1, 1], lambda image: b"no image")
    with pytest.raises(ValueError, match=r"View '0' \(0\) of cat/0 is not an image"):
        list(DataLoader(TorchBatches(ds), batch_size=2, num_workers=1))


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream(make_tree, workers):
    paths = [f"{c}/{i}/{v}.png" for c in ("cat", "dog") for i in range(5) for v in range(1 + i % 2)]
    tree = str(make_tree(*paths))
    stream = multiview_cifar.load_dataset(data_dir=tree, split="train", streaming=True)
    data = TorchStream(stream, batch_size=3, columns=["label", "sample_id"], contiguous=True)
    seen = {}
    for batch in DataLoader(data, batch_size=None, num_workers=workers):
        assert batch["images"].shape[1:] in ((2, 3, 4, 4), (1, 3, 4, 4))
        assert len(batch["images"]) <= 3
        for i, name in enumerate(batch["sample_id"]):
            seen[name] = batch["images"][i][batch["view_mask"][i]].numpy(), int(batch["label"][i])
    rows = {row["sample_id"]: row for row in stream}
    assert sorted(seen) == sorted(rows)
    for name, (images, label) in seen.items():
        right = [np.asarray(image).transpose(2, 0, 1) for image in rows[name]["images"]]
        assert np.array_equal(images, np.stack(right))
        assert label == rows[name]["label"]


def test_a_stream_in_order_and_shuffled(make_tree):
    tree = str(make_tree(*(f"cat/{i}/0.png" for i in range(7))))
    stream = multiview_cifar.load_dataset(data_dir=tree, split="train", streaming=True)

    def names(stream):
        return [b["sample_id"] for b in TorchStream(stream, 3, columns=["sample_id"])]

    assert names(stream) == [[f"cat/{i}" for i in part] for part in ([0, 1, 2], [3, 4, 5], [6])]
    shuffled = sum(names(stream.shuffle(seed=1, buffer_size=7)), [])
    assert sorted(shuffled) == sum(names(stream), []) != shuffled


def test_wrong_streams(fails, make_tree):
    tree = str(make_tree("cat/0/0.png"))
    stream = multiview_cifar.load_dataset(data_dir=tree, split="train", streaming=True)
    with fails("BatchError", "'masks'", "images"):
        TorchStream(stream, 2, column="masks")
    with fails("BatchError", "batch_size=0"):
        TorchStream(stream, 0)
    with fails("BatchError", "features"):
        TorchStream(stream.map(lambda row: row), 2)


# --- indices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sampler_of_batches(rows, workers):
    """As PyTorch's documentation loads in bulk; and as a `batch_sampler`."""
    data = TorchBatches(rows, columns=["label", "sample_id"])
    for how in ("sampler", "batch_sampler"):
        batches = BatchSampler(RandomSampler(data), 4, drop_last=False)
        size = {"batch_size": None} if how == "sampler" else {}
        loader = DataLoader(data, num_workers=workers, **{how: batches}, **size)
        seen = list(loader)
        assert [tuple(batch["images"].shape) for batch in seen] == [
            (count, 3, 3, 4, 4) for count in (4, 4, 2)
        ]
        ids = [name for batch in seen for name in batch["sample_id"]]
        assert sorted(ids) == rows["sample_id"][:]
    singles = list(DataLoader(data, batch_size=None))
    assert [sample["sample_id"] for sample in singles] == rows["sample_id"][:]
    assert singles[0]["images"].shape == (3, 3, 4, 4)


def test_tensors_slices_and_masks_select(rows):
    data = TorchBatches(rows)
    labels = data[:]["label"]
    assert labels.tolist() == [0] * 5 + [1] * 5
    dogs = data[labels == 1]["images"]
    assert torch.equal(dogs, data[5:]["images"])
    assert torch.equal(dogs, data[torch.arange(5, 10)]["images"])
    assert torch.equal(dogs[1], data[torch.tensor(6)]["images"])
    assert torch.equal(torch.utils.data.Subset(data, range(5, 10))[[0, 1]]["images"], dogs[:2])
    nested = data[[[5, 6], [7, 8]]]
    assert torch.equal(nested["images"], dogs[:4].reshape(2, 2, 3, 3, 4, 4))
    assert nested["label"].tolist() == [[1, 1], [1, 1]]


def test_a_loader_that_would_batch_twice(rows, fails):
    data = TorchBatches(rows)
    batches = BatchSampler(RandomSampler(data), 4, drop_last=False)
    for size in (1, 3):  # of which 3 has a batch that is shorter
        with fails("BatchError", "batch twice", "batch_sampler=sampler", "batch_size=None"):
            list(DataLoader(data, sampler=batches, batch_size=size))
    with fails("BatchError", "batch_sampler gives single samples", "sampler=sampler"):
        list(DataLoader(data, batch_sampler=RandomSampler(data)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_stream_are_not_batched_again(fails, workers):
    stream = TorchStream(make_rows([1] * 4).to_iterable_dataset(), 2)
    for size in (1, 3):
        with fails("BatchError", "batch twice", "DataLoader(..., batch_size=None)"):
            list(DataLoader(stream, batch_size=size, num_workers=workers))
    assert [len(batch["label"]) for batch in DataLoader(stream, batch_size=None)] == [2, 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": "float32"}, "dtype='float32' is not right"),
        ({"dtype": np.float32}, "Expected one of PyTorch's"),
        ({"mean": 0.5}, "mean=0.5 is not right. Expected one number a channel"),
        ({"std": "0.5"}, "std='0.5' is not right"),
        ({"std": [[0.5], [0.5]]}, "std=[[0.5], [0.5]] is not right"),
        ({"mean": [0.5, np.nan, 0.5]}, "mean=[0.5, nan, 0.5] is not right"),
        ({"std": [0.5, 0, 0.5]}, "std=[0.5, 0, 0.5] is not right. Expected numbers above 0"),
        ({"std": [0.5, -1, 0.5]}, "std=[0.5, -1, 0.5] is not right. Expected numbers above 0"),
        ({"mean": [0.5], "dtype": torch.uint8}, "mean needs a floating dtype, found torch.uint8"),
    ],
)
def test_wrong_tensor_options(rows, fails, options, says):
    with fails("BatchError", says):
        TorchBatches(rows, **{"dtype": torch.float32, **options})
    with fails("BatchError", "2 numbers", "3 channels"):
        TorchBatches(rows, dtype=torch.float32, mean=[0.5, 0.5])[0]


def test_mean_and_std_as_tensors(rows):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    lists = TorchBatches(rows, dtype=torch.float32, mean=mean, std=std)[:]["images"]
    for make in (torch.tensor, np.array):
        data = TorchBatches(rows, dtype=torch.float32, mean=make(mean), std=make(std))
        assert torch.allclose(data[:]["images"], lists)
