"""Folders of NumPy arrays: what np.load finds in ours, and what ours makes of those of others."""

import json
import os
import zipfile

import numpy as np
import pytest

from array_rows import NUMPY, PLAIN, ROWS, decoded, image, read, rows_with, write

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 4, 5, 3), np.uint8)  # (N, V, H, W, C)
SAVERS = ["folder", "npz", "compressed npz"]


@pytest.fixture
def save(tmp_path):
    """save("npz", images=..., labels=...): the path of a file or folder of these arrays."""

    def make(how, name="a", **arrays):
        path = tmp_path / name
        if how == "folder":
            path.mkdir()
            for key, values in arrays.items():
                np.save(path / f"{key}.npy", values)
            return str(path)
        (np.savez if how == "npz" else np.savez_compressed)(f"{path}.npz", **arrays)
        return f"{path}.npz"

    return make


def pixels_of(rows):
    """The pixels of each view of each row, None where there is none."""
    return [[view and np.array(view[1]) for view in row["images"]] for row in decoded(rows)]


def load(path, name):
    return np.load(f"{path}/{name}.npy", mmap_mode="r")


# --- ours, read by np.load ------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[2, 2, 2], [2, 3, 1], [0, 1, 3, 0]])
def test_pixels_in_numpy(counts, tmp_path):
    rows = rows_with(counts, {(1, 0)})
    path = write(NUMPY, tmp_path / "a", rows, True)
    images, mask = load(path, "images"), load(path, "view_mask")
    assert isinstance(images, np.memmap) and images.dtype == np.uint8
    assert images.shape == (len(counts), max(counts), 4, 5, 3) and images.flags.c_contiguous
    assert load(path, "num_views").tolist() == counts
    for i, row in enumerate(pixels_of(rows)):
        padded = row + [None] * (max(counts) - len(row))
        assert mask[i].tolist() == [pixels is not None for pixels in padded]
        for j, pixels in enumerate(padded):
            assert (images[i, j] == (0 if pixels is None else pixels)).all()


def test_bytes_in_numpy(tmp_path):
    rows = rows_with([0, 2, 3, 1], {(2, 1)})
    path = write(NUMPY, tmp_path / "a", rows, False)
    images, offsets = load(path, "images"), load(path, "offsets")
    assert isinstance(images, np.memmap) and images.dtype == np.uint8 and images.ndim == 1
    assert offsets.dtype == np.int64 and offsets.shape == (4, 4) and offsets[-1, -1] == len(images)
    found = [
        [images[offsets[i, j] : offsets[i, j + 1]].tobytes() for j in range(3)] for i in range(4)
    ]
    assert found == [
        [view["bytes"] if view else b"" for view in row["images"]]
        + [b""] * (3 - len(row["images"]))
        for row in rows
    ]


def test_all_else_in_numpy(tmp_path):
    features, rows = ROWS["views without names"]
    path = write(NUMPY, tmp_path / "a", rows, True, features)
    assert load(path, "labels").dtype == np.int64 and load(path, "labels").tolist() == [0, 1]
    assert load(path, "sample_id").tolist() == ["cat/0000", "dog/0001"]
    assert load(path, "sample_id").dtype.kind == "U"
    assert load(path, "view_names").tolist() == [["a", "", ""], ["b", "", "c"]]
    assert load(path, "view_labels").tolist() == [[1, -1, -1], [0, -1, 1]]
    assert load(path, "class_names").tolist() == ["cat", "dog"]
    assert load(path, "view_label_names").tolist() == ["left", "ríght"]
    features, rows = ROWS["two columns"]
    path = write(NUMPY, tmp_path / "b", rows, False, features)
    assert load(path, "masks_mask").tolist() == [[False] * 3, [True, False, True]]
    start, end = load(path, "masks_offsets")[1, :2]
    assert load(path, "masks")[start:end].tobytes() == rows[1]["masks"][0]["bytes"]


