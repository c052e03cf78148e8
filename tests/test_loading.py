"""sources: whatever holds grouped images, as the same raw rows and the same datasets."""

import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.distributed import split_dataset_by_node

import multiview_cifar
from array_rows import image
from exports import contents, flip
from multiview_cifar import row_features
from multiview_cifar_tools.defaults import FORMATS
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.formats.base import format_module
from multiview_cifar_tools.loading import SplitRows, detect_source, load, open_source, to_split_rows

TREE = ["train/cat/1/a.png", "train/cat/1/b.png", "train/dog/2/a.png", "test/dog/3/a.png"]


@pytest.fixture
def tree(make_tree):
    return make_tree(*TREE)


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


@pytest.fixture
def splits(tree, cache):
    return multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=cache)


def raw(sources, start=0):
    return {split: list(rows.iterate(start)) for split, rows in sources.items()}


def zipped(tree):
    with zipfile.ZipFile(f"{tree}.zip", "w") as archive:
        for path in TREE:
            archive.write(tree / path, path)
    return f"{tree}.zip"


def saved(splits, place):
    splits.save_to_disk(place)
    return str(place)


def exported(splits, place, format="parquet"):
    export(splits, place, format=format, max_shard_size=1)
    return str(place)


SOURCES = {
    "a folder": lambda tree, splits, place: str(tree),
    "a path": lambda tree, splits, place: tree,
    "an archive": lambda tree, splits, place: zipped(tree),
    "a URL": lambda tree, splits, place: f"file://{tree}",
    "save_to_disk": lambda tree, splits, place: saved(splits, place / "saved"),
    "Parquet shards": lambda tree, splits, place: exported(splits, place / "exported"),
    "HDF5 shards": lambda tree, splits, place: exported(splits, place / "exported", "hdf5"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_rows(name, streaming, tree, splits, tmp_path, cache):
    source = SOURCES[name](tree, splits, tmp_path)
    sources = open_source(source, streaming=streaming, cache_dir=cache)
    assert list(sources) == list(splits)
    wanted = {split: contents(ds) for split, ds in splits.items()}
    assert raw(sources) == wanted
    assert raw(sources, 1) == {split: rows[1:] for split, rows in wanted.items()}
    for split, rows in sources.items():
        assert isinstance(rows, SplitRows)
        assert rows.features == splits[split].features
        assert rows.num_rows == len(splits[split])
    again = load(source, streaming=streaming, cache_dir=cache)
    assert type(again).__name__ == ("IterableDatasetDict" if streaming else "DatasetDict")
    assert {split: contents(ds) for split, ds in again.items()} == wanted


def test_a_config(cache):
    streamed, built = (
        open_source("shapes", streaming=streaming, cache_dir=cache, num_views=2)
        for streaming in (True, False)
    )
    assert {split: rows.num_rows for split, rows in streamed.items()} == {"train": 240, "test": 60}
    assert next(streamed["test"].iterate(59)) == next(built["test"].iterate(59))
    assert streamed["test"].fingerprint == built["test"].fingerprint
    assert len(load("shapes", cache_dir=cache, num_views=2)["test"][0]["images"]) == 2


def test_a_folder_named_as_a_config(make_tree, cache, monkeypatch, tmp_path):
    make_tree("cat/1/a.png", under="shapes")
    monkeypatch.chdir(tmp_path)
    assert detect_source("shapes")[1] == "config"
    assert detect_source("./shapes")[1] == "folder"


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_from_some_row_on_where_samples_are_skipped(make_tree, cache, streaming):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(6)))
    (tree / "cat/1/a.png").write_bytes(b"no image")
    rows = open_source(tree, streaming=streaming, cache_dir=cache, on_error="skip_sample")["train"]
    assert [row["sample_id"] for row in rows.iterate(2)] == ["cat/3", "cat/4", "cat/5"]


def test_one_dataset_that_was_saved(splits, tmp_path, cache):
    source = saved(splits["test"], tmp_path / "saved")
    assert list(open_source(source)) == ["test"]
    assert list(load(source)) == ["test"]


