"""`plan`: what would become of a folder, from its names alone."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import multiview_cifar
import web_server
from archives import files_of, write_archive
from multiview_cifar_tools.planning import suggest_layout
from multiview_cifar_tools.planning.report import plan
from multiview_cifar_tools.planning.suggest_layout import suggest_layouts
from plans import WHOLE, within
from sampling import examples

FLAT = [f"{c}/{s}_{v}.png" for c in ("cat", "dog") for s in "12" for v in ("left", "right")]


def missing(report):
    return dict(report.missing_views.itertuples(index=False, name=None))


def test_a_good_tree(make_tree):
    tree = make_tree(*within("train", WHOLE), *within("test", WHOLE[:4]))
    report = plan(tree)
    assert report.good
    assert report.layout == "{split}/{label}/{sample}/{view}"
    assert "every top folder is a split (train, test)" in report.layout_reason
    assert report.classes.to_dict() == {
        "train": {"cat": 2, "dog": 2},
        "test": {"cat": 2, "dog": 0},
    }
    assert report.num_views == {2: 6}
    assert report.usual_views == ["left", "right"]
    assert report.missing_views.empty
    assert report.notes == ["No sample of the class 'dog' in test."]
    names = {}
    exec(report.load_line, names)
    assert names["ds"].num_rows == {"train": 4, "test": 2}
    assert names["ds"]["train"].features == report.plan.features


def test_nothing_is_opened_or_built(make_tree):
    tree = make_tree(*WHOLE)
    for path in WHOLE:
        (tree / path).write_bytes(b"")
    before = sorted(tree.parent.rglob("*"))
    assert plan(tree).good
    assert sorted(tree.parent.rglob("*")) == before


def test_who_lacks_which_view(make_tree):
    report = plan(make_tree(*WHOLE[:-1], "cat/1/top.png"))
    assert report.num_views == {1: 1, 2: 2, 3: 1}
    assert missing(report) == {"train/dog/2": ["right"]}
    assert any("1 to 3 views" in note and "num_views=1" in note for note in report.notes)


def test_views_are_missed_in_any_column_and_under_view_labels(make_tree):
    tree = make_tree(
        "cat/1/l/a.png",
        "cat/1/r/a.png",
        "cat/2/l/a.png",
        "cat/2/r/a.png",
        "cat/3/l/a.png",
        "cat/1/l/a-map.png",
    )
    (tree / "cat/1/l/a-map.png").unlink()
    report = plan(tree, layout="{label}/{sample}/{view_label}/{view}")
    assert report.usual_views == ["l/a", "r/a"]
    assert missing(report) == {"train/cat/3": ["r/a"]}

    paths = ["cat/1/a.png", "cat/1/a-map.png", "cat/2/a.png", "cat/2/a-map.png", "cat/3/a.png"]
    layout = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/{view}-map"}
    report = plan(make_tree(*paths, under="masked"), layout=layout)
    assert "A view is missing in 1 of 3 samples" in report.problem
    assert missing(report) == {"train/cat/3": ["a"]}
    assert not report.good


def test_ignored_paths_by_reason(make_tree):
    tree = make_tree(*WHOLE, "cat/1/notes.txt", "cat/1/deep/x.png", "cat/.DS_Store", "dog/nothing/")
    report = plan(tree, on_error="skip_sample")
    assert report.ignored == {
        "files that are not images": ["cat/1/notes.txt"],
        "images below the layout": ["cat/1/deep/x.png"],
        "sample folders without images": ["dog/nothing"],
        "hidden files, and those of operating systems": ["cat/.DS_Store"],
    }
    assert report.num_left_out == 1
    assert not report.good


def test_files_that_are_no_images_are_no_problem(make_tree):
    assert plan(make_tree(*WHOLE, "cat/1/notes.txt", "cat/.DS_Store")).good


NEAREST = {
    "flat": (FLAT, "{label}/{sample}_{view}"),
    "one view a sample": (["cat/1.png", "cat/2.png", "dog/1.png"], "{label}/{sample}"),
    "in splits": (within("train", FLAT), "{split}/{label}/{sample}_{view}"),
    "dashes": ([path.replace("_", "-") for path in FLAT], "{label}/{sample}-{view}"),
    "no folders": ([path.replace("/", "_") for path in FLAT], "{label}_{sample}_{view}"),
    "a folder more": (
        [path.replace("/l", "/images/l").replace("/r", "/images/r") for path in WHOLE],
        "{label}/{sample}/images/{view}",
    ),
    "a split of its own name": (
        within("train", WHOLE) + within("extra", WHOLE),
        "{split}/{label}/{sample}/{view}",
    ),
    "two folders of views": (
        [f"{c}/{s}/{v}/{i}.png" for c in "ab" for s in "12" for v in "lr" for i in "12"],
        "{label}/{sample}/{view_label}/{view}",
    ),
    "a stray image": ([*FLAT, "cover.png"], "{label}/{sample}_{view}"),
    "split words with more around them": (
        [f"{split}/{path}" for split in ("training_set", "test_set") for path in FLAT],
        "{split}/{label}/{sample}_{view}",
    ),
    "splits in folders around them": (
        [f"a/b/{split}/{path}" for split in ("train", "test") for path in WHOLE],
        "a/b/{split}/{label}/{sample}/{view}",
    ),
    "one split in a folder around it, and a sample a class": (
        [f"photos/train/{c}/1/{v}.png" for c in ("cat", "dog") for v in "ab"],
        "photos/{split}/{label}/{sample}/{view}",
    ),
    "a stray image beside a folder around splits": (
        ["cover.png", *(f"photos/{split}/{path}" for split in ("train", "test") for path in WHOLE)],
        "photos/{split}/{label}/{sample}/{view}",
    ),
    "a split of its own name in a folder": (
        within("photos/train", WHOLE) + within("photos/extra", WHOLE),
        "photos/{split}/{label}/{sample}/{view}",
    ),
    "splits below classes": (
        [
            f"x/{c}/{t}/{n}_{v}.png"
            for c in "ab"
            for t in ("train", "test")
            for n in "12"
            for v in "lr"
        ],
        "x/{label}/{split}/{sample}_{view}",
    ),
    "samples with a word for a split in their names": (
        [f"a/b/{c}/test_{n}/{v}.png" for c in ("cat", "dog") for n in "123" for v in "lr"],
        "a/b/{label}/{sample}/{view}",
    ),
    "such samples in splits": (
        [
            f"a/{t}/{c}/{t}_{n}/{v}.png"
            for t in ("train", "test")
            for c in "ab"
            for n in "12"
            for v in "lr"
        ],
        "a/{split}/{label}/{sample}/{view}",
    ),
    "splits around a folder of images": (
        [f"all/train/{c}/images/{n}_{v}.png" for c in ("cat", "dog") for n in "12" for v in "lr"],
        "all/{split}/{label}/images/{sample}_{view}",
    ),
}


@pytest.mark.parametrize(("paths", "layout"), NEAREST.values(), ids=NEAREST)
def test_the_nearest_layout(paths, layout, make_tree):
    tree = make_tree(*paths)
    report = plan(tree)
    assert f'layout="{layout}"' in report.problem.rpartition("Nearest is")[2]
    assert report.plan is None
    best = report.candidates[0]
    assert best.layout == layout
    assert best.left_out == [path for path in paths if path == "cover.png"]
    assert best.images == len(paths) - len(best.left_out)
    if not best.left_out:  # and it does load
        ds = multiview_cifar.load_dataset(data_dir=str(tree), layout=layout)
        assert sum(len(row) for split in ds.values() for row in split["view_names"]) == len(paths)


@pytest.mark.parametrize("layout", ["{sample}_{view}", "{sample}/{view}", "{view}/{sample}"])
def test_layouts_without_labels_are_listed_too(make_tree, layout):
    paths = [f"{layout.format(sample=s, view=v)}.png" for s in "123" for v in "lr"]
    assert layout in [candidate.layout for candidate in plan(make_tree(*paths)).candidates]


def test_a_layout_that_takes_nothing(make_tree):
    report = plan(make_tree(*WHOLE), layout="{label}/{sample}/maps/{view}")
    assert "No image" in report.problem or "is above" in report.problem
    assert report.layout == "{label}/{sample}/maps/{view}"
    assert report.candidates[0].layout == "{label}/{sample}/{view}"
    assert report.candidates[0].images == 8


NOTES = {
    "a split beside a class": (
        ["train/1/a.png", "train/1/b.png", "cat/1/a.png", "cat/1/b.png"],
        {},
        'layout="{split}/{label}/{sample}/{view}"',
    ),
    "spelling": (
        ["Polar Bear/1/a.png", "polar_bear/2/a.png", "cat/1/a.png"],
        {},
        'class_names={"Polar Bear": "Polar Bear", "polar_bear": "Polar Bear", ...}',
    ),
    "views above samples": (
        [f"{c}/{v}/{s}.png" for c in ("cat", "dog") for v in ("left", "right") for s in "12345"],
        {},
        'layout="{label}/{view}/{sample}"',
    ),
    "folders of views at the top": (
        [f"{v}/{c}/{s}.png" for v in ("cam0", "cam1") for c in ("cat", "dog") for s in "12"],
        {},
        'layout="{label}/{view}/{sample}"; if the classes are, layout="{view}/{label}/{sample}"',
    ),
    "folders of views in splits": (
        [f"train/left/{c}/1.png" for c in ("cat", "dog")]
        + [f"train/right/{c}/1.png" for c in ("cat", "dog")],
        {},
        'if the classes are, layout="{split}/{view}/{label}/{sample}"',
    ),
    "names that repeat the sample": (
        [f"cat/{s}/{s}_{v}.png" for s in "123" for v in "lr"],
        {},
        'say so with layout="{label}/{sample}/{sample}_{view}"',
    ),
    "splits beside another folder": (
        ["train2017/1/a.png", "train2017/1/b.png", "extra/1/a.png", "extra/1/b.png"],
        {},
        'layout="{split}/{label}/{sample}/{view}"',
    ),
    "single views": (["cat/1/a.png", "dog/1/a.png"], {}, "Every sample has one view."),
    "names of their own": (
        [f"cat/{s}/{s}_{v}.png" for s in "123" for v in "lr"],
        {},
        "No view is in more than half of the samples",
    ),
    "greedy": (
        ["cat/a_1_left.png", "cat/a_1_right.png"],
        {"layout": "{label}/{sample}_{view}"},
        "the sample ends at the last one",
    ),
    "one split": (WHOLE, {}, 'split_ratios={"train": 0.8, "test": 0.2}'),
}


@pytest.mark.parametrize(("paths", "options", "says"), NOTES.values(), ids=NOTES)
def test_what_is_ambiguous(paths, options, says, make_tree):
    report = plan(make_tree(*paths), **options)
    assert report.good
    assert [note for note in report.notes if says in note]


def test_a_plain_tree_has_nothing_ambiguous(make_tree):
    assert plan(make_tree(*within("train", WHOLE), *within("test", WHOLE))).notes == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"view_names": ["left", "up"]}, "'up'"),
        ({"class_names": ["cat"]}, "'dog'"),
        ({"num_views": 3}, "on_missing_view"),
    ],
)
def test_a_problem_with_an_option_still_shows_what_there_is(options, says, make_tree):
    report = plan(make_tree(*WHOLE), **options)
    assert says in report.problem
    assert report.classes.to_dict() == {"train": {"cat": 2, "dog": 2}}
    assert not report.candidates


def test_metadata_that_cannot_be_joined(make_tree):
    tree = make_tree(*WHOLE)
    (tree / "metadata.csv").write_text("sample_id,angle\ncat/1,5\nbird/1,6\n")
    report = plan(tree)
    assert "metadata.csv has no row for 3 samples" in report.problem
    assert "bird/1" in report.problem
    assert "angle" in report.plan.features
    (tree / "metadata.csv").write_text("sample_id,label\ncat/1,5\n")
    report = plan(tree)
    assert "a name that is taken" in report.problem
    assert report.num_views == {2: 4}
    assert plan(tree, drop_metadata=True).good


def test_wrong_options(make_tree):
    tree = make_tree(*WHOLE)
    with pytest.raises(multiview_cifar.OptionError, match="layot"):
        plan(tree, layot="{label}/{sample}")
    with pytest.raises(multiview_cifar.OptionError, match="image_size"):
        plan(tree, image_size="32")
    with pytest.raises(multiview_cifar.LayoutError, match="does not exist"):
        plan(tree / "nowhere")
    with pytest.raises(multiview_cifar.ArchiveError, match="cannot be read"):
        plan("http://127.0.0.1:9/photos.zip")


def test_a_name_that_is_no_text(make_tree, tmp_path):
    tree = make_tree(*WHOLE)
    (tree / "cat/1/left.png").rename(str(tree / "cat/1/") + "/l\udcff.png")
    report = plan(tree)
    assert "is not UTF-8" in report.problem
    json.dumps(report.to_dict())


names = st.text("ab1_-", min_size=1, max_size=4)
trees = st.lists(st.lists(names, min_size=1, max_size=5).map("/".join), max_size=30, unique=True)


def test_the_error_of_a_build_names_the_nearest_layout(make_tree):
    """It ends as the plan begins, and what it says loads."""
    tree = make_tree(*(f"{split}/{path}" for split in ("train_set", "test_set") for path in FLAT))
    with pytest.raises(multiview_cifar.LayoutError) as caught:
        multiview_cifar.load_dataset(data_dir=str(tree))
    said = "Nearest is (layout=.*}): 16 of 16 images fit it. To see more, run `"
    advice = re.search(said, str(caught.value))[1]
    ds = eval(f"multiview_cifar.load_dataset(data_dir=str(tree), {advice})")
    assert ds.num_rows == {"train": 4, "test": 4}


def test_a_stray_image_does_not_question_the_layout(make_tree):
    tree = make_tree(*within("train", WHOLE), *within("test", WHOLE), "loose.png")
    for options in ({}, {"layout": "{split}/{label}/{sample}/{view}"}):
        problem = plan(tree, **options).problem
        assert "loose.png is above the layout" in problem
        assert "Move it into the folder of its sample or remove it" in problem
        assert problem.endswith("16 of 17 images fit this layout.")
        with pytest.raises(multiview_cifar.LayoutError) as caught:
            multiview_cifar.load_dataset(data_dir=str(tree), **options)
        assert str(caught.value) == f"{problem} To see more, run `multiview-cifar plan {tree}`."


@pytest.mark.parametrize("inner", ["cat", "cat/1"])
def test_a_folder_too_deep_is_told_from_its_siblings(make_tree, inner):
    train = make_tree(*within("train", WHOLE), *within("test", WHOLE)) / "train"
    problem = plan(train / inner).problem
    said = f"If you meant the folder above, pass {train.parent}."
    assert said in problem.partition("Nearest")[0]
    assert plan(train.parent).good
    of_split = plan(train / inner, layout="{label}/{sample}/{view}.png").problem
    assert f"pass {train}." in of_split
    given = plan(train, layout="{split}/{label}/{sample}/{view}")
    assert f"pass {train.parent}." in given.problem


def test_a_folder_too_shallow_names_the_folder_below(make_tree):
    """And no layout in which the views come first and the classes are numbers."""
    samples = "cat/0001", "cat/0002", "dog/0001", "dog/0002", "dog/0003"
    paths = [f"{sample}/{view}.png" for sample in samples for view in ("left", "up")]
    tree = make_tree(*(f"a/{s}/{path}" for s in ("train", "test") for path in paths))
    problem = plan(tree).problem
    assert f"pass {tree / 'a'} as data_dir, or say" in problem
    nearest = problem.rpartition("Nearest is")[2]
    assert nearest == ' layout="a/{split}/{label}/{sample}/{view}": 20 of 20 images fit it.'
    assert plan(tree / "a").good
    several = make_tree(*(f"{set_}/x/{path}" for set_ in "ab" for path in paths), under="several")
    assert "pass a data_dir further down, such as" in plan(several).problem
    assert f"such as {several / 'a' / 'x'}, or say" in plan(several).problem


def test_loose_images_of_no_common_form_are_samples_at_most(make_tree):
    tree = make_tree(*(f"azimuth_{n}.png" for n in ("000", "090", "180")))
    problem = plan(tree).problem
    assert problem.endswith(' Nearest is layout="{sample}": 3 of 3 images fit it.')
    assert plan(tree, layout="{sample}").good


def test_more_views_than_any_sample_has(make_tree):
    tree = make_tree(*(f"cat/{s}/{v}.png" for s in "12" for v in "abc"))
    problem = plan(tree, num_views=9).problem
    said = "No sample has 9 views: they have at most 3. Expected num_views=3 or fewer, or"
    assert problem.startswith(said)
    assert plan(tree, num_views=3).good
    (tree / "cat/1/c.png").unlink()
    assert plan(tree, num_views=3).problem.startswith("A view is missing in 1 of 2 samples")


def test_siblings_of_another_shape_say_nothing_of_a_folder(make_tree):
    tree = make_tree("photos/cat/1_a.png", "photos/dog/1_a.png", "other/cat/notes.txt", "x.png")
    assert "folder above" not in plan(tree / "photos").problem


@pytest.mark.parametrize("below", ["maps/{}-map", "maps/{}", "a b/m.{}_x"])
def test_a_layout_with_columns_for_images_that_are_left_out(make_tree, run, below):
    names = [name for view in "ab" for name in (view, below.format(view))]
    tree = make_tree(*(f"cat/{sample}/{name}.png" for sample in "12" for name in names))
    folder, form = below.split("/")
    wide = {
        "images": "{label}/{sample}/{view}",
        folder: f"{{label}}/{{sample}}/{folder}/{form.format('{view}')}",
    }
    report = plan(tree)
    assert not report.good
    assert report.wider_layout == wide
    assert plan(tree, layout=wide).good
    done = run("plan", tree, "-q")
    assert done.returncode == 1
    (options,) = re.findall("To take all, pass (--layout .*)[.]", done.stdout)
    problem, line = done.stdout.splitlines()
    assert "To take all" in problem
    names = {}
    exec(line, names)
    assert {"images", folder} <= {*names["ds"]["train"].column_names}
    checked = run("check", tree).stdout
    assert f"-> To take all, pass {options}, or move them away." in checked
    assert run("plan", tree, *shlex.split(options)).returncode == 0


def test_a_template_of_a_column_that_no_file_fits(make_tree):
    tree = make_tree(*(f"cat/{s}/{name}.png" for s in "12" for name in ("a", "maps/a-map")))
    images, maps = "{label}/{sample}/{view}", "{label}/{sample}/maps/{view}-"
    wrong = {"images": images, "masks": maps + "mask"}
    report = plan(tree, layout=wrong)
    assert f'No file in {tree} fits the template of "masks", {maps}mask' in report.problem
    assert "images below the layout" in report.problem or "fit no template" in report.problem
    assert report.problem.endswith(f" Nearest is {maps}map.")
    assert not [note for note in report.notes if "()" in note]
    swapped = plan(tree, layout={"images": maps + "mask", "masks": images}).problem
    assert f'fits the template of "images", {maps}mask' in swapped
    assert swapped.endswith(f" Nearest is {maps}map.")
    assert plan(tree, layout={"images": images, "masks": maps + "map"}).good


def test_images_that_no_column_takes(make_tree):
    assert plan(make_tree("cat/1/a.png", "cat/1/old/b.png")).wider_layout == {}
    mixed = make_tree("cat/1/a.png", "cat/1/m/a.png", "cat/1/m/a_1.png", under="mixed")
    assert plan(mixed).wider_layout == {}
    named = make_tree("cat/1/a.png", "cat/1/label/a.png", under="named")
    assert plan(named).wider_layout == {}


DEEP = [f"cat/{s}/{v}.png" for s in "123" for v in "ab"] + [
    f"dog/{s}/{v}.png" for s in "45" for v in "ab"
]


def splits_of(**options):
    return multiview_cifar.MultiviewCifar(**options).plan.splits


def zip_of(tree):
    return shutil.make_archive(str(tree), "zip", tree)


@pytest.mark.parametrize("folder", ["a/b/", "photos/", "a/train_set/"])
def test_the_nearest_layout_of_an_archive_keeps_its_splits(make_tree, folder):
    splits = ("train_set", "test_set") if "train" in folder else ("train", "test")
    folder = folder.replace("train_set/", "")
    tree = make_tree(*(f"{folder}{s}/{path}" for s in splits for path in DEEP), "cover.png")
    archive = zip_of(tree)
    with pytest.raises(multiview_cifar.LayoutError) as caught:
        splits_of(data_dir=archive)
    advice = re.search("Nearest is (layout=.*): 20 of 21 images fit it.$", str(caught.value))[1]
    with pytest.raises(multiview_cifar.LayoutError, match=r"cover\.png"):
        eval(f"splits_of(data_dir=archive, {advice})")
    (tree / "cover.png").unlink()
    archive = zip_of(tree)
    splits = eval(f"splits_of(data_dir=archive, {advice})")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 5, "test": 5}
    assert {row.sample_id for row in splits["test"]} == {
        "cat/1",
        "cat/2",
        "cat/3",
        "dog/4",
        "dog/5",
    }


def test_an_archive_of_a_split_that_holds_splits(make_tree):
    archive = zip_of(make_tree(*within("train", DEEP), *within("test", DEEP)))
    with pytest.raises(multiview_cifar.LayoutError) as caught:
        splits_of(data_files={"train": archive})
    advice = re.search("to pass it as data_dir, .*, with (layout=.*): 20 of", str(caught.value))[1]
    splits = eval(f"splits_of(data_dir=archive, {advice})")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 5, "test": 5}
    with pytest.raises(multiview_cifar.OptionError, match="or pass as data_dir"):
        eval(f"splits_of(data_files={{'train': archive}}, {advice})")


def test_two_folders_of_one_split_are_no_matter_of_the_layout(make_tree):
    tree = make_tree(*within("train", WHOLE[:4]), *within("training", WHOLE[4:]))
    report = plan(tree, split_names={"training": "train"})
    assert "both mean the split 'train'" in report.problem
    assert [c.layout for c in report.candidates if c.layout.startswith("{split}")] == []
    tree = make_tree(*within("test_a", WHOLE[:4]), *within("test_b", WHOLE[4:]), under="named")
    report = plan(tree)
    assert "both mean the split 'test'" in report.problem
    layout = report.candidates[0].layout
    assert layout == "{split}/{label}/{sample}/{view}"
    assert [*plan(tree, layout=layout).plan.splits] == ["test_a", "test_b"]


def test_both_readings_of_a_tree_that_fits_two_layouts(make_tree):
    tree = make_tree(*(f"all/x/{v}/{c}/{s}.png" for v in "lr" for c in "abc" for s in "123"))
    with pytest.raises(multiview_cifar.LayoutError) as caught:
        multiview_cifar.load_dataset(data_dir=str(tree), layout="{label}/{sample}")
    nearest = str(caught.value).rpartition("Nearest is")[2]
    assert 'layout="all/x/{label}/{sample}/{view}" or layout="all/x/' in nearest
    assert "18 of 18 images" in nearest


def test_pages_as_views(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    for label in ("cat", "dog"):
        page = Image.new("L", (4, 4))
        page.save(tree / label / "1/ct.tif", save_all=True, append_images=[page] * 2)
    report = plan(tree, pages="views")
    assert report.layout == "{label}/{sample}/{view}"
    assert report.usual_views == ["a", "ct/0", "ct/1", "ct/2"]
    assert report.good


def test_rows_without_labels(make_tree):
    report = plan(make_tree("P1/a.png", "P1/b.png", "P2/a.png"), layout="{sample}/{view}")
    assert report.good
    assert report.classes.to_dict() == {"train": {"(no label)": 2}}
    assert report.num_views == {1: 1, 2: 1}
    json.dumps(report.to_dict())


def test_a_column_of_one_image(make_tree):
    layout = {"images": "{label}/{sample}/{view}", "mask": "{label}/{sample}/m/{*}"}
    report = plan(make_tree("c/1/a.png", "c/1/b.png", "c/1/m/m.png", "c/2/a.png"), layout=layout)
    assert "c/2 has no image in mask" in report.problem
    assert report.num_views == {1: 1, 2: 1}


@pytest.mark.parametrize("num_views", [2, 4, 8, 16])
def test_the_images_that_rank_candidates_hold_whole_samples(num_views, monkeypatch):
    """As many views as the step between the images that are taken made one view of each sample."""
    monkeypatch.setattr(suggest_layout, "MAX_RANKED", 100 * num_views)
    monkeypatch.setattr(suggest_layout, "RUN", 25 * num_views + 1)
    views = range(num_views)
    paths = [
        f"a/{s}/{c}/{n}/im/{v}.png"
        for s in ("train", "test")
        for c in "xy"
        for n in range(200)
        for v in views
    ]
    parse, find_split = multiview_cifar.parse_template, multiview_cifar.find_split
    best, *_ = suggest_layouts(paths, parse, find_split)
    assert best.candidate.layout == "a/{split}/{label}/{sample}/im/{view}"


@given(trees)
@examples(60)
def test_candidates_hold_what_they_say(stems):
    """Of any images, each candidate takes as many as it says, by the layout's own rules."""
    paths = [f"{stem}.png" for stem in stems]
    parse, find_split = multiview_cifar.parse_template, multiview_cifar.find_split
    for candidate, *_ in suggest_layouts(paths, parse, find_split):
        template = multiview_cifar.parse_template(candidate.layout)
        fits = [path for path in paths if template.path.fullmatch(path[:-4])]
        assert candidate.images == len(fits) > 0
        assert candidate.left_out == [path for path in paths if path not in fits][:3]
        assert candidate.samples <= candidate.images


