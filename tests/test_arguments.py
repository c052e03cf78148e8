"""Arguments as people give them: for what is no rows, one line names the call that is right."""

import json

import datasets
import numpy as np
import pytest

from multiview_cifar import load_dataset
from multiview_cifar_tools import (
    BatchReader,
    ElasticBatches,
    ElasticSampler,
    ElasticTables,
    EpisodicSampler,
    PKSampler,
    RandomCropFlip,
    SizeSampler,
    build_shards,
    check,
    contact_sheet,
    export,
    group,
    load,
    open_engine,
    open_source,
    plan,
    preview,
    publish,
    quarantine,
    restore,
)
from multiview_cifar_tools.arguments import split_name
from pictures import FEATURES, make_rows

DATASET = make_rows([1, 2])
STREAM = DATASET.to_iterable_dataset()
SPLITS = datasets.DatasetDict(train=DATASET, test=DATASET)
STREAMS = datasets.IterableDatasetDict(train=STREAM)
ROWS = [{"images": [], "label": 0}] * 3
UNKNOWN = STREAM.map(lambda row: row)  # a stream without features


def no_rows(name):
    """What is neither rows nor where rows are; and what the error calls it."""
    values = {"None": None, "5 (int)": 5, "b'photos' (bytes)": b"photos", "{} (dict)": {}}
    values["{'images': [1]} (dict)"] = {"images": [1]}
    return [pytest.param(value, said, id=f"{name}-{said}") for said, value in values.items()]


# --- one dataset ----------------------------------------------------------------------------------


def torch_batches(rows):
    from multiview_cifar_tools import TorchBatches

    return TorchBatches(rows)


def torch_stream(rows):
    from multiview_cifar_tools import TorchStream

    return TorchStream(rows, 2)


@pytest.mark.parametrize(
    ("rows", "found", "remedy"),
    [
        (SPLITS, "the splits train, test (DatasetDict)", '({call}(ds["train"]), or split="train"'),
        ({"test": DATASET}, "the splits test (dict)", '{call}(ds["test"])'),
        (STREAM, "a stream (IterableDataset)", "without streaming=True; or"),
        (STREAMS, "streams of the splits train", 'split="train", without streaming=True; or'),
        ("photos", "the path 'photos'", "{call}(load('photos')[\"train\"])"),
        (ROWS, "a list of 3", "{call}(datasets.Dataset.from_list(rows, features=features))"),
        *[
            (*each.values, '{call}(load_dataset(..., split="train"))')
            for each in no_rows("BatchReader")
        ],
    ],
)
@pytest.mark.parametrize("call", [BatchReader, torch_batches])
def test_no_dataset(fails, call, rows, found, remedy):
    name = "BatchReader" if call is BatchReader else "TorchBatches"
    remedy = remedy.format(call=name).removeprefix("(")
    with fails("BatchError", f"{name} takes one datasets.Dataset, found {found}", remedy) as caught:
        call(rows)
    assert "\n" not in str(caught.value)


def test_streams_have_a_class_of_their_own(fails):
    for rows in (STREAM, STREAMS):
        with fails("BatchError", "TorchStream(stream, batch_size)"):
            BatchReader(rows)


@pytest.mark.parametrize(
    ("rows", "found", "remedy"),
    [
        (DATASET, "a Dataset", "TorchBatches(ds), or TorchStream(ds.to_iterable_dataset(), "),
        (SPLITS, "the splits train, test", "TorchBatches(ds) of one split, or split="),
        (STREAMS, "streams of the splits train", 'TorchStream(ds["train"], batch_size), or split'),
        ("photos", "the path 'photos'", "load('photos', streaming=True)[\"train\"]"),
        (ROWS, "a list of 3", "from_list(rows, features=features).to_iterable_dataset()"),
        (None, "None", 'load_dataset(..., split="train", streaming=True)'),
    ],
)
def test_no_stream(fails, rows, found, remedy):
    with fails("BatchError", f"takes one datasets.IterableDataset, found {found}", remedy):
        torch_stream(rows)


# --- splits ---------------------------------------------------------------------------------------