def test_any_rows_of_a_dataset(splits):
    ds = datasets.concatenate_datasets([splits["train"]] * 20).shuffle(seed=3)
    wanted = contents(ds)
    assert list(to_split_rows(ds).iterate()) == wanted
    assert list(to_split_rows(ds.with_format("numpy")).iterate(17)) == wanted[17:]
    assert list(to_split_rows(ds.to_iterable_dataset()).iterate(17)) == wanted[17:]
    assert to_split_rows(ds).num_rows == 40


def test_views_that_are_paths_are_read(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png")
    row = {
        "images": [str(tree / "cat/1/a.png"), None],
        "label": 0,
        "sample_id": "cat/1",
        "view_names": ["a", "b"],
    }
    ds = datasets.Dataset.from_list([row], features=row_features(["images"], ["cat"], None))
    view = {"bytes": (tree / "cat/1/a.png").read_bytes(), "path": None}
    for data in (ds, ds.to_iterable_dataset()):
        assert [found["images"] for found in to_split_rows(data).iterate()] == [[view, None]]


def test_a_view_whose_file_is_gone(make_tree, fails):
    tree = make_tree("cat/1/a.png")
    row = {
        "images": [str(tree / "cat/1/a.png")],
        "label": 0,
        "sample_id": "cat/1",
        "view_names": ["a"],
    }
    ds = datasets.Dataset.from_list([row], features=row_features(["images"], ["cat"], None))
    shutil.rmtree(tree)
    with fails("FormatError", "cat/1/a.png cannot be read", "FileNotFoundError", "put it there"):
        list(to_split_rows(ds).iterate())


def test_a_stream_without_features(fails):
    stream = datasets.IterableDataset.from_generator(lambda: iter([{"images": []}]))
    with fails("FormatError", "does not say what its columns are", "Expected features"):
        to_split_rows(stream)


# --- what changes a fingerprint -------------------------------------------------------------------


def prints(source, **options):
    return {split: rows.fingerprint for split, rows in open_source(source, **options).items()}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_fingerprint_follows_the_folder_and_the_options(tree, write_image, cache, streaming):
    before = prints(tree, streaming=streaming, cache_dir=cache)
    assert before["train"] != before["test"]
    assert prints(tree, streaming=streaming, cache_dir=cache) == before
    assert prints(tree, streaming=not streaming, cache_dir=cache) == before
    other = prints(tree, streaming=streaming, cache_dir=cache, image_size=[2, 2])
    assert not {*other.values()} & {*before.values()}
    write_image(tree / "test/dog/3/b.png", like="b")
    assert prints(tree, streaming=streaming, cache_dir=cache) != before


def test_a_fingerprint_follows_the_files_of_a_format(splits, tmp_path):
    source = exported(splits, tmp_path / "exported")
    before = prints(source)
    assert prints(source) == before
    shard = sorted((tmp_path / "exported").glob("*.parquet"))[0]
    os.utime(shard, ns=(1, 1))
    assert not {*prints(source).values()} & {*before.values()}


def test_a_fingerprint_follows_a_dataset(splits):
    ds = splits["train"]
    assert to_split_rows(ds).fingerprint != to_split_rows(ds.shuffle(seed=1)).fingerprint
    assert (
        to_split_rows(ds.shuffle(seed=1)).fingerprint
        == to_split_rows(ds.shuffle(seed=1)).fingerprint
    )


# --- built once -----------------------------------------------------------------------------------


def test_files_of_a_format_are_built_once(splits, tmp_path, cache):
    source = exported(splits, tmp_path / "exported")
    first, second = load(source, cache_dir=cache), load(source, cache_dir=cache)
    paths = [file["filename"] for ds in first.values() for file in ds.cache_files]
    assert paths == [file["filename"] for ds in second.values() for file in ds.cache_files]
    os.utime(next((tmp_path / "exported").glob("*.parquet")), ns=(1, 1))
    third = load(source, cache_dir=cache)
    assert paths != [file["filename"] for ds in third.values() for file in ds.cache_files]
    assert contents(third["train"]) == contents(splits["train"])


def test_two_processes(splits, tmp_path, cache):
    source = exported(splits, tmp_path / "exported")
    again = load(source, cache_dir=cache, num_proc=2)
    assert len(again["train"].cache_files) == 2
    assert contents(again["train"]) == contents(splits["train"])


def many(folder, make_tree, n=12):
    tree = make_tree(*(f"train/cat/{i}/a.png" for i in range(n)))
    ds = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(folder / "cache"))
    return exported(ds, folder / "exported")


