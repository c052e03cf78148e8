"""HDF5 files: what h5py finds in ours, and what ours makes of those that others wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import array_rows
from array_rows import HDF5, LABELLED, PLAIN, ROWS, decoded, image, read, rows_with, write
from multiview_cifar_tools.formats import hdf5_files
from multiview_cifar_tools.loading import load

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 4, 5, 3), np.uint8)  # (N, V, H, W, C)


@pytest.fixture
def save(tmp_path):
    """save(images=..., labels=..., attributes={}): the path of an HDF5 file of these datasets."""

    def make(attributes=None, name="a.h5", **datasets):
        with h5py.File(tmp_path / name, "w") as file:
            for key, values in datasets.items():
                file[key] = values
            file.attrs.update(attributes or {})
        return str(tmp_path / name)

    return make


def pixels_of(rows):
    """The pixels of each view of each row, None where there is none."""
    return [[view and np.array(view[1]) for view in row["images"]] for row in decoded(rows)]


def cells(rows):
    """Files' bytes (N, V) as h5py writes them."""
    out = np.empty((len(rows), len(rows[0])), h5py.vlen_dtype(np.uint8))
    for i, row in enumerate(rows):
        for j, data in enumerate(row):
            out[i, j] = np.frombuffer(data, np.uint8)
    return out


# --- ours, read by h5py ---------------------------------------------------------------------------


def test_pixels_in_h5py(tmp_path):
    rows = rows_with([2, 3, 1], {(1, 1)})
    with h5py.File(write(HDF5, tmp_path / "a.h5", rows, True)) as file:
        images, mask = file["images"], file["view_mask"][:]
        assert images.shape == (3, 3, 4, 5, 3) and images.dtype == np.uint8
        assert mask.dtype == bool
        assert mask.tolist() == [[True, True, False], [True, False, True], [True, False, False]]
        for i, row in enumerate(pixels_of(rows)):
            for j, pixels in enumerate(row):
                assert (images[i, j] == (0 if pixels is None else pixels)).all()
        assert not images[0, 2].any() and not images[2, 1:].any()
        assert file["num_views"][:].tolist() == [2, 3, 1]


def test_bytes_in_h5py(tmp_path):
    rows = rows_with([2, 3, 1], {(1, 1)})
    with h5py.File(write(HDF5, tmp_path / "a.h5", rows, False)) as file:
        images = file["images"]
        assert images.shape == (3, 3) and h5py.check_vlen_dtype(images.dtype) == np.uint8
        found = [[cell.tobytes() for cell in row] for row in images[:]]
        assert found == [
            [view["bytes"] if view else b"" for view in row["images"]]
            + [b""] * (3 - len(row["images"]))
            for row in rows
        ]


def test_all_else_in_h5py(tmp_path):
    features, rows = ROWS["views without names"]
    with h5py.File(write(HDF5, tmp_path / "a.h5", rows, True, features)) as file:
        assert file["labels"].dtype == np.int64 and file["labels"][:].tolist() == [0, 1]
        assert file["sample_id"].asstr()[:].tolist() == ["cat/0000", "dog/0001"]
        assert file["view_names"].asstr()[:].tolist() == [["a", "", ""], ["b", "", "c"]]
        assert file["view_labels"][:].tolist() == [[1, -1, -1], [0, -1, 1]]
        assert file.attrs["class_names"].tolist() == ["cat", "dog"]
        assert file.attrs["view_label_names"].tolist() == ["left", "ríght"]
        assert json.loads(file.attrs["multiview_cifar"])["label"]["names"] == ["cat", "dog"]
    features, rows = ROWS["metadata"]
    with h5py.File(write(HDF5, tmp_path / "b.h5", rows, True, features)) as file:
        assert json.loads(file["metadata"].asstr()[0])["angles"] == [0.5]
    features, rows = ROWS["two columns"]
    with h5py.File(write(HDF5, tmp_path / "c.h5", rows, True, features)) as file:
        assert file["masks"].shape == (2, 3, 2, 3, 1)
        assert file["masks_mask"][:].tolist() == [[False] * 3, [True, False, True]]


def test_16_bits_in_h5py(tmp_path):
    features, rows = ROWS["16-bit grey"]
    with h5py.File(write(HDF5, tmp_path / "a.h5", rows, True, features)) as file:
        assert file["images"].dtype == np.uint16
        assert (file["images"][1, 2] == pixels_of(rows)[1][2][..., None]).all()