TAKE_SPLITS = {  # with the error's class, and the call with the path
    "export": (lambda rows: export(rows, "dest"), "ExportError", "dest"),
    "publish": (lambda rows: publish(rows, "me/x", dry_run="dest"), "PublishError", "repo_id"),
    "preview": (lambda rows: preview(rows, "page.html"), "PreviewError", "file"),
    "contact_sheet": (contact_sheet, "PreviewError", ""),
    "group": (lambda rows: group(rows, "sample_id"), "OptionError", "by"),
}


@pytest.mark.parametrize("name", TAKE_SPLITS)
def test_no_splits(fails, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, other = TAKE_SPLITS[name]
    end = f", {other})" if other else ")"
    cases = [
        (each.values[0], each.values[1], f'load_dataset(data_dir="photos"){end}')
        for each in no_rows(name)
    ]
    cases.append((ROWS, "a list of 3", f"from_list(rows, features=features){end}"))
    if name not in ("publish", "group"):  # which take a path
        cases.append(("photos", "the path 'photos'", f"{name}(load('photos'){end}"))
        cases.append((tmp_path, f"the path {str(tmp_path)!r}", f"{name}(load({str(tmp_path)!r})"))
    for rows, found, remedy in cases:
        with fails(
            error, f"{name} takes a datasets.Dataset or a dict of them, found {found}", remedy
        ) as caught:
            call(rows)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [STREAM, STREAMS, {"train": STREAM}])
def test_publish_takes_no_streams(fails, rows, tmp_path):
    with fails("PublishError", "stream", "without streaming=True", 'publish("photos", repo_id)'):
        publish(rows, "me/x", dry_run=tmp_path / "dest")


