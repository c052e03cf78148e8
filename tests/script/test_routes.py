"""The same tree gives the same rows, whichever way it is loaded."""

import dataclasses
import inspect
import shutil

import datasets
import pytest

import multiview_cifar

pytestmark = pytest.mark.every_route

TREE = [
    f"{split}/{label}/{sample}/{view}.png"
    for split, samples in (("train", (1, 2, 10)), ("test", (1,)))
    for label in ("cat", "dog")
    for sample in samples
    for view in ("a", "b")
]
TRAIN_IDS = ["cat/1", "cat/2", "cat/10", "dog/1", "dog/2", "dog/10"]

OPTIONS = {
    "layout": None,
    "class_names": None,
    "other_classes": "raise",
    "label_column": None,
    "view_names": None,
    "on_missing_view": "raise",
    "num_views": None,
    "view_sampling": "even",
    "seed": 0,
    "split_names": None,
    "split_ratios": None,
    "split_by": None,
    "drop_metadata": False,
    "on_missing_metadata": "raise",
    "verify": "signature",
    "on_error": "raise",
    "pages": "raise",
    "mode": None,
    "value_range": None,
    "image_size": None,
    "resize": None,
    "scaled_decode": False,
    "encoding": None,
    "storage_options": None,
}


def test_rows_of_all_splits(load, make_tree, shown):
    splits = load(make_tree(*TREE), split=None)
    assert list(splits) == ["train", "test"]
    for split, ids in (("train", TRAIN_IDS), ("test", ["cat/1", "dog/1"])):
        assert shown(splits[split]) == [
            (i, f"{split}/{i}/a.png", f"{split}/{i}/b.png") for i in ids
        ]
        assert [row["label"] for row in splits[split]] == [int(i[:3] == "dog") for i in ids]
        assert all(row["view_names"] == ["a", "b"] for row in splits[split])


def test_features(load, make_tree):
    assert load(make_tree(*TREE)).features == datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "sample_id": datasets.Value("string"),
            "view_names": datasets.Sequence(datasets.Value("string")),
        }
    )


def test_two_processes_give_the_rows_of_one(build, make_tree, shown, stored, tmp_path):
    tree = make_tree(*TREE)
    one = build(tree, split=None)
    two = build(tree, split=None, num_proc=2, cache_dir=str(tmp_path / "other"))
    for split in ("train", "test"):
        assert shown(two[split]) == shown(one[split])
        assert stored(two[split]) == stored(one[split])


def test_a_stream_takes_no_processes(stream, make_tree):
    with pytest.raises(NotImplementedError, match="num_proc"):
        stream(make_tree(*TREE), num_proc=2)


@pytest.mark.each_value
@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("train", TRAIN_IDS),
        ("train[:50%]", TRAIN_IDS[:3]),
        ("train[1:3]", TRAIN_IDS[1:3]),
        ("train[-1:]", TRAIN_IDS[-1:]),
        ("train+test", [*TRAIN_IDS, "cat/1", "dog/1"]),
        ("all", [*TRAIN_IDS, "cat/1", "dog/1"]),
        (datasets.Split.TEST, ["cat/1", "dog/1"]),
        (datasets.ReadInstruction("train", to=1, unit="abs"), TRAIN_IDS[:1]),
    ],
)
def test_split(build, make_tree, split, ids):
    assert build(make_tree(*TREE), split=split)["sample_id"][:] == ids


def test_a_list_of_splits(build, make_tree):
    train, test = build(make_tree(*TREE), split=["train[:1]", "test"])
    assert (train.num_rows, test.num_rows) == (1, 2)


def test_a_stream_takes_whole_splits_only(stream, make_tree):
    tree = make_tree(*TREE)
    assert [row["sample_id"] for row in stream(tree, split="test")] == ["cat/1", "dog/1"]
    with pytest.raises(ValueError, match=r"train\[:50%\]"):
        stream(tree, split="train[:50%]")


def test_an_unknown_split(load, make_tree):
    with pytest.raises(ValueError, match="validation"):
        load(make_tree(*TREE), split="validation")


def test_cache_dir(build, make_tree, tmp_path):
    files = build(make_tree(*TREE), cache_dir=str(tmp_path / "here")).cache_files
    assert files
    assert all(file["filename"].startswith(str(tmp_path / "here")) for file in files)


def test_keep_in_memory(build, make_tree):
    ds = build(make_tree(*TREE), keep_in_memory=True)
    assert ds.cache_files == []
    assert ds["sample_id"][:] == TRAIN_IDS


def test_data_dir_may_be_a_path(load, make_tree, shown):
    tree = make_tree(*TREE)
    assert shown(load(data_dir=tree)) == shown(load(str(tree)))


