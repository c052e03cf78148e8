"""CIFAR's records: what offsets find in ours, and what ours makes of those of others."""

import json
import os

import datasets
import numpy as np
import pytest

from array_rows import CIFAR, MASKED, PLAIN, ROWS, decoded, image, read, rows_with, write
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.storage.cifar import CIFAR10

PLANES = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 4, 6), np.uint8)  # (N, V, C, H, W)
LABELS = [1, 0, 2, 1, 0]
SHAPE = (2, 4, 6, 3)  # (V, H, W, C)


@pytest.fixture
def save(tmp_path):
    """save(PLANES, LABELS): the path of a .bin file of these records."""

    def make(planes=PLANES, labels=LABELS, name="a.bin", more=b""):
        (tmp_path / name).write_bytes(
            b"".join(
                [
                    *(
                        more + bytes([label]) + images.tobytes()
                        for label, images in zip(labels, planes, strict=True)
                    )
                ]
            )
        )
        return str(tmp_path / name)

    return make


def pixels_of(rows):
    """The pixels of each view of each row, None where there is none."""
    return [[view and np.array(view[1]) for view in row["images"]] for row in decoded(rows)]


# --- ours, read by offsets ------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[2, 2, 2], [2, 3, 1], [0, 1, 3, 0]])
def test_records_by_their_offsets(counts, tmp_path):
    rows, views = rows_with(counts, {(1, 0)}), max(counts)
    path = write(CIFAR, tmp_path / "a", rows, True)
    records = np.fromfile(f"{path}/data.bin", np.uint8).reshape(len(rows), -1)
    assert records.shape[1] == 1 + views * 3 * 4 * 5
    assert records[:, 0].tolist() == [row["label"] for row in rows]
    images = records[:, 1:].reshape(-1, views, 3, 4, 5).transpose(0, 1, 3, 4, 2)
    for i, row in enumerate(pixels_of(rows)):
        for j, pixels in enumerate(row + [None] * (views - len(row))):
            assert (images[i, j] == (0 if pixels is None else pixels)).all()


def test_the_red_plane_comes_first(tmp_path):
    red = [{**rows_with([1])[0], "images": [image(0, (2, 2, 3))]}]
    path = write(CIFAR, tmp_path / "a", red, True)
    data = (tmp_path / "a/data.bin").read_bytes()
    assert list(data[1:5]) == pixels_of(red)[0][0][:, :, 0].ravel().tolist()
    mapped = np.memmap(f"{path}/data.bin", np.uint8, "r", offset=1, shape=(1, 3, 2, 2))
    assert (mapped[0, 2] == pixels_of(red)[0][0][:, :, 2]).all()


def test_what_stands_beside(tmp_path):
    features, rows = ROWS["metadata"]
    write(CIFAR, tmp_path / "a", rows, True, features)
    assert (tmp_path / "a/class_names.txt").read_text("utf-8") == "cat\ndog\n"
    shape = json.loads((tmp_path / "a/shape.json").read_text("utf-8"))
    del shape["features"]
    assert shape == {"num_views": 2, "height": 4, "width": 5, "channels": 3, "label_bytes": 1}
    lines = (tmp_path / "a/rows.jsonl").read_text("utf-8").splitlines()
    row = json.loads(lines[0])
    assert row["sample_id"] == "cat/0000" and row["view_names"] == ["view_0"]
    assert row["view_mask"] == [True] and row["metadata"]["angles"] == [0.5]


# --- files of others ------------------------------------------------------------------------------


def test_records_of_others(save):
    path = save()
    assert CIFAR.read(path, None, shape=SHAPE).features["label"].names == ["0", "1", "2"]
    rows = read(CIFAR, path, shape=list(SHAPE), class_names=["a", "b", "c"])["train"]
    assert [row["sample_id"] for row in rows] == ["b/0", "a/1", "c/2", "b/3", "a/4"]
    assert rows[0]["view_names"] == ["0", "1"]
    assert (np.array(pixels_of(rows)) == PLANES.transpose(0, 1, 3, 4, 2)).all()


def test_the_official_files(save, tmp_path):
    planes = np.random.default_rng(1).integers(0, 256, (3, 1, 3, 32, 32), np.uint8)
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        save(planes, [9, 0, 4], name)
    found = read(CIFAR, tmp_path, shape=(1, 32, 32, 3), class_names=CIFAR10)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 6, "test": 3}
    assert [row["sample_id"] for row in found["train"]][2:5] == ["deer/2", "truck/3", "airplane/4"]
    assert (np.array(pixels_of(found["test"])) == planes.transpose(0, 1, 3, 4, 2)).all()