def test_as_many_class_names_as_there_are(tmp_path):
    """Attributes of HDF5's oldest format hold 64 KB."""
    names = [f"the class of number {i}" for i in range(20_000)]
    features = PLAIN | {"label": type(PLAIN["label"])(names=names)}
    rows = [{**row, "label": 19_999} for row in rows_with([1])]
    path = write(HDF5, tmp_path / "a.h5", rows, True, type(PLAIN)(features))
    with h5py.File(path) as file:
        assert file.attrs["class_names"].tolist() == names
    assert read(HDF5, path)["train"][0]["label"] == 19_999


# --- files of others ------------------------------------------------------------------------------


def test_pixels_of_others(save):
    path = save(images=PIXELS, labels=np.array([0, 2, 1, 0], np.uint8))
    reading = HDF5.read(path, None)
    assert reading.features["label"].names == ["0", "1", "2"] and reading.files == [path]
    rows = read(HDF5, path)["train"]
    assert [row["sample_id"] for row in rows] == ["0/0", "2/1", "1/2", "0/3"]
    assert all(row["view_names"] == ["0", "1", "2"] for row in rows)
    assert (np.array(pixels_of(rows)) == PIXELS).all()


def test_one_view_a_row(save):
    rows = read(HDF5, save(images=PIXELS[:, 0], label=[0, 1, 1, 0]))["train"]
    assert (np.array(pixels_of(rows)) == PIXELS[:, :1]).all()
    assert rows[1] == {**rows[1], "label": 1, "sample_id": "1/1", "view_names": ["0"]}


def test_bytes_of_others(save):
    files = [
        [image(1)["bytes"], image(2, kind="tiff")["bytes"]],
        [image(3, kind="jpeg")["bytes"], b""],
        [b"", image(4)["bytes"]],
    ]
    rows = read(HDF5, save(images=cells(files), labels=[0, 0, 0]))["train"]
    assert [[view and view["bytes"] for view in row["images"]] for row in rows] == [
        files[0],
        files[1][:1],
        [None, files[2][1]],
    ]
    rows = read(HDF5, save(images=cells(files)[:2, 0], labels=[0, 0]))["train"]
    assert [row["images"][0]["bytes"] for row in rows] == [files[0][0], files[1][0]]


def test_masked_views(save):
    """Those at the end are none of the row's views, those before are None."""
    mask = [[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 0, 0]]
    path = save(images=PIXELS, labels=[0] * 4, view_mask=np.array(mask, bool))
    rows = read(HDF5, path)["train"]
    assert [[view is not None for view in row["images"]] for row in rows] == [
        [True, True, True],
        [True, False, True],
        [False, True],
        [True],
    ]
    assert [row["view_names"] for row in rows][2:] == [["0", "1"], ["0"]]


def test_names_of_others(save):
    text = h5py.string_dtype()
    path = save(
        {"class_names": ["chat", "犬"], "view_label_names": ["l", "r"]},
        images=PIXELS,
        labels=[0, 1, 1, 0],
        sample_id=np.array(["a", "é", "c", "d"], text),
        view_names=np.array(["front", "b", "c"], "S5"),
        view_labels=[[0, 1, -1]] * 4,
    )
    assert HDF5.read(path, None).features["label"].names == ["chat", "犬"]
    row = read(HDF5, path)["train"][1]
    assert row["sample_id"] == "é" and row["view_names"] == ["front", "b", "c"]
    assert row["view_labels"] == [0, 1, None]
    path = save(images=PIXELS, labels=[0] * 4, view_names=np.array([["a", "b", "c"]] * 4, text))
    assert read(HDF5, path)["train"][3]["view_names"] == ["a", "b", "c"]


