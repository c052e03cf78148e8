"""grouping: datasets with one image a row become rows of multi-view samples, whichever way they
come.
"""

import hashlib
import io

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from exports import contents
from multiview_cifar import natural_key, row_features
from multiview_cifar_tools import grouping
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.grouping import group, group_rows, stack
from multiview_cifar_tools.loading import load
from sampling import examples

PETS = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["dog", "cat"]),
        "object_id": datasets.Value("int64"),
        "angle": datasets.Value("string"),
    }
)
ROWS = [  # label, object, angle
    (1, 7, "view_10"),
    (0, 2, "view_1"),
    (1, 7, "view_2"),
    (0, 11, "view_1"),
    (1, 7, "view_1"),
]


# Clients of the Hub import this module; one that imports conftest.py would lose their token.
def png(name):
    buffer = io.BytesIO()
    colour = tuple(hashlib.blake2b(name.encode(), digest_size=3).digest())
    Image.new("RGB", (3, 3), colour).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(rows=ROWS, features=PETS):
    """A dataset; the image of row i has the colour of str(i)."""
    return datasets.Dataset.from_list(
        [
            {
                "image": {"bytes": png(str(i)), "path": f"{i}.png"},
                "label": label,
                "object_id": sample,
                "angle": angle,
            }
            for i, (label, sample, angle) in enumerate(rows)
        ],
        features=features,
    )


def row(sample_id, label, views):
    """A row; `views` has the number of the image by the view's name."""
    return {
        "images": [{"bytes": png(str(i)), "path": None} for i in views.values()],
        "label": label,
        "sample_id": sample_id,
        "view_names": list(views),
    }


NUMBERED = [
    row("cat/7", 1, {"0": 0, "1": 2, "2": 4}),
    row("dog/2", 0, {"0": 1}),
    row("dog/11", 0, {"0": 3}),
]
BY_ANGLE = [
    row("cat/7", 1, {"view_1": 4, "view_2": 2, "view_10": 0}),
    row("dog/2", 0, {"view_1": 1}),
    row("dog/11", 0, {"view_1": 3}),
]
WAYS = {"built": lambda ds: ds, "streamed": lambda ds: ds.to_iterable_dataset()}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
def test_samples_as_they_appear_and_views_as_they_stand(way):
    found = group(way(pictures()), "object_id")
    assert type(found) is type(way(pictures()))
    assert found.features == row_features(["images"], ["dog", "cat"], None)
    assert contents(found) == NUMBERED


@ways
def test_views_in_natural_order_of_their_names(way):
    assert contents(group(way(pictures()), "object_id", view="angle")) == BY_ANGLE


def test_samples_in_natural_order(fails):
    found = group(pictures(), "object_id", sample_order="natural")
    assert contents(found) == [NUMBERED[0], NUMBERED[1], NUMBERED[2]]
    ds = pictures([(0, 11, "a"), (1, 7, "a"), (0, 2, "a")])
    assert group(ds, "object_id", sample_order="natural")["sample_id"][:] == [
        "cat/7",
        "dog/2",
        "dog/11",
    ]
    with fails("OptionError", "sample_order='random'", "'natural'", path="sample_order"):
        group(ds, "object_id", sample_order="random")
    with fails("OptionError", "not for streams", path="sample_order"):
        group(ds.to_iterable_dataset(), "object_id", sample_order="natural")


def test_rows_from_some_sample_on():
    """Raw rows, of any part of a dataset; in many batches."""
    ds = datasets.concatenate_datasets([pictures()] * 8).shuffle(seed=1)
    for each in (ds, ds.to_iterable_dataset()):
        rows = group_rows({"train": each}, "object_id")["train"]
        whole = list(rows.iterate())
        assert sorted(len(sample["images"]) for sample in whole) == [8, 8, 24]
        assert list(rows.iterate(1)) == whole[1:] and list(rows.iterate(3)) == []
        assert rows.num_rows == (3 if each is ds else None)


@ways
def test_all_splits(way):
    splits = {"train": way(pictures()), "test": way(pictures(ROWS[1:2]))}
    found = group(splits, "object_id")
    assert {split: contents(ds) for split, ds in found.items()} == {
        "train": NUMBERED,
        "test": [row("dog/2", 0, {"0": 0})],
    }


