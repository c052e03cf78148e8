"""diff: what two datasets do not have in common, however each of them is stored."""

import base64
import io
import json
import re
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import multiview_cifar
from archives import write_archive
from multiview_cifar_tools import DiffReport, diff, export, open_source, publish
from multiview_cifar_tools.shards import schema
from pictures import make_rows, png

TREE = [f"train/cat/{i}/{view}.png" for i in range(4) for view in ("a", "b")]
TREE += [f"{folder}/{view}.png" for folder in ("train/dog/1", "test/dog/9") for view in ("a", "b")]
AGES = [["train", f"cat/{i}", i] for i in range(4)] + [["train", "dog/1", 5], ["test", "dog/9", 6]]


def write_ages(tree, ages):
    lines = [",".join(map(str, row)) for row in (["split", "sample_id", "age"], *ages)]
    (tree / "metadata.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def trees(make_tree, write_image):
    """Two trees, "old" and "new", that differ in everything that may differ."""
    old, new = make_tree(*TREE, under="old"), make_tree(*TREE, under="new")
    write_ages(old, AGES)
    shutil.rmtree(new / "train/cat/0")  # removed
    write_image(new / "train/cat/1/a.png", like="changed")  # a view
    (new / "train/cat/1/b.png").rename(new / "train/cat/1/c.png")
    shutil.move(new / "train/cat/3", new / "test/cat/3")  # to another split
    shutil.move(new / "train/dog/1", new / "train/dog/2")  # under another name
    (new / "train/cat/77").mkdir()  # added
    write_image(new / "train/cat/77/a.png", like="new")
    moved = {("train", "cat/3"): ["test", "cat/3"], ("train", "dog/1"): ["train", "dog/2"]}
    ages = [[*moved.get((split, name), [split, name]), age] for split, name, age in AGES[1:]]
    ages[1][2] = 70  # of cat/2
    write_ages(new, [*ages, ["train", "cat/77", 0]])
    return old, new


FOUND = {
    "added": [("train", "cat", "cat/77")],
    "removed": [("train", "cat", "cat/0")],
    "changed": {
        ("train", "cat", "cat/1"): {
            "images: views added": "images c added",
            "images: views removed": "images b removed",
            "images: views changed": "images a changed",
        },
        ("train", "cat", "cat/2"): {"age": "age"},
        ("train", "dog", "dog/2"): {"sample_id": "sample_id dog/1 -> dog/2"},
        ("test", "cat", "cat/3"): {"split": "split train -> test"},
    },
}


def found_in(report):
    return {
        "added": [sample[:3] for sample in report.added],
        "removed": [sample[:3] for sample in report.removed],
        "changed": {change.after[:3]: change.parts for change in report.changed},
    }


def store(tree, kind, tmp_path):
    """The tree, stored in another way."""
    place, cache = tmp_path / f"{tree.name}-{kind}", str(tmp_path / "cache")
    if kind == "archive":
        files = [path for path in tree.rglob("*") if path.is_file()]
        archive = place.with_suffix(".zip")
        write_archive(archive, {str(path.relative_to(tree)): path.read_bytes() for path in files})
        return archive
    if kind == "published":
        publish(tree, "me/photos", dry_run=place, max_shard_size="200")
    elif kind == "saved":
        multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=cache).save_to_disk(place)
    elif kind == "rows":
        return multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=cache)
    elif kind != "folder":
        export(open_source(tree, streaming=True), place, format=kind, max_shard_size="200")
    return tree if kind == "folder" else place


