"""channel_stats and `stats`: what NumPy and fractions make of the decoded pixels."""

import json
import math
from fractions import Fraction

import datasets
import numpy as np
import PIL.Image
import pytest

from multiview_cifar_tools import channel_stats
from multiview_cifar_tools.flat_png import flat_png
from pictures import FEATURES, encoded, expected, make_rows, png

LARGEST = {"uint8": 255, "uint16": 65535}


def exact_stats(ds):
    """Mean and deviation of each channel, by Python's own integers."""
    images = [image for row in expected(ds, range(len(ds))) for image in row if image is not None]
    largest = LARGEST.get(images[0].dtype.name, 1)
    mean, std = [], []
    for channel in range(images[0].shape[-1]):
        values = [v for image in images for v in image[..., channel].astype(object).ravel()]
        average = Fraction(sum(values)) / len(values)
        variance = Fraction(sum(v * v for v in values)) / len(values) - average**2
        mean.append(float(average / largest))
        std.append(math.sqrt(variance / largest**2))
    return mean, std


@pytest.mark.parametrize("encode", [flat_png, png, lambda image: encoded(image, "tiff")])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "I"])
def test_integers_are_exact(mode, encode):
    if mode == "I":
        encode = lambda image: encoded(image, "tiff")  # noqa: E731
    ds = make_rows([2, [True, None, True], 1], encode, mode, size=(50, 40))
    stats = channel_stats(ds)
    assert (stats.mean, stats.std) == exact_stats(ds)
    pixels = [image for row in expected(ds, range(3)) for image in row if image is not None]
    assert stats.dtype == pixels[0].dtype.name
    scaled = np.concatenate([p.reshape(-1, p.shape[-1]) for p in pixels]).astype(np.float64)
    scaled /= LARGEST.get(stats.dtype, 1)
    assert np.allclose(stats.mean, scaled.mean(0)) and np.allclose(stats.std, scaled.std(0))
    assert (stats.num_samples, stats.num_images) == (3, 5)
    assert stats.sizes == {(40, 50): 5}
    assert stats.views == {1: 1, 2: 2}
    assert stats.classes == {"cat": 2, "dog": 1}


def test_floats_are_as_they_are():
    ds = make_rows([2, 1], lambda image: encoded(image, "tiff"), "F")
    stats = channel_stats(ds)
    pixels = np.concatenate([np.stack(row) for row in expected(ds, [0, 1])]).astype(np.float64)
    assert np.allclose(stats.mean, pixels.mean()) and np.allclose(stats.std, pixels.std())


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(np.uint16, 65535), (np.int32, -(1 << 31)), (np.int32, (1 << 31) - 1), (np.uint8, 255)],
)
def test_largest_values(dtype, value):
    """Where sums of squares would overflow 64 bits, or be rounded."""
    data = encoded(PIL.Image.fromarray(np.full((300, 301), value, dtype)), "tiff")
    stats = channel_stats(make_rows([3], lambda image: data))
    assert stats.dtype == dtype.__name__
    assert stats.mean == [value / LARGEST.get(stats.dtype, 1)]
    assert stats.std == [0]


def test_one_process_or_two():
    ds = datasets.concatenate_datasets(
        [make_rows([2, 1, 3], size=size) for size in ((5, 4), (4, 5), (8, 8))]
    ).select([8, 0, 0, 3, 5, 7, 1])
    one, two = channel_stats(ds, num_proc=1), channel_stats(ds, num_proc=2)
    assert one == two
    assert one.sizes == {(4, 5): 5, (5, 4): 5, (8, 8): 4}
    assert (one.num_samples, one.views) == (7, {1: 2, 2: 3, 3: 2})
    assert (one.mean, one.std) == exact_stats(ds)


def test_what_torch_batches_make_of_it():
    torch = pytest.importorskip("torch")
    from multiview_cifar_tools import TorchBatches

    ds = make_rows([2] * 5, size=(20, 20))
    stats = channel_stats(ds)
    images = TorchBatches(ds, dtype=torch.float32, mean=stats.mean, std=stats.std)[:]["images"]
    assert torch.allclose(images.mean((0, 1, 3, 4)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 1, 3, 4), correction=0), torch.ones(3), atol=1e-5)