LABELS = {
    "text": (["red", "blue", "red"], datasets.Value("string"), ["blue", "red"], [1, 0]),
    "numbers": ([10, 9, 10], datasets.Value("int32"), ["9", "10"], [1, 0]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_without_names(kind, fails):
    labels, feature, names, numbers = LABELS[kind]
    features = datasets.Features({**PETS, "label": feature})
    ds = pictures(zip(labels, [1, 2, 1], "aab", strict=True), features)
    found = group({"train": ds.select([0, 2]), "test": ds.select([1])}, "object_id")
    assert found["train"].features["label"].names == names  # over all splits
    assert [ds["label"][:] for ds in found.values()] == [[number] for number in numbers]
    assert found["train"]["sample_id"][:] == [f"{names[numbers[0]]}/1"]
    with fails("OptionError", "'label' have no names", "Expected a ClassLabel", path="label"):
        group(ds.to_iterable_dataset(), "object_id")


@ways
def test_named_groups_and_views(way):
    """A ClassLabel among the other columns is taken by its names."""
    kind = datasets.ClassLabel(names=["x", "y"])
    features = datasets.Features({**PETS, "object_id": kind, "angle": kind})
    ds = way(pictures([(0, 1, 1), (0, 1, 0), (0, 0, 0)], features))
    assert [
        (sample["sample_id"], sample["view_names"])
        for sample in contents(group(ds, "object_id", view="angle"))
    ] == [("dog/y", ["x", "y"]), ("dog/x", ["x"])]


@ways
def test_columns_of_other_names(way, caplog):
    ds = pictures().rename_columns({"image": "img", "label": "fine"}).add_column("extra", [0] * 5)
    assert contents(group(way(ds), "object_id", image="img", label="fine")) == NUMBERED
    assert "Left out of the split 'train': the columns angle, extra" in caplog.text


@ways
def test_an_image_that_is_missing(way):
    ds = pictures().map(
        lambda row, i: {"image": None if i == 2 else row["image"]}, with_indices=True
    )
    images = contents(group(way(ds), "object_id"))[0]["images"]
    assert [image is None for image in images] == [False, True, False]


@ways
def test_images_that_are_paths(way, make_tree):
    tree = make_tree("a.png", "b.png")
    ds = datasets.Dataset.from_dict(
        {
            "image": [str(tree / "a.png"), str(tree / "b.png")],
            "label": [0, 0],
            "object_id": [5, 5],
            "angle": ["a", "b"],
        },
        features=PETS,
    )
    [sample] = contents(group(way(ds), "object_id"))
    assert [view["bytes"] for view in sample["images"]] == [
        (tree / name).read_bytes() for name in ("a.png", "b.png")
    ]


def test_what_is_built_is_built_once(tmp_path, monkeypatch):
    pictures().save_to_disk(tmp_path / "saved")
    first, second = (group(load(tmp_path / "saved"), "object_id")["train"] for _ in range(2))
    assert first.cache_files == second.cache_files
    assert (
        first.cache_files
        != group(load(tmp_path / "saved"), "object_id", view="angle")["train"].cache_files
    )


# --- streams --------------------------------------------------------------------------------------


@pytest.fixture
def little(monkeypatch):
    """Streams that may gather two images only."""
    monkeypatch.setattr(grouping, "GATHER_BYTES", int(2.5 * len(png("0"))))


def streamed(samples):
    rows = [(0, sample, "") for sample in samples]
    ds = group(pictures(rows).to_iterable_dataset(), "object_id")
    return [(row["sample_id"], len(row["images"])) for row in contents(ds)]


def test_a_stream_whose_samples_stand_together(little):
    samples = [1] * 5 + [2] + [3] * 4 + [4, 5]
    assert streamed(samples) == [
        ("dog/1", 5),
        ("dog/2", 1),
        ("dog/3", 4),
        ("dog/4", 1),
        ("dog/5", 1),
    ]


def test_a_stream_whose_samples_stand_nearly_together(little):
    assert streamed([1, 2, 1, 2, 3]) == [("dog/1", 2), ("dog/2", 2), ("dog/3", 1)]


def test_a_stream_whose_samples_stand_apart(little, fails):
    with fails(
        "FormatError",
        "sample '1' (column 'object_id')",
        "'train'",
        "images apart",
        "sort the dataset by 'object_id', or do not stream",
        path="1",
    ):
        streamed([1, 2, 3, 4, 1])


# --- what is wrong --------------------------------------------------------------------------------

WRONG = {
    "no such column": (
        lambda ds: ds.remove_columns("object_id"),
        {},
        "OptionError",
        ["no column 'object_id'", "it has: image, label, angle", "by="],
    ),
    "no images": (
        lambda ds: ds,
        {"image": "angle"},
        "OptionError",
        ["'angle' is Value", "cast_column"],
    ),
    "no text": (
        lambda ds: ds.cast_column("object_id", datasets.Value("float32")),
        {},
        "OptionError",
        ["'object_id' is Value", "Expected text or integers"],
    ),
}


@ways
@pytest.mark.parametrize("name", WRONG)
def test_wrong_columns(name, way, fails):
    change, options, kind, says = WRONG[name]
    with fails(kind, *says):
        group(way(change(pictures())), "object_id", **options)


BAD = {
    "None in the group": (
        [(0, None, "a")],
        ["Row 0 of the split 'train' has None in the column 'object_id'", "filter it out"],
    ),
    "None in the view": ([(0, 1, "a"), (0, 1, None)], ["Row 1", "None in the column 'angle'"]),
    "None in the label": ([(0, 1, "a"), (None, 2, "b")], ["Row 1", "None in the column 'label'"]),
    "no label": ([(0, 1, "a"), (-1, 2, "b")], ["Row 1", "the label -1", "Expected 0 to 1"]),
    "two classes": (
        [(0, 1, "a"), (1, 1, "b")],
        ["The sample '1' (column 'object_id')", "is of class 'dog' and 'cat'", "fix the labels"],
    ),
    "two views of a name": (
        [(0, 2, "a"), (0, 1, "a"), (0, 1, "a")],
        ["The sample '1' of the split 'train' has two views 'a'", "(column 'angle')"],
    ),
}


@ways
@pytest.mark.parametrize("name", BAD)
def test_bad_rows(name, way, fails):
    rows, says = BAD[name]
    with fails("FormatError", *says):
        contents(group(way(pictures(rows)), "object_id", view="angle"))


@ways
@pytest.mark.parametrize("value", ["a/b", ""])
def test_what_cannot_be_a_sample_id(value, way, fails):
    features = datasets.Features({**PETS, "object_id": datasets.Value("string")})
    with fails("FormatError", f"'object_id' has the value {value!r}", "without the slash", "map"):
        contents(group(way(pictures([(0, value, "a")], features)), "object_id"))
    features["label"] = datasets.ClassLabel(names=["cassette/tape"])
    with fails("FormatError", "'label' has the value 'cassette/tape'"):
        contents(group(way(pictures([(0, "a", "a")], features)), "object_id"))


def test_labels_of_other_names_in_another_split(fails):
    other = pictures().cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))
    with fails("OptionError", "'label' differently", "cast them to one", path="label"):
        group({"train": pictures(), "test": other}, "object_id")


