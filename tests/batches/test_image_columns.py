"""Several image columns in one batch: chosen, moved and laid out with the views."""

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from multiview_cifar_tools.batches.augment import (
    ColorJitter,
    Cutout,
    RandomCropFlip,
    RandomResizedCrop,
    RandomRotate90,
)
from multiview_cifar_tools.batches.pytorch import TorchBatches, TorchStream
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.flat_png import flat_png
from pictures import (
    FEATURES,
    SIDE,
    encoded,
    expected,
    lists_of,
    make_masked,
    make_rows,
    numbered,
    picture,
    png,
)
from sampling import examples

MOVING = [
    RandomCropFlip(2),
    RandomResizedCrop(scale=(0.2, 0.8)),
    RandomResizedCrop((5, 6)),
    RandomRotate90(),
    Cutout(3, count=2),
]


@pytest.mark.parametrize("encode", [flat_png, png])
def test_aligned_with_the_views(encode):
    ds = make_rows([2, 3, 4], encode)
    masks = lists_of(ds, lambda i, v: encode(picture("L", (7, 6), 50 + 10 * i + v)))
    ds = ds.add_column("masks", masks, feature=FEATURES["images"])
    right = expected(ds.select_columns(["masks"]).rename_column("masks", "images"), range(3))
    padded = BatchReader(ds, columns=["label", "masks"])[[2, 0]]
    assert list(padded) == ["images", "view_mask", "label", "masks"]
    assert padded["masks"].shape == (2, 4, 6, 7, 1)
    assert np.array_equal(padded["masks"][0], right[2])
    assert np.array_equal(padded["masks"][1, :2], right[0])
    assert not padded["masks"][1, 2:].any()
    flat = BatchReader(ds, columns=["masks"], ragged="flat")[[2, 0]]
    assert np.array_equal(flat["masks"], right[2] + right[0])
    reader = BatchReader(
        ds, columns=["masks", "view_names"], num_views=2, view_sampling="random", copies=2,
        copy_views="different",
    )  # fmt: skip
    batch = reader.read([2, 1], 3)
    assert batch["masks"].shape == (2, 2, 2, 6, 7, 1)
    for i, sample in enumerate((2, 1)):
        for copy, names in enumerate(batch["view_names"][i]):
            assert np.array_equal(batch["masks"][i, copy], [right[sample][int(n)] for n in names])
    arrays = BatchReader(ds, columns=["masks"]).to_arrays()
    assert np.array_equal(arrays["masks"][1, :3], right[1])


def test_one_image_a_row_and_missing_ones():
    ds = make_masked([2, 2, 1])
    rows = ds.to_list()
    rows[0]["masks"][1] = rows[1]["plan"] = None
    ds = datasets.Dataset.from_list(rows, features=ds.features)
    batch = BatchReader(ds, columns=["masks", "plan"])[[2, 1, 0]]
    assert batch["plan"].shape == (3, 2, 3, 1)
    assert np.array_equal(batch["plan"][2, ..., 0], picture("L", (3, 2), 0))
    assert not batch["plan"][1].any()
    # A view is real where no column lacks its image.
    assert batch["view_mask"].tolist() == [[True, False], [False, False], [True, False]]
    assert BatchReader(ds, columns=["masks"])[[1, 0]]["view_mask"].tolist() == [
        [True, True],
        [True, False],
    ]
    copied = BatchReader(ds, columns=["plan"], copies=2)[[2, 1]]
    assert copied["plan"].shape == (2, 2, 2, 3, 1)


def test_an_image_a_row_called_images():
    ds = make_masked([1, 1]).select_columns(["plan", "label"]).rename_column("plan", "images")
    for options in ({}, {"num_views": 1, "view_sampling": "random"}):
        assert BatchReader(ds, **options)[[1, 0]]["images"].shape == (2, 1, 2, 3, 1)


def test_masks_are_resized_with_the_images():
    ds = make_masked([2, 1])
    options = {"columns": ["masks", "depth"], "image_size": (4, 16), "mode": "L"}
    batch = BatchReader(ds, **options)[[0, 1]]
    assert batch["images"].shape == batch["masks"].shape == (2, 2, 4, 16, 1)
    rows = ((np.arange(4) + 0.5) * 2).astype(int)
    columns = ((np.arange(16) + 0.5) / 2).astype(int)
    right = np.asarray(numbered()[0])[rows[:, None], columns]
    assert np.array_equal(batch["masks"][0, 1, ..., 0], right)
    assert np.array_equal(batch["depth"][0, 1, ..., 0], right.astype(np.uint16) * 1001)