def test_class_names_as_an_option(save, fails):
    path = save(images=PIXELS, labels=[0, 1, 1, 0])
    names = ["cat", "dog"]
    assert HDF5.read(path, None, class_names=names).features["label"].names == names
    assert read(HDF5, path, class_names=names)["train"][0]["sample_id"] == "cat/0"
    for wrong in ("cat", ["a", "a"], [], ["a", ""], [1, 2]):
        with fails("OptionError", f"class_names={wrong!r}", "different", path="class_names"):
            HDF5.read(path, None, class_names=wrong)
    path = save({"class_names": ["a", "a"]}, images=PIXELS, labels=[0, 1, 1, 0])
    with fails("FormatError", path, "class_names ['a', 'a']", "different names", path=path):
        HDF5.read(path, None)
    path = save({"class_names": ["a", "b"]}, images=PIXELS, labels=[0, 1, 1, 0])
    with fails("FormatError", path, "['a', 'b']", "['cat', 'dog']", path=path):
        HDF5.read(path, None, class_names=names)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["train", "test", "train", "val"], h5py.string_dtype()),
        np.array([b"train", b"test", b"train", b"val"]),
        np.array([1, 0, 1, 2]),
    ],
    ids=["text", "bytes", "numbers"],
)
def test_splits_in_one_file(values, save):
    path = save(
        {"split_names": ["test", "train", "val"]}, images=PIXELS, labels=[0, 1, 2, 3], splits=values
    )
    found = read(HDF5, path)
    assert {split: [row["label"] for row in rows] for split, rows in found.items()} == {
        "train": [0, 2],
        "validation": [3],
        "test": [1],
    }
    assert [*found] == ["train", "validation", "test"]
    assert (np.array(pixels_of(found["train"])) == PIXELS[[0, 2]]).all()


def test_splits_that_are_mixed_row_by_row(save):
    """Small and image columns are read in blocks, which a split's rows may begin anywhere in."""
    n = 5000
    images, splits = np.arange(n * 3).astype("u2").view("u1")[: n * 3], np.arange(n) % 7 == 3
    splits[1000:2500] = False
    path = save(
        {"split_names": ["train", "test"]},
        images=images.reshape(n, 1, 1, 1, 3),
        labels=np.arange(n),
        splits=splits.astype(int),
    )
    for split, value in (("train", False), ("test", True)):
        rows = read(HDF5, path)[split]
        numbers = np.flatnonzero(splits == value)
        assert [row["label"] for row in rows] == numbers.tolist()
        for row, number in list(zip(rows, numbers, strict=True))[::97]:
            assert (pixels_of([row])[0][0] == images.reshape(n, 3)[number]).all()


def test_several_files(save, tmp_path):
    save(name="a.hdf5", images=PIXELS, labels=[0, 0, 0, 1])
    save(name="b.h5", images=PIXELS[:1, :2], labels=[3])
    assert len(HDF5.read(str(tmp_path), None).features["label"].names) == 4
    assert [row["sample_id"] for row in read(HDF5, tmp_path)["train"]] == [
        "0/0",
        "0/1",
        "0/2",
        "1/3",
        "3/4",
    ]


def test_what_is_ignored_is_logged(save, caplog):
    path = save(images=PIXELS, labels=[0] * 4, poses=np.zeros((4, 3, 16)), metadata=[1, 2])
    assert set(read(HDF5, path)["train"][0]) == {"images", "label", "sample_id", "view_names"}
    assert f"Ignored arrays of {path}: metadata, poses" in caplog.text


def test_the_only_array_of_pixels_is_the_images(save):
    rows = read(HDF5, save(X=PIXELS, labels=[0, 1, 1, 0]))["train"]
    assert (np.array(pixels_of(rows)) == PIXELS).all()


def test_no_labels(save, fails):
    path = save(images=PIXELS)
    rows = read(HDF5, path)["train"]
    assert set(rows[0]) == {"images", "sample_id", "view_names"}
    assert [row["sample_id"] for row in rows] == ["0", "1", "2", "3"]
    with fails("FormatError", path, "no labels", "class_names", path=path):
        HDF5.read(path, None, class_names=["cat"])
    save(name="b.h5", images=PIXELS, labels=[0] * 4)
    folder = os.path.dirname(path)
    with fails("FormatError", path, "has no labels, where others", path=path):
        HDF5.read(folder, None)


def test_each_group_is_the_split_that_its_name_says(save):
    arrays = {
        "test_set/images": PIXELS[2:],
        "test_set/labels": [1, 0],
        "data/train/X": PIXELS[:2],
        "data/train/label": [0, 1],
    }
    path = save({"class_names": ["cat", "dog"]}, **arrays)
    rows = read(HDF5, path)
    assert list(rows) == ["train", "test"]
    assert (np.array(pixels_of(rows["train"])) == PIXELS[:2]).all()
    assert (np.array(pixels_of(rows["test"])) == PIXELS[2:]).all()
    assert [row["sample_id"] for row in rows["test"]] == ["dog/2", "cat/3"]


