"""export: a folder, built and written back, is the same files; what cannot be written is said."""

import datasets
import pytest
from PIL import Image

import multiview_cifar
from array_rows import PLAIN, rows_with
from exports import contents, rows_object
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.exporting import export

TREES = {
    "plain": (["cat/1/a.png", "cat/1/b.png", "cat/10/a.png", "dog/2/a.webp"], {}),
    "splits": (["train/cat/1/a.png", "test/dog/1/a.png", "train/dog/1/b.png"], {}),
    "view labels": (
        ["left/cat/1/a.png", "right/cat/1/a.png", "left/dog/1/a.png"],
        {"layout": "{view_label}/{label}/{sample}/{view}"},
    ),
    "two columns": (
        ["cat/1/a.png", "cat/1/b.png", "cat/1/maps/a-map.png", "cat/1/maps/b-map.png"],
        {
            "layout": {
                "images": "{label}/{sample}/{view}",
                "masks": "{label}/{sample}/maps/{view}-map",
            }
        },
    ),
    "a missing view": (
        ["cat/1/a.png", "cat/1/b.png", "cat/2/b.png"],
        {"view_names": ["b", "a"], "on_missing_view": "null"},
    ),
    "fewer views than were asked for": (
        ["cat/1/a.png", "cat/1/b.png", "cat/2/b.png"],
        {"num_views": 2, "on_missing_view": "null"},
    ),
    "names of its own": (
        ["n1/1/a.png", "n2/1/a.png", "n3/1/a.png"],
        {"class_names": {"n3": "dog", "n1": "cat", "n2": "dog"}},
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_folder_to_rows_to_folder_to_rows(name, make_tree, tmp_path):
    paths, options = TREES[name]
    tree, cache = make_tree(*paths), str(tmp_path / "cache")
    splits = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=cache, **options)
    arguments = export(splits, tmp_path / "out")
    again = multiview_cifar.load_dataset(cache_dir=cache, **arguments)
    assert list(again) == list(splits)
    for split in splits:
        assert again[split].features == splits[split].features
        assert contents(again[split]) == contents(splits[split])


def test_the_files_are_the_very_ones(make_tree, tmp_path):
    paths = ["train/cat/1/view_2.png", "train/cat/1/view_10.png", "test/dog/é 1/a.webp"]
    tree = make_tree(*paths)
    splits = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    export(splits, tmp_path / "out")
    found = {
        str(p.relative_to(tmp_path / "out")): p.read_bytes()
        for p in (tmp_path / "out").rglob("[!.]*")
        if p.is_file()
    }
    assert found == {path: (tree / path).read_bytes() for path in paths}


def test_metadata_come_back(make_tree, tmp_path):
    tree, cache = make_tree("train/cat/1/a.png", "train/cat/1/b.png", "test/dog/1/a.png"), tmp_path
    (tree / "metadata.jsonl").write_text(
        '{"sample_id": "cat/1", "view": "a", "angle": 1.5, "at": [1, 2]}\n'
        '{"sample_id": "cat/1", "view": "b", "angle": null, "at": []}\n'
        '{"sample_id": "dog/1", "view": "a", "angle": 3, "at": null}\n'
    )
    splits = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(cache))
    arguments = export({name: ds.shuffle(seed=1) for name, ds in splits.items()}, tmp_path / "out")
    again = multiview_cifar.load_dataset(cache_dir=str(cache), **arguments)
    for split in splits:
        assert again[split].features == splits[split].features
        assert contents(again[split]) == contents(splits[split])
        assert again[split]["angle"][:] == splits[split]["angle"][:]


def test_further_labels_come_back_as_names(make_tree, tmp_path):
    ds = multiview_cifar.load_dataset(
        data_dir=str(make_tree("cat/1/a.png", "dog/1/a.png")),
        split="train",
        cache_dir=str(tmp_path),
    )
    ds = ds.add_column("kind", [0, None]).cast_column("kind", datasets.ClassLabel(names=["pet"]))
    arguments = export({"train": ds}, tmp_path / "out")
    again = multiview_cifar.load_dataset(split="train", cache_dir=str(tmp_path), **arguments)
    assert again["kind"][:] == ["pet", None]