# --- whatever rows there are ----------------------------------------------------------------------

few = examples(15)
keys = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=25, unique=True
)


@few
@given(keys)
def test_grouping_is_what_a_dict_of_lists_would_give(rows):
    """Of a stream as of a dataset; no image goes astray."""
    ds = pictures([(sample % 2, sample, str(view)) for sample, view in rows])
    wanted = {}
    for i, (sample, view) in enumerate(rows):
        wanted.setdefault(f"{['dog', 'cat'][sample % 2]}/{sample}", []).append((str(view), i))
    for each in (ds, ds.to_iterable_dataset()):
        for view in (None, "angle"):
            found = group_rows({"train": each}, "object_id", view=view)["train"].iterate()
            for row, (sample_id, views) in zip(found, wanted.items(), strict=True):
                own = sorted(views, key=lambda each: natural_key(each[0])) if view else views
                assert row["sample_id"] == sample_id
                assert [image["bytes"] for image in row["images"]] == [png(str(i)) for _, i in own]
                assert row["view_names"] == [
                    name if view else str(n) for n, (name, _) in enumerate(own)
                ]


# --- the command, and the Hub ---------------------------------------------------------------------


def push_and_export(folder):
    datasets.DatasetDict({"train": pictures(), "test": pictures(ROWS[:1])}).push_to_hub(
        "me/pictures"
    )
    codes = [
        main(["export", "me/pictures", f"{folder}/{name}", "--group-by", "object_id", *more])
        for name, more in {
            "built": ["--view-column", "angle", "--format", "parquet"],
            "streamed": ["--streaming", "--format", "parquet"],
            "folder": ["--view-column", "angle"],
        }.items()
    ]
    return codes, contents(group("me/pictures", "object_id")["train"])


def test_a_dataset_of_the_hub(hub, tmp_path, capsys):
    codes, grouped = hub.run(push_and_export, str(tmp_path))
    assert codes == [0, 0, 0]
    assert grouped == NUMBERED
    assert contents(load(tmp_path / "built")["train"]) == BY_ANGLE
    assert contents(load(tmp_path / "streamed")["train"]) == NUMBERED
    assert (tmp_path / "folder/train/cat/7/view_10.png").read_bytes() == png("0")


def test_a_view_column_alone(tmp_path, capsys):
    arguments = ["export", "shapes", str(tmp_path / "out"), "--view-column", "angle"]
    assert main(arguments) == 2
    assert "--view-column is given without --group-by" in capsys.readouterr().err


def test_rows_that_are_grouped_already(tmp_path, capsys):
    assert main(["export", "shapes", str(tmp_path / "out"), "--group-by", "label"]) == 2
    assert "has no column 'image' (it has: images, label" in capsys.readouterr().err


