"""export: rows of every kind through every format, and what is wrong with them."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zoneinfo

import datasets
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

import multiview_cifar
from array_rows import NOT_IN_RECORDS, ROWS, image, rows_with, shown, with_columns
from commands import ENVIRONMENT, NO_CACHED_CODE
from exports import LABELLED, PLAIN, contents, digests, rows_object
from multiview_cifar import natural_key, row_features
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.defaults import FORMATS
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.formats.base import format_module
from multiview_cifar_tools.formats.image_bytes import EXTENSIONS, image_extension
from multiview_cifar_tools.loading import load, open_source
from multiview_cifar_tools.shards.partial import COMPLETE
from multiview_cifar_tools.shards.writer import row_sizes, write_shard
from sampling import examples, sampled

SHARDED = [name for name in FORMATS if name != "folder"]
MODES = [
    (name, pixels)
    for name in SHARDED
    for pixels in (False, True)
    if ("pixels" if pixels else "bytes") in format_module(name).CONTENTS
]
modes = pytest.mark.parametrize(
    ("format", "pixels"), MODES, ids=["-pixels".join([name, ""][: 1 + p]) for name, p in MODES]
)


@pytest.mark.each_value(times=2)  # in one of them a kind may be skipped
@modes
@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_every_kind_come_back(kind, format, pixels, tmp_path):
    if format == "cifar" and kind in NOT_IN_RECORDS:
        pytest.skip("records do not hold them")
    features, rows = ROWS[kind]
    splits = {"train": rows, "test": rows[:1]}
    arguments = export(
        {split: rows_object(own, features) for split, own in splits.items()},
        tmp_path / "out",
        format=format,
        pixels=pixels,
        max_shard_size=300,
    )
    assert arguments == {"source": str(tmp_path / "out")}
    for streaming in (False, True):
        again = load(**arguments, streaming=streaming, cache_dir=str(tmp_path / "cache"))
        assert list(again) == ["train", "test"]
        for split, own in splits.items():
            assert again[split].features == features
            assert shown(contents(again[split]), features, pixels) == shown(own, features, pixels)


# --- built, streamed, in any order ----------------------------------------------------------------

TREE = [
    f"{split}/{name}/{i}/{view}.png"
    for split, n in (("train", 7), ("test", 3))
    for name in ("cat", "dog")
    for i in range(n)
    for view in "ab"[: 1 + i % 2]
]


@pytest.fixture
def splits(make_tree, tmp_path):
    tree = make_tree(*TREE)
    return multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))


def as_rows(splits, tree, cache):
    return open_source(tree, streaming=True, cache_dir=cache)


FORMS = {
    "a DatasetDict": lambda splits, tree, cache: splits,
    "a dict": lambda splits, tree, cache: dict(splits),
    "streams": lambda splits, tree, cache: multiview_cifar.load_dataset(
        data_dir=str(tree), streaming=True
    ),
    "streams of Arrow": lambda splits, tree, cache: {
        split: ds.to_iterable_dataset() for split, ds in splits.items()
    },
    "raw rows": as_rows,
}


@pytest.mark.each_value
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("format", [name for name in SHARDED if name != "cifar"])
def test_every_form_of_rows_gives_the_same_files(form, format, splits, tmp_path):
    """Built or streamed, nothing is lost and nothing moves."""
    given = FORMS[form](splits, tmp_path / "photos", str(tmp_path / "cache"))
    export(given, tmp_path / "out", format=format, max_shard_size=200)
    export(splits, tmp_path / "built", format=format, max_shard_size=200)
    if format != "hdf5":  # whose library writes the time of day
        made, built = digests(tmp_path / "out"), digests(tmp_path / "built")
        assert made | {COMPLETE: ""} == built | {COMPLETE: ""}  # it names the form
    again = load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))
    assert {split: contents(ds) for split, ds in again.items()} == {
        split: contents(ds) for split, ds in splits.items()
    }


def test_shuffled_rows_keep_their_order(splits, tmp_path):
    ds = splits["train"].shuffle(seed=5)
    for format in SHARDED:
        if format != "cifar":
            export({"train": ds}, tmp_path / format, format=format)
            again = load(tmp_path / format, cache_dir=str(tmp_path / "cache"))["train"]
            assert contents(again) == contents(ds)


def test_from_format_to_format(splits, tmp_path):
    """All the way round: nothing is built in between."""
    sources, way = splits, [name for name in SHARDED if name != "cifar"]
    for format in [*way, "folder"]:
        arguments = export(sources, tmp_path / format, format=format, max_shard_size=200)
        sources = open_source(tmp_path / format)
    again = multiview_cifar.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))
    assert {split: contents(ds) for split, ds in again.items()} == {
        split: contents(ds) for split, ds in splits.items()
    }


# --- shards and their manifest --------------------------------------------------------------------


@modes
def test_shards_are_cut_by_bytes(format, pixels, tmp_path):
    """Of files, or of pixels; each but the last one is as full as it can be."""
    rows = rows_with([2] * 7)
    features = ROWS["equal"][0]
    size = (
        2 * 4 * 5 * 3
        if pixels
        else max(sum(len(view["bytes"]) for view in row["images"]) for row in rows)
    )
    export(
        {"train": rows_object(rows, features)},
        tmp_path / "out",
        format=format,
        pixels=pixels,
        max_shard_size=3 * size,
    )
    manifest = json.loads((tmp_path / "out/multiview_cifar.json").read_text())
    assert (manifest["format"], manifest["pixels"]) == (format, pixels)
    assert datasets.Features.from_dict(manifest["features"]) == features
    shards = manifest["splits"]["train"]["shards"]
    assert [shard["num_rows"] for shard in shards] == [3, 3, 1]
    assert manifest["splits"]["train"]["num_rows"] == 7
    ending = format_module(format).EXTENSION
    assert [shard["path"] for shard in shards] == [
        f"train-{i:05d}-of-00003{ending}" for i in range(3)
    ]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        [
            COMPLETE,
            *["croissant.json"] * (format == "parquet"),
            "multiview_cifar.json",
            *(shard["path"] for shard in shards),
        ]
    )
    for shard in shards:
        path = tmp_path / "out" / shard["path"]
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        assert sum(file.stat().st_size for file in files) == shard["num_bytes"]
        sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        if path.is_dir():  # of what sha256sum prints
            listed = "".join(
                f"{sum_}  {file.relative_to(path)}\n"
                for sum_, file in zip(sums, files, strict=True)
            )
            sums = [hashlib.sha256(listed.encode()).hexdigest()]
        assert sums == [shard["sha256"]]


def test_a_sample_that_is_larger_than_a_shard(splits, tmp_path):
    export(splits, tmp_path / "out", format="parquet", max_shard_size=1)
    assert len(list((tmp_path / "out").glob("train-*-of-00014.parquet"))) == 14


@pytest.mark.parametrize(
    ("size", "good"),
    [("1KB", True), (10**9, True), ("many", False), (0, False), (-1, False), (None, False)],
)
def test_sizes(size, good, splits, tmp_path, fails):
    if good:
        export(splits, tmp_path / "out", format="parquet", max_shard_size=size)
        return
    with fails("OptionError", f"max_shard_size={size!r}", '"500MB"', path="max_shard_size"):
        export(splits, tmp_path / "out", format="parquet", max_shard_size=size)


def test_parquet_is_what_publish_makes(splits, tmp_path):
    """And every other library reads it."""
    export(splits, tmp_path / "out", format="parquet")
    for split, ds in splits.items():
        write_shard(ds, np.arange(len(ds)), row_sizes(ds), str(tmp_path / "x.parquet"))
        path = tmp_path / "out" / f"{split}-00000-of-00001.parquet"
        assert path.read_bytes() == (tmp_path / "x.parquet").read_bytes()
        again = datasets.load_dataset(
            "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert again.features == ds.features
        assert contents(again) == contents(ds)
        frame = pandas.read_parquet(path)
        assert [*frame.sample_id] == ds["sample_id"][:]
        assert frame.images[0][0]["bytes"] == contents(ds)[0]["images"][0]["bytes"]


def test_large_rows_make_several_row_groups(tmp_path, monkeypatch):
    """As `write_shard` cuts them; the same bytes."""
    from multiview_cifar_tools.shards import row_groups

    features, rows = ROWS["equal"][0], rows_with([2] * 40)
    monkeypatch.setattr(row_groups, "MAX_BYTES", 4000)
    export({"train": rows_object(rows, features)}, tmp_path / "out", format="parquet")
    ds = datasets.Dataset.from_list(rows, features=features)
    write_shard(ds, np.arange(40), row_sizes(ds), str(tmp_path / "x.parquet"))
    path = tmp_path / "out/train-00000-of-00001.parquet"
    assert path.read_bytes() == (tmp_path / "x.parquet").read_bytes()
    assert contents(load(path, cache_dir=str(tmp_path / "cache"))["train"]) == rows


# --- the folder -----------------------------------------------------------------------------------

IN_A_FOLDER = {
    "equal": ROWS["equal"],
    "ragged": (PLAIN, rows_with([1, 3, 2, 5, 1])),
    "missing views": (PLAIN, rows_with([3, 3, 3], {(0, 1), (1, 2)})),
    "filled up": (
        PLAIN,
        with_columns(
            rows_with([3, 3], {(0, 1), (0, 2), (1, 2)}),
            view_names=[["view_0", None, None], ["view_0", "view_1", None]],
        ),
    ),
    "an order of its own": (PLAIN, with_columns(rows_with([2, 2]), view_names=[["b", "a"]] * 2)),
    "view labels": (
        LABELLED,
        with_columns(
            rows_with([3, 2]),
            view_names=[["a", "b", "a"], ["a", "a"]],
            view_labels=[[0, 0, 1], [0, 1]],
        ),
    ),
    "view labels in an order of their own": (
        LABELLED,
        with_columns(
            rows_with([2, 2], {(1, 1)}), view_names=[["b", "a"]] * 2, view_labels=[[1, 0]] * 2
        ),
    ),
    "Unicode": (
        row_features(["images"], ["chat été", "犬"], None),
        with_columns(
            rows_with([1, 2]),
            sample_id=["chat été/a b", "犬/\u2028🐕"],
            view_names=[["前 view"], ["a\nb", "ü"]],
        ),
    ),
    "16-bit grey": (PLAIN, rows_with([2, 2], {(1, 1)}, shape=(4, 5, 1), dtype=np.uint16)),
    "two columns": (
        ROWS["two columns"][0],
        with_columns(rows_with([2, 2], {(1, 0)}), masks=[[image(5), image(6)], [image(7), None]]),
    ),
    "metadata": ROWS["metadata"],
    "times": (
        datasets.Features(
            {
                **PLAIN,
                "day": datasets.Value("date32"),
                "at": datasets.Value("time64[us]"),
                "took": datasets.Value("duration[us]"),
                "when": datasets.Value("timestamp[us, tz=UTC]"),
            }
        ),
        with_columns(
            rows_with([1, 2]),
            day=[datetime.date(2024, 5, 1), None],
            at=[datetime.time(1, 2, 3, 4), None],
            took=[datetime.timedelta(seconds=1.5), None],
            when=[datetime.datetime(2024, 5, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), None],
        ),
    ),
}


@pytest.mark.parametrize("kind", IN_A_FOLDER)
def test_rows_of_every_kind_come_back_from_a_folder(kind, tmp_path, capsys, monkeypatch):
    """By the line that the command prints."""
    features, rows = IN_A_FOLDER[kind]
    export(
        {"train": rows_object(rows, features), "test": rows_object(rows[:1], features)},
        tmp_path / "shards",
        format="parquet",
    )
    monkeypatch.chdir(tmp_path)
    assert main(["export", "shards", "out", "--max-shard-size", "300"]) == 0
    names = {}
    exec(
        capsys.readouterr()
        .out.splitlines()[-1]
        .strip()
        .replace("load_dataset(", f"load_dataset(cache_dir={str(tmp_path / 'cache')!r}, "),
        names,
    )
    columns = {
        name: datasets.Value("string") if name == "kind" else feature
        for name, feature in features.items()
    }
    if kind == "metadata":  # labels come back as names
        rows = with_columns(rows, kind=["b", "a", None])
    for split, own in {"train": rows, "test": rows[:1]}.items():
        own = sorted(own, key=lambda row: natural_key(row["sample_id"]))
        assert names["ds"][split].features == datasets.Features(columns)
        assert shown(contents(names["ds"][split]), columns, False) == shown(own, columns, False)


def test_a_folder_in_runs_is_the_same_folder(splits, tmp_path):
    ds = {split: ds.add_column("n", list(range(len(ds)))) for split, ds in splits.items()}
    assert export(ds, tmp_path / "a") | {"data_dir": ""} == export(
        ds, tmp_path / "b", max_shard_size=100
    ) | {"data_dir": ""}
    wanted, found = digests(tmp_path / "a"), digests(tmp_path / "b")
    wanted.pop(COMPLETE), found.pop(COMPLETE)
    for split, own in ds.items():
        tables = [
            pandas.read_parquet(tmp_path / name / split / "metadata.parquet") for name in "ab"
        ]
        assert tables[0].equals(tables[1]) and [*tables[0].n] == own["n"][:]
        wanted.pop(f"{split}/metadata.parquet"), found.pop(f"{split}/metadata.parquet")
    assert found == wanted and len(wanted) == len(TREE)


def test_every_format_has_an_extension_that_is_read_again():
    from PIL import Image

    registered = Image.registered_extensions()
    for name in multiview_cifar.IMAGE_EXTENSIONS:
        kind = registered[name]
        assert registered[EXTENSIONS.get(kind, f".{kind.lower()}")] == kind


def test_a_phone_s_jpeg_with_more_pictures(tmp_path):
    """Pillow calls it MPO; it is read again."""
    from PIL import Image

    file = tmp_path / "a.jpg"
    with Image.new("RGB", (4, 4), "red") as picture:
        picture.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4), "blue")])
    data = file.read_bytes()
    assert image_extension(data, "cat/1") == ".mpo"
    row = {
        "images": [{"bytes": data, "path": None}],
        "label": 0,
        "sample_id": "cat/1",
        "view_names": ["a"],
    }
    arguments = export({"train": rows_object([row], PLAIN)}, tmp_path / "out")
    again = multiview_cifar.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))
    assert contents(again["train"]) == [row]


def sample(**changes):
    return rows_with([2])[0] | changes


gif = {"bytes": b"GIF89a", "path": None}
NO_FOLDER = {
    "two slashes": (
        [sample(sample_id="cat/a/b")],
        ["is no class/sample. Expected it in that form"],
    ),
    "a hidden name": ([sample(sample_id="cat/.a")], ["'.a', which no file of a dataset"]),
    "a system's name": ([sample(sample_id="cat/Thumbs.db")], ["'Thumbs.db'"]),
    "a slash in a view": ([sample(view_names=["a/b", "c"])], ["'a/b'", "without /"]),
    "no name": ([sample(view_names=[None, "c"])], ["the name None"]),
    "a view twice": ([sample(view_names=["a", "a"])], ["the view 'a' twice in 'images'"]),
    "a sample twice": ([sample(), sample()], ["'cat/0000' stands in one split twice"]),
    "two classes": (
        [sample(), sample(sample_id="cat/1", label=1)],
        ["cat/1 is of class 'dog', other samples of cat are of 'cat'", "in another format"],
    ),
    "no view": ([sample(images=[None, None])], ["cat/0000 has no view that is not None"]),
    "a view that no row has": (
        rows_with([2, 2], {(0, 0), (1, 0)}),
        ["'view_0' is None in all rows", "another format"],
    ),
    "orders of their own": (
        with_columns(rows_with([2, 2]), view_names=[["b", "a"], ["a", "b"]]),
        ["dog/0001 has the views ['a', 'b']", "the first sample ['b', 'a']", "another format"],
    ),
    "a gap in one of several": (
        rows_with([2, 3], {(1, 1)}),
        ["dog/0001 has the views", "(some are None)"],
    ),
    "lengths that differ": ([sample(view_names=["a"])], ["view_names is ['a']"]),
    "a label out of range": ([sample(label=2)], ["the label is 2. Expected 0 to 1"]),
    "no image": ([sample(images=[{"bytes": b"none", "path": None}] * 2)], ["not an image that"]),
}


@pytest.mark.each_value
@pytest.mark.parametrize("size", [1, "1MB"])
@pytest.mark.parametrize("name", NO_FOLDER)
def test_what_a_folder_cannot_hold(name, size, tmp_path, fails):
    """Whether it is seen in one run of rows or in two."""
    rows, says = NO_FOLDER[name]
    with fails("ExportError", *says):
        export({"train": rows_object(rows, PLAIN)}, tmp_path / "out", max_shard_size=size)
    assert not (tmp_path / "out").exists()


def test_view_labels_in_another_order(tmp_path, fails):
    features = row_features(["images"], ["cat"], ["right", "left"])
    row = sample(view_labels=[1, 0])
    with fails("ExportError", "['right', 'left']", "Expected ['left', 'right']"):
        export({"train": rows_object([row], features)}, tmp_path / "out")


def test_labels_that_no_row_has_are_told(tmp_path, caplog):
    features = row_features(["images"], ["cat", "dog", "owl"], None)
    export(
        {"train": rows_object([sample(label=0), sample(label=2, sample_id="owl/1")], features)},
        tmp_path / "out",
    )
    assert "No row has the label 'dog'" in caplog.text


# --- what is wrong with what is asked for ---------------------------------------------------------


def test_options(splits, tmp_path, fails):
    with fails("OptionError", "format='zarr'", "hdf5", path="format"):
        export(splits, tmp_path / "out", format="zarr")
    for name in ("folder", "parquet"):
        with fails("OptionError", f"'{name}' holds files' bytes", "hdf5", "cifar", path="pixels"):
            export(splits, tmp_path / "out", format=name, pixels=True)
    assert not list(tmp_path.glob("out*"))


def test_rows_of_another_kind(splits, tmp_path, fails):
    def refused(given, *says):
        with fails("ExportError", *says):
            export(given, tmp_path / "out", format="parquet")
        assert not list(tmp_path.glob("out*"))

    train, ids = splits["train"], splits["train"]["sample_id"][:]
    refused({}, "found {} (dict)", "a dict of them")
    refused({"train": train.remove_columns("images")}, "'train' has the columns", "image lists")
    refused({"train": train.cast_column("label", datasets.Value("float64"))}, "ClassLabel")
    refused({"train": train.select([])}, "The split 'train' has no rows", "leave it out")
    refused({"train": rows_object([], PLAIN)}, "The split 'train' has no rows")
    refused(
        {
            "train": train,
            "test": train.remove_columns("label")
            .add_column("label", [0] * 14)
            .cast_column("label", datasets.ClassLabel(names=["a"])),
        },
        "'train' and 'test' differ",
    )
    refused({"train": train.select([3, 1, 3])}, f"{ids[3]!r} twice")
    export({"train": train.select([3, 1])}, tmp_path / "out", format="parquet")


def test_places(splits, tmp_path, fails):
    def refused(place, *says, **more):
        with fails("ExportError", *says):
            export(splits, place, format="parquet", **more)

    (tmp_path / "file").touch()
    with fails("OutputError", "it is a file, not a folder", "choose another one with dest"):
        export(splits, tmp_path / "file", format="parquet")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "link", "is a link", "name", "link/data")
    with fails("OutputError", "/proc cannot be written"):
        export(splits, "/proc", format="parquet")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/diary").touch()
    refused(tmp_path / "out", "out.partial is not of an export", "remove it")
    assert (tmp_path / "out.partial/diary").exists()
    export(splits, tmp_path / "empty", format="parquet")
    assert load(tmp_path / "empty", cache_dir=str(tmp_path / "cache"))["train"].num_rows == 14
    export(splits, tmp_path / "far/away/from/here", format="parquet")


CODE = """
import resource, sys
from multiview_cifar_tools.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("format", sampled(["tfrecord", "webdataset", "numpy", "parquet"], 2))
def test_a_disk_that_is_full(format, tmp_path):
    """As far as a limit on the size of files is like one: finished shards stay, and are used."""
    rows = rows_with([1] * 8 + [9], shape=(60, 60, 3))  # of 11 KB a view
    export({"train": rows_object(rows, PLAIN)}, tmp_path / "in", format="parquet")
    arguments = [
        "export",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--format",
        format,
        "--max-shard-size",
        "25KB",
    ]
    done = subprocess.run(
        [sys.executable, "-c", CODE, "60000", *arguments],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **NO_CACHED_CODE},
    )
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "File too large" in line and "8 samples are finished in" in line and "continues" in line
    assert len(list((tmp_path / "out.partial").glob("train*"))) == 4
    assert not list((tmp_path / "out.partial").glob(".train*"))
    assert main(arguments) == 0
    assert load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))["train"].num_rows == 9