def test_labels_that_are_missing():
    ds = make_rows([1, 1, 1])
    rows = [{**row, "label": None if i == 1 else row["label"]} for i, row in enumerate(ds)]
    unlabelled = datasets.Dataset.from_list(rows, features=FEATURES)
    assert channel_stats(unlabelled).classes == {"cat": 2, "dog": 0, "": 1}
    assert channel_stats(ds.remove_columns("label")).classes == {}


def test_wrong_sets(fails):
    colours, grey = make_rows([1]), make_rows([1], mode="L")
    with fails("BatchError", "1 channels, uint8", "of 3, uint8", 'mode="RGB"'):
        channel_stats(datasets.concatenate_datasets([colours, grey]))
    with fails("BatchError", "There are no images"):
        channel_stats(make_rows([[None], [None, None]]))
    with fails("BatchError", "There are no images"):
        channel_stats(colours.select([]))
    with fails("BatchError", "View '0' (0) of cat/0", path="cat/0"):
        channel_stats(make_rows([1], lambda image: b"no image"))
    with fails("BatchError", "num_proc=0"):
        channel_stats(colours, num_proc=0)
    with fails("BatchError", 'channel_stats(ds["train"])'):
        channel_stats(datasets.DatasetDict(train=colours))
    with fails("BatchError", "no column 'masks'"):
        channel_stats(colours, "masks")

    def endless(image):
        image.putpixel((1, 1), math.inf)
        return encoded(image, "tiff")

    with fails("BatchError", "cat/0 has values that are not finite", path="cat/0"):
        channel_stats(make_rows([1], endless, "F"))


# --- the verb -------------------------------------------------------------------------------------


@pytest.fixture
def photos(make_tree):
    paths = [f"train/{name}/{i}/{v}.png" for name in ("cat", "dog") for i in (1, 2) for v in "ab"]
    return make_tree(*paths, "train/dog/3/a.png", "test/cat/1/a.png")


def test_the_printed_line(run, photos):
    done = run("stats", "photos", "--num-proc", 1)
    assert done.returncode == 0, done.stderr
    assert "train: 9 images of 5 samples, uint8" in done.stdout
    assert "  4      4       9\n" in done.stdout.replace("     4", "  4", 1)
    line = done.stdout.rstrip().splitlines()[-1].strip()
    names = {"TorchBatches": lambda ds, **options: options, "ds": None}
    names["torch"] = pytest.importorskip("torch")
    shown = eval(line, names)
    stats = json.loads(run("stats", "photos", "--json").stdout)
    assert np.allclose(shown["mean"], stats["mean"]) and np.allclose(shown["std"], stats["std"])
    assert stats["sizes"] == [{"height": 4, "width": 4, "images": 9}]
    assert stats["views"] == {"1": 1, "2": 4}
    assert stats["classes"] == {"cat": 2, "dog": 3}


def test_splits(run, photos, make_tree):
    assert json.loads(run("stats", "photos", "--json", "--split", "test").stdout)["num_images"] == 1
    done = run("stats", "photos", "--split", "val")
    assert done.returncode == 2 and "'val'" in done.stderr and "train, test" in done.stderr
    make_tree("train/cat/1/a.png", under="one")
    (photos.parent / "one/train").rename(photos.parent / "one/test")
    assert json.loads(run("stats", "one", "--json").stdout)["split"] == "test"


def test_other_sources(run, photos, tmp_path):
    right = json.loads(run("stats", "photos", "--json").stdout)
    assert run("export", "photos", "shards", "--format", "webdataset").returncode == 0
    assert run("export", "photos", "files", "--format", "parquet").returncode == 0
    for source in ("shards", "files"):
        assert json.loads(run("stats", source, "--json").stdout) == right
    grey = json.loads(run("stats", "photos", "--json", "--mode", "L").stdout)
    assert len(grey["mean"]) == 1