PAIRS = [
    ("folder", "archive"),
    ("published", "parquet"),
    ("saved", "webdataset"),
    ("numpy", "rows"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_all_that_may_differ_however_it_is_stored(trees, tmp_path, one, other):
    old, new = trees
    report = diff(store(old, one, tmp_path), store(new, other, tmp_path))
    assert found_in(report) == FOUND
    assert report.num_same == 1
    assert not report.equal
    assert report.counts == {
        ("train", "cat"): {"added": 1, "removed": 1, "changed": 2},
        ("train", "dog"): {"added": 0, "removed": 0, "changed": 1},
        ("test", "cat"): {"added": 0, "removed": 0, "changed": 1},
    }
    same = diff(store(old, one, tmp_path), store(old, other, tmp_path))
    assert same.equal and same.num_same == 6


def spoil_images(folder):
    """Overwrite all images of Parquet shards, and nothing else."""
    for path in folder.rglob("*.parquet"):
        group, data = pq.read_metadata(path).row_group(0), bytearray(path.read_bytes())
        (column,) = [
            column
            for column in map(group.column, range(group.num_columns))
            if column.path_in_schema.startswith("images") and "bytes" in column.path_in_schema
        ]
        start, size = column.data_page_offset, column.total_compressed_size
        data[start : start + size] = bytes(size)
        path.write_bytes(data)
        with pytest.raises(OSError, match="page"):
            pq.read_table(path)


def test_of_shards_of_this_project_no_image_is_read(trees, tmp_path):
    places = [tmp_path / "one", tmp_path / "two"]
    for tree, place in zip(trees, places, strict=True):
        rows = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
        publish(rows, "me/photos", dry_run=place)
        spoil_images(place)
    assert found_in(diff(*places)) == FOUND


def test_shards_without_digests_or_with_those_of_other_rows_are_read(trees, tmp_path):
    old, new = (store(tree, "published", tmp_path) for tree in trees)
    wrong = schema.encode_table(pa.table({"sample_id": ["cat/1"]}))
    for number, path in enumerate(sorted(new.rglob("*.parquet"))):
        with pq.ParquetFile(path) as file:
            table, metadata = file.read(), dict(file.metadata.metadata)
        features = {b"huggingface": metadata.pop(b"huggingface")}
        del metadata[b"ARROW:schema"], metadata[schema.DIGEST_TABLE]
        if number % 2:
            metadata[schema.DIGEST_TABLE] = wrong
        with pq.ParquetWriter(path, table.schema.with_metadata(features)) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(metadata)
    assert found_in(diff(old, new)) == FOUND


# --- what of a sample -----------------------------------------------------------------------------


def rows_with(views, **columns):
    """One sample with these views, each a name and a colour or None."""
    images = [
        colour if colour is None else {"bytes": png(Image.new("L", (2, 2), colour)), "path": None}
        for _, colour in views
    ]
    names = [name for name, _ in views]
    row = {"images": images, "label": 0, "sample_id": "cat/1", "view_names": names, **columns}
    features = multiview_cifar.row_features(["images"], ["cat", "dog"], None)
    extra = datasets.Dataset.from_list([columns]).features if columns else {}
    return datasets.Dataset.from_list([row], features=datasets.Features({**features, **extra}))


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)], ["images reordered"]),
        ([("a", 1), ("b", 2)], [("b", 9), ("a", 1)], ["images b changed", "images reordered"]),
        ([("a", 1), ("b", None)], [("a", 1), ("b", 2)], ["images b added"]),
        ([("a", 1), ("b", 2)], [("a", 1), ("b", None)], ["images b removed"]),
        ([("a", 1), ("a", 2)], [("a", 1), ("a", 3)], ["images a changed"]),
        ([("a", 1)], [("x", 1)], ["images x added", "images a removed"]),
        ([("a", 1), (None, None)], [("a", 1), ("b", None)], ["view_names"]),
        ([], [("a", 1)], ["images a added"]),
        ([], [(str(i), i) for i in range(9)], ["images 0, 1, 2, 3, 4 and 4 more added"]),
    ],
)
def test_what_of_the_views(before, after, parts):
    report = diff(rows_with(before), rows_with(after))
    assert [[*change.parts.values()] for change in report.changed] == [parts]
    assert diff(rows_with(before), rows_with(before)).equal


def test_labels_are_compared_by_name():
    rows = rows_with([("a", 1)])
    more = rows.cast_column("label", datasets.ClassLabel(names=["ant", "cat"]))
    renamed = rows.cast_column("label", datasets.ClassLabel(names=["puma", "dog"]))
    as_one = datasets.Dataset.from_list([{**more[0], "label": 1}], features=more.features)
    assert diff(rows, as_one).equal
    (change,) = diff(rows, renamed).changed
    assert change.parts == {"label": "label cat -> puma"}
    assert change.after.label == "puma"


def test_columns_of_any_kind():
    old = {"x": float("nan"), "names": ["a", None], "site": {"city": "Bern"}, "n": None}
    new = {**old, "names": ["a", "b"], "site": {"city": "Basel"}}
    rows = [rows_with([("a", 1)], **columns) for columns in (old, new)]
    rows = [each.cast_column("n", datasets.Value("int64")) for each in rows]
    assert diff(rows[0], rows[1]).changed[0].columns == ["names", "site"]
    assert diff(rows[0], datasets.DatasetDict(train=rows[0])).equal


