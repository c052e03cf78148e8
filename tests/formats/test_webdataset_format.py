"""WebDataset tars: rows come back, `webdataset` reads them as its users do, and damage is named."""

import gc
import gzip
import io
import json
import logging
import pickle
import shutil
import sys
import tarfile
import tracemalloc
import warnings

import datasets
import numpy as np
import pytest
import webdataset
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from array_rows import (
    DESCRIBED,
    LABELLED,
    MASKED,
    PLAIN,
    ROWS,
    decoded,
    image,
    manifest_of,
    read,
    rows_with,
    shown,
    with_columns,
    write,
)
from multiview_cifar import row_features
from multiview_cifar_tools.formats import webdataset_tars
from sampling import examples

CASES = ROWS | {
    "JPEG and TIFF": (PLAIN, [*rows_with([2], kind="jpeg"), *rows_with([1, 3], kind="tiff")[1:]]),
    "views of one name": (
        LABELLED,
        with_columns(rows_with([3]), view_names=[["a", "A", "a"]], view_labels=[[0, 0, 1]]),
    ),
    "long names": (
        PLAIN,
        with_columns(
            rows_with([2, 1]),
            sample_id=["cat/" + "é" * 200, "x" * 99],
            view_names=[["v" * 300, "w"], ["a" * 60]],
        ),
    ),
    "names that mean something": (
        MASKED,
        with_columns(
            rows_with([2, 2, 1, 1, 1, 1, 1]),
            masks=[[image(1), None], *[[None, None]] * 1, *[[None]] * 5],
            sample_id=["cat/0001.5", "cat/0001", "__meta__/1", "/a", "a//b/", "a%2Eb", "a\nb"],
            view_names=[
                ["masks.0", "0"],
                ["a.b", "json"],
                ["cls"],
                ["../x"],
                [".png"],
                ["~1"],
                [" "],
            ],
        ),
    ),
}


def write_tar(path, rows, features=PLAIN, pixels=False):
    return write(webdataset_tars, path, rows, pixels, features)


def read_tar(path, manifest=None, **options):
    return read(webdataset_tars, path, manifest, **options)


def grouped(path):
    """The samples of a tar, as `webdataset` groups members."""
    with open(path, "rb") as stream:
        members = tar_file_expander([{"url": path, "stream": stream}])
        return list(group_by_keys(members))