# --- whatever rows there are ----------------------------------------------------------------------

few = examples(6)
words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=6
)
trees = st.dictionaries(
    words,
    st.dictionaries(
        words,
        st.lists(
            st.tuples(words, st.booleans()), min_size=1, max_size=4, unique_by=lambda view: view[0]
        ),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("format", [name for name in SHARDED if name != "cifar"])
@few
@given(trees, st.integers(1, 400))
def test_any_tree_comes_back(format, tree, size):
    features = row_features(["images"], sorted(tree), None)
    rows = [
        {
            "images": [image(i) if there else None for i, (_, there) in enumerate(views)],
            "label": label,
            "sample_id": f"{name}/{sample}",
            "view_names": [v for v, _ in views],
        }
        for label, name in enumerate(sorted(tree))
        for sample, views in tree[name].items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        export(
            {"train": rows_object(rows, features)},
            f"{folder}/out",
            format=format,
            max_shard_size=size,
        )
        again = load(f"{folder}/out", streaming=True)["train"]
        assert again.features == features
        assert contents(again) == rows


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.each_value
@pytest.mark.parametrize("more", [[], ["--streaming"]])
@pytest.mark.parametrize("format", FORMATS)
def test_the_command(format, more, splits, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(
            [
                "export",
                str(tmp_path / "photos"),
                str(out),
                "--format",
                format,
                "--cache-dir",
                str(tmp_path / "cache"),
                "--num-views",
                "1",
                *more,
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"wrote {out}"
    names = {}
    exec(printed[-1].strip(), names)
    assert {split: ds["sample_id"][:] for split, ds in names["ds"].items()} == {
        split: ds["sample_id"][:] for split, ds in splits.items()
    }


def test_the_command_with_a_format_as_the_source(splits, tmp_path, capsys):
    export(splits, tmp_path / "tars", format="webdataset")
    os.remove(tmp_path / "tars/multiview_cifar.json")
    arguments = ["export", str(tmp_path / "tars"), str(tmp_path / "out"), "--format", "parquet"]
    assert main([*arguments, "--source-format", "webdataset"]) == 0
    again = load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))
    assert contents(again["test"]) == contents(splits["test"])
    assert main([*arguments, "--streaming", "--num-proc", "2"]) == 2
    assert "streaming builds nothing" in capsys.readouterr().err


def test_a_manifest_that_is_none(splits, tmp_path, fails):
    export(splits, tmp_path / "out", format="webdataset")
    file = tmp_path / "out/multiview_cifar.json"
    good = file.read_text()
    path = json.dumps(json.loads(good)["splits"]["test"]["shards"][0]["path"])
    changes = [(good, "[" * 100_000), ('"test": {', '"../x": {'), (path, "[]"), ('"sha256"', '"x"')]
    for old, new in changes:
        file.write_text(good.replace(old, new))
        with fails("FormatError", "is damaged", path=str(file)):
            load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))


def test_the_header_of_an_array_that_does_not_end(splits, tmp_path, fails):
    export(splits, tmp_path / "out", format="numpy")
    os.remove(tmp_path / "out/multiview_cifar.json")
    (file,) = (tmp_path / "out").glob("test-*/labels.npy")
    file.write_bytes(file.read_bytes().replace(b"}", b" ", 1))
    with fails("FormatError", "labels.npy"):
        load(file.parent, cache_dir=str(tmp_path / "cache"))


def test_pixels_by_the_command(splits, tmp_path, capsys):
    arguments = [
        "export",
        str(tmp_path / "photos"),
        str(tmp_path / "out"),
        "--format",
        "numpy",
        "--cache-dir",
        str(tmp_path / "cache"),
        "--image-size",
        "[2, 3]",
    ]
    assert main([*arguments, "--pixels"]) == 0
    assert "converted images (image_size)" in capsys.readouterr().out
    pixels = np.load(tmp_path / "out/train-00000-of-00001/images.npy", mmap_mode="r")
    assert pixels.shape == (14, 2, 2, 3, 3)


@pytest.mark.parametrize("format", ["webdataset", "tfrecord", "parquet", "hdf5"])
def test_the_manifest_of_large_shards(format, tmp_path):
    rows = rows_with([2] * 10, shape=(400, 500, 3))  # of 12 MB: hashed while they are written
    export(rows_object(rows, PLAIN), tmp_path / "out", format=format)
    manifest = json.loads((tmp_path / "out/multiview_cifar.json").read_text())
    (shard,) = manifest["splits"]["train"]["shards"]
    path = tmp_path / "out" / shard["path"]
    assert path.stat().st_size == shard["num_bytes"] > 10_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]
