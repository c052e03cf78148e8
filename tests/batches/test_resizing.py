"""Images resized and converted while they are read: as a build makes them, and JPEG nearly so."""

import io
import itertools
import json

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

import multiview_cifar
from multiview_cifar_tools import BatchError, BatchReader, TorchBatches, TorchStream
from multiview_cifar_tools.batches import columns
from multiview_cifar_tools.batches import decode as decoding
from multiview_cifar_tools.conversion import convert_image, resize_image
from multiview_cifar_tools.flat_png import flat_png
from pictures import FEATURES, encoded, exif, expected, make_rows, picture, png
from sampling import examples

LAYOUT = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/masks/{view}"}


def smooth(width, height, seed=0):
    """A picture without fine detail, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 48 + 2, width // 48 + 2, 3))
    return Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.BICUBIC)


def palette(transparent):
    image = picture("RGB", (12, 9)).quantize(8)
    return png(image) if not transparent else encoded(image, transparency=3)


FILES = {
    "grey.png": png(picture("L", (11, 7))),
    "colour.png": png(picture("RGB", (9, 13))),
    "photo.jpg": encoded(smooth(60, 45), "jpeg"),
    "alpha.png": png(picture("RGBA", (8, 8))),
    "bits.png": png(picture("L", (12, 10)).convert("1")),
    "palette.png": palette(False),
    "transparent.png": palette(True),
    "deep.png": png(picture("I;16", (10, 6))),
    "flat.png": flat_png(picture("RGB", (10, 14))),
    "flat_deep.png": flat_png(picture("I;16", (6, 9))),
    "flat_kept.png": flat_png(picture("RGB", (6, 8))),
    "kept.png": png(picture("RGB", (6, 8))),
    "lying.png": encoded(picture("RGB", (8, 6)), exif=exif(6)),
    **{f"exif_{i}.jpg": encoded(smooth(50, 33), "jpeg", exif=exif(i)) for i in (1, 2, 6)},
    "thin.png": png(picture("RGB", (200, 1))),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A sample a file, with a mask of the same size."""
    tree = tmp_path_factory.mktemp("trees") / "photos"
    for name, data in FILES.items():
        sample = tree / "cat" / name.partition(".")[0]
        (sample / "masks").mkdir(parents=True)
        (sample / f"view.{name[-3:]}").write_bytes(data)
        size = Image.open(io.BytesIO(data)).size
        (sample / "masks/view.png").write_bytes(png(picture("L", size, 5).quantize(7)))
    return tree


@pytest.fixture(scope="module")
def rows(tree, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", layout=LAYOUT, cache_dir=cache
    )


def built(tree, column, **options):
    """The pixels of each sample of a build with these options; by `sample_id`."""
    stream = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", layout=LAYOUT, streaming=True, **options
    )
    raw = stream.cast_column(column, datasets.Sequence(datasets.Image(decode=False)))
    return {
        row["sample_id"]: decoding.decode_image(row[column][0]["bytes"], None, column == "masks")
        for row in raw
    }


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": (8, 6)},
        {"image_size": (5, 7), "resize": "crop", "mode": "RGB"},
        {"image_size": (16, 24), "resize": "pad", "mode": "L"},
        {"image_size": (9, 9), "resize": "stretch", "mode": "RGBA"},
        {"mode": "RGB"},
    ],
    ids=json.dumps,
)
def test_as_a_build_makes_them(tree, rows, options):
    exact = {"exact": True} if "image_size" in options else {}
    reader, right = BatchReader(rows, **options, **exact), built(tree, "images", **options)
    masks = {name: value for name, value in options.items() if name != "mode"}
    for i, name in enumerate(rows["sample_id"]):
        assert np.array_equal(reader[[i]]["images"][0, 0], right[name]), name
    if masks:
        reader, right = BatchReader(rows, "masks", **masks), built(tree, "masks", **options)
        for i, name in enumerate(rows["sample_id"]):
            assert np.array_equal(reader[[i]]["images"][0, 0], right[name]), name


