"""Augmentation: the pixels of a naive version of it, and the same ones on every run."""

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

import multiview_cifar
from multiview_cifar_tools.batches.augment import ColorJitter, RandomCropFlip, RandomRotate90
from multiview_cifar_tools.batches.pytorch import SeededTransform, TorchBatches, TorchStream
from multiview_cifar_tools.batches.reader import BatchReader
from pictures import make_rows, png


def all_changes(image, padding, flip):
    """Every outcome of the augmentation of one (H, W, C) image, as bytes."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    crops = [
        padded[y : y + height, x : x + width]
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
    ]
    mirrored = [crop[:, ::-1] for crop in crops] if flip else []
    return [np.ascontiguousarray(change).tobytes() for change in crops + mirrored]


@given(st.integers(0, 3), st.booleans(), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_each_outcome_is_one_of_the_right_ones(padding, flip, height, width, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, (6, height, width, 3), np.uint8)
    seeds = rng.integers(0, 1 << 64, 6, np.uint64)
    before = images.copy()
    changed = RandomCropFlip(padding, flip)(images, seeds)
    assert np.array_equal(images, before)
    for image, result in zip(images, changed, strict=True):
        assert result.tobytes() in all_changes(image, padding, flip)


def test_each_outcome_is_as_likely():
    image = np.random.default_rng(0).integers(1, 256, (1, 6, 6, 1), np.uint8)
    seeds = np.random.default_rng(1).integers(0, 1 << 64, 9000, np.uint64)
    changed = RandomCropFlip(1)(np.repeat(image, 9000, 0), seeds)
    counts = [0] * 18
    outcomes = all_changes(image[0], 1, True)
    for result in changed:
        counts[outcomes.index(result.tobytes())] += 1
    assert 400 < min(counts) <= max(counts) < 600


def test_one_draw_for_all_views_or_one_for_each():
    # Two views of one picture: changed alike or not.
    ds = make_rows([2] * 40, lambda _: png(Image.effect_noise((9, 9), 99).convert("RGB")))
    same = [
        [file, file]
        for file, _ in (
            [view["bytes"] for view in row] for row in ds.data.table["images"].to_pylist()
        )
    ]
    rows = [[{"bytes": file, "path": None} for file in files] for files in same]
    ds = ds.remove_columns("images").add_column("images", rows).cast(ds.features)
    for draws, alike in (("per_sample", 40), ("per_view", 6)):
        images = BatchReader(ds, augment=RandomCropFlip(2), draws=draws)[range(40)]["images"]
        assert sum(np.array_equal(*views) for views in images) in range(alike - 6, alike + 1)
    raw = BatchReader(ds)[range(40)]["images"]
    changed = BatchReader(ds, augment=RandomCropFlip(2))[range(40)]["images"]
    assert len({image[0].tobytes() for image in changed} & {i[0].tobytes() for i in raw}) < 6


@pytest.fixture
def rows(tmp_path):
    """Twelve samples of two or three noisy views, built as flat PNG."""
    for i in range(12):
        folder = tmp_path / "photos" / f"c{i % 2}" / f"s{i}"
        folder.mkdir(parents=True)
        for v in range(2 + i % 2):
            noise = np.random.default_rng([i, v]).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{v}.png")

    def load(**options):
        return multiview_cifar.load_dataset(
            data_dir=str(tmp_path / "photos"),
            split="train",
            encoding="flat_png",
            cache_dir=str(tmp_path / "cache"),
            **options,
        )

    return load


def images_by_sample(batches):
    return {
        name: images.tobytes()
        if isinstance(images, np.ndarray)
        else images.contiguous().numpy().tobytes()
        for batch in batches
        for name, images in zip(batch["sample_id"], batch["images"], strict=True)
    }


@pytest.mark.parametrize("draws", ["per_sample", "per_view"])
def test_the_same_whatever_the_order_and_the_workers(rows, draws):
    options = {
        "augment": RandomCropFlip(),
        "draws": draws,
        "columns": ["sample_id"],
        "seed": 5,
        "num_views": 3,
    }
    ds = rows()

    def torch_epoch(epoch, dataset=ds, workers=0, size=4, **more):
        data = TorchBatches(dataset, **{**options, **more})
        data.set_epoch(epoch)
        return images_by_sample(DataLoader(data, size, shuffle=True, num_workers=workers))

    first = torch_epoch(0)
    assert len(first) == 12
    assert torch_epoch(0, workers=2, size=3) == first
    assert torch_epoch(0, ds.shuffle(seed=2).select(range(7))).items() < first.items()
    assert torch_epoch(1) != first
    assert torch_epoch(0, seed=6) != first
    reader = BatchReader(ds, **options)
    in_numpy = {
        name: np.moveaxis(np.frombuffer(data, np.uint8).reshape(3, 8, 8, 3), -1, 1)
        for name, data in images_by_sample(reader.batches(5)).items()
    }
    assert {name: image.tobytes() for name, image in in_numpy.items()} == first


def test_workers_that_stay_see_the_epoch(rows):
    data = TorchBatches(rows(), augment=RandomCropFlip(), columns=["sample_id"])
    loader = DataLoader(data, 4, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        epochs.append(images_by_sample(loader))
    assert epochs[0] == epochs[2] != epochs[1]


def test_a_stream_is_changed_as_the_rows_are(rows):
    options = {
        "augment": RandomCropFlip(),
        "draws": "per_view",
        "columns": ["sample_id"],
        "num_views": 3,
    }
    built = TorchBatches(rows(), **options)
    stream = TorchStream(rows(streaming=True), 5, **options)
    for epoch in (0, 1):
        built.set_epoch(epoch)
        stream.set_epoch(epoch)
        right = images_by_sample(DataLoader(built, 4))
        for workers in (0, 2):
            loader = DataLoader(stream, batch_size=None, num_workers=workers)
            assert images_by_sample(loader) == right


def test_rows_without_ids_are_told_by_their_images(rows):
    options = {"augment": RandomCropFlip(), "num_views": 3, "seed": 3}
    ds = rows().select_columns(["images"])
    reader = BatchReader(ds, **options)
    right = [reader[[i]]["images"][0].tobytes() for i in range(12)]
    assert len({*right}) == 12
    for order in (ds.shuffle(seed=1), ds.select([11, 3, 5])):
        found = BatchReader(order, **options)[range(len(order))]["images"]
        assert {image.tobytes() for image in found} <= {*right}
    stream = TorchStream(ds.to_iterable_dataset(), 5, **options)
    streamed = [image for batch in stream for image in batch["images"].movedim(2, -1).contiguous()]
    assert [image.numpy().tobytes() for image in streamed] == right


def test_a_callable_of_ones_own():
    def noise(images, seeds):
        drawn = [np.random.default_rng(seed).normal(0, 9, images.shape[1:]) for seed in seeds]
        return np.clip(images + drawn, 0, 255).astype(np.uint8)

    ds = make_rows([2, [True, None], 1])
    reader = BatchReader(ds, augment=noise, draws="per_view")
    first, again = reader[[0, 1, 2]], reader[[2, 0]]
    assert np.array_equal(first["images"][[2, 0]], again["images"])
    assert not first["images"][~first["view_mask"]].any()
    assert (first["images"] != BatchReader(ds)[[0, 1, 2]]["images"]).mean() > 0.4


def test_two_of_a_kind_draw_each_for_itself():
    ds = make_rows([2] * 200, lambda image: png(image.resize((4, 4))))
    before = BatchReader(ds)[:]["images"]
    turned = BatchReader(ds, augment=[RandomRotate90(), RandomRotate90()])[:]["images"]
    turns = [
        next(k for k in range(4) if np.array_equal(np.rot90(image, k), result))
        for image, result in zip(before[:, 0], turned[:, 0], strict=True)
    ]
    assert min(np.bincount(turns, minlength=4)) > 30
    mirrors = [SeededTransform(lambda image, axis=axis: mirror(image, axis)) for axis in (1, 2)]
    mirrored = BatchReader(ds, augment=mirrors)[:]["images"]
    outcomes = [
        [np.array_equal(np.flip(image, axes), result) for axes in ((), 0, 1, (0, 1))].index(True)
        for image, result in zip(before[:, 0], mirrored[:, 0], strict=True)
    ]
    assert min(np.bincount(outcomes, minlength=4)) > 30


def mirror(image, axis):
    """Half of the images (C, H, W), by PyTorch's random numbers."""
    return image.flip(axis) if torch.rand(()) < 0.5 else image


