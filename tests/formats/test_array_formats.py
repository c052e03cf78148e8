"""What HDF5, NumPy and CIFAR's records have in common: rows come back as they were."""

import gc
import os
import pickle
import shutil
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_rows import (
    CIFAR,
    HDF5,
    HELD,
    LABELLED,
    MASKED,
    MODES,
    NUMPY,
    PLAIN,
    ROWS,
    decoded,
    image,
    manifest_of,
    name_of,
    read,
    rows_with,
    shown,
    with_columns,
    write,
)
from multiview_cifar import row_features
from sampling import examples

ALL_MODES = pytest.mark.parametrize(("module", "pixels"), MODES, ids=name_of)
ALL = pytest.mark.parametrize("module", [HDF5, NUMPY, CIFAR], ids=name_of)


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "pixels", "name"), HELD, ids=name_of)
def test_there_and_back(module, pixels, name, tmp_path):
    features, rows = ROWS[name]
    path = write(module, tmp_path / f"shard{module.EXTENSION}", rows, pixels, features)
    manifest = manifest_of(tmp_path, {"train": [(Path(path).name, len(rows))]}, features)
    for said in (None, manifest):
        assert module.read(str(tmp_path), said).features == features
        back = read(module, tmp_path, said)["train"]
        assert shown(back, features, pixels) == shown(rows, features, pixels)
    again = write(module, tmp_path / f"again{module.EXTENSION}", back, pixels, features)
    assert shown(read(module, again)["train"], features, False) == shown(back, features, False)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@st.composite
def any_rows(draw):
    rows = []
    for i in range(draw(st.integers(1, 5))):
        views = draw(st.lists(st.booleans(), max_size=4))
        rows.append(
            {
                "images": [image(9 * i + j) if real else None for j, real in enumerate(views)],
                "label": draw(st.integers(0, 1)),
                "sample_id": draw(TEXTS),
                "view_names": [draw(st.none() | TEXTS) for _ in views],
                "view_labels": [draw(st.none() | st.integers(0, 1)) for _ in views],
            }
        )
    return rows


@examples(12)
@given(rows=any_rows())
@ALL_MODES
def test_any_rows_there_and_back(module, pixels, rows):
    with tempfile.TemporaryDirectory() as folder:
        path = write(module, f"{folder}/a{module.EXTENSION}", rows, pixels, LABELLED)
        back = read(module, path)["train"]
    assert shown(back, LABELLED, pixels) == shown(rows, LABELLED, pixels)


@ALL_MODES
def test_more_rows_than_are_read_or_written_at_once(module, pixels, tmp_path):
    counts = [9 if i == 1500 else 1 + i % 3 for i in range(3000)]
    rows = [
        {
            "images": [image(0)] * count,
            "label": i % 2,
            "sample_id": f"cat/{i}",
            "view_names": ["v"] * count,
        }
        for i, count in enumerate(counts)
    ]
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows, pixels)
    back = read(module, path)["train"]
    if pixels:
        rows, back = decoded(rows), decoded(back)
    assert back == rows


@ALL_MODES
def test_memory_does_not_grow_with_the_shard(module, pixels, tmp_path):
    views = [image(i, (300, 300, 3), kind="bmp") for i in range(2)]  # 270 KB
    rows = [
        {"images": views, "label": 0, "sample_id": f"cat/{i}", "view_names": ["a", "b"]}
        for i in range(100)
    ]
    tracemalloc.start()
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows, pixels)
    reading = module.read(path, None)
    assert sum(1 for shard in reading.shards["train"] for _ in reading.rows(shard)) == 100
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # of 54 MB


# --- shards and splits ----------------------------------------------------------------------------


def write_export(module, folder, pixels=True):
    """Two splits, one of two shards, and their manifest; the order is not that of names."""
    folder.mkdir()
    rows, shards = rows_with([1, 2, 3, 2]), {}
    for split, name, part in (
        ("holdout", "b", rows[:1]),
        ("holdout", "a", rows[1:3]),
        ("train", "c", rows[3:]),
    ):
        path = write(module, folder / f"{name}{module.EXTENSION}", part, pixels)
        shards.setdefault(split, []).append((Path(path).name, len(part)))
    return manifest_of(folder, shards)