def test_shards_are_shared_among_nodes(make_tree, tmp_path):
    stream = load(many(tmp_path, make_tree), streaming=True)["train"]
    nodes = [split_dataset_by_node(stream, rank, 2) for rank in range(2)]
    parts = [[row["sample_id"] for row in node] for node in nodes]
    assert [len(part) for part in parts] == [6, 6]
    assert sorted(sum(parts, [])) == sorted(f"cat/{i}" for i in range(12))


def test_shards_are_shared_among_workers(make_tree, tmp_path):
    torch_data = pytest.importorskip("torch.utils.data")
    stream = load(many(tmp_path, make_tree), streaming=True)["train"].select_columns(["sample_id"])
    loader = torch_data.DataLoader(stream, batch_size=3, num_workers=2)
    found = [name for batch in loader for name in batch["sample_id"]]
    assert sorted(found) == sorted(f"cat/{i}" for i in range(12))


def test_a_stream_goes_on_from_its_state(make_tree, tmp_path):
    stream = load(many(tmp_path, make_tree), streaming=True)["train"]
    whole = [row["sample_id"] for row in stream]
    rows = iter(stream)
    first = [next(rows)["sample_id"] for _ in range(5)]
    state = stream.state_dict()
    stream.load_state_dict(state)
    assert first + [row["sample_id"] for row in stream] == whole


# --- what is wrong --------------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_damaged_shard_is_a_format_error(splits, tmp_path, cache, fails, num_proc):
    """Out of a worker process too, and nothing is left in the cache."""
    source = exported(splits, tmp_path / "exported")
    shard = tmp_path / "exported/train-00001-of-00002.parquet"
    data = bytearray(shard.read_bytes())
    data[4:200] = bytes(196)
    shard.write_bytes(data)
    with fails("FormatError", "train-00001-of-00002.parquet has the sha256", "export it again"):
        load(source, cache_dir=cache)
    (tmp_path / "exported/multiview_cifar.json").unlink()
    for _ in range(2):
        with fails("FormatError", "train-00001-of-00002.parquet", "Expected a whole Parquet file"):
            load(source, cache_dir=cache, num_proc=num_proc)
    with fails("FormatError", "train-00001-of-00002.parquet"):
        list(load(source, streaming=True)["train"])


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("folder", "cifar")])
def test_no_row_comes_of_a_shard_with_another_byte(splits, tmp_path, cache, fails, format):
    """The rows of the shard before it do, and all of them once it is as it was."""
    source = exported(splits, tmp_path / "exported", format)
    [shard] = (tmp_path / "exported").glob("train-00001-of-00002*")
    file = shard if shard.is_file() else sorted(shard.iterdir())[0]
    whole, rows = file.read_bytes(), raw(open_source(source))["train"]
    flip(file, len(whole) // 2)
    ways = {
        "raw": lambda: open_source(source)["train"].iterate(),
        "streamed": lambda: load(source, streaming=True)["train"],
    }
    for way in ways.values():
        found = iter(way())
        assert next(found)["sample_id"] == rows[0]["sample_id"]
        with fails("FormatError", f"{shard} has the sha256", "export it again", path=str(shard)):
            next(found)
    with fails("FormatError", "has the sha256"):
        load(source, cache_dir=cache)
    with fails("FormatError", "has the sha256"):
        export(open_source(source), tmp_path / "again", format="webdataset")
    assert not (tmp_path / "again").exists()
    file.write_bytes(whole)
    assert raw(open_source(source))["train"] == rows


def test_a_shard_is_compared_once_while_it_stays(splits, tmp_path, monkeypatch):
    source = exported(splits, tmp_path / "exported")
    rows = raw(open_source(source))
    monkeypatch.setattr("hashlib.file_digest", None)
    assert raw(open_source(source)) == rows
    os.utime(tmp_path / "exported/train-00000-of-00002.parquet")
    with pytest.raises(TypeError):
        raw(open_source(source))


def test_a_folder_that_changes_while_it_is_read(tree, fails):
    found = open_source(tree, streaming=True)["train"].iterate()
    assert next(found)["sample_id"] == "cat/1"
    (tree / "train/dog/2/a.png").write_bytes((tree / TREE[0]).read_bytes())
    with fails("SourceChangedError", f"{tree} changed while it was read", path=str(tree)):
        next(found)


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_no_row_comes_of_an_archive_that_is_another_one(tree, tmp_path, fails, ending):
    archive = f"{tmp_path}/photos.{ending}"
    kind = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}[ending]
    shutil.make_archive(f"{tmp_path}/photos", kind, tree)
    streams = load(archive, streaming=True), open_source(archive, streaming=True)
    shutil.copy(tree / TREE[0], tree / TREE[-1])
    shutil.make_archive(f"{tmp_path}/photos", kind, tree)
    for rows in (streams[0]["test"], streams[1]["test"].iterate()):
        with fails("ArchiveError", f"{archive} changed while it was read", path=archive):
            next(iter(rows))