@pytest.mark.parametrize("name", [name for name in TAKE_SPLITS if name != "publish"])
@pytest.mark.parametrize("rows", [UNKNOWN, {"train": UNKNOWN}])
def test_a_stream_without_features(fails, name, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, _ = TAKE_SPLITS[name]
    with fails(error, "does not know its features", "features="):
        call(rows)


def test_a_split_stands_for_a_dict_of_it(tmp_path, capsys):
    """The same files and pictures of one dataset, named or not, as of a dict with it."""

    def written(rows, name):
        folder = tmp_path / name
        export(rows, folder / "export", format="parquet")
        if not isinstance(rows, datasets.IterableDataset):
            publish(rows, "me/x", dry_run=folder / "published")
        table = preview(rows, folder / "page.html").table
        files = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.*")}
        return files, table.to_dict("list"), contact_sheet(rows).tobytes()

    ds = make_rows([1, 2])
    files, table, picture = written({"train": ds}, "dict")
    assert len(files) > 4
    assert written(ds, "dataset") == (files, table, picture)
    streamed = written(ds.to_iterable_dataset(), "stream")
    assert streamed[1:] == (table, picture)
    named = datasets.Dataset(ds.data, split=datasets.NamedSplit("test"), info=ds.info)
    assert {*preview(named, tmp_path / "page.html").table["split"]} == {"test"}


def test_raw_rows_make_a_contact_sheet(make_tree):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    splits = open_source(tree, streaming=True)
    assert contact_sheet(splits).tobytes() == contact_sheet(splits["train"]).tobytes()
    assert contact_sheet(splits).tobytes() == contact_sheet(load(tree)).tobytes()


@pytest.mark.parametrize(
    ("split", "name"),
    [
        (None, "train"),
        ("test", "test"),
        ("a.b_c", "a.b_c"),
        ("test[:10%]", "test"),
        ("test[:1]+test[3:]", "test"),
        ("train+test", "train"),
    ],
)
def test_the_name_of_a_split(split, name):
    assert split_name(datasets.Dataset(DATASET.data, split=split, info=DATASET.info)) == name


# --- paths ----------------------------------------------------------------------------------------


def build(source):
    with open_engine() as engine:
        return build_shards(source, "dest", engine=engine)


TAKE_PATHS = {  # with the error's class, the call for None, and the call for rows
    "load": (load, "OptionError", 'load("photos")', "the rows themselves"),
    "open_source": (open_source, "OptionError", 'open_source("photos")', "the rows themselves"),
    "plan": (plan, "OptionError", 'plan("photos")', 'plan("photos")'),
    "check": (check, "CheckError", 'check("photos")', 'export(rows, "photos"), then check("ph'),
    "build_shards": (build, "OptionError", 'build_shards("photos", output)', "export(rows, output"),
    "restore": (restore, "QuarantineError", 'restore("photos")', 'restore("photos")'),
    "quarantine": (
        lambda place: quarantine({}, place, "dest"),
        "QuarantineError",
        'quarantine(files, "photos", folder)',
        'quarantine(files, "photos", folder)',
    ),
    **{
        kind.__name__: (
            lambda source, kind=kind: kind(source, 4),
            "ElasticError",
            f'{kind.__name__}("photos", batch_size)',
            f'export(rows, "shards", format="parquet"), then {kind.__name__}("shards", batch_size)',
        )
        for kind in (ElasticBatches, ElasticTables)
    },
}


@pytest.mark.parametrize("place", [5, b"photos", DATASET, ["photos"]])
def test_no_data_dir(fails, place):
    with fails("OptionError", "data_dir=", 'Expected a path, such as "photos"', path="data_dir"):
        load_dataset(data_dir=place)


@pytest.mark.parametrize("name", TAKE_PATHS)
def test_no_path(fails, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, of_none, of_rows = TAKE_PATHS[name]
    for place in (None, 5, b"photos", "", {}):
        with fails(error, f"{name} takes a path, found ", of_none):
            call(place)
    for rows in (DATASET, SPLITS, STREAM, STREAMS, ROWS):
        with fails(error, f"{name} takes a path, found ", of_rows) as caught:
            call(rows)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_paths_may_be_path_objects(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    with open_engine() as engine:
        build_shards(tree, tmp_path / "shards", engine=engine)
    assert load(tmp_path / "shards")["train"]["sample_id"][:] == ["cat/1", "cat/2"]


def test_grouping_reads_a_path(tmp_path):
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": FEATURES["label"],
            "object": datasets.Value("string"),
        }
    )
    views = DATASET.with_format("arrow")[:]["images"].combine_chunks().flatten().to_pylist()
    rows = {"image": views, "label": [0, 1, 1], "object": ["a", "b", "b"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    assert group(tmp_path / "saved", "object")["train"]["sample_id"][:] == ["cat/a", "dog/b"]


def test_a_quarantine_wants_reasons(fails, tmp_path):
    with fails("QuarantineError", "['cat/1/a.png']", "check(data_dir).bad_files"):
        quarantine(["cat/1/a.png"], tmp_path / "photos", tmp_path / "bad")


# --- numbers --------------------------------------------------------------------------------------

NO_COUNTS = ("4", None, 0, -1, 2.0, True, [4])


def stream_batches(size):
    from multiview_cifar_tools import TorchStream

    return TorchStream(STREAM, size)


@pytest.mark.parametrize(
    ("call", "error"),
    {
        "batches": (BatchReader(DATASET).batches, "BatchError"),
        "TorchStream": (stream_batches, "BatchError"),
        "ElasticSampler": (lambda size: ElasticSampler(9, size), "ElasticError"),
    }.values(),
)
def test_no_batch_size(fails, call, error):
    """Told where it is given, not at the first batch."""
    for size in NO_COUNTS:
        with fails(
            error,
            f"batch_size={size!r} is not right. Expected an int, 1 or more",
            path="batch_size",
        ):
            call(size)


@pytest.mark.parametrize("size", [2, np.int64(2), np.uint8(2)])
def test_batch_sizes_of_numpy(size):
    assert [len(batch["label"]) for batch in BatchReader(make_rows([1] * 3)).batches(size)] == [
        2,
        1,
    ]
    assert [*ElasticSampler(3, size, shuffle=False)] == [[0, 1], [2]]
    state = ElasticSampler(np.int32(3), size, seed=np.int64(1)).state_dict()
    assert json.loads(json.dumps(state)) == state


COUNTS = {  # whose least is 1, and whose least is 0
    1: {
        "num_views": (lambda n: BatchReader(DATASET, num_views=n), "BatchError"),
        "num_threads": (lambda n: BatchReader(DATASET, num_threads=n), "BatchError"),
        "num_replicas": (lambda n: ElasticSampler(9, 2, num_replicas=n), "ElasticError"),
        "lanes": (lambda n: ElasticSampler(9, 2, lanes=n), "ElasticError"),
        "window": (lambda n: ElasticSampler(9, 2, window=n), "ElasticError"),
        "samples_per_class": (lambda n: contact_sheet(DATASET, samples_per_class=n), "OptionError"),
        "max_pixels": (lambda n: check("photos", max_pixels=n), "OptionError"),
        "num_proc": (lambda n: load("photos", num_proc=n), "OptionError"),
    },
    0: {
        "seed": (lambda n: BatchReader(DATASET, seed=n), "BatchError"),
        "epoch": (BatchReader(DATASET).set_epoch, "BatchError"),
        "rank": (lambda n: ElasticSampler(9, 2, rank=n), "ElasticError"),
        "padding": (lambda n: RandomCropFlip(padding=n), "BatchError"),
        "batches": (ElasticSampler(9, 2).state_dict, "ElasticError"),
    },
}


@pytest.mark.parametrize(
    ("least", "name"), [(least, name) for least, calls in COUNTS.items() for name in calls]
)
def test_no_count(fails, least, name):
    call, error = COUNTS[least][name]
    for number in ("4", least - 1, 2.5, True):
        with fails(error, f"{name}={number!r} is not right", f"an int, {least} or more", path=name):
            call(number)


def test_epochs_of_every_kind(fails):
    from multiview_cifar_tools import TorchBatches, TorchStream

    for data in (TorchBatches(DATASET), TorchStream(STREAM, 2), ElasticSampler(9, 2)):
        for epoch in (1.5, -1, "1", None):
            with pytest.raises(ValueError, match=f"epoch={epoch!r} is not right"):
                data.set_epoch(epoch)
        data.set_epoch(np.int64(3))


def test_sizes_of_pictures(fails, tmp_path):
    for size in (0, 15, "32", 32.0):
        with fails("OptionError", f"thumbnail={size!r} is not right", "16 or more"):
            contact_sheet(DATASET, thumbnail=size)
    for size in (-1, float("nan"), "50", None):
        with fails("OptionError", f"max_size={size!r} is not right", "1 or more"):
            preview(DATASET, tmp_path / "page.html", max_size=size)


def test_processes_of_an_engine(fails):
    for number in (0, "2", 1.5):
        with (
            fails("OptionError", f"num_proc={number!r}", "1 or more"),
            open_engine(num_proc=number),
        ):
            pass


@pytest.mark.parametrize(
    "rows", [10.5, [1.5, 2], "10", None, DATASET, {}, -1, [3, -1], [[1]], True]
)
def test_no_numbers_of_rows(fails, rows):
    with fails("ElasticError", "num_rows=", "such as len(ds), or a list", path="num_rows"):
        ElasticSampler(rows, 2)


# --- others ---------------------------------------------------------------------------------------


def test_options_of_readers(fails):
    for columns in ("label", 5):
        with fails("BatchError", f"columns={columns!r} is not right", '["label"]'):
            BatchReader(DATASET, columns=columns)
    with fails("BatchError", "augment='flip'", "RandomCropFlip()"):
        BatchReader(DATASET, augment="flip")
    with fails("BatchError", "to_arrays takes a path, found True (bool)", 'memmap="images.npy"'):
        BatchReader(DATASET).to_arrays(memmap=True)


def test_where_to(fails):
    for call, error, says in (
        (lambda: export(DATASET, None), "ExportError", 'export(rows, "photos")'),
        (lambda: preview(DATASET, None), "PreviewError", 'preview(rows, "photos.html")'),
        (lambda: publish(DATASET, "me/x", dry_run=True), "PublishError", 'dry_run="files"'),
    ):
        with fails(error, "takes a path, found ", says):
            call()


def test_an_engine_is_opened_first(fails):
    for engine in ("local", open_engine()):
        with fails("OptionError", "engine=", 'with open_engine("local") as engine', path="engine"):
            build_shards("photos", "dest", engine=engine)
        with fails("OptionError", "engine=", 'with open_engine("local") as engine', path="engine"):
            publish("photos", "me/x", engine=engine, dry_run="dest")


def test_no_repository(fails):
    for name in (None, 5, "me", "a/b/c"):
        with fails("PublishError", f"{name!r} is not a name of a repository", '"user/name"'):
            publish(DATASET, name)


def test_a_split_is_taken_from_the_result(fails, make_tree, tmp_path):
    DATASET.save_to_disk(tmp_path / "saved")
    export(DATASET, tmp_path / "shards", format="parquet")
    for source in ("saved", "shards"):
        with fails("OptionError", "split='train'", 'load(source)["train"]', path="split"):
            load(tmp_path / source, split="train")
    with fails("OptionError", "split='test'", 'load(source)["train"]', path="split"):
        open_source(make_tree("cat/1/a.png"), split="test")


def test_columns_to_group_by(fails):
    for by in (None, "", ["sample_id"]):
        with fails("OptionError", f"no column {by!r}", "Expected by="):
            group(DATASET, by)


# --- flags and counts -----------------------------------------------------------------------------

NO_FLAGS = ["no", 0, 1, None, [], 1000]
NO_NAMES = ["label", b"label", [1], [None], iter(["label"]), 3]


@pytest.mark.parametrize("value", NO_FLAGS, ids=str)
def test_a_flag_is_a_bool(fails, value):
    from multiview_cifar_tools import JaxBatches, TorchBatches, to_tf_dataset

    flagged = {
        "verify_checksums": BatchReader,
        "exact": lambda rows, **flag: BatchReader(rows, image_size=(4, 4), **flag),
        "shuffle": lambda rows, **flag: BatchReader(rows).batches(2, **flag),
        "drop_last": lambda rows, **flag: JaxBatches(rows, 2, **flag),
        "drop_remainder": lambda rows, **flag: to_tf_dataset(rows, 2, **flag),
        "contiguous": TorchBatches,
        "flip": lambda rows, **flag: RandomCropFlip(**flag),
    }
    for name, make in flagged.items():
        with fails("BatchError", f"{name}={value!r} is not right. Expected True or False"):
            make(DATASET, **{name: value})
    others = {
        "private": lambda **flag: publish(DATASET, "me/photos", **flag),
        "overwrite": lambda **flag: publish(DATASET, "me/photos", append=True, **flag),
        "pixels": lambda **flag: export(DATASET, "photos", format="parquet", **flag),
        "counts": lambda **flag: contact_sheet(DATASET, **flag),
    }
    for name, call in others.items():
        with fails("OptionError", f"{name}={value!r} is not right. Expected True or False"):
            call(**{name: value})
    for name in ("shuffle", "drop_last"):
        with fails("ElasticError", f"{name}={value!r} is not right. Expected True or False"):
            ElasticSampler(3, 1, **{name: value})


def test_flags_and_counts_of_numpy():
    options = {"num_views": np.int64(2), "copies": np.int32(3), "num_threads": np.uint8(1)}
    reader = BatchReader(make_rows([3, 2, 1]), view_sampling="random", **options)
    batch = next(reader.batches(np.int64(2), shuffle=np.True_, drop_last=np.bool_(False)))
    assert batch["images"].shape == (2, 3, 2, 4, 5, 3)
    assert BatchReader(make_rows([1]), num_views=np.int64(2))[:]["view_mask"].shape == (1, 2)


@pytest.mark.parametrize("value", NO_NAMES, ids=lambda value: type(value).__name__)
def test_columns_are_a_list_of_names(fails, value):
    with fails(
        "BatchError", "columns=", 'is not right. Expected a list of names, such as ["label"'
    ):
        BatchReader(DATASET, columns=value)


def test_an_image_column_is_a_name(fails):
    for column in (None, 3, ["images"], b"images"):
        with fails("BatchError", f"column={column!r} is not right. Expected the name of an"):
            SizeSampler(DATASET, 1, column=column)


def test_counts_beyond_all_bounds(fails):
    huge, says = 10**30, "is too large. Expected 9223372036854775807 at most"
    for make in (
        lambda: BatchReader(DATASET, copies=huge),
        lambda: BatchReader(DATASET).batches(huge),
        lambda: BatchReader(DATASET).set_epoch(huge),
        lambda: PKSampler([0, 1], 1, huge),
        lambda: EpisodicSampler([0, 0], 1, 1, huge),
        lambda: RandomCropFlip(huge),
        lambda: ElasticSampler(3, huge),
    ):
        with fails("MultiviewError", says):
            make()
    assert BatchReader(DATASET, seed=huge).seed == huge  # such as SeedSequence().entropy


def test_a_group_is_a_name(fails, make_tree):
    tree = make_tree("cat/1/a.png")
    for value in ("", 3, ["patient"], True):
        with fails("OptionError", f"group={value!r} is not right. Expected the name of a column"):
            check(str(tree), group=value)