def test_one_group_takes_the_split_of_its_file(save):
    path = save(name="val-0.h5", **{"data/images": PIXELS, "data/labels": [0] * 4})
    assert list(read(HDF5, path)) == ["validation"]


def test_groups_without_splits(save, fails):
    path = save(**{f"{name}/images": PIXELS for name in ("cat", "dog", "train")})
    with fails("FormatError", "in the groups cat, dog, train", "named by cat, dog", path=path):
        HDF5.read(path, None)
    path = save(name="b.h5", **{"train/images": PIXELS, "test/images": PIXELS / 255})
    with fails("FormatError", "dtype float64", path=path):
        HDF5.read(path, None)


# --- what is wrong --------------------------------------------------------------------------------

RIGHT = {"images": PIXELS, "labels": [0, 1, 1, 0]}
WRONG = {
    "no images": ({"images": None, "x": [1]}, "no array 'images' (it has: labels, x)"),
    "two arrays of pixels": (
        {"images": None, "x": PIXELS, "y": PIXELS},
        "no array 'images' (it has: labels, x, y)",
    ),
    "floats": ({"images": PIXELS / 255}, "'images' has the shape (4, 3, 4, 5, 3) and the dtype f"),
    "planes first": ({"images": PIXELS.transpose(0, 1, 4, 2, 3)}, "(N, V, H, W, C)"),
    "no channels": ({"images": PIXELS[:, 0, :, :, 0]}, "'images' has the shape (4, 4, 5)"),
    "16 bits of RGB": ({"images": PIXELS.astype(np.uint16)}, "uint16, int32 or float32 with 1"),
    "a label too many": ({"labels": [0] * 5}, "'labels' has the shape (5,)"),
    "labels that are floats": ({"labels": [0.0] * 4}, "integers of the shape (4,)"),
    "a table of labels": ({"labels": [[0]] * 4}, "'labels' has the shape (4, 1)"),
    "one label": ({"labels": 3}, "'labels' has the shape ()"),
    "a mask of two views": ({"view_mask": [[True, False]] * 4}, "booleans of the shape (4, 3)"),
    "numbers for names": ({"sample_id": [1, 2, 3, 4]}, "'sample_id'"),
    "two names for three": ({"view_names": [b"a", b"b"]}, "text of the shape (4, 3)"),
    "splits without names": ({"splits": [0, 0, 1, 0]}, "row 0: splits is 0. Expected a name"),
    "a split of no name": ({"splits": [b"train", b"a b", b"train", b"a b"]}, "row 1: splits is 'a"),
    "a huge label": ({"labels": [0, 0, 1 << 40, 0]}, "has the label 1099511627776"),
}


@pytest.mark.parametrize("name", WRONG)
def test_datasets_that_are_not_right(name, save, fails):
    change, found = WRONG[name]
    path = save(**{key: values for key, values in (RIGHT | change).items() if values is not None})
    with fails("FormatError", path, found, "Expected", path=path):
        HDF5.read(path, None)


ROWS_WRONG = {
    "a label out of range": ({"labels": [0, 1, 2, 0]}, "row 2: the label is 2. Expected 0 to 1"),
    "a negative label": ({"labels": [0, 1, 0, -1]}, "row 3: the label is -1"),
    "a view behind the last": (
        {"num_views": [3, 3, 2, 3]},
        "row 2: num_views is 2, view_mask [True, True, True]",
    ),
    "too many views": ({"num_views": [3, 4, 3, 3]}, "row 1: num_views is 4"),
    "no UTF-8": (
        {"sample_id": np.array([b"a", b"\xff", b"c", b"d"])},
        "row 1: the array 'sample_id' has values that are not text",
    ),
    "an empty name": ({"sample_id": np.array([b"a", b"", b"c", b"d"])}, "row 1: sample_id is ''"),
    "a view label out of range": (
        {"view_labels": [[0, 1, 2], [0, 0, 7]] * 2},
        "row 1: view_labels has 7",
    ),
    "no image": (
        {"images": cells([[image(0)["bytes"]], [b"GIF89a and so on"]]), "labels": [0, 0]},
        "row 1: view 0 in 'images' is 16 bytes that begin with b'GIF89a and s'",
    ),
    "half an image": (
        {"images": cells([[image(0)["bytes"][:90]]]), "labels": [0]},
        "row 0: view 0 in 'images'",
    ),
    "an empty image": (
        {"images": cells([[b""]]), "labels": [0], "view_mask": [[True]]},
        "row 0: view 0 in 'images' is empty",
    ),
}