def test_a_shard_that_is_cut_off(splits, tmp_path, fails):
    source = exported(splits, tmp_path / "exported")
    cut(tmp_path / "exported/test-00000-of-00001.parquet")
    with fails("FormatError", "test-00000-of-00001.parquet", "bytes. Expected", "copy it again"):
        load(source)


def test_a_sample_that_comes_twice(splits, tmp_path, cache, fails):
    source = tmp_path / "exported"
    exported(splits, source)
    first, second = sorted(source.glob("train*.parquet"))
    shutil.copy(first, second)
    manifest = json.loads((source / "multiview_cifar.json").read_text())
    shards = manifest["splits"]["train"]["shards"]
    shards[1] |= {"num_bytes": shards[0]["num_bytes"], "sha256": shards[0]["sha256"]}
    (source / "multiview_cifar.json").write_text(json.dumps(manifest))
    for _ in range(2):  # what was built is not taken for good the second time
        with fails(
            "FormatError",
            "The split 'train' has the sample 'cat/1' twice",
            "rename or",
            path="cat/1",
        ):
            load(str(source), cache_dir=cache)


def test_rows_have_no_name_before_they_are_checked(splits, tmp_path, cache, monkeypatch):
    """So that a process which is killed between the two leaves nothing that is opened."""
    checked = []

    def check_ids(split, ds):
        files = {Path(file["filename"]).parent.suffix for file in ds.cache_files}
        checked.append((split, files, [*Path(cache).glob("multiview_rows/**/dataset_info.json")]))

    monkeypatch.setattr("multiview_cifar_tools.formats.builder.check_ids", check_ids)
    load(exported(splits, tmp_path / "exported"), cache_dir=cache)
    assert checked == [("train", {".incomplete"}, []), ("test", {".incomplete"}, [])]


def test_a_split_without_rows(splits, tmp_path, fails):
    exported(splits, tmp_path / "exported")
    manifest = json.loads((tmp_path / "exported/multiview_cifar.json").read_text())
    manifest["splits"]["test"] = {"num_rows": 0, "shards": []}
    (tmp_path / "exported/multiview_cifar.json").write_text(json.dumps(manifest))
    with fails("FormatError", "The split 'test' has no rows", "leave it out"):
        load(tmp_path / "exported", cache_dir=str(tmp_path / "cache"))