def test_sizes_and_modes_that_differ_in_one_batch(rows):
    options = {"image_size": (16, 16), "resize": "pad", "mode": "RGB"}
    reader = BatchReader(rows, **options)
    batch = reader[:]
    assert batch["images"].shape == (len(FILES), 1, 16, 16, 3)
    assert np.array_equal(batch["images"][[3]], reader[[3]]["images"])
    assert np.array_equal(reader.to_arrays()["images"], batch["images"])
    for tensors in DataLoader(TorchBatches(rows, **options), batch_size=64, num_workers=2):
        assert np.array_equal(tensors["images"].movedim(2, -1), batch["images"])
    (streamed,) = TorchStream(rows.to_iterable_dataset(), 64, dtype=torch.float32, **options)
    assert streamed["images"].shape == (len(FILES), 1, 3, 16, 16)


def test_masks_that_come_along(rows):
    """The same geometry as the images, their own mode."""
    options = {"image_size": (16, 16), "resize": "pad"}
    both = BatchReader(rows, columns=["masks"], mode="RGB", exact=True, **options)[:]
    alone = BatchReader(rows, "masks", **options)[:]
    assert both["masks"].shape == (len(FILES), 1, 16, 16, 1)
    assert np.array_equal(both["masks"], alone["images"])
    assert np.array_equal(
        both["images"], BatchReader(rows, mode="RGB", exact=True, **options)[:]["images"]
    )


def test_inks():
    """A build makes no CMYK, since no PNG holds it."""
    data = encoded(smooth(40, 30).convert("CMYK"), "jpeg")
    right = convert_image(Image.open(io.BytesIO(data)), "RGB", None, (8, 8))
    ds = row_of(data)
    found = BatchReader(ds, mode="RGB", image_size=(8, 8), exact=True)[0]["images"][0]
    assert np.array_equal(found, decoding.decode_image(right))
    assert BatchReader(ds, image_size=(8, 8))[0]["images"].shape == (1, 8, 8, 4)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@examples(60, exhaustive=1000)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_crop_and_pad_are_those_of_pillow(resize, width, height, new_width, new_height):
    image = picture("RGB", (width, height))
    right = {"stretch": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}[resize](
        image, (new_width, new_height), Image.Resampling.BICUBIC
    )
    assert resize_image(image, (new_height, new_width), resize, False) == right


# --- JPEG at a smaller scale ----------------------------------------------------------------------


def row_of(*files):
    return datasets.Dataset.from_dict(
        {"images": [[{"bytes": data, "path": None} for data in files]]},
        features=datasets.Features({"images": FEATURES["images"]}),
    )


@pytest.mark.each_value
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("size", [(256, 256), (251, 131), (97, 333), (64, 65)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("mode", [None, "L"])
def test_a_jpeg_is_nearly_as_if_decoded_whole(orientation, size, resize, mode):
    """Where it would be shifted by a part of a pixel, the difference would be some 10 levels."""
    ds = row_of(encoded(smooth(*size), "jpeg", quality=95, exif=exif(orientation)))
    options = {"image_size": (30, 30), "resize": resize, "mode": mode}
    whole = BatchReader(ds, **options, exact=True)[0]["images"].astype(int)
    scaled = BatchReader(ds, **options)[0]["images"].astype(int)
    assert np.abs(whole - scaled).mean() < 1
    assert np.abs(whole - scaled).max() <= 6


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("resize", "size", "scale"),
    [
        (None, (128, 128), 2),
        (None, (129, 128), 1),
        (None, (64, 100), 2),
        (None, (65, 60), 2),
        (None, (20, 20), 8),
        ("crop", (64, 32), 4),
        ("pad", (32, 200), 8),
    ],
)
def test_the_scale_is_the_smallest_that_is_not_below(monkeypatch, fast, resize, size, scale):
    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    data = encoded(picture("RGB", (256, 256)), "jpeg")  # noise shows at which scale it was decoded
    image = Image.open(io.BytesIO(data))
    image.draft(None, (256 // scale, 256 // scale))
    right = np.asarray(resize_image(image, size, resize, False))
    found = BatchReader(row_of(data), image_size=size, resize=resize)[0]["images"][0]
    assert np.array_equal(found, right)


def test_several_pictures_in_a_jpeg():
    """MPO, as telephones write it: the first one is read, at a smaller scale too."""
    pictures = [smooth(128, 96, seed) for seed in range(2)]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:], quality=95)
    found = BatchReader(row_of(data), image_size=(24, 32))[0]["images"][0].astype(int)
    right = np.asarray(pictures[0].resize((32, 24), Image.BICUBIC))
    assert np.abs(found - right).mean() < 2


# --- flat PNG -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"image_size": (4, 5)}, {"mode": "RGB"}, {"image_size": [4, 5], "mode": "RGB"}]
)
def test_flat_images_that_fit_are_copied(monkeypatch, options):
    ds = make_rows([2] * 4)
    monkeypatch.setattr(columns, "decode_converted", None)
    monkeypatch.setattr(columns, "decode_image", None)
    images = BatchReader(ds, **options)[[2, 1]]["images"]
    assert np.array_equal(images, expected(ds, [2, 1]))