def test_samples_with_the_same_images_are_not_mistaken_for_moved_ones():
    old, new = make_rows([1, 1, 1], png), make_rows([1, 1, 1], png)
    images = [old[0]["images"]] * 3  # all alike
    names = {"old": ["a", "b", "c"], "new": ["a", "x", "y"]}
    old, new = (
        datasets.Dataset.from_list(
            [{**row, "images": own, "sample_id": f"cat/{name}"} for row, own, name in rows],
            features=old.features,
        )
        for rows in (
            zip(old.remove_columns(["images", "sample_id"]), images, names["old"], strict=True),
            zip(new.remove_columns(["images", "sample_id"]), images, names["new"], strict=True),
        )
    )
    report = diff(old, new)
    assert [sample.sample_id for sample in report.removed] == ["cat/b", "cat/c"]
    assert [sample.sample_id for sample in report.added] == ["cat/x", "cat/y"]
    assert report.num_same == 1


# --- the Hub --------------------------------------------------------------------------------------


def publish_twice(old, new):
    import huggingface_hub

    for tree in (old, new):
        publish(tree, "me/photos")
        api = huggingface_hub.HfApi()
        if tree == old:
            api.create_tag("me/photos", tag="v1", repo_type="dataset")
    rows = multiview_cifar.load_dataset(data_dir=new)
    rows.push_to_hub("me/pushed")  # which writes no digests


def compare_on_hub(old):
    from multiview_cifar_tools import DiffError

    reports = [diff("me/photos@v1", "me/photos"), diff(old, "me/photos@main")]
    pushed = diff("me/photos@v1", "me/pushed")
    errors = []
    for place in ("me/none", "me/photos@v9"):
        with pytest.raises(DiffError) as error:
            diff("me/photos", place)
        errors.append(str(error.value))
    assert "<img" in reports[0].to_html()
    return [found_in(report) for report in [*reports, pushed]], errors


def test_revisions_of_the_hub(hub, trees):
    old, new = map(str, trees)
    hub.run(publish_twice, old, new)
    hub.inject("info", 503)
    hub.inject("object", "drop", times=2)
    found, errors = hub.run(compare_on_hub, old)
    assert found == [FOUND] * 3
    assert "me/none on the Hub cannot be read (RepositoryNotFoundError" in errors[0]
    assert "me/photos@v9 on the Hub cannot be read (RevisionNotFoundError" in errors[1]


# --- the result -----------------------------------------------------------------------------------


def test_the_command(trees, run):
    done = run("diff", "old", "new", "--page", "page.html")
    assert done.returncode == 1
    assert "1 added, 1 removed, 4 changed; 1 the same" in done.stdout
    assert re.search(r"^train +cat +1 +1 +2$", done.stdout, re.M)
    assert re.search(r"^images: views changed +1$", done.stdout, re.M)
    assert "  train cat/1: images c added; images b removed; images a changed\n" in done.stdout
    assert "  test cat/3: split train -> test\n" in done.stdout
    assert run("diff", "old", trees[0].parent / "old/../old/").returncode == 2
    shutil.copytree("old", "copy")
    done = run("diff", "old", "copy")
    assert done.returncode == 0
    assert "Nothing differs; 6 the same" in done.stdout