def test_two_label_bytes_as_in_cifar_100(save):
    rows = read(CIFAR, save(more=b"\x07"), shape=SHAPE, label_bytes=2)["train"]
    assert [row["label"] for row in rows] == LABELS
    assert (np.array(pixels_of(rows)) == PLANES.transpose(0, 1, 3, 4, 2)).all()


def test_grey_records(save):
    rows = read(CIFAR, save(PLANES[:, :, :1]), shape=(2, 4, 6, 1))["train"]
    assert (np.array(pixels_of(rows)) == PLANES[:, :, 0]).all()


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 144, 145 * 2 + 1, 145 * 5 - 1])
def test_a_file_of_no_whole_records(size, save, fails):
    path = save()
    os.truncate(path, size)
    says = (
        f"{path} has {size} bytes",
        f"record {size // 145} begins at byte {size // 145 * 145}",
        f"{size % 145} of 145 bytes",
        "cut off",
    )
    with fails("FormatError", *says, path=path):
        CIFAR.read(path, None, shape=SHAPE)


def test_a_label_out_of_range(save, fails):
    path = save()
    says = (path, "record 2 at byte 290: the label is 2. Expected 0 to 1")
    with fails("FormatError", *says, path=path):
        read(CIFAR, path, shape=SHAPE, class_names=["cat", "dog"])


def test_no_shape(save, fails):
    path = save()
    with fails("OptionError", path, "Expected shape=(V, H, W, C)", path="shape"):
        CIFAR.read(path, None)


@pytest.mark.parametrize("shape", [(32, 32, 3), (1, 32, 32, 2), (0, 32, 32, 3), (1, 32, 32.5, 3)])
def test_shapes_that_are_not_right(shape, save, fails):
    with fails("OptionError", f"shape={shape}", "such as (1, 32, 32, 3)", path="shape"):
        CIFAR.read(save(), None, shape=shape)


@pytest.mark.parametrize("number", [0, "1", 1.5])
def test_label_bytes_that_are_not_right(number, save, fails):
    with fails("OptionError", f"label_bytes={number!r}", "1 or more", path="label_bytes"):
        CIFAR.read(save(), None, shape=SHAPE, label_bytes=number)


@pytest.mark.parametrize("options", [{"shape": SHAPE}, {"label_bytes": 2}])
def test_options_for_what_says_its_own(options, tmp_path, fails):
    path = write(CIFAR, tmp_path / "a", rows_with([1]), True)
    with fails("OptionError", path, "has its own", path="shape"):
        CIFAR.read(path, None, **options)


DAMAGE = {
    "shape.json": [b"", b"[]", b'{"num_views": 1}', b"\xff"],
    "rows.jsonl": [b"", b"no JSON\n", b"{}\n", b'{"view_mask": 1}\n', b"[]\n", b"\xff"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(n, text) for n, texts in DAMAGE.items() for text in texts]
)
def test_what_stands_beside_is_damaged(name, text, tmp_path, fails):
    path = write(CIFAR, tmp_path / "a", rows_with([1]), True)
    (tmp_path / "a" / name).write_bytes(text)
    with fails("FormatError", path, "Expected"):
        CIFAR.read(path, None)


@pytest.mark.parametrize("name", ["rows.jsonl", "data.bin"])
def test_a_file_that_is_gone(name, tmp_path, fails):
    path = write(CIFAR, tmp_path / "a", rows_with([1]), True)
    os.remove(f"{path}/{name}")
    with fails("FormatError", name, "cannot be read", path=f"{path}/{name}"):
        CIFAR.read(path, None)


# --- what records cannot hold ---------------------------------------------------------------------


def of_classes(count):
    names = [str(i) for i in range(count)]
    return datasets.Features(PLAIN | {"label": datasets.ClassLabel(names=names)})


def test_256_classes(tmp_path, fails):
    rows = [{**rows_with([1])[0], "label": 255}]
    path = write(CIFAR, tmp_path / "a", rows, True, of_classes(256))
    assert read(CIFAR, path)["train"][0]["label"] == 255
    with fails("ExportError", "257 classes", "256 at most", '"hdf5" or "numpy"'):
        CIFAR.Writer(str(tmp_path / "b"), of_classes(257), True)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("features", "pixels"), [(MASKED, True), (PLAIN, False)])
def test_columns_and_files(features, pixels, tmp_path, fails):
    with fails("ExportError", "one image column", '"hdf5" or "numpy" holds it'):
        CIFAR.Writer(str(tmp_path / "a"), features, pixels)


def test_16_bits(tmp_path):
    features, rows = ROWS["16-bit grey"]
    writer = CIFAR.Writer(str(tmp_path / "a"), features, True)
    with pytest.raises(ExportError, match=r'cat/0000 has images of 16 bits.*"hdf5" or "numpy"'):
        writer.write(rows[0])
    assert not (tmp_path / "a/data.bin").read_bytes()