@pytest.mark.parametrize(
    ("kind", "mode"), [("RGB", "L"), ("L", "RGB"), ("RGBA", "RGB"), ("I;16", "L"), ("I;16", "RGB")]
)
def test_flat_images_of_another_mode(kind, mode):
    ds = make_rows([2, 1], mode=kind)
    right = [[ImageOps.exif_transpose(v) for v in ds[i]["images"]] for i in range(2)]
    batch = BatchReader(ds, mode=mode)[[0, 1]]
    assert batch["view_mask"].tolist() == [[True, True], [True, False]]
    assert batch["images"].shape == (2, 2, 4, 5, {"L": 1, "RGB": 3}[mode])
    for i, v in itertools.product(range(2), range(2)):
        if v < len(right[i]) and kind != "I;16":
            view = np.asarray(right[i][v].convert(mode)).reshape(4, 5, -1)
            assert np.array_equal(batch["images"][i, v], view)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": "32"}, "image_size='32' is not right. Expected (height, width)"),
        ({"image_size": True}, "such as (32, 48), or 32 for a square"),
        ({"image_size": (32,)}, "image_size=(32,) is not right"),
        ({"image_size": (0, 32)}, "image_size=(0, 32) is not right"),
        ({"image_size": (32.0, 32)}, "image_size=(32.0, 32) is not right"),
        ({"image_size": "ab"}, "image_size='ab' is not right"),
        ({"resize": "crop"}, "resize='crop' is not right. Expected image_size=(height, width) wi"),
        ({"image_size": (4, 4), "resize": "fill"}, "'crop', 'pad'"),
        ({"mode": "rgb"}, "mode='rgb' is not right. Expected one of None, 'RGB', 'L', 'RGBA'"),
        ({"exact": True}, "exact=True is not right. Expected image_size=(height, width) with it"),
        ({"column": "masks", "mode": "RGB"}, "mode='RGB' is not right: further image columns"),
    ],
)
def test_wrong_options(rows, fails, options, says):
    with fails("BatchError", says):
        BatchReader(rows, **options)
    if "column" not in options:
        with fails("BatchError", says):
            TorchBatches(rows, **options)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_32_bits_have_no_black_and_white(fails, mode):
    image = Image.fromarray(np.array([[-3, 70000]], np.int32))
    ds = make_rows([1], lambda _: encoded(image, "tiff"))
    for on_error in ("raise", "skip_view"):
        reader = BatchReader(ds, mode=mode, on_error=on_error)
        with fails(
            "BatchError", f"View '0' (0) of cat/0 cannot become mode='{mode}'", "-3 to 70000"
        ):
            reader[0]
    assert BatchReader(ds, image_size=(1, 1))[0]["images"].dtype == np.int32


def test_images_that_cannot_be_decoded(fails, caplog):
    good = encoded(smooth(64, 64), "jpeg")
    ds = row_of(good, good[: len(good) // 2], b"no image", good)
    with fails("BatchError", "View 1 of row 0 cannot be decoded"):
        BatchReader(ds, image_size=(16, 16))[0]
    batch = BatchReader(ds, image_size=(16, 16), on_error="skip_view")[0]
    assert batch["view_mask"].tolist() == [True, False, False, True]
    assert len(caplog.records) == 2


def test_sizes_that_differ_tell_of_the_options(rows):
    with pytest.raises(BatchError, match=r'read or build with image_size=\(.*\) and mode="RGB"'):
        BatchReader(rows)[:]