# --- without labels -------------------------------------------------------------------------------


@ways
def test_without_labels(way, fails):
    ds = pictures().remove_columns("label")
    found = group(way(ds), "object_id", label=None)
    assert found.features == row_features(["images"], None, None)
    unlabelled = [{k: v for k, v in each.items() if k != "label"} for each in NUMBERED]
    names = ["7", "2", "11"]
    assert contents(found) == [
        each | {"sample_id": name} for each, name in zip(unlabelled, names, strict=True)
    ]
    with fails("OptionError", "no column 'label'", path="label"):
        group(ds, "object_id")


def test_the_command_groups_without_labels(tmp_path, run):
    pictures().remove_columns("label").save_to_disk(tmp_path / "saved")
    out = tmp_path / "out"
    command = ("export", tmp_path / "saved", out, "--group-by", "object_id")
    assert run(*command, "--format", "parquet").returncode == 0
    assert load(out)["train"]["sample_id"][:] == ["7", "2", "11"]


# --- columns as views -----------------------------------------------------------------------------

STEREO = datasets.Features(
    {
        "left": datasets.Image(),
        "right": datasets.Image(),
        "label": datasets.Value("string"),
        "depth": datasets.Value("float64"),
    }
)


def stereo():
    """Two rows, the right image of the second is missing."""
    file = [{"bytes": png(str(i)), "path": f"{i}.png"} for i in range(3)]
    return datasets.Dataset.from_list(
        [
            {"left": file[0], "right": file[1], "label": "dog", "depth": 0.5},
            {"left": file[2], "right": None, "label": "cat", "depth": 1.5},
        ],
        features=STEREO,
    )


def stacked(views, **columns):
    images = [None if i is None else {"bytes": png(str(i)), "path": None} for i in views.values()]
    return {"images": images, "view_names": [*views], **columns}


@ways
def test_columns_become_views(way):
    labels = datasets.ClassLabel(names=["cat", "dog"])
    ds = stereo().remove_columns("label").add_column("label", [1, 0]).cast_column("label", labels)
    found = stack(way(ds), ["right", "left"])
    assert type(found) is type(way(ds))
    assert found.features["label"] == labels
    assert contents(found) == [
        stacked({"right": 1, "left": 0}, label=1, depth=0.5, sample_id="0"),
        stacked({"right": None, "left": 2}, label=0, depth=1.5, sample_id="1"),
    ]


def test_stacked_labels_of_text_and_own_ids():
    splits = {
        "train": stereo().add_column("sample_id", [7, 8]),
        "test": stereo().add_column("sample_id", [9, 10]),
    }
    found = stack(splits, ["left", "right"])
    assert found["train"].features["label"].names == ["cat", "dog"]
    assert found["test"]["label"][:] == [1, 0]
    assert found["test"]["sample_id"][:] == ["9", "10"]


STACKED_WRONG = {
    "no such column": (["left", "up"], ["'up'", "no column there", "left, right"]),
    "no images": (["left", "depth"], ["'depth'", "one image a row: left, right"]),
    "one name": ("left", ["columns='left'", '["left", "right"]']),
    "none": ([], ["columns=[]"]),
    "twice": (["left", "left"], ["no column twice"]),
}


@pytest.mark.parametrize("name", STACKED_WRONG)
def test_columns_that_cannot_become_views(name, fails):
    columns, says = STACKED_WRONG[name]
    with fails("OptionError", *says, "Expected", path="columns"):
        stack(stereo(), columns)


def test_columns_that_views_would_replace(fails):
    ds = stereo().add_column("view_names", ["a", "b"])
    with fails("OptionError", "'view_names' already", "rename or remove it", path="columns"):
        stack(ds, ["left", "right"])


def test_columns_as_views_on_the_command_line(tmp_path, run):
    stereo().save_to_disk(tmp_path / "saved")
    columns = ("--view-columns", "left,right")
    out = tmp_path / "out"
    assert (
        run("export", tmp_path / "saved", out, "--format", "webdataset", *columns).returncode == 0
    )
    assert load(out)["train"]["view_names"][:] == [["left", "right"]] * 2
    page = tmp_path / "page.html"
    assert run("preview", tmp_path / "saved", "--output", page, *columns).returncode == 0
    assert '"right"' in page.read_text()
    files = tmp_path / "files"
    assert run("publish", tmp_path / "saved", "me/x", "--dry-run", files, *columns).returncode == 0
    assert load(files / "data")["train"]["sample_id"][:] == ["0", "1"]
    assert run("export", tmp_path / "saved", out, *columns, "--group-by", "depth").returncode == 2
    assert run("export", tmp_path / "saved", out, "--view-columns", "left,,right").returncode == 2