def test_palettes_of_masks_are_indices():
    ds = make_rows([1])
    indices = picture("RGB", (5, 4)).quantize(16)
    masks = lists_of(ds, lambda i, v: encoded(indices))
    ds = ds.add_column("masks", masks, feature=FEATURES["images"])
    found = BatchReader(ds, columns=["masks"])[[0]]["masks"]
    assert np.array_equal(found[0, 0, ..., 0], np.asarray(indices))


def test_tensors_of_rows_and_streams():
    ds = make_masked([2, 3])
    options = {"columns": ["masks", "depth", "plan"], "dtype": torch.float32}
    batch = TorchBatches(ds, **options)[[0, 1]]
    assert batch["images"].dtype == torch.float32
    assert batch["masks"].shape == (2, 3, 1, SIDE, SIDE)
    assert batch["masks"].dtype == torch.uint8
    assert batch["depth"].dtype == torch.uint16
    assert batch["plan"].shape == (2, 1, 2, 3)
    (streamed,) = TorchStream(ds.to_iterable_dataset(), 2, **options)
    for name in ("images", "masks", "depth", "plan", "view_mask"):
        assert torch.equal(streamed[name], batch[name])


# --- augmentations --------------------------------------------------------------------------------


@examples(40)
@given(st.sampled_from(MOVING), st.sampled_from([flat_png, png]), st.integers(0, 9), st.booleans())
def test_all_columns_are_moved_alike(augment, encode, epoch, each):
    ds = make_masked([2, 3, 1], encode)
    reader = BatchReader(
        ds,
        columns=["masks", "depth"],
        augment=[augment, ColorJitter()],
        draws="per_view" if each else "per_sample",
    )
    batch = reader.read([1, 0, 2], epoch)
    masks, depth = batch["masks"], batch["depth"]
    assert depth.dtype == np.uint16
    assert np.array_equal(depth, masks.astype(np.uint16) * 1001)
    given_apart = BatchReader(
        ds,
        columns=["masks", "depth"],
        augment={"masks": augment, "depth": [augment], "images": augment},
        draws=reader.draws,
    ).read([1, 0, 2], epoch)
    assert np.array_equal(given_apart["masks"], masks)
    # The images go where the masks go: each pixel is that of the number in the mask.
    if not isinstance(augment, RandomResizedCrop):
        raw = BatchReader(ds)[[1, 0, 2]]["images"].reshape(-1, SIDE * SIDE, 3)
        raw = np.concatenate([np.zeros_like(raw[:, :1]), raw], 1)
        moved = raw[np.arange(len(raw))[:, None], masks.reshape(len(raw), -1)]
        assert np.array_equal(given_apart["images"].reshape(moved.shape), moved)


@pytest.mark.parametrize("augment", MOVING)
def test_outcomes_differ_and_repeat(augment):
    images = np.random.default_rng(0).integers(1, 256, (1, SIDE, SIDE, 3), np.uint8)
    seeds = np.random.default_rng(1).integers(0, 1 << 64, 40, np.uint64)
    before = images.copy()
    changed = augment(np.repeat(images, 40, 0), seeds)
    assert np.array_equal(images, before)
    assert len({image.tobytes() for image in changed}) >= min(4, len(changed))
    assert np.array_equal(augment(np.repeat(images, 3, 0), seeds[5:8]), changed[5:8])


def test_a_resized_crop_is_pillows():
    images = np.asarray(picture("RGB", (40, 30)))[None]
    whole = RandomResizedCrop((15, 20), scale=(1, 1), ratio=(4 / 3, 4 / 3))
    seeds = np.array([3], np.uint64)
    right = Image.fromarray(images[0]).resize((20, 15), Image.Resampling.BILINEAR)
    assert np.array_equal(whole(images, seeds)[0], right)
    assert np.array_equal(whole.change(images, seeds, nearest=True)[0], images[0][1::2, 1::2])
    for dtype in (np.uint16, np.int32, np.float32):
        for channels in (1, 2, 3):
            flat = np.full((2, 6, 6, channels), 60000, dtype)
            out = RandomResizedCrop()(flat, np.arange(2, dtype=np.uint64))
            assert out.dtype == dtype
            assert (out == 60000).all()


