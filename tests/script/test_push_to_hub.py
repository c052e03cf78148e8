"""`ds.push_to_hub("me/photos")`, then `datasets.load_dataset("me/photos")`: the same rows."""

import datasets
import pytest
from huggingface_hub import DatasetCard

import multiview_cifar

REPO = "me/photos"
EQUAL = [
    f"{split}/{label}/{sample}/{view}.png"
    for split, samples in (("train", (1, 2)), ("test", (3,)))
    for label in ("cat", "dog")
    for sample in samples
    for view in ("a", "b")
]
CASES = {
    "equal": (EQUAL, {}),
    "ragged": ([*EQUAL, "train/cat/2/c.png", "train/cat/2/d.jpg"], {}),
    "None": (
        [*EQUAL, "train/dog/2/c.png", "test/cat/3/c.png"],
        {"view_names": ["c", "a"], "on_missing_view": "null"},
    ),
    "two columns": (
        EQUAL + [path.replace(".png", "-map.png") for path in EQUAL],
        {
            "layout": {
                "images": "{split}/{label}/{sample}/{view}",
                "masks": "{split}/{label}/{sample}/{view}-map",
            }
        },
    ),
    "view labels": (
        [
            path.replace(f"/{top}/", f"/{top}/{front}/", 1)
            for path in EQUAL
            for top in ("cat", "dog")
            if f"/{top}/" in path
            for front in ("left", "right")
        ],
        {"layout": "{split}/{label}/{view_label}/{sample}/{view}"},
    ),
}


@pytest.fixture(params=CASES)
def photos(request, make_tree, tmp_path):
    paths, options = CASES[request.param]
    return build(make_tree(*paths), tmp_path, **options)


@pytest.fixture
def few(make_tree, tmp_path):
    return build(make_tree(*EQUAL), tmp_path)


def build(tree, tmp_path, **options):
    return multiview_cifar.load_dataset(
        data_dir=str(tree), cache_dir=str(tmp_path / "cache"), **options
    )


def held(splits):
    """Of each split its features and its rows, with images as bytes."""
    return {split: (ds.features, list(raw(ds))) for split, ds in splits.items()}


def raw(ds):
    columns = [name for name in ("images", "masks") if name in ds.features]
    for name in columns:
        ds = ds.cast_column(name, datasets.Sequence(datasets.Image(decode=False)))
    for row in ds:
        yield row | {name: [view and view["bytes"] for view in row[name]] for name in columns}


# --- what runs in clients -------------------------------------------------------------------------


def push(splits):
    splits.push_to_hub(REPO)


def load(**options):
    return held(datasets.load_dataset(REPO, **options))


def load_every_way():
    return load(), load(streaming=True), load(columns=["label"])


# --- tests ----------------------------------------------------------------------------------------


def test_rows_come_back(hub, photos):
    hub.run(push, photos)
    expected = held(photos)
    built, streamed, labels = hub.run(load_every_way)
    assert built == streamed == expected
    names = photos["train"].features["label"].names
    assert labels == {
        split: (
            datasets.Features(label=datasets.ClassLabel(names=names)),
            [{"label": row["label"]} for row in rows],
        )
        for split, (_, rows) in expected.items()
    }


def test_what_is_published(hub, few):
    """Parquet, and a card with the features: by it 3.6 reads what later versions published too."""
    hub.run(push, few)
    *hidden, card, test, train = sorted(hub.files(REPO))
    assert (hidden, card, test, train) == (
        [".gitattributes"],
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    )
    info = DatasetCard(hub.files(REPO)[card].decode()).data.dataset_info
    images = next(feature for feature in info["features"] if feature["name"] == "images")
    kind = "sequence" if datasets.__version__.startswith("3.") else "list"
    assert images == {"name": "images", kind: "image"}
    assert {s["name"]: s["num_examples"] for s in info["splits"]} == {"train": 4, "test": 2}


def test_the_same_again_sends_no_data(hub, few):
    hub.run(push, few)
    hub.forget()
    hub.run(push, few)
    assert hub.lfs_bytes == 0
    assert hub.requests["put"] == 0


def test_faults_of_the_storage_are_survived(hub, few):
    hub.inject("put", 503)
    hub.inject("put", "half", skip=1)
    hub.run(push, few)
    assert hub.requests["put"] == 4  # two shards
    assert hub.run(load) == held(few)


def test_a_fault_of_the_commit_is_not(hub, few):
    """But nothing is seen of what came, and it need not come again."""
    hub.inject("commit", 503)
    with pytest.raises(RuntimeError, match="503"):
        hub.run(push, few)
    assert list(hub.files(REPO)) == [".gitattributes"]
    hub.forget()
    hub.run(push, few)
    assert hub.lfs_bytes == 0
    assert hub.run(load) == held(few)


def test_a_commit_of_somebody_else_meanwhile(hub, few):
    """`datasets` 3.6 commits on top of it; 5.2 means to try again, but raises the Hub's refusal."""
    hub.inject("commit", lambda: hub.write(REPO, {"notes.txt": b"by hand"}))
    if not datasets.__version__.startswith("3."):
        with pytest.raises(RuntimeError, match="412"):
            hub.run(push, few)
    hub.run(push, few)
    assert hub.files(REPO)["notes.txt"] == b"by hand"
    assert hub.run(load) == held(few)