def loaded(paths, decoder):
    """The samples of tars, by the call that its users make; it leaves the files open."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
        samples = list(webdataset.WebDataset(paths, shardshuffle=False).decode(decoder))
        gc.collect()
    return samples


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [False, True], ids=["bytes", "pixels"])
@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name, pixels, tmp_path):
    features, rows = CASES[name]
    path = write_tar(tmp_path / "a.tar", rows, features, pixels)
    manifest = manifest_of(tmp_path, {"train": [("a.tar", len(rows))]}, features)
    for place, said in [(path, None), (tmp_path, manifest)]:
        reading = webdataset_tars.read(str(place), said)
        assert reading.features == features
        assert reading.files == [path]
        back = read_tar(place, said)["train"]
        assert shown(back, features, pixels) == shown(rows, features, pixels)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
NAMES = TEXTS | st.sampled_from("a A . / % ~ ~1 json cls 0 1 masks __a__ a.b ß SS İ Σ".split())


@st.composite
def any_rows(draw):
    ids = draw(st.lists(NAMES.filter(bool), min_size=1, max_size=5, unique=True))
    rows = []
    for i, sample_id in enumerate(ids):
        views = draw(st.lists(st.booleans(), max_size=4))
        rows.append(
            {
                "images": [image(9 * i + j) if real else None for j, real in enumerate(views)],
                "masks": [image(99) if draw(st.booleans()) else None for _ in views],
                "label": draw(st.integers(0, 1)),
                "sample_id": sample_id,
                "view_names": [draw(st.none() | NAMES) for _ in views],
                "view_labels": [draw(st.none() | st.integers(0, 1)) for _ in views],
            }
        )
    return rows


@pytest.mark.parametrize("columns", [["images"], ["images", "masks"]])
@pytest.mark.parametrize("view_labels", [None, ["masks", "0"]])
@examples(40)
@given(rows=any_rows())
def test_any_names(columns, view_labels, rows, tmp_path_factory):
    """Whatever they are called, rows come back, and `webdataset` sees each sample by itself."""
    features = row_features(columns, ["cat", "dog"], view_labels)
    path = write_tar(tmp_path_factory.mktemp("any") / "a.tar", rows, features)
    assert shown(read_tar(path)["train"], features, False) == shown(rows, features, False)
    samples = grouped(path)
    assert len({sample["__key__"] for sample in samples}) == len(samples) == len(rows)
    for row, sample in zip(rows, samples, strict=True):
        said = json.loads(sample["json"])
        assert said["sample_id"] == row["sample_id"]
        for column in columns:
            views = [None if field is None else sample[field] for field in said[column]]
            assert views == [view and view["bytes"] for view in row[column]]


def test_equal_rows_give_equal_bytes(tmp_path):
    features, rows = CASES["long names"]
    first = write_tar(tmp_path / "a.tar", rows, features)
    second = write_tar(tmp_path / "b.tar", rows, features)
    with open(first, "rb") as one, open(second, "rb") as other:
        assert one.read() == other.read()


def test_a_column_of_the_name_that_the_json_adds(tmp_path):
    features = datasets.Features({**PLAIN, "label_name": datasets.Value("int64")})
    rows = with_columns(rows_with([1]), label_name=[7])
    path = write_tar(tmp_path / "a.tar", rows, features)
    assert read_tar(path)["train"] == rows


def test_the_shards_can_be_pickled(tmp_path):
    write_tar(tmp_path / "a.tar", rows_with([1, 2]))
    reading = pickle.loads(pickle.dumps(webdataset_tars.read(str(tmp_path), None)))
    assert len(list(reading.rows(reading.shards["train"][0]))) == 2


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_memory(name, tmp_path):
    """One row at a time, whatever the size of the tar."""
    view = {"bytes": image(0)["bytes"] + bytes(2_000_000), "path": None}
    rows = [{**rows_with([1])[0], "images": [view], "sample_id": str(i)} for i in range(20)]
    path = write_tar(tmp_path / "a.tar", rows)
    if name.endswith(".gz"):
        with open(path, "rb") as source, gzip.open(tmp_path / name, "wb") as packed:
            shutil.copyfileobj(source, packed)
    tracemalloc.start()
    reading = webdataset_tars.read(str(tmp_path / name), None)
    assert sum(1 for _ in reading.rows(reading.shards["train"][0])) == 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


# --- as others read them --------------------------------------------------------------------------


def test_webdataset_decodes_them(tmp_path):
    rows = with_columns(
        rows_with([2, 2]),
        sample_id=["cat/0.5", "dog/1"],
        view_names=[["Front", "left"], ["Front", "left"]],
    )
    paths = [
        write_tar(tmp_path / f"train-{i:05}-of-00002.tar", [row]) for i, row in enumerate(rows)
    ]
    samples = loaded(paths, "pil")
    assert [sample["__key__"] for sample in samples] == ["cat/0%2E5", "dog/1"]
    for row, sample in zip(rows, samples, strict=True):
        assert sample["cls"] == row["label"]
        assert sample["json"] == {
            "label": row["label"],
            "label_name": "cat" if row["label"] == 0 else "dog",
            "sample_id": row["sample_id"],
            "view_names": ["Front", "left"],
            "images": ["front.png", "left.png"],
        }
        for view, field in zip(row["images"], sample["json"]["images"], strict=True):
            with Image.open(io.BytesIO(view["bytes"])) as expected:
                assert np.array_equal(sample[field], expected)


def test_webdataset_reads_pixels(tmp_path):
    rows = rows_with([2], shape=(4, 5, 1), dtype=np.uint16)
    path = write_tar(tmp_path / "a.tar", rows, pixels=True)
    (sample,) = loaded(path, "rgb8")
    for view, field in zip(decoded(rows)[0]["images"], sample["json"]["images"], strict=True):
        dtype, pixels = view
        assert (sample[field].dtype.name, sample[field][:, :, 0].tolist()) == (dtype, pixels)


def test_members_of_view_labels_and_columns(tmp_path):
    features = row_features(["images", "masks"], ["cat", "dog"], ["left", "right"])
    (row,) = with_columns(rows_with([2]), masks=[[None, image(1)]], view_labels=[[1, 0]])
    (sample,) = grouped(write_tar(tmp_path / "a.tar", [row], features))
    assert {*sample} - {"__key__", "__url__"} == {
        "json",
        "cls",
        "right.view_0.png",
        "left.view_1.png",
        "masks.left.view_1.png",
    }
    assert json.loads(sample["json"])["masks"] == [None, "masks.left.view_1.png"]


@pytest.mark.parametrize("name", CASES)
def test_tarfile_reads_them(name, tmp_path):
    features, rows = CASES[name]
    with tarfile.open(write_tar(tmp_path / "a.tar", rows, features), errorlevel=2) as archive:
        members = archive.getmembers()
        assert all(member.isreg() and member.mtime == 0 for member in members)
        contents = {member.name: archive.extractfile(member).read() for member in members}
    views = [
        view["bytes"]
        for row in rows
        for column in ("images", "masks")
        if column in features
        for view in row[column]
        if view
    ]
    assert [
        data for name, data in contents.items() if not name.endswith(("json", "cls", "__"))
    ] == views


def test_datasets_reads_them(tmp_path):
    """The Hub shows such tars by this loader."""
    path = write_tar(tmp_path / "a.tar", rows_with([2, 2, 2]))
    ds = datasets.load_dataset(
        "webdataset", data_files=path, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert ds["cls"][:] == [0, 1, 0]
    assert ds[0]["view_0.png"].size == (5, 4)


# --- tars of others -------------------------------------------------------------------------------


def png(seed):
    return image(seed)["bytes"]


def tar_of(path, *members, mode="w"):
    """A tar of (name, contents)."""
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def test_no_labels_at_all(tmp_path, caplog):
    members = [("1.a.png", png(1)), ("1.json", b'{"category": 3}'), ("2.png", png(2))]
    path = tar_of(tmp_path / "a.tar", *members)
    rows = read(webdataset_tars, path)["train"]
    assert [sorted(row) for row in rows] == [["images", "sample_id", "view_names"]] * 2
    assert "has a label (.cls, or label, class, label_name in its .json)" in caplog.text


def test_what_webdataset_wrote(tmp_path):
    """Its headers have pax records; its fields come in the order of the alphabet."""
    views = {f"View_{i}.png": png(i) for i in (2, 10)}
    with webdataset.TarWriter(str(tmp_path / "a.tar"), encoder=True) as writer:
        writer.write({"__key__": "a/1", "cls": 2, "jpg": image(1, kind="jpeg")["bytes"]})
        writer.write({"__key__": "a/2", "cls": 0, "json": {"x": 1}, **views})
    reading = webdataset_tars.read(str(tmp_path / "a.tar"), None)
    assert reading.features == row_features(["images"], ["0", "1", "2"], None)
    one, other = reading.rows(reading.shards["train"][0])
    assert (one["label"], one["sample_id"], one["view_names"]) == (2, "a/1", ["0"])
    assert (other["label"], other["view_names"]) == (0, ["view_2", "view_10"])
    assert [view["bytes"] for view in other["images"]] == [png(2), png(10)]


@pytest.mark.parametrize(
    "said",
    [{"label": "dog"}, {"class": "dog"}, {"label_name": "dog"}, {"label": None, "class": "dog"}],
)
def test_names_in_json(said, tmp_path):
    path = tar_of(
        tmp_path / "a.tar",
        ("1.json", json.dumps(said).encode()),
        ("1.png", png(1)),
        ("2.json", b'{"label": "cat"}'),
        ("2.png", png(2)),
    )
    assert webdataset_tars.read(path, None).features["label"].names == ["cat", "dog"]
    assert [row["label"] for row in read_tar(path)["train"]] == [1, 0]
    assert [row["label"] for row in read_tar(path, class_names=["dog", "cat"])["train"]] == [0, 1]


def test_numbers_with_class_names(tmp_path):
    path = tar_of(
        tmp_path / "a.tar",
        ("1.cls", b"1\n"),
        ("1.png", png(1)),
        ("2.json", b'{"label": 0}'),
        ("2.png", png(2)),
    )
    reading = webdataset_tars.read(path, None, class_names=["cat", "dog", "cow"])
    assert reading.features["label"].names == ["cat", "dog", "cow"]
    assert [row["label"] for row in reading.rows(reading.shards["train"][0])] == [1, 0]


def test_what_is_left_out_is_logged(tmp_path, caplog):
    path = tar_of(
        tmp_path / "a.tar",
        ("README", b"x"),
        (".hidden.png", b"x"),
        ("__x__/1.png", b""),
        ("1.cls", b"0"),
        ("1.png", png(1)),
        ("1.caption.txt", b"x"),
        ("2.cls", b"0"),
        ("2.png", png(2)),
        ("2.caption.txt", b"x"),
    )
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("2.left.png")
        link.type, link.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with caplog.at_level(logging.WARNING):
        rows = read_tar(path, class_names=["cat"])["train"]
    assert [row["view_names"] for row in rows] == [["0"], ["0"]]
    names = "README, .hidden.png, __x__/1.png, 2.left.png"
    assert f"Ignored in {path}, 4 of its members: {names}" in caplog.text
    assert caplog.text.count("Left out of rows: members such as .caption.txt") == 1
    assert "folder" not in caplog.text


def test_splits_by_name(tmp_path):
    (tmp_path / "val").mkdir()
    for i, name in enumerate(
        [
            "train-00000-of-00002.tar",
            "train-00001-of-00002.tar",
            "test.tar.gz",
            "val/0.tgz",
            "other.tar",
        ]
    ):
        mode = "w" if name.endswith(".tar") else "w:gz"
        tar_of(tmp_path / name, (f"{i}.cls", b"0"), (f"{i}.png", png(i)), mode=mode)
    rows = read_tar(tmp_path)
    assert {split: [row["sample_id"] for row in rows[split]] for split in rows} == {
        "train": ["4", "0", "1"],
        "validation": ["3"],
        "test": ["2"],
    }
    assert [*rows] == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [("b.tar.gz", gzip.compress), ("b.TGZ", gzip.compress), ("b.tar.zst", zstandard.compress)],
)
def test_packed_tars(name, pack, tmp_path):
    """Of others too, whose labels take a pass."""
    rows = rows_with([1, 3])
    with open(write_tar(tmp_path / "a.tar", rows), "rb") as file:
        (tmp_path / name).write_bytes(pack(file.read()))
    assert read_tar(tmp_path / name)["train"] == rows
    members = ("1.png", png(1)), ("1.big.png", png(2) * 5_000), ("1.cls", b"1")
    with open(tar_of(tmp_path / "a.tar", *members), "rb") as file:
        (tmp_path / name).write_bytes(pack(file.read()))
    reading = webdataset_tars.read(str(tmp_path / name), None)
    assert reading.features["label"].names == ["0", "1"]


@pytest.mark.parametrize("pattern", ["a-{8..10}.tar", "a-*.tar", "a-{8,9,10}.*"])
@pytest.mark.parametrize("where", ["", "file://"])
def test_patterns(pattern, where, tmp_path):
    rows = rows_with([1, 2, 3])
    for i, row in enumerate(rows):
        write_tar(tmp_path / f"a-{i + 8}.tar", [row])
    assert read_tar(f"{where}{tmp_path}/{pattern}")["train"] == rows


def test_patterns_without_braceexpand(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "braceexpand", None)
    with fails("FormatError", "needs the package braceexpand", "multiview-cifar[webdataset]"):
        read_tar("a-{0..1}.tar")


def test_remote_tars(s3_address, tmp_path, fails):
    rows = rows_with([1, 2])
    with open(write_tar(tmp_path / "a.tar", rows), "rb") as file:
        data = file.read()
    s3_address.put("tars/train-0.tar", data)
    s3_address.put("tars/test-0.tar.gz", gzip.compress(data))
    options = s3_address.options
    for names, said in [("*", options), ("{train-0.tar,test-0.tar.gz}", {"s3": options})]:
        found = read_tar(f"s3://bucket/tars/{names}", storage_options=said)
        assert found == {"train": rows, "test": rows}
    with fails("FormatError", "s3://bucket/none.tar cannot be read (FileNotFoundError", "address"):
        read_tar("s3://bucket/none.tar", storage_options=options)
    s3_address.put("tars/train-0.tar", data[:-1024])
    with fails("FormatError", "train-0.tar is damaged or cut off", "no end-of-archive mark"):
        read_tar("s3://bucket/tars/train-0.tar", storage_options=options)


# --- what is wrong --------------------------------------------------------------------------------

OWN = {
    "a member that the JSON does not name": (
        [("x.left.png", png(1))],
        "x.left.png at byte",
        "the .json does not name it",
    ),
    "a label that differs": (
        [("x.cls", b"1")],
        "x.cls at byte 1024",
        "the label is 1, in the .json 0",
    ),
    "a view that is none": ([("x.view_0.png", b"text")], "x.view_0.png at byte", "4 bytes that"),
    "a row that is not right": (
        [("x.json", b'{"label": 0, "sample_id": "x", "view_names": [],"images": ["view_0.png"]}')],
        "the sample 'x'",
        "view_names is []",
    ),
    "a view too few": (
        [("x.view_0.png", None)],
        "'x' at byte 0 has no view_0.png",
        "(it has: json, cls)",
    ),
    "no JSON": ([("x.json", b"{")], "x.json at byte 0: b'{' is not JSON", "Expected an object"),
    "no columns": ([("x.json", b'{"label": 0}')], "x.json at byte 0", "images is None"),
    "no .cls": ([("x.cls", None)], "'x' at byte 0 has no cls", "one .cls a sample with a label"),
    "no .json": ([("x.json", None)], "'x' at byte 0 has no json", "one .json a sample"),
}


@pytest.mark.parametrize("name", OWN)
def test_samples_of_ours_that_are_not_right(name, tmp_path, fails):
    changes, *says = OWN[name]
    members = {
        "x.json": b'{"label": 0, "sample_id": "x", "view_names": ["view_0"], '
        b'"images": ["view_0.png"]}',
        "x.cls": b"0",
        "x.view_0.png": png(1),
    } | dict(changes)
    path = tar_of(tmp_path / "a.tar", *((n, data) for n, data in members.items() if data))
    manifest = manifest_of(tmp_path, {"train": [("a.tar", 1)]})
    with fails("FormatError", path, *says, "Expected", path=path):
        read_tar(tmp_path, manifest)


def test_pixels_that_are_none(tmp_path, fails):
    in_columns = np.zeros((2, 2, 3), np.uint8).T
    for array in (np.zeros((2, 3)), in_columns, np.array(["a"], object)):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        for data in (buffer.getvalue(), buffer.getvalue()[:-1], buffer.getvalue()[:9], b"x"):
            path = tar_of(
                tmp_path / "a.tar",
                ("x.cls", b"0"),
                ("x.0.npy", data),
                ("x.json", b'{"label":0,"sample_id":"x","view_names":["0"],"images":["0.npy"]}'),
            )
            manifest = manifest_of(tmp_path, {"train": [("a.tar", 1)]})
            with fails("FormatError", "x.0.npy at byte 1024", "no array of pixels", path=path):
                read_tar(tmp_path, manifest)


FOREIGN = {
    "no label": (
        [("1.png", png(1)), ("2.cls", b"0"), ("2.png", png(1))],
        "'1' at byte 0 has no label (it has: png)",
        ".cls",
    ),
    "no label in the JSON": (
        [("1.cls", b"0"), ("1.png", png(1)), ("2.json", b'{"label": true}'), ("2.png", png(1))],
        "'2' at byte 2048 has no label",
    ),
    "JSON that is none": ([("1.json", b"[]"), ("1.png", png(1))], "1.json at byte 0: b'[]' is no"),
    "no image": ([("1.cls", b"0"), ("1.txt", b"x")], "has no image", ".png"),
    "a label that is not a number": ([("1.cls", b"cat")], "1.cls at byte 0: the label is b'cat'"),
    "a label below 0": ([("1.cls", b"-1")], "the label is b'-1'", "from 0 on"),
    "two images of a view": (
        [("1.cls", b"0"), ("1.a.png", png(1)), ("1.A.jpg", png(2))],
        "1.A.jpg at byte",
        "'a.png' is the view 'a' too",
    ),
    "a member twice": (
        [("1.cls", b"0"), ("1.png", png(1)), ("1.PNG", png(1))],
        "1.PNG at byte",
        "has 'png' twice",
    ),
    "a sample that comes again": (
        [("1.cls", b"0"), ("1.png", png(1)), ("2.cls", b"0"), ("2.png", png(1)), ("1.jpg", png(1))],
        "1.jpg at byte",
        "the sample '1' comes again",
        "stand together",
    ),
    "a view that is none": ([("1.cls", b"0"), ("1.png", b"text")], "1.png at byte 1024: 4 bytes"),
    "a name that is not UTF-8": ([("\udcff.cls", b"0")], "at byte 0", "no header", "can't decode"),
    "names and numbers": (
        [("1.cls", b"0"), ("1.png", png(1)), ("2.json", b'{"label": "cat"}'), ("2.png", png(1))],
        "the sample '2': the label is 'cat'",
        "the sample '1' 0",
        "not both",
    ),
    "a label beyond reason": (
        [("1.cls", b"99999999"), ("1.png", png(1))],
        "the label is 99999999",
        "below 1048576",
    ),
    "nothing": ([], "has no samples"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_samples_of_others_that_are_not_right(name, tmp_path, fails):
    members, *says = FOREIGN[name]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for member, data in members:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with fails("FormatError", str(path), *says, "Expected", path=str(path)):
        read_tar(path)


@pytest.mark.parametrize(
    ("member", "names", "found"),
    [
        (("1.cls", b"2"), ["cat", "dog"], "1.cls at byte 0: the label is 2. Expected 0 to 1"),
        (
            ("1.json", b'{"label": "cow"}'),
            ["cat", "dog"],
            "the label is 'cow'. Expected 0 to 1, or",
        ),
    ],
)
def test_labels_that_class_names_do_not_have(member, names, found, tmp_path, fails):
    path = tar_of(tmp_path / "a.tar", member, ("1.png", png(1)))
    with fails("FormatError", found, path=path):
        read_tar(path, class_names=names)


@pytest.mark.parametrize("names", [[], ["a", "a"], [1], "ab"])
def test_class_names_that_are_none(names, tmp_path, fails):
    path = tar_of(tmp_path / "a.tar", ("1.cls", b"0"), ("1.png", png(1)))
    with fails("OptionError", repr(names), "Expected a list of names", path="class_names"):
        read_tar(path, class_names=names)


def test_features_that_are_none(tmp_path, fails):
    for data in (b"{", b'{"images": 1}'):
        path = tar_of(tmp_path / "a.tar", ("__multiview_cifar__", data))
        with fails("FormatError", f"{path}, __multiview_cifar__: ", "Expected", path=path):
            read_tar(path)


def test_class_names_where_the_tar_says_them(tmp_path, fails):
    path = write_tar(tmp_path / "a.tar", rows_with([1]))
    manifest = manifest_of(tmp_path, {"train": [("a.tar", 1)]})
    for place, said in [(path, None), (tmp_path, manifest)]:
        with fails("OptionError", "class_names", "leave them out", path="class_names"):
            read_tar(place, said, class_names=["a"])


def test_tars_that_do_not_go_together(tmp_path, fails):
    write_tar(tmp_path / "a.tar", rows_with([1]))
    features = row_features(["images"], ["a", "b"], None)
    other = write_tar(tmp_path / "b.tar", rows_with([1]), features)
    with fails("FormatError", other, "other columns or labels than", path=other):
        read_tar(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.tar", "does not exist"),
        ("", "has none"),
        ("a-{1..2}.tar", "does not exist"),
        ("*.tar", "matches nothing"),
        ("memory://none/*.tar", "matches nothing"),
        ("memory://none/a.tar", "cannot be read (FileNotFoundError"),
        ("none://a/*.tar", "cannot be read (ValueError"),
        ("a-{1", "Unbalanced braces"),
    ],
)
def test_nothing_there(name, says, tmp_path, fails):
    place = name if "://" in name else f"{tmp_path}/{name}"
    with fails("FormatError", says, "Expected"):
        read_tar(place)


def test_a_manifest_that_says_something_else(tmp_path, fails):
    path = write_tar(tmp_path / "a.tar", rows_with([1, 2]))
    manifest = manifest_of(tmp_path, {"train": [("a.tar", 3)]})
    with fails("FormatError", "has 2 samples. Expected 3", path=path):
        read_tar(tmp_path, manifest)
    with open(path, "ab") as file:
        file.write(bytes(512))
    with fails("FormatError", "it is cut off or changed", path=path):
        webdataset_tars.read(str(tmp_path), manifest)
    (tmp_path / "a.tar").unlink()
    with fails("FormatError", "is not there, but multiview_cifar.json names it", path=path):
        webdataset_tars.read(str(tmp_path), manifest)


# damage


def small_tar(tmp_path):
    rows = with_columns(rows_with([2, 1]), sample_id=["cat/1", "n" * 120])
    return write_tar(tmp_path / "a.tar", rows)


def test_a_tar_that_is_cut_off(tmp_path, fails):
    """At every 64th byte: between members too, where tarfile sees nothing."""
    path = small_tar(tmp_path)
    with open(path, "rb") as file:
        whole = file.read()
    for size in range(0, len(whole) - 1023, 64):
        with open(path, "wb") as file:
            file.write(whole[:size])
        with fails("FormatError", "cut off at byte", "copy or make it again", path=path):
            read_tar(path)
    with fails("FormatError", f"at byte {size}, after {'n' * 120}.view_0.png: no end-of-archive"):
        read_tar(path)


def test_a_packed_tar_that_is_cut_off_or_changed(tmp_path, fails):
    with open(small_tar(tmp_path), "rb") as file:
        data = file.read()
    for name, pack in [("b.tar.gz", gzip.compress), ("b.tar.zst", zstandard.compress)]:
        path, packed = tmp_path / name, pack(data)
        parts = [packed[:size] for size in range(0, len(packed), 16)]
        if name == "b.tar.gz":
            parts.append(packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:])  # its checksum
        for part in [*parts, b"\0" + packed]:
            path.write_bytes(part)
            with fails("FormatError", "copy or make it again", path=str(path)):
                read_tar(path)


def test_headers_that_are_changed(tmp_path, fails):
    """A flipped bit in any header is found, by its checksum."""
    path = small_tar(tmp_path)
    with open(path, "rb") as file:
        whole = bytearray(file.read())
    with tarfile.open(path) as archive:
        starts = [member.offset for member in archive.getmembers()]
    for at in (start + i for start in starts for i in range(0, 512, 37)):
        whole[at] ^= 4
        with open(path, "wb") as file:
            file.write(whole)
        with fails("FormatError", "Expected", path=path):
            read_tar(path)
        whole[at] ^= 4


def test_more_behind_the_end(tmp_path, fails):
    path = small_tar(tmp_path)
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "ab") as file:
        file.write(whole)
    with fails("FormatError", f"at byte {len(whole) - 1024}", "more data behind", path=path):
        read_tar(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME])
def test_members_that_are_no_plain_files(kind, tmp_path, fails):
    info = tarfile.TarInfo("1.cls")
    info.type, info.size = kind, 1 << 40
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with fails("FormatError", "at byte 0", "no header", path=str(path)):
        read_tar(path)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar(format, tmp_path):
    """Long names, times in pax records, prefixes, sizes in base 256."""
    folder = "d" * 80 + "/" + "e" * 60
    with tarfile.open(tmp_path / "a.tar", "w", format=format) as archive:
        for name, data in [
            (f"{folder}/1.cls", b"0"),
            (f"{folder}/1.png", png(1)),
            ("é/2.cls", b"1"),
            ("é/2.png", png(2)),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if format == tarfile.PAX_FORMAT:
                info.mtime, info.pax_headers = 1.5, {"comment": " path=x"}
            archive.addfile(info, io.BytesIO(data))
    rows = read_tar(tmp_path / "a.tar")["train"]
    assert [(row["sample_id"], row["label"]) for row in rows] == [(f"{folder}/1", 0), ("é/2", 1)]
    assert [row["images"][0]["bytes"] for row in rows] == [png(1), png(2)]


# --- rows that cannot be written ------------------------------------------------------------------


def test_rows_that_are_not_right(tmp_path, fails):
    (row,) = rows_with([1])
    writer = webdataset_tars.Writer(str(tmp_path / "a.tar"), DESCRIBED, False)
    row |= {name: None for name in DESCRIBED if name not in row}
    try:
        for change, says in [
            ({"label": 2}, "the label is 2"),
            ({"sample_id": ""}, "sample_id is ''"),
            ({"images": [{"bytes": b"text", "path": None}]}, "is not an image that Pillow knows"),
            ({"images": [{"bytes": None, "path": "a.png"}]}, "holds no bytes"),
        ]:
            with fails("ExportError", says, "Expected"):
                writer.write(row | change)
        writer.write(row)
        with fails("ExportError", "'cat/0000' comes twice", path="cat/0000"):
            writer.write(row)
    finally:
        writer.close()
    assert len(read_tar(tmp_path / "a.tar")["train"]) == 1