def test_colours_are_jittered():
    pixels = np.asarray(picture("RGBA", (6, 5)))[None].repeat(300, 0)
    seeds = np.random.default_rng(0).integers(0, 1 << 64, 300, np.uint64)
    assert np.array_equal(ColorJitter(0, 0, 0)(pixels, seeds), pixels)
    changed = ColorJitter()(pixels, seeds)
    assert changed.dtype == np.uint8
    assert np.array_equal(changed[..., 3], pixels[..., 3])
    bright = ColorJitter(0.5, 0, 0)(np.full((300, 2, 2, 3), 100, np.uint8), seeds)
    assert (bright == bright[:, :1, :1, :1]).all()
    assert 50 <= bright.min() < 60
    assert 140 < bright.max() <= 150
    grey = np.full((300, 2, 2, 3), 100, np.uint8)
    assert np.array_equal(ColorJitter(0, 0.9, 0.9)(grey, seeds), grey)
    deep = ColorJitter()(np.full((5, 2, 2, 1), 65535, np.uint16), seeds[:5])
    assert deep.dtype == np.uint16
    assert deep.max() <= 65535


# --- errors ---------------------------------------------------------------------------------------


def test_columns_that_do_not_align(fails):
    ds = make_masked([2, 2])
    rows = ds.to_list()
    rows[1]["masks"] = rows[1]["masks"][:1]
    short = datasets.Dataset.from_list(rows, features=ds.features)
    says = "cat/1 has 2 images in 'images' and 1 in 'masks'", "columns="
    with fails("BatchError", *says, path="cat/1"):
        TorchBatches(short, columns=["masks"])
    with fails("BatchError", *says):
        list(TorchStream(short.to_iterable_dataset(), 2, columns=["masks"]))
    assert BatchReader(short.select([0]), columns=["masks"])[[0]]["masks"].shape[:2] == (1, 2)


def test_columns_that_are_not_there(fails):
    ds = make_masked([1])
    with fails("BatchError", "'normals'", "masks"):
        BatchReader(ds, columns=["normals"])
    with fails("BatchError", "'images'"):
        BatchReader(ds, columns=["images"])


def test_augmentations_that_do_not_fit(fails):
    ds = make_masked([2, 2])
    with fails("BatchError", "augment names 'mask'", "'images', 'masks'", 'columns=["mask"]'):
        BatchReader(ds, columns=["masks"], augment={"mask": RandomCropFlip()})
    with fails("BatchError", "augment['masks']='flip' is not right"):
        BatchReader(ds, columns=["masks"], augment={"masks": "flip"})
    with fails("BatchError", "augment changed images from (H, W) = (8, 8) to (4, 4)", "left masks"):
        TorchBatches(ds, columns=["masks"], augment={"images": RandomResizedCrop((4, 4))})
    with fails("BatchError", "augment changed images", "left masks"):
        BatchReader(ds, columns=["masks"], augment=lambda images, seeds: images[:, :4])
    other = make_masked([2], size=(6, 6))
    with fails("BatchError", "masks are (H, W) = (8, 8), and images (6, 6)", "image_size"):
        BatchReader(other, columns=["masks"], augment=RandomCropFlip())
    with fails("BatchError", "plan is one image a row", 'draws="per_sample"'):
        BatchReader(ds, columns=["plan"], augment=RandomCropFlip(), draws="per_view")
    with fails("BatchError", "RandomRotate90 turns square images", "(4, 5)"):
        BatchReader(make_rows([1]), augment=RandomRotate90())[[0]]


def test_options_of_augmentations(fails):
    for make, says in (
        (lambda: RandomResizedCrop("5"), "size='5'"),
        (lambda: RandomResizedCrop((5, 0)), "size=(5, 0)"),
        (lambda: RandomResizedCrop(scale=(0, 1)), "scale=(0, 1)"),
        (lambda: RandomResizedCrop(scale=(0.5, 2)), "scale=(0.5, 2)"),
        (lambda: RandomResizedCrop(ratio="wide"), "ratio='wide'"),
        (lambda: Cutout(0), "size=0"),
        (lambda: Cutout(3, count=1.5), "count=1.5"),
        (lambda: ColorJitter(brightness=2), "brightness=2"),
        (lambda: ColorJitter(saturation="0.4"), "saturation='0.4'"),
    ):
        with fails("BatchError", f"{says} is not right"):
            make()
    assert RandomResizedCrop(5).size == RandomResizedCrop((5, 5)).size
    assert (ColorJitter(np.float32(0.5), np.int64(1)).spans == [0.5, 1, 0.4]).all()