def test_columns_with_the_same_steps_are_changed_alike():
    ds = make_rows([2] * 9, lambda image: png(image.resize((6, 6))))
    twin = ds.select_columns("images").rename_column("images", "twin")
    ds = datasets.concatenate_datasets([ds, twin], axis=1)
    crop, turn = RandomCropFlip(2), RandomRotate90()
    augment = {"images": [turn, crop, turn], "twin": [turn, ColorJitter(0, 0, 0), crop, turn]}
    batch = BatchReader(ds, columns=["twin"], augment=augment)[:]
    assert np.array_equal(batch["images"], batch["twin"])


def test_a_callable_that_loses_an_image(fails):
    with fails("BatchError", "augment made (1, 4, 5, 3) of images (2, 4, 5, 3)"):
        BatchReader(make_rows([2]), augment=lambda images, seeds: images[:1])[[0]]


def test_what_is_no_augmentation(fails):
    ds = make_rows([2])
    for augment in (RandomCropFlip, [RandomRotate90], {"images": ColorJitter}):
        with fails("BatchError", "is not right. Expected a callable of images and seeds"):
            BatchReader(ds, augment=augment)
    for augment in (lambda image: image, [len]):
        with fails("BatchError", "does not take images and seeds", "SeededTransform"):
            BatchReader(ds, augment=augment)
    for changed in (None, (1, [2, 3]), "images"):
        with fails("BatchError", "augment made ", "of images (2, 4, 5, 3). Expected as many"):
            BatchReader(ds, augment=lambda images, seeds, changed=changed: changed)[0]
    with fails("BatchError", "augment made ", "Expected as many"):  # as transforms of several do
        BatchReader(ds, augment=lambda *inputs: inputs)[0]