def test_selected_rows(make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(5)))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", cache_dir=str(tmp_path / "cache")
    )
    export({"train": ds.shuffle(seed=1).select([0, 2])}, tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_a_folder_that_is_not_empty(make_tree, tmp_path, fails):
    tree = make_tree("cat/1/a.png")
    splits = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    with fails("ExportError", "is not empty", "name another", path=str(tree)):
        export(splits, tree)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", ".hidden", "a\0b"])
def test_names_that_lead_elsewhere(name, make_tree, tmp_path, fails):
    """Rows of the Hub are anybody's."""
    splits = multiview_cifar.load_dataset(
        data_dir=str(make_tree("cat/1/a.png")), cache_dir=str(tmp_path / "cache")
    )
    rows = contents(splits["train"])
    bad = [{**rows[0], "view_names": [name]}]
    ds = datasets.Dataset.from_list(bad, features=splits["train"].features)
    with fails("ExportError", "cat/1", repr(name)):
        export({"train": ds}, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))
    assert not (tmp_path / "evil.png").exists()


def test_a_view_that_is_no_image(make_tree, tmp_path, fails):
    tree = make_tree("cat/1/a.png")
    (tree / "cat/1/a.png").write_bytes(b"no image")
    splits = multiview_cifar.load_dataset(
        data_dir=str(tree), verify="none", cache_dir=str(tmp_path / "cache")
    )
    with fails("ExportError", "cat/1", "not an image"):
        export(splits, tmp_path / "out")


def test_the_command(make_tree, tmp_path, capsys):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    arguments = ["export", str(tree), str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    assert main(arguments) == 0
    line = capsys.readouterr().out.splitlines()[-1].strip()
    space = {}
    exec(line, space)
    assert space["ds"]["train"]["sample_id"][:] == ["cat/1", "dog/1"]
    assert main([*arguments, "--max-shard-size", "1"]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_command_says_what_was_converted(make_tree, tmp_path, capsys):
    tree = make_tree("cat/1/a.png")
    arguments = [
        "export",
        str(tree),
        str(tmp_path / "out"),
        "--cache-dir",
        str(tmp_path / "cache"),
        "--image-size",
        "[2, 3]",
    ]
    assert main(arguments) == 0
    assert "converted images (image_size)" in capsys.readouterr().out
    with Image.open(tmp_path / "out/train/cat/1/a.png") as image:
        assert image.size == (3, 2)


def test_no_options_for_a_dataset_of_the_hub(tmp_path, capsys):
    assert main(["export", "me/photos", str(tmp_path / "out"), "--mode", "L"]) == 2
    assert "takes no options" in capsys.readouterr().err


# --- rows of others -------------------------------------------------------------------------------


def numbered(label):
    """Rows of others: image lists and, with `label`, a class; their ids are their numbers."""
    columns = ["images", *["label"] * label]
    rows = [{name: row[name] for name in columns} for row in rows_with([2, 1])]
    features = datasets.Features({name: PLAIN[name] for name in columns})
    return datasets.Dataset.from_list(rows, features=features)


def test_rows_without_ids_stand_in_their_classes(tmp_path, caplog):
    arguments = export({"train": numbered(label=True)}, tmp_path / "out")
    assert "come back as 'cat/0' and so on" in caplog.text
    assert caplog.text.count("names no class") == 1
    again = multiview_cifar.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))["train"]
    assert again["sample_id"][:] == ["cat/0", "dog/1"]
    images = [row["images"] for row in rows_with([2, 1])]
    assert [row["images"] for row in contents(again)] == images


def test_rows_without_labels_stand_at_the_top(tmp_path):
    arguments = export({"train": numbered(label=False)}, tmp_path / "out")
    assert arguments["layout"] == "{split}/{sample}/{view}"
    files = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.png")]
    assert sorted(map(str, files)) == ["train/0/0.png", "train/0/1.png", "train/1/0.png"]
    again = multiview_cifar.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))["train"]
    assert "label" not in again.features
    assert again["sample_id"][:] == ["0", "1"]


def test_a_row_without_a_label_has_no_class_folder(tmp_path, fails):
    rows = [row | {"label": None} for row in rows_with([1])]
    with fails("ExportError", "cat/0000 has no label", "another format", path="cat/0000"):
        export({"train": rows_object(rows, PLAIN)}, tmp_path / "out")


@pytest.mark.parametrize("name", ["x/y", ".x"])
def test_a_class_that_no_folder_can_be_called(tmp_path, fails, name):
    ds = numbered(label=True).cast_column("label", datasets.ClassLabel(names=[name, "dog"]))
    with fails("ExportError", f"The class {name!r} of 0", "folder", "another format", path=name):
        export({"train": ds}, tmp_path / "out")