def test_the_same_as_a_build(make_tree):
    """What a plan says of splits, classes and views is what the rows hold."""
    tree = make_tree(*within("train", WHOLE[:-1]), *within("test", WHOLE))
    report, built = plan(tree), multiview_cifar.load_dataset(data_dir=str(tree))
    for split, ds in built.items():
        labels = [ds.features["label"].int2str(label) for label in ds["label"]]
        assert report.classes[split].to_dict() == {c: labels.count(c) for c in ("cat", "dog")}
    views = [len(row) for ds in built.values() for row in ds["view_names"]]
    assert report.num_views == {n: views.count(n) for n in sorted({*views})}
    assert isinstance(report.plan.features, datasets.Features)


def test_class_names_without_labels(make_tree, fails):
    """As a build does; where the metadata that should give them are wrong, the plan goes on."""
    tree, options = make_tree("P1/a.png"), {"layout": "{sample}/{view}", "class_names": ["covid"]}
    with fails("OptionError", "class_names is given, but there are no labels"):
        plan(tree, **options)
    (tree / "metadata.csv").write_text("sample,diagnosis\nP1,covid\n")
    report = plan(tree, **options, label_column="diag")
    assert "no column 'diag'" in report.problem
    assert report.num_views == {1: 1}


# --- groups ---------------------------------------------------------------------------------------