@ALL
def test_an_export_of_several_shards(module, tmp_path):
    manifest = write_export(module, tmp_path / "out")
    splits = read(module, tmp_path / "out", manifest)
    assert {split: [row["sample_id"] for row in rows] for split, rows in splits.items()} == {
        "holdout": ["cat/0000", "dog/0001", "cat/0002"],
        "train": ["dog/0003"],
    }


@ALL
def test_a_reading_travels_to_another_process(module, tmp_path):
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows_with([2, 1]), True)
    reading = module.read(path, None)
    rows, (shard,) = pickle.loads(pickle.dumps((reading.rows, reading.shards["train"])))
    assert [*rows(shard)] == [*reading.rows(shard)]


@ALL
def test_a_reading_names_every_file(module, tmp_path):
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows_with([2, 1]), True)
    if os.path.isdir(path):
        os.mkdir(f"{path}/folder")
        Path(f"{path}/.hidden").touch()
    files = module.read(path, None).files
    inside = (
        [f"{path}/{name}" for name in os.listdir(path) if name not in ("folder", ".hidden")]
        if os.path.isdir(path)
        else [path]
    )
    assert sorted(files) == sorted(inside)


@ALL
def test_splits_by_names(module, tmp_path):
    rows = rows_with([1, 1, 1, 1, 1, 1])
    names = ["Training-00000-of-00001", "val", "test/x-1", "test/x-2", "eval/test", "other"]
    for name, row in zip(names, rows, strict=True):
        path = tmp_path / f"{name}{module.EXTENSION}"
        path.parent.mkdir(exist_ok=True)
        write(module, path, [row], True)
    found = read(module, tmp_path)
    assert [*found] == ["train", "validation", "test"]
    assert {split: [row["sample_id"][-1] for row in rows] for split, rows in found.items()} == {
        "train": ["5", "0"],
        "validation": ["1"],
        "test": ["4", "2", "3"],
    }


@ALL
def test_what_stands_beside_is_logged(module, tmp_path, caplog):
    write(module, tmp_path / f"train{module.EXTENSION}", rows_with([1]), True)
    (tmp_path / "notes.txt").write_text("notes")
    write(module, tmp_path / f".hidden{module.EXTENSION}", rows_with([1]), True)
    assert len(read(module, tmp_path)["train"]) == 1
    assert "Ignored" in caplog.text and "notes.txt" in caplog.text and "hidden" not in caplog.text


@ALL
def test_no_shard(module, tmp_path, fails):
    (tmp_path / "notes.txt").write_text("notes")
    with fails("FormatError", str(tmp_path), "has none", "Expected", path=str(tmp_path)):
        module.read(str(tmp_path), None)
    with fails("FormatError", "nowhere", "does not exist"):
        module.read(str(tmp_path / "nowhere"), None)


@ALL
def test_shards_of_different_datasets(module, tmp_path, fails):
    write(module, tmp_path / f"a{module.EXTENSION}", rows_with([1]), True)
    other = write(
        module,
        tmp_path / f"b{module.EXTENSION}",
        rows_with([1]),
        True,
        row_features(["images"], ["cat", "cow"], None),
    )
    with fails("FormatError", other, "other columns or labels", "one by one", path=other):
        module.read(str(tmp_path), None)


@ALL
def test_class_names_for_what_has_its_own(module, tmp_path, fails):
    manifest = write_export(module, tmp_path / "out")
    for said in (manifest, None):
        with fails("OptionError", "class_names are given", "leave them out", path="class_names"):
            module.read(str(tmp_path / "out"), said, class_names=["a", "b"])


# --- damage ---------------------------------------------------------------------------------------


@ALL
def test_a_shard_that_is_gone(module, tmp_path, fails):
    manifest = write_export(module, tmp_path / "out")
    gone = tmp_path / f"out/a{module.EXTENSION}"
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with fails("FormatError", str(gone), "is not there", "copy it again", path=str(gone)):
        module.read(str(tmp_path / "out"), manifest)