@pytest.mark.parametrize("name", ROWS_WRONG)
def test_rows_that_are_not_right(name, save, fails):
    change, found = ROWS_WRONG[name]
    path = save(
        {"class_names": ["cat", "dog"], "view_label_names": ["a", "b", "c"]}, **(RIGHT | change)
    )
    with fails("FormatError", path, found, "Expected", path=path):
        read(HDF5, path)


def test_a_file_that_is_cut_off(save, fails):
    path = save(**RIGHT)
    os.truncate(path, os.path.getsize(path) - 100)
    with fails("FormatError", path, "cannot be read as HDF5", "truncated", path=path):
        HDF5.read(path, None)


def test_a_file_of_another_kind(tmp_path, fails):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5")
    with fails("FormatError", "cannot be read as HDF5", "Expected a whole file", path=str(path)):
        HDF5.read(str(path), None)


def test_a_link_that_leads_nowhere(save, tmp_path, fails):
    path = save(**RIGHT)
    with h5py.File(path, "a") as file:
        file["sample_id"] = h5py.ExternalLink("nowhere.h5", "x")
    with fails("FormatError", "cannot be read as HDF5", path=path):
        HDF5.read(path, None)


def test_a_chunk_that_is_damaged(tmp_path, fails):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=PIXELS, chunks=(1, 3, 4, 5, 3), compression="gzip")
        file["labels"] = [0, 1, 1, 0]
        at = file["images"].id.get_chunk_info(2).byte_offset
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(b"damage")
    with fails("FormatError", path, "row 2: the array 'images' cannot be read", path=path):
        read(HDF5, path)


def test_a_file_on_which_hdf5_hangs(save, fails, monkeypatch):
    """Where its heap of texts has lost a block, HDF5 looks for the next object for ever."""
    monkeypatch.setattr(hdf5_files, "FREE_SECONDS", 1)
    path = save({"class_names": ["cat", "dog"]}, images=PIXELS, labels=[0, 1, 0, 1])
    data = bytearray(Path(path).read_bytes())
    start = data.index(b"GCOL") + 16  # https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html, III.E
    data[start : start + 512] = bytes(512)
    Path(path).write_bytes(data)
    with fails("FormatError", "more than 1 s of processor time", "a whole file", path=path):
        load(path)


def test_groups_are_no_datasets(save, fails):
    path = save(labels=[0] * 4)
    with h5py.File(path, "a") as file:
        file.create_group("images")
    with fails("FormatError", "no array 'images'", path=path):
        HDF5.read(path, None)


def test_features_that_are_none(save, fails):
    path = save({"multiview_cifar": '{"images": 3}'}, **RIGHT)
    with fails("FormatError", path, "not features of a dataset", path=path):
        HDF5.read(path, None)


def test_our_file_that_lost_a_dataset(tmp_path, fails):
    features, rows = ROWS["views without names"]
    path = write(HDF5, tmp_path / "a.h5", rows, True, LABELLED)
    assert features == LABELLED
    with h5py.File(path, "a") as file:
        del file["view_labels"]
    with fails("FormatError", path, "no array 'view_labels'", path=path):
        HDF5.read(path, None)


WITHOUT = """
from array_rows import HDF5, PLAIN
for use in (lambda: HDF5.read("a.h5", None), lambda: HDF5.Writer("b.h5", PLAIN, True)):
    try:
        use()
    except ValueError as error:
        print(type(error).__name__, error)
"""


def test_without_h5py(tmp_path):
    (tmp_path / "h5py.py").write_text("raise ImportError")
    (tmp_path / "a.h5").write_bytes(b"")
    paths = os.pathsep.join([str(tmp_path), os.path.dirname(array_rows.__file__)])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        check=True,
        cwd=tmp_path,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
    )
    expected = 'FormatError HDF5 needs the package h5py. Expected it installed: pip install "multi'
    assert [line[: len(expected)] for line in done.stdout.splitlines()] == [expected] * 2