def test_json_holds_all_of_it(trees, run):
    done = run("diff", "old", "new", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["before"] == {"name": "old", "samples": 6}
    assert (found["added"], found["removed"], found["changed"], found["same"]) == (1, 1, 4, 1)
    (change,) = [each for each in found["samples"]["changed"] if each["sample_id"] == "cat/1"]
    views = {"added": ["c"], "removed": ["b"], "changed": ["a"], "reordered": False}
    assert change == {
        "split": "train",
        "label": "cat",
        "sample_id": "cat/1",
        "before": {"split": "train", "label": "cat", "sample_id": "cat/1"},
        "views": {"images": views},
        "columns": [],
    }


@pytest.mark.parametrize("kind", ["folder", "published"])
def test_the_page_has_pictures_of_before_and_after(trees, tmp_path, kind):
    page = diff(*(store(tree, kind, tmp_path) for tree in trees)).to_html()
    (row,) = re.findall(r"<tr><td>train cat/1<br>.*?</tr>", page)
    shown = re.findall(r'<img src="data:image/png;base64,([^"]*)".*?<figcaption>(.*?)</fig', row)
    pictures = [
        (Image.open(io.BytesIO(base64.b64decode(data))).getpixel((0, 0)), caption)
        for data, caption in shown
    ]
    wanted = [(0, "a", "changed"), (0, "b", "removed"), (1, "a", "changed"), (1, "c", "added")]
    assert pictures == [
        (
            Image.open(trees[i] / f"train/cat/1/{view}.png").getpixel((0, 0)),
            f"images {view} {state}",
        )
        for i, view, state in wanted
    ]


def test_what_a_notebook_shows(trees):
    report = diff(*trees)
    assert isinstance(report, DiffReport)
    assert repr(report).endswith("1 added, 1 removed, 4 changed; 1 the same.")
    shown = re.sub(r"\s", "", report._repr_html_())
    assert "<td>train</td><td>cat</td><td>1</td><td>1</td><td>2</td>" in shown


def test_names_are_text_in_the_page():
    rows = [
        each.map(lambda row: {"sample_id": "<b>cat"}, features=each.features)
        for each in (rows_with([("<i>", 1)]), rows_with([("<i>", 2)]))
    ]
    page = diff(*rows).to_html()
    assert "<i>" not in page and "<b>" not in page
    assert "images &lt;i&gt; changed" in page


# --- what is wrong --------------------------------------------------------------------------------


def test_other_columns(trees, run, fails):
    old, new = trees
    (new / "metadata.csv").unlink()
    with fails("DiffError", "old has the column 'age', which", "new has not", "the same columns"):
        diff(old, new)
    done = run("diff", "old", "new")
    assert done.returncode == 2
    assert done.stderr.startswith("multiview-cifar: error: old has the column 'age'")


def test_images_in_another_kind_of_column(fails):
    rows = rows_with([("a", 1)], more="text")
    images = datasets.Dataset.from_list(
        [{**rows[0], "more": {"bytes": png(Image.new("L", (2, 2))), "path": None}}],
        features=datasets.Features({**rows.features, "more": datasets.Image()}),
    )
    with fails("DiffError", "The column 'more' is Value", "Image"):
        diff(rows, images)


def test_samples_without_names(tmp_path, fails):
    rows = make_rows([1, 2], png)
    unnamed = rows.remove_columns("sample_id")
    unnamed.save_to_disk(tmp_path / "saved")
    features = json.dumps({"info": {"features": schema.features_json(unnamed.features)}})
    table = pa.Table.from_batches(unnamed.data.to_batches()).select(unnamed.column_names)
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 2, 3, 3, 3), np.uint8), labels=[0, 1, 0, 1])
    for place in (unnamed, tmp_path / "saved", tmp_path / "a.parquet", tmp_path / "a.npz"):
        with fails("DiffError", "has no column 'sample_id'", "Expected one that names"):
            diff(rows, place)


def test_a_sample_that_comes_twice(fails):
    rows = make_rows([1, 2], png)
    with fails("DiffError", "the sample 'cat/0' twice in the split 'train'", path="cat/0"):
        diff(rows, datasets.concatenate_datasets([rows, rows.select([0])]))


WRONG = {
    "nothing": (["old", "nothing"], "'nothing' does not exist"),
    "the same": (["old", "old"], "Both sides are old"),
    "a wrong option": (["old", "new", "--num-views", "0"], "--num-views 0 is not right"),
    "an option of none": (["x.parquet", "y.parquet", "--num-views", "1"], "--num-views is given"),
    "damaged": (["old", "bad.zip"], "bad.zip"),
    "one side": (["old"], "Missing argument 'B'"),
}


@pytest.mark.parametrize(("arguments", "text"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_one_line_and_exit_code_2(make_tree, tmp_path, run, arguments, text):
    for under in ("old", "new"):
        make_tree("cat/1/a.png", under=under)
    (tmp_path / "bad.zip").write_text("no archive")
    done = run("diff", *arguments)
    assert done.returncode == 2
    assert text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_options_are_those_of_both_folders(make_tree, run):
    for under, view in (("old", "x"), ("new", "y")):
        make_tree("cat_1_a.png", f"cat_1_{view}.png", under=under)
    arguments = ["diff", "old", "new", "--layout", "{label}_{sample}_{view}"]
    assert run(*arguments).returncode == 1
    assert run(*arguments, "--view-names", '["a"]').returncode == 0


def test_what_is_no_dataset(fails):
    for wrong in (3, None, [1]):
        with fails("DiffError", "diff", "Expected"):
            diff(make_rows([1], png), wrong)