PATIENTS = "sample_id,patient\n" + "".join(
    f"{c}/{i},P{i}\n" for c in ("cat", "dog") for i in "0123"
)
GROUPS = {"split_ratios": {"train": 0.5, "test": 0.5}, "split_by": "patient"}


def test_groups_that_splits_keep_together(make_tree, run):
    tree = make_tree(*(f"{c}/{i}/a.png" for c in ("cat", "dog") for i in "0123"))
    (tree / "metadata.csv").write_text(PATIENTS)
    report = plan(tree, **GROUPS)
    assert report.good
    assert sum(report.num_groups.values()) == 4
    counts = report.classes.to_dict()
    assert {split: (n, n) for split, n in report.num_groups.items()} == {
        split: tuple(by_class.values()) for split, by_class in counts.items()
    }
    assert report.to_dict()["num_groups"] == report.num_groups
    ratios = '{"train": 0.5, "test": 0.5}'
    shown = run("plan", str(tree), "--split-ratios", ratios, "--split-by", "patient").stdout
    assert f"by patient: {report.num_groups['train']} in train" in shown


def test_a_sample_without_a_group(make_tree):
    tree = make_tree("cat/0/a.png", "cat/1/a.png")
    (tree / "metadata.csv").write_text("sample_id,patient\ncat/0,P1\ncat/1,\n")
    report = plan(tree, **GROUPS)
    assert "1 samples have none (cat/1)" in report.problem
    assert report.num_groups == {}