@ALL
def test_a_shard_that_is_cut_off(module, tmp_path, fails):
    manifest = write_export(module, tmp_path / "out")
    shard = tmp_path / f"out/a{module.EXTENSION}"
    file = max(shard.iterdir(), key=os.path.getsize) if shard.is_dir() else shard
    os.truncate(file, file.stat().st_size - 1)
    with fails("FormatError", str(shard), "multiview_cifar.json says", "cut off", path=str(shard)):
        module.read(str(tmp_path / "out"), manifest)


@ALL
def test_a_shard_with_other_rows(module, tmp_path, fails):
    manifest = write_export(module, tmp_path / "out")
    shards = manifest.splits["holdout"]
    shards[1] = replace(shards[1], num_rows=3)
    with fails("FormatError", shards[1].path, "has 2 rows. Expected 3"):
        read(module, tmp_path / "out", manifest)


# --- what cannot be written -----------------------------------------------------------------------

GOOD = rows_with([2])[0]
WRONG = {
    "a label out of range": ({"label": 2}, "the label is 2. Expected 0 to 1"),
    "a name too few": ({"view_names": ["a"]}, "Expected lists of one length"),
    "no sample_id": ({"sample_id": ""}, "sample_id is ''"),
    "an empty name": ({"view_names": ["a", ""]}, "has the name ''"),
    "a zero byte": ({"view_names": ["a", "b\0"]}, r"has the name 'b\x00'"),
    "a path": ({"images": [None, {"bytes": None, "path": "a.png"}]}, "holds no bytes"),
}


@ALL_MODES
@pytest.mark.parametrize("wrong", WRONG)
def test_rows_that_are_not_right(module, pixels, wrong, tmp_path, fails):
    change, found = WRONG[wrong]
    row = {**GOOD, **change}
    path = tmp_path / f"a{module.EXTENSION}"
    writer = module.Writer(str(path), PLAIN, pixels)
    writer.write(GOOD)
    with fails("ExportError", row["sample_id"], found, "Expected", path=row["sample_id"]):
        writer.write(row)
    writer.close()
    assert [row["sample_id"] for row in read(module, path)["train"]] == [GOOD["sample_id"]]


@pytest.mark.parametrize("module", [HDF5, NUMPY, CIFAR], ids=name_of)
def test_samples_of_two_sizes(module, tmp_path, fails):
    first, second = rows_with([1])[0], rows_with([1, 1], shape=(3, 5, 3))[1]
    says = (
        "dog/0001 has 'images' of (H, W, C) = (3, 5, 3)",
        "cat/0000 of (4, 5, 3)",
        "--image-size",
        "--mode RGB",
    )
    one = module.Writer(str(tmp_path / "one"), PLAIN, True)
    one.write(first)
    with fails("ExportError", *says, path="dog/0001"):
        one.write(second)
    one.close()
    two = module.Writer(str(tmp_path / "two"), PLAIN, True)
    two.set_state(one.get_state())  # the same holds for the next shard
    with fails("ExportError", *says, path="dog/0001"):
        two.write(second)
    del two
    gc.collect()  # no warning of a file that nobody closed


@pytest.mark.parametrize("module", [HDF5, NUMPY], ids=name_of)
@pytest.mark.parametrize("name", ["labels", "view_mask", "offsets", "a/b", ".masks", "metadata"])
def test_image_columns_that_no_array_can_be_called(module, name, tmp_path, fails):
    features = row_features(["images", name], ["cat"], None)
    with fails("ExportError", repr(name), "rename the column", path=name):
        module.Writer(str(tmp_path / "a"), features, True)


@pytest.mark.parametrize("module", [HDF5, NUMPY], ids=name_of)
def test_bytes_need_no_equal_sizes(module, tmp_path):
    rows = with_columns(rows_with([1, 1]), images=[[image(0)], [image(1, (9, 9, 1))]])
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows, False)
    assert read(module, path)["train"] == rows


@pytest.mark.parametrize("module", [HDF5, NUMPY], ids=name_of)
def test_a_mask_of_another_size_than_its_image(module, tmp_path):
    rows = with_columns(rows_with([2, 1]), masks=[[image(0, (9, 9, 1))] * 2, [None]])
    path = write(module, tmp_path / f"a{module.EXTENSION}", rows, True, MASKED)
    assert decoded(read(module, path)["train"]) == decoded(rows)
