"""Order, names and links: what makes a class, a sample and a view what they are."""

import os

import datasets
import pytest
from PIL import features


@pytest.mark.every_route
def test_natural_order(load, make_tree, shown):
    tree = make_tree(
        *(f"c{c}/s {s}/view_{v}.png" for c in (10, 9) for s in (2, 10, 1) for v in (10, 2))
    )
    ds = load(tree)
    assert ds.features["label"].names == ["c9", "c10"]
    assert shown(ds) == [
        (f"c{c}/s {s}", f"c{c}/s {s}/view_2.png", f"c{c}/s {s}/view_10.png")
        for c in (9, 10)
        for s in (1, 2, 10)
    ]


def test_names_that_read_as_one_number_stay_apart(load, make_tree):
    rows = list(load(make_tree("cat/1/a.png", "cat/01/a.png", "cat/001/a.png", "cat/2/a.png")))
    ids = [row["sample_id"] for row in rows]
    assert sorted(ids) == ["cat/001", "cat/01", "cat/1", "cat/2"]
    assert ids[-1] == "cat/2"


def test_sample_ids_are_unique_though_names_are_not(load, make_tree, shown):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    assert shown(load(tree)) == [("cat/1", "cat/1/a.png"), ("dog/1", "dog/1/a.png")]


def test_sample_id_is_of_the_folder_not_of_the_class_name(load, make_tree):
    ds = load(make_tree("n01/1/a.png", "n02/1/a.png"), class_names={"n01": "cat", "n02": "cat"})
    assert [row["sample_id"] for row in ds] == ["n01/1", "n02/1"]
    assert [row["label"] for row in ds] == [0, 0]


NAMES = [
    "a cat",
    "cafe\u0301",
    "na\u00efve",
    "кот",
    "猫",
    "🐈",
    "100%",
    "%20",
    "a#b",
    "q?",
    "st*r",
    "[x]",
    "{x}",
    "a::b",
    "C:",
    'it\'s "x"',
    "back\\slash",
    "~",
    "-v",
    "a\nb",
    "a.b",
    "train",
    " ",
]


def test_any_name_will_do(load, make_tree, shown):
    ds = load(make_tree(*(f"{name}/{name}/{name}.png" for name in NAMES)))
    assert sorted(ds.features["label"].names) == sorted(NAMES)
    assert sorted(shown(ds)) == sorted((f"{n}/{n}", f"{n}/{n}/{n}.png") for n in NAMES)
    assert sorted(row["view_names"] for row in ds) == sorted([name] for name in NAMES)


@pytest.mark.parametrize("folder", ["my photos", "a#b?[x]*", "a::b", "100%20", "фото", "{x}"])
def test_any_data_dir_will_do(stream, make_tree, shown, folder):
    assert shown(stream(make_tree("cat/1/a.png", under=folder))) == [("cat/1", "cat/1/a.png")]


def test_views_of_two_normal_forms_are_two_views(load, make_tree, shown):
    tree = make_tree("cat/1/caf\u00e9.png", "cat/1/cafe\u0301.png")
    assert [len(views) for _, *views in shown(load(tree))] == [2]


EXTENSIONS = "png PNG Png jpg JPG jpeg Jpeg bmp gif GIF tif tiff TIFF webp WEBP ppm jp2".split()


def test_extensions(load, make_tree, shown):
    extensions = [*EXTENSIONS, *["avif"] * features.check("avif")]
    ds = load(make_tree(*(f"cat/{extension}/a.{extension}" for extension in extensions)))
    assert sorted(shown(ds)) == sorted((f"cat/{e}", f"cat/{e}/a.{e}") for e in extensions)
    assert all(row["view_names"] == ["a"] for row in ds)


def test_hidden_files_and_droppings_are_passed_over(load, make_tree, shown):
    droppings = [
        ".DS_Store",
        "cat/.DS_Store",
        "cat/1/Thumbs.db",
        "cat/1/desktop.ini",
        "cat/1/._a.png",
        ".git/objects/a.png",
        "cat/.cache/a.png",
        "__MACOSX/cat/1/a.png",
        "cat/.hidden.png",
        "cat/1/@eaDir/a.png",
    ]
    ds = load(make_tree("cat/1/a.png", *droppings))
    assert ds.features["label"].names == ["cat"]
    assert shown(ds) == [("cat/1", "cat/1/a.png")]


def test_other_files_are_reported(load, make_tree, shown, caplog):
    ds = load(make_tree("cat/1/a.png", "README.md", "cat/notes.txt", "cat/1/a.json"))
    assert shown(ds) == [("cat/1", "cat/1/a.png")]
    for path in ("README.md", "cat/notes.txt", "cat/1/a.json"):
        assert path in caplog.text


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target"),
    [("dog", "other/dog"), ("dog/1", "other/dog/1"), ("dog/1/a.png", "other/dog/1/a.png")],
)
def test_links_are_followed(load, make_tree, tmp_path, seen, link, target):
    tree = make_tree("cat/1/a.png")
    make_tree("dog/1/a.png", under="other")
    (tree / link).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(tmp_path / target, tree / link)
    dog = list(load(tree))[1]
    assert dog["sample_id"] == "dog/1"
    assert seen(dog["images"]) == ["dog/1/a.png"]


def test_data_dir_may_be_a_link(load, make_tree, shown, tmp_path):
    os.symlink(make_tree("cat/1/a.png"), tmp_path / "link", target_is_directory=True)
    assert [row["sample_id"] for row in load(tmp_path / "link")] == ["cat/1"]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("loop", "."),
        ("loop", ".."),
        ("cat/loop", ".."),
        ("cat/loop", "."),
        ("cat/1/loop", "."),
        ("cat/1/loop", "../.."),
        ("loop", "loop"),
    ],
)
def test_loops_are_reported_and_passed_over(quick, make_tree, caplog, link, target):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    os.symlink(target, tree / link)
    assert [row["sample_id"] for row in quick(tree)] == ["cat/1", "cat/2"]
    assert link in caplog.text


def test_links_that_lead_to_each_other_end(quick, make_tree, caplog):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    os.symlink("../2", tree / "cat/1/x")
    os.symlink("../1", tree / "cat/2/y")
    assert [row["sample_id"] for row in quick(tree)] == ["cat/1", "cat/2"]
    assert "cat/1/x/y" in caplog.text


def test_a_link_to_nothing_is_an_unreadable_image(load, make_tree, fails, shown):
    tree = make_tree("cat/1/a.png")
    os.symlink("gone.png", tree / "cat/1/b.png")
    with fails("ImageError", "cat/1/b.png", "on_error=", path="cat/1/b.png"):
        list(load(tree))
    assert shown(load(tree, on_error="skip_view")) == [("cat/1", "cat/1/a.png")]


def test_labels_and_ids_survive_datasets_own_tools(build, make_tree, tmp_path):
    """save_to_disk keeps file names at most, so the identity must be in columns of its own."""
    ds = build(make_tree("cat/1/a.png", "dog/1/a.png"))
    ds.save_to_disk(str(tmp_path / "saved"))
    back = datasets.load_from_disk(str(tmp_path / "saved"))
    assert back.features["label"].names == ["cat", "dog"]
    assert back["sample_id"][:] == ["cat/1", "dog/1"]