MANIFESTS = {
    "no JSON": "{",
    "another thing": "[]",
    "a format of the future": '{"format": "zarr", "features": {}, "splits": {}}',
    "no splits": '{"format": "parquet", "features": {"a": 1}}',
    "counts that differ": '{"format": "parquet", "features": {"a": 1}, "splits": {"train": '
    '{"num_rows": 2, "shards": [{"path": "a", "num_rows": 1, "num_bytes": 1, "sha256": "0a"}]}}}',
    "a shard without its size": '{"format": "parquet", "features": {"a": 1}, "splits": {"train": '
    '{"num_rows": 1, "shards": [{"path": "a", "num_rows": 1, "sha256": "0a"}]}}}',
    "a shard without end": '{"format": "parquet", "features": {"a": 1}, "splits": {"train": '
    '{"num_rows": 1, "shards": [{"path": "a", "num_rows": 1e999, "num_bytes": 1, "sha256": "0a"}]}'
    "}}",
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_a_damaged_manifest(text, tmp_path, fails):
    (tmp_path / "multiview_cifar.json").write_text(text)
    with fails(
        "FormatError",
        "multiview_cifar.json is damaged",
        "source_format",
        path=str(tmp_path / "multiview_cifar.json"),
    ):
        open_source(tmp_path)


def test_a_manifest_whose_classes_are_numbers(splits, tmp_path, fails):
    source = Path(exported(splits, tmp_path / "exported")) / "multiview_cifar.json"
    manifest = json.loads(source.read_text())
    manifest["features"]["label"]["names"] = [0, 1]
    source.write_text(json.dumps(manifest))
    with fails("FormatError", "the names of labels as text"):
        load(source.parent)


def test_a_wrong_option(splits, tree, tmp_path, fails):
    source = exported(splits, tmp_path / "exported")
    with fails("OptionError", "'parquet', which has no option 'mode'", "Expected none"):
        load(source, mode="L")
    with fails("OptionError", "takes no options", path="mode"):
        load(saved(splits, tmp_path / "saved"), mode="L")
    with fails("OptionError", "num_proc=2", "streaming builds nothing", path="num_proc"):
        load(tree, streaming=True, num_proc=2)
    with fails("OptionError", "source_format='zip'", "webdataset", path="source_format"):
        load(tree, source_format="zip")
    with fails("OptionError", "source_format='hdf5'", "'parquet'", path="source_format"):
        load(source, source_format="hdf5")


@pytest.mark.parametrize("source", ["nowhere", "no/where/at/all", "photos.zip", "away/photos.zip"])
def test_what_is_not_there(source, fails):
    with fails("LayoutError", source, "does not exist"):
        open_source(source)


def test_what_save_to_disk_did_not_finish(tmp_path, fails):
    (tmp_path / "state.json").write_text("{}")
    with fails("FormatError", "cannot be loaded", "save_to_disk", path=str(tmp_path)):
        load(tmp_path)


def test_text_of_parquet_that_is_no_utf_8(tmp_path, fails):
    names, images = pa.array([b"\xff\xfe"]).view(pa.string()), [[image((1, 2, 3))["bytes"]]]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"images": images, "sample_id": names}), path)
    with fails("FormatError", "cannot be read from row 0 on ('utf-8' codec", path=str(path)):
        list(open_source(path)["train"].iterate())


def test_damage_in_what_save_to_disk_wrote(splits, tmp_path, fails):
    """Arrow itself takes any offsets for right, and crashes where they lead out of a file."""
    source = saved(splits, tmp_path / "saved")
    [file] = (tmp_path / "saved/train").glob("*.arrow")
    data, (offsets, wrong) = file.read_bytes(), (struct.pack("<3i", 0, 5, n) for n in (10, 1 << 30))
    assert offsets in data  # of "cat/1" and "dog/2"
    file.write_bytes(data.replace(offsets, wrong))
    with fails("FormatError", "saved cannot be loaded", "1073741824", path=source):
        load(source)


# --- which kind it is -----------------------------------------------------------------------------

KINDS = [
    (["cat/1/a.png"], "folder"),
    (["cat/1/a.png", "notes.bin"], "folder"),
    (["cat/1/a.png", "metadata.parquet"], "folder"),
    (["a.h5", "b.hdf5", "notes.txt"], "hdf5"),
    (["a.h5", "b.parquet"], "folder"),
    (["train/a.tfrecord", "test/a.tfrecord"], "tfrecord"),
    (["train/a.tfrecord", "cat/1/a.png"], "folder"),
    (["data/train-00000.parquet", "README.md", ".git/x"], "parquet"),
    (["train-00000-of-00001/images.npy", "train-00000-of-00001/features.json"], "numpy"),
    (["a.tar", "b.tar"], "folder"),
    ([], "folder"),
]


@pytest.mark.parametrize(("paths", "kind"), KINDS)
def test_what_a_folder_is(paths, kind, tmp_path):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert detect_source(tmp_path) == (str(tmp_path), kind)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("x.h5", "hdf5"),
        ("x.HDF5", "hdf5"),
        ("x.npz", "numpy"),
        ("x.tfrecords", "tfrecord"),
        ("x.bin", "cifar"),
        ("a/x.parquet", "parquet"),
        ("x.tar", "folder"),
        ("me/photos", "hub"),
        ("me/photos@refs/pr/1", "hub"),
        ("me/photos@v1/photos.zip", "folder"),
        ("s3://bucket/photos", "folder"),
        ("https://host/photos.zip", "folder"),
    ],
)
def test_what_a_name_says(source, kind):
    assert detect_source(source) == (source, kind)