def test_data_dir_may_begin_at_home(load, make_tree, monkeypatch):
    monkeypatch.setenv("HOME", str(make_tree(*TREE).parent))
    assert len(list(load("~/photos"))) == 6


def test_every_option_is_a_keyword(load, make_tree):
    given = {
        "layout": "{label}/{sample}/{view}",
        "class_names": {"dog": "hound", "cat": "tiger"},
        "other_classes": "skip",
        "view_names": ["b", "c", "a"],
        "on_missing_view": "null",
        "num_views": 2,
        "view_sampling": "first",
        "seed": 3,
        "split_ratios": {"train": 1.0},
        "split_by": "sample",
        "drop_metadata": True,
        "on_missing_metadata": "null",
        "verify": "decode",
        "on_error": "skip_view",
        "pages": "first",
        "mode": "L",
        "value_range": (0, 255),
        "image_size": (6, 8),
        "resize": "pad",
        "scaled_decode": True,
        "encoding": "png",
        "storage_options": {"anon": True},
    }
    # Labels stand in the tree here, and splits are drawn.
    assert given.keys() == OPTIONS.keys() - {"label_column", "split_names"}
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png", "dog/1/b.png", "dog/1/c.png")
    ds = load(tree, **given)
    assert ds.features["label"].names == ["hound", "tiger"]
    tiger, hound = ds
    assert (tiger["sample_id"], tiger["label"]) == ("cat/1", 1)
    assert (tiger["view_names"], hound["view_names"]) == (["b", "c"], ["b", "c"])
    assert tiger["images"][1] is None
    assert [(image.size, image.mode) for image in hound["images"]] == [((8, 6), "L")] * 2


def test_options_and_defaults_are_those_of_the_design():
    base = {field.name for field in dataclasses.fields(datasets.BuilderConfig)}
    own = [f for f in dataclasses.fields(multiview_cifar.MultiviewCifarConfig)]
    assert {f.name: f.default for f in own if f.name not in base} == OPTIONS


def test_arguments_are_those_of_datasets():
    ours = list(inspect.signature(multiview_cifar.load_dataset).parameters)[:-1]
    theirs = inspect.signature(datasets.load_dataset).parameters
    assert set(ours) <= set(theirs)
    assert {"data_dir", "split", "streaming", "num_proc", "cache_dir"} <= set(ours)


def test_builder_used_directly(make_tree, shown, tmp_path):
    builder = multiview_cifar.MultiviewCifar(
        data_dir=str(make_tree(*TREE)), cache_dir=str(tmp_path / "cache"), num_views=1
    )
    streamed = shown(builder.as_streaming_dataset(split="train"))
    builder.download_and_prepare()
    assert shown(builder.as_dataset(split="train")) == streamed
    assert streamed == [(i, f"train/{i}/a.png") for i in TRAIN_IDS]


def test_builder_writes_parquet(make_tree, shown, stored, tmp_path):
    tree = make_tree(*TREE)
    builder = multiview_cifar.MultiviewCifar(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare(output_dir=str(tmp_path / "out"), file_format="parquet")
    files = {split: str(tmp_path / f"out/*-{split}*.parquet") for split in ("train", "test")}
    back = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "back"))
    built = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        assert back[split].features == built[split].features
        assert shown(back[split]) == shown(built[split])
        assert stored(back[split]) == stored(built[split])


def test_numpy_and_torch_formats(build, make_tree):
    ds = build(make_tree(*TREE))
    assert ds.with_format("numpy")[0]["images"].shape == (2, 4, 4, 3)
    assert tuple(ds.with_format("torch")[0]["images"].shape) == (2, 3, 4, 4)


def test_script_of_a_relative_path(script, make_tree, shown, monkeypatch, tmp_path):
    """`datasets.load_dataset("./multiview_cifar.py", data_dir="photos")`, as in the README."""
    if not datasets.__version__.startswith("3."):
        pytest.skip("datasets 4 and later refuse scripts")
    make_tree(*TREE)
    shutil.copy(script, tmp_path)
    monkeypatch.chdir(tmp_path)
    ds = datasets.load_dataset(
        "./multiview_cifar.py",
        data_dir="photos",
        trust_remote_code=True,
        split="test",
        cache_dir="cache",
    )
    assert shown(ds)[0] == ("cat/1", "test/cat/1/a.png", "test/cat/1/b.png")


def test_an_unknown_config_points_to_data_dir(fails, make_tree):
    tree = str(make_tree(*TREE))
    with fails("OptionError", tree, "data_dir=", "shapes"):
        multiview_cifar.load_dataset(tree)