def test_metadata_and_features_are_json(tmp_path):
    features, rows = ROWS["metadata"]
    path = write(NUMPY, tmp_path / "a", rows, True, features)
    lines = (tmp_path / "a/metadata.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [1, 0, None]
    with open(f"{path}/features.json", encoding="utf-8") as file:
        assert json.load(file)["label"]["names"] == ["cat", "dog"]


def test_16_bits_in_numpy(tmp_path):
    features, rows = ROWS["16-bit grey"]
    images = load(write(NUMPY, tmp_path / "a", rows, True, features), "images")
    assert images.dtype == np.uint16
    assert (images[1, 2, :, :, 0] == pixels_of(rows)[1][2]).all()


# --- arrays of others -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", SAVERS)
def test_pixels_of_others(how, save):
    path = save(
        how,
        images=PIXELS,
        label=np.array([0, 2, 1, 0], np.int32),
        view_names=np.array(["a", "b", "c"]),
    )
    assert NUMPY.read(path, None).features["label"].names == ["0", "1", "2"]
    rows = read(NUMPY, path)["train"]
    assert [row["sample_id"] for row in rows] == ["0/0", "2/1", "1/2", "0/3"]
    assert rows[0]["view_names"] == ["a", "b", "c"]
    assert (np.array(pixels_of(rows)) == PIXELS).all()


@pytest.mark.parametrize("how", SAVERS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_view_a_row(how, order, save):
    path = save(how, images=np.asarray(PIXELS[:, 0], order=order), labels=[0, 1, 1, 0])
    assert (np.array(pixels_of(read(NUMPY, path)["train"])) == PIXELS[:, :1]).all()


@pytest.mark.parametrize("how", SAVERS)
def test_all_that_is_optional(how, save):
    path = save(
        how,
        images=PIXELS,
        labels=[0, 1, 1, 0],
        splits=[1, 0, 1, 0],
        split_names=["test", "train"],
        view_mask=[[True, False, True], [True, False, False]] * 2,
        class_names=["cat", "犬"],
        sample_id=["a", "é", "c", "d"],
        view_labels=[[0, 1, 0]] * 4,
        view_label_names=["left", "right"],
    )
    features = NUMPY.read(path, None).features
    assert features["label"].names == ["cat", "犬"]
    assert features["view_labels"].feature.names == ["left", "right"]
    splits = read(NUMPY, path)
    assert [row["sample_id"] for row in splits["test"]] == ["é", "d"]
    row = splits["train"][1]
    assert row["sample_id"] == "c" and row["view_labels"] == [0, 1, 0] and row["images"][1] is None
    assert len(splits["test"][0]["images"]) == 1


@pytest.mark.parametrize("how", SAVERS)
def test_bytes_of_others(how, save):
    files = [image(i)["bytes"] for i in range(3)]
    ends = np.cumsum([len(data) for data in files])
    path = save(
        how,
        images=np.frombuffer(b"".join(files), np.uint8),
        labels=[0, 1],
        offsets=[[0, ends[0], ends[0]], [ends[0], ends[1], ends[2]]],
    )
    rows = read(NUMPY, path)["train"]
    assert [[view["bytes"] for view in row["images"]] for row in rows] == [files[:1], files[1:]]


def test_splits_by_files(save, tmp_path):
    save("npz", "train", images=PIXELS, labels=[0, 1, 1, 0])
    save("compressed npz", "test", images=PIXELS[:1], labels=[1])
    save("folder", "val", images=PIXELS[:2], labels=[1, 0])
    found = read(NUMPY, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 4,
        "validation": 2,
        "test": 1,
    }


def test_images_in_an_npz_are_mapped(save):
    """No memory is taken for them, however many there are."""
    path = save("npz", images=PIXELS, labels=[0] * 4)
    with NUMPY.FORMAT.open(path, "") as stored:
        assert isinstance(stored.arrays["images"], np.memmap)
        assert (stored.arrays["images"] == PIXELS).all()


# --- what is wrong --------------------------------------------------------------------------------

NEVER = "pickled objects are never loaded"


@pytest.mark.parametrize("how", SAVERS)
def test_pickled_objects(how, save, fails):
    path = save(how, images=PIXELS, labels=np.array([0, "a", None, {}], object))
    with fails("FormatError", path, NEVER):
        NUMPY.read(path, None)


def test_pickles_without_numpy_are_not_loaded(tmp_path, fails):
    """np.load would unpickle a file that is no .npy, if it were allowed to."""
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a/images.npy", PIXELS)
    (tmp_path / "a/labels.npy").write_bytes(b"cos\nmkdir\n(S'/tmp/never'\ntR.")
    with fails("FormatError", "labels.npy", NEVER, path=str(tmp_path / "a/labels.npy")):
        NUMPY.read(str(tmp_path / "a"), None)


@pytest.mark.parametrize("size", [0, 60, 200])
def test_an_array_that_is_cut_off(size, tmp_path, fails):
    path = write(NUMPY, tmp_path / "a", rows_with([2, 2]), True)
    os.truncate(f"{path}/labels.npy", min(size, os.path.getsize(f"{path}/labels.npy") - 1))
    with fails("FormatError", "labels.npy", "cannot be loaded", path=f"{path}/labels.npy"):
        NUMPY.read(path, None)


def test_an_npz_that_is_cut_off(save, fails):
    path = save("npz", images=PIXELS, labels=[0] * 4)
    os.truncate(path, os.path.getsize(path) - 30)
    with fails("FormatError", path, "cannot be loaded", path=path):
        NUMPY.read(path, None)


@pytest.mark.parametrize(
    ("damage", "found"),
    [(60, "cannot be loaded"), (90_000, "row 0: the array 'images' cannot be read")],
)
def test_an_npz_that_is_damaged(damage, found, save, fails):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 100, 100, 3), np.uint8)
    path = save("compressed npz", images=pixels, labels=[0] * 4)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("images.npy").header_offset
    with open(path, "r+b") as file:
        file.seek(at + damage)
        file.write(b"damage")
    with fails("FormatError", path, found, path=path):
        read(NUMPY, path)