def test_a_name_of_the_user(monkeypatch, tmp_path):
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert detect_source("~/photos") == (str(tmp_path / "photos"), "folder")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_holds(name):
    module = format_module(name)
    assert module.CONTENTS in ({"bytes"}, {"pixels"}, {"bytes", "pixels"})
    assert module.Writer and module.EXTENSION in ("", ".h5", ".tar", ".tfrecord", ".parquet")


# --- Parquet --------------------------------------------------------------------------------------


def test_published_files_are_read(splits, tmp_path):
    from multiview_cifar_tools.publishing.publish import publish

    publish(splits, "me/photos", dry_run=tmp_path / "files", max_shard_size=1)
    again = load(tmp_path / "files", source_format="parquet", cache_dir=str(tmp_path / "cache"))
    assert {split: contents(ds) for split, ds in again.items()} == {
        split: contents(ds) for split, ds in splits.items()
    }


def test_parquet_that_names_files(tree, splits, tmp_path, fails):
    ds = datasets.Dataset.from_list(
        [{"images": [str(tree / TREE[0])], "label": 0, "sample_id": "cat/1", "view_names": ["a"]}],
        features=splits["train"].features,
    )
    ds.to_parquet(tmp_path / "a.parquet")
    with fails("FormatError", "a.parquet, row 0", TREE[0], "push_to_hub"):
        load(tmp_path / "a.parquet", cache_dir=str(tmp_path / "cache"))


def test_parquet_without_lists_of_images(tmp_path, fails):
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with fails("FormatError", "a.parquet has the columns text", "a column of image lists"):
        load(tmp_path / "a.parquet")


def test_no_parquet(tmp_path, fails):
    (tmp_path / "a.parquet").write_bytes(b"no Parquet at all")
    with fails("FormatError", "a.parquet cannot be read", "whole Parquet file"):
        load(tmp_path / "a.parquet")


# --- rows of others -------------------------------------------------------------------------------

LISTS = datasets.Features({"shots": datasets.Sequence(datasets.Image())})


def lists(counts, **columns):
    """A dataset with so many images in each row of its column "shots", and further columns."""
    features = datasets.Features(LISTS | {name: kind for name, (kind, _) in columns.items()})
    rows = {"shots": [[image(10 * i + j) for j in range(n)] for i, n in enumerate(counts)]}
    rows |= {name: values for name, (_, values) in columns.items()}
    return datasets.Dataset.from_dict(rows, features=features)


def facts(ds):
    return [{name: value for name, value in row.items() if name != "images"} for row in ds]


TEXT_LABELS = {"label": (datasets.Value("string"), ["b", "a10", "a9"])}
THREE = [
    {"sample_id": "0", "view_names": ["0"]},
    {"sample_id": "1", "view_names": ["0", "1"]},
    {"sample_id": "2", "view_names": []},
]


def place_of(kind, ds, folder):
    """Where a dataset lies: saved, as Parquet of `datasets`, or of a tool that writes no types."""
    if kind == "saved":
        ds.save_to_disk(folder / "saved")
        return folder / "saved"
    (folder / "files").mkdir()
    file = folder / "files" / "train-00000-of-00001-0a1b2c.parquet"
    if kind == "Parquet":
        ds.to_parquet(file)
    else:
        plain = [[each["bytes"] for each in row] for row in ds.data["shots"].to_pylist()]
        table = ds.data.table.replace_schema_metadata({})
        pq.write_table(table.drop(["shots"]).append_column("shots", [plain]), file)
    return folder / "files"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["saved", "Parquet", "Parquet of others"])
def test_lists_of_images_are_enough(kind, streaming, tmp_path, cache):
    ds = lists([1, 2, 0])
    place = place_of(kind, ds, tmp_path)
    loaded = load(place, streaming=streaming, cache_dir=cache)["train"]
    assert facts(loaded) == THREE
    rows = raw(open_source(place, streaming=streaming, cache_dir=cache))["train"]
    found = [[view["bytes"] for view in row["images"]] for row in rows]
    assert found == [[view["bytes"] for view in row] for row in ds.data["shots"].to_pylist()]