def test_transforms_that_give_no_image(fails):
    ds = make_rows([2])
    sizes = iter([3, 2])
    for transform, says in (
        (lambda image: None, "The transform made None. Expected a tensor (C, H, W)"),
        (lambda image: image[0], "The transform made (4, 5). Expected a tensor (C, H, W)"),
        (lambda image: image[:, : next(sizes)], "The transform made (3, 2, 5) after (3, 3, 5)"),
    ):
        with fails("BatchError", says):
            BatchReader(ds, augment=SeededTransform(transform))[0]


def test_a_negative_padding():
    with pytest.raises(ValueError, match="padding=-1"):
        RandomCropFlip(-1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kornia_plugs_in():
    import kornia.augmentation

    jitter = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.ColorJitter(0.5, 0.5, 0.5, 0.1, p=1.0),
        kornia.augmentation.RandomAffine(30.0, p=1.0),
    )
    transform = SeededTransform(lambda image: jitter(image[None] / 255)[0])
    ds = make_rows([2] * 4, lambda _: png(Image.new("RGB", (8, 8), (200, 100, 50))))
    per_sample = TorchBatches(ds, augment=transform, dtype=torch.float32)
    per_view = TorchBatches(ds, augment=transform, draws="per_view", dtype=torch.float32)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    (batch,) = per_sample.__getitems__([0, 1, 2, 3])
    images = batch["images"]
    assert images.shape == (4, 2, 3, 8, 8)
    assert 0 <= images.min() < images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 1])
    assert not torch.equal(images[0], images[1])
    (each,) = per_view.__getitems__([0, 1, 2, 3])
    assert not torch.equal(each["images"][:, 0], each["images"][:, 1])
    assert torch.equal(torch.random.get_rng_state(), before)
    (alone,) = per_sample.__getitems__([2])
    assert torch.equal(alone["images"][0], images[2])