WRONG = {
    "planes first": ({"images": PIXELS.transpose(0, 1, 4, 2, 3)}, "the shape (4, 3, 3, 4, 5)"),
    "a label too few": ({"labels": [0, 1]}, "'labels' has the shape (2,)"),
    "offsets of pixels": ({"offsets": [[0, 1]] * 4}, "of pixels there are no offsets"),
    "offsets of files in one row": (
        {"images": PIXELS.ravel(), "offsets": [0, 1]},
        "images of the shape (720,), uint8",
    ),
    "bytes without offsets": ({"images": PIXELS.ravel()}, "'images' has the shape (720,)"),
}


@pytest.mark.parametrize("how", SAVERS)
@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_are_not_right(name, how, save, fails):
    change, found = WRONG[name]
    path = save(how, **({"images": PIXELS, "labels": [0, 1, 1, 0]} | change))
    with fails("FormatError", path, found, "Expected", path=path):
        NUMPY.read(path, None)


@pytest.mark.parametrize("offsets", [[[0, 9], [5, 800]], [[0, 9], [9, 5]], [[0, 9], [-3, 5]]])
def test_offsets_that_lead_elsewhere(offsets, save, fails):
    files = np.frombuffer((image(0)["bytes"] * 10)[:720], np.uint8)
    offsets = [[0, len(image(0)["bytes"])], offsets[1]]
    path = save("folder", images=files, labels=[0, 1], offsets=offsets)
    start, end = offsets[1]
    says = ("row 1: the array 'images' cannot", f"view 0 is from {start} to {end} of 720 bytes")
    with fails("FormatError", *says, path=path):
        read(NUMPY, path)


def test_a_label_out_of_range(save, fails):
    path = save("npz", images=PIXELS, labels=[0, 1, 2, 0], class_names=["cat", "dog"])
    with fails("FormatError", path, "row 2: the label is 2. Expected 0 to 1", path=path):
        read(NUMPY, path)


@pytest.mark.parametrize("change", [b"", b"{", b'{"images": 3}', b"\xff"])
def test_features_that_are_none(change, tmp_path, fails):
    path = write(NUMPY, tmp_path / "a", rows_with([1]), True)
    (tmp_path / "a/features.json").write_bytes(change)
    with fails("FormatError", path, "Expected"):
        NUMPY.read(path, None)


@pytest.mark.parametrize("text", ["{}\n", "{}\n[]\n{}\n", "{}\nno JSON\n{}\n"])
def test_metadata_that_are_not_right(text, tmp_path, fails):
    features, rows = ROWS["metadata"]
    path = write(NUMPY, tmp_path / "a", rows, True, features)
    (tmp_path / "a/metadata.jsonl").write_text(text)
    with fails("FormatError", path, "Expected"):
        read(NUMPY, path)


def test_an_array_that_is_gone(tmp_path, fails):
    path = write(NUMPY, tmp_path / "a", rows_with([1]), True, PLAIN)
    os.remove(f"{path}/num_views.npy")
    with fails("FormatError", path, "no array 'num_views'", path=path):
        NUMPY.read(path, None)


@pytest.mark.parametrize("code", [0x400063, 0xD83D])
def test_text_that_is_no_unicode(save, fails, code):
    names = np.array([["a", "b", "c"]] * 4)
    names.view(np.uint32)[1] = code
    path = save("folder", images=PIXELS, view_names=names)
    with fails("FormatError", f"{code:#x} is not a code point", "UTF-8", path=path):
        read(NUMPY, path)