@pytest.mark.parametrize("kind", ["saved", "Parquet"])
def test_labels_of_text_are_classes_in_natural_order(kind, tmp_path, cache):
    place = place_of(kind, lists([1, 1, 1], **TEXT_LABELS), tmp_path)
    ds = load(place, cache_dir=cache)["train"]
    assert ds.features["label"].names == ["a9", "a10", "b"]
    assert ds["label"][:] == [2, 1, 0]
    assert ds["sample_id"][:] == ["0", "1", "2"]


def test_the_names_of_files_say_the_split(tmp_path, cache):
    for name in ("test-00000-of-00001-0a1b.parquet", "mine_val.parquet"):
        lists([1]).to_parquet(tmp_path / name)
    assert list(load(tmp_path, cache_dir=cache)) == ["validation", "test"]


def test_row_numbers_go_on_in_the_next_file(tmp_path, cache, caplog):
    for i in (0, 2):
        lists([1, 1]).to_parquet(tmp_path / f"train-{i:05}-of-00003.parquet")
    lists([1]).to_parquet(tmp_path / "more.parquet")
    ds = load(tmp_path, cache_dir=cache)["train"]
    assert ds["sample_id"][:] == ["0", "1", "2", "3", "4"]
    assert "1 of 3 shards are missing" in caplog.text and "the first is number 1" in caplog.text
    assert f"they name no split, or two: {tmp_path / 'more.parquet'}" in caplog.text


def test_a_dataset_of_one_image_a_row_comes_as_it_is(tmp_path, fails):
    ds = datasets.Dataset.from_dict(
        {"image": [image(0)]}, features=datasets.Features(image=datasets.Image())
    )
    ds.save_to_disk(tmp_path / "saved")
    assert load(tmp_path / "saved")["train"].features == ds.features
    with fails("ExportError", "one image a row: image", "--group-by", "--view-columns"):
        export(open_source(tmp_path / "saved"), tmp_path / "out")


def test_parquet_with_other_bytes_in_lists(tmp_path, fails, cache):
    pq.write_table(pa.table({"x": [[b"abc"]]}), tmp_path / "a.parquet")
    with fails("FormatError", "row 0: a view in 'images' is", "Expected"):
        load(tmp_path / "a.parquet", cache_dir=cache)


# --- the Hub --------------------------------------------------------------------------------------


def publish_and_open(tree, folder):
    from multiview_cifar_tools.publishing.publish import publish

    splits = multiview_cifar.load_dataset(data_dir=tree, cache_dir=f"{folder}/cache")
    publish(splits, "me/photos")
    found = []
    for streaming in (False, True):
        sources = open_source("me/photos", streaming=streaming, cache_dir=f"{folder}/cache")
        found.append(
            [
                {split: list(rows.iterate()) for split, rows in sources.items()},
                {split: rows.num_rows for split, rows in sources.items()},
            ]
        )
    loaded = [type(load("me/photos", streaming=streaming)).__name__ for streaming in (0, 1)]
    stamp = prints("me/photos", streaming=True)
    huggingface_hub.HfApi().create_tag("me/photos", tag="v1", repo_type="dataset")
    publish(
        datasets.DatasetDict({name: ds.select([0]) for name, ds in splits.items()}),
        "me/photos",
        overwrite=True,
    )
    sizes = [len(load(place)["train"]) for place in ("me/photos", "me/photos@v1")]
    return found, loaded, stamp, prints("me/photos", streaming=True), sizes


def test_a_dataset_of_the_hub(hub, tree, splits, tmp_path):
    found, loaded, before, after, sizes = hub.run(publish_and_open, str(tree), str(tmp_path))
    assert sizes == [1, 2]
    wanted = {split: contents(ds) for split, ds in splits.items()}
    assert found == [[wanted, {"train": 2, "test": 1}]] * 2
    assert loaded == ["DatasetDict", "IterableDatasetDict"]
    assert not {*before.values()} & {*after.values()}


def open_nothing():
    from multiview_cifar import MultiviewError

    with pytest.raises(MultiviewError) as error:
        open_source("me/none", streaming=True)
    return str(error.value)


def test_what_is_not_on_the_hub(hub):
    text = hub.run(open_nothing)
    assert "me/none cannot be loaded" in text and "Expected a dataset of the Hub" in text