# --- what is no local folder ----------------------------------------------------------------------

PATHS = [f"{s}/{v}.png" for s in ("train/cat/1", "train/cat/2", "test/dog/3") for v in "ab"]
PATHS.append("train/dog/4/a.png")
SOURCES = ["photos.zip", "photos.tar.gz", "http"]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_is_planned_as_its_folder(kind, make_tree, run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    tree = make_tree(*PATHS, "train/cat/1/notes.txt")
    expected = plan(tree)
    archive = tmp_path / (kind if "." in kind else "photos.zip")
    write_archive(archive, files_of(tree))
    with web_server.serve(tmp_path) as address:
        place = f"{address}/photos.zip" if kind == "http" else archive.name
        done = run("plan", place, "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, done.stderr) == (0, "")
        for name in ("good", "layout", "classes", "num_views", "missing_views", "ignored"):
            assert report[name] == expected.to_dict()[name], name
        names = {}
        exec(report["load"], names)
    assert {split: ds.num_rows for split, ds in names["ds"].items()} == {"train": 3, "test": 1}


def test_the_example_is_planned(run):
    done = run("plan", "shapes")
    assert done.returncode == 0
    assert re.search(r"^all 10 +240 +60$", done.stdout, re.M)
    assert "load_dataset(name='shapes')" in done.stdout


def plan_and_check(place):
    from multiview_cifar_tools import check, plan

    planned, checked = plan(place), check(place)
    return planned.summary(), planned.good, checked.data_dir, checked.num_samples, checked.good


@pytest.mark.parametrize("revision", ["", "@main"])
def test_a_repository_of_images_on_the_hub(hub, make_tree, revision):
    tree = make_tree("cat/1/a.png", "dog/2/a.png")
    hub.create("me/raw")
    hub.write("me/raw", files_of(tree), "photos")
    (first, *_, line), good, place, num_samples, _ = hub.run(plan_and_check, f"me/raw{revision}")
    assert (first, good) == (
        f"hf://datasets/me/raw{revision}: 2 samples of 2 classes, 2 images",
        True,
    )
    assert f"data_dir='hf://datasets/me/raw{revision}'" in line
    assert (place, num_samples) == (f"hf://datasets/me/raw{revision}", 2)


def build_twice(place, folder):
    from multiview_cifar_tools.cli.main import main

    cached = main(["build", place, "--cache-dir", f"{folder}/cache"])
    return cached, main(["build", place, "--output", f"{folder}/built"])


def test_a_repository_of_images_is_built(hub, make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "dog/2/a.png")
    hub.create("me/raw")
    hub.write("me/raw", files_of(tree), "photos")
    assert hub.run(build_twice, "me/raw", str(tmp_path)) == (0, 0)
    assert len(datasets.load_dataset(str(tmp_path / "built"), split="train")) == 2


def test_a_published_dataset_is_no_folder_of_images(hub):
    hub.create("me/photos")
    hub.write("me/photos", {"data/train-00000-of-00001.parquet": b"PAR1"}, "rows")
    with pytest.raises(RuntimeError) as caught:
        hub.run(plan_and_check, "me/photos")
    for part in ("me/photos holds rows in Parquet files", "preview me/photos shows it"):
        assert part in str(caught.value)


@pytest.fixture
def official_cifars(make_folder, monkeypatch):
    """In the place of downloads."""
    from multiview_cifar_tools.storage import cifar

    folders = {name: str(make_folder(name)) for name in ("cifar10", "cifar100")}
    monkeypatch.setattr(cifar, "download", lambda name, _: folders[name])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_cifars_are_planned_and_checked(name, official_cifars, run):
    done = run("plan", name, "--num-views", "2")
    assert done.returncode == 0, done.stderr
    assert f"load_dataset(name='{name}', num_views=2)" in done.stdout
    assert "the official files hold no folders" in done.stdout
    done = run("check", name, "--num-views", "2", "--json")
    report = json.loads(done.stdout)
    assert report["samples"] > 5 and report["images"] == 2 * report["samples"]
    assert "extension" not in report["counts"]


def test_what_cannot_be_planned(run):
    for place, says in (("nowhere", "does not exist"), ("me/none", "cannot be read")):
        done = run("plan", place)
        assert done.returncode == 2
        assert says in done.stderr


def test_what_takes_seconds_shows_progress(make_tree):
    script = """if True:
        import os, sys, time
        from multiview_cifar_tools import plan
        listed, delay = os.scandir, float(sys.argv[2])
        os.scandir = lambda path: time.sleep(delay) or listed(path)
        print(plan(sys.argv[1]).num_images)"""
    tree, environment = make_tree(*WHOLE), {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "0"}
    for delay, shown in ((0.3, True), (0, False)):  # of each of seven folders
        command = [sys.executable, "-c", script, str(tree), str(delay)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.stdout == "8\n", done.stderr
        assert bool(re.search(r"Listing: \d+ files .*files/s", done.stderr)) is shown
