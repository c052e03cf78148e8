"""Where things stand in the tree: found out, or said by a template or a dict of templates."""

import re

import datasets
import pytest

import multiview_cifar


@pytest.mark.every_route
def test_two_levels_are_classes_and_samples(load, make_tree, shown):
    splits = load(make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png"), split=None)
    assert list(splits) == ["train"]
    assert shown(splits["train"]) == [
        ("cat/1", "cat/1/a.png", "cat/1/b.png"),
        ("dog/1", "dog/1/a.png"),
    ]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("training", "train"),
        ("Train", "train"),
        ("validation", "validation"),
        ("valid", "validation"),
        ("val", "validation"),
        ("dev", "validation"),
        ("test", "test"),
        ("testing", "test"),
        ("eval", "test"),
        ("training_set", "train"),
        ("train2017", "train"),
        ("Test-Images", "test"),
        ("val_256", "validation"),
        ("bbox train", "train"),
        ("the.dev(1)", "validation"),
    ],
)
def test_words_for_splits(quick, make_tree, shown, folder, split):
    splits = quick(make_tree(f"{folder}/cat/1/a.png"), split=None)
    assert list(splits) == [split]
    assert shown(splits[split]) == [("cat/1", f"{folder}/cat/1/a.png")]


@pytest.mark.parametrize("folder", ["trains", "testé", "atrain", "train_test", "latest", "strain5"])
def test_words_in_words_are_no_splits(quick, make_tree, folder):
    ds = quick(make_tree(f"{folder}/1/a.png"))
    assert ds.features["label"].names == [folder]


@pytest.mark.every_route
def test_split_words_with_more_around_them(load, make_tree, shown):
    tree = make_tree("train2017/cat/1/a.png", "val2017/cat/1/a.png", "docs/read.txt")
    splits = load(tree, split=None)
    assert list(splits) == ["train", "validation"]
    assert shown(splits["validation"]) == [("cat/1", "val2017/cat/1/a.png")]
    assert splits["train"].features["label"].names == ["cat"]


def test_two_folders_of_one_split(stream, make_tree, fails):
    tree = make_tree("train/c/1/a.png", "test_seen/c/1/a.png", "test_unseen/c/2/a.png")
    with fails("LayoutError", "'test_seen' and 'test_unseen'", "'test'", "split_names={"):
        list(stream(tree))
    splits = stream(tree, split=None, layout="{split}/{label}/{sample}/{view}")
    assert list(splits) == ["train", "test_seen", "test_unseen"]
    names = {"test_seen": "test", "test_unseen": "unseen"}
    assert list(stream(tree, split=None, split_names=names)) == ["train", "test", "unseen"]


def test_the_error_of_two_folders_of_one_split_says_all_of_split_names(stream, make_tree, fails):
    tree = make_tree("train/c/1/a.png", "training/c/2/a.png", "TRAIN2/c/3/a.png", "x/c/1/a.png")
    names = {"x": "more", "training": "train"}
    with fails("LayoutError", "both mean the split 'train'", "name all of them") as caught:
        list(stream(tree, split_names=names))
    names = eval(re.search("split_names=({.*})", str(caught.value))[1])
    splits = stream(tree, split=None, split_names=names)
    assert {split: len(list(rows)) for split, rows in splits.items()} == {"train": 3, "more": 1}


@pytest.mark.every_route
def test_split_names(load, make_tree, shown):
    tree = make_tree("Real World/cat/1/a.png", "Art/cat/1/a.png", "train/cat/1/a.png")
    names = {"Real World": "real_world"}
    splits = load(tree, split=None, split_names=names)
    assert list(splits) == ["train", "Art", "real_world"]
    assert shown(splits["real_world"]) == [("cat/1", "Real World/cat/1/a.png")]


def test_split_names_may_leave_folders_as_they_are(stream, make_tree, fails):
    tree = make_tree("Real World/cat/1.png", "Art/cat/1.png", "train-2/cat/1.png")
    options = {"layout": "{split}/{label}/{sample}", "split": None}
    with fails("LayoutError", "cannot name a split", "split_names={'", path="Real World"):
        list(stream(tree, **options))
    names = {"Real World": "real", "train-2": "train"}
    assert list(stream(tree, **options, split_names=names)) == ["train", "Art", "real"]


def test_split_names_may_make_one_split_of_several_folders(stream, make_tree, shown, fails):
    tree = make_tree("a/cat/1/v.png", "b/cat/2/v.png", "a/dog/1/v.png")
    names = {"a": "train", "b": "train"}
    assert shown(stream(tree, split_names=names)) == [
        ("cat/1", "a/cat/1/v.png"),
        ("cat/2", "b/cat/2/v.png"),
        ("dog/1", "a/dog/1/v.png"),
    ]
    make_tree("b/cat/1/v.png")
    with fails("LayoutError", "cat/1", "twice", "split_names", path="cat/1"):
        list(stream(tree, split_names=names))


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"split_names": {"c": "train"}}, "LayoutError", "'c'"),
        ({"split_names": {"a": "one", "b": "two", "c": "x"}}, "LayoutError", "'c'"),
        ({"split_names": {"a": "real world"}}, "OptionError", "letters, digits"),
        ({"split_names": {"a": "all"}}, "OptionError", '"all"'),
        ({"split_names": ["a"]}, "OptionError", "a dict"),
        ({"split_names": {}}, "OptionError", "a dict"),
        (
            {"split_names": {"a": "x"}, "layout": "{label}/{sample}/{view}"},
            "OptionError",
            "{split}",
        ),
        (
            {"split_names": {"a": "x", "b": "y"}, "split_ratios": {"train": 1}},
            "OptionError",
            "split_ratios",
        ),
    ],
)
def test_wrong_split_names(stream, make_tree, fails, options, kind, says):
    with fails(kind, says):
        list(stream(make_tree("a/cat/1/v.png", "b/cat/1/v.png"), **options))


@pytest.mark.every_route
def test_splits_come_in_the_usual_order(load, make_tree):
    tree = make_tree("val/cat/1/a.png", "test/cat/1/a.png", "train/cat/1/a.png")
    assert list(load(tree, split=None)) == ["train", "validation", "test"]


def test_a_top_folder_that_is_no_split_word_makes_all_of_them_classes(quick, make_tree, shown):
    ds = quick(make_tree("train/1/a.png", "test/1/a.png", "boat/1/a.png"))
    assert ds.features["label"].names == ["boat", "test", "train"]
    assert shown(ds) == [(f"{c}/1", f"{c}/1/a.png") for c in ("boat", "test", "train")]


def test_a_top_folder_without_images_has_no_say(quick, make_tree):
    tree = make_tree("train/cat/1/a.png", "test/cat/1/a.png", "docs/read.txt", "empty/")
    assert list(quick(tree, split=None)) == ["train", "test"]


def test_a_class_may_have_the_name_of_a_split(quick, make_tree):
    """A template says what the folders mean, where the words alone would make them splits."""
    ds = quick(make_tree("train/1/a.png", "test/1/a.png"), layout="{label}/{sample}/{view}")
    assert ds.features["label"].names == ["test", "train"]


def test_labels_are_those_of_all_splits(load, make_tree):
    tree = make_tree("train/cat/1/a.png", "train/elk/1/a.png", "test/dog/1/a.png")
    splits = load(tree, split=None)
    for split in ("train", "test"):
        assert splits[split].features["label"].names == ["cat", "dog", "elk"]
    assert [row["label"] for row in splits["train"]] == [0, 2]
    assert [row["label"] for row in splits["test"]] == [1]


def test_a_sample_may_be_in_two_splits(load, make_tree, shown):
    splits = load(make_tree("train/cat/1/a.png", "test/cat/1/a.png"), split=None)
    for split in ("train", "test"):
        assert shown(splits[split]) == [("cat/1", f"{split}/cat/1/a.png")]


# --- depth ----------------------------------------------------------------------------------------


def test_splits_one_level_short(stream, make_tree, fails):
    tree = make_tree("train/cat/1.png", "test/cat/1.png")
    with fails("LayoutError", "cat/1.png", "{split}/{label}/{sample}"):
        list(stream(tree))


def test_splits_one_level_short_by_template(load, make_tree, shown):
    tree = make_tree("train/cat/1.png", "test/cat/1.png")
    splits = load(tree, split=None, layout="{split}/{label}/{sample}")
    assert shown(splits["test"]) == [("cat/1", "test/cat/1.png")]


@pytest.mark.parametrize("high", ["cat/2.png", "2.png"])
def test_images_above_the_layout(stream, make_tree, fails, high):
    with fails("LayoutError", high, "{label}/{sample}/{view}", path=high):
        list(stream(make_tree("cat/1/a.png", high)))


def test_deeper_folders_are_reported(load, make_tree, shown, caplog):
    ds = load(make_tree("cat/1/a.png", "cat/1/maps/a.png", "cat/1/maps/old/a.png"))
    assert shown(ds) == [("cat/1", "cat/1/a.png")]
    assert "cat/1/maps/a.png" in caplog.text
    assert "cat/1/maps/old/a.png" in caplog.text


def test_a_tree_too_deep_as_a_whole(stream, make_tree, fails):
    with fails("LayoutError", "x/y/cat/1", "data_dir", "layout="):
        list(stream(make_tree("x/y/cat/1/a.png")))


def test_splits_one_level_too_deep(stream, make_tree, fails):
    with fails("LayoutError", "{split}/{label}/{sample}/{view}", "data_dir") as error:
        list(stream(make_tree("train/cat/1/x/a.png", "test/cat/1/x/a.png")))
    assert "only" not in str(error.value)  # as if one of them were no split


def test_images_in_no_folder_at_all(stream, make_tree, fails):
    with fails("LayoutError", "a.png", " {label}/{sample}/{view}"):
        list(stream(make_tree("a.png", "b.png")))


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "path", "sample_id", "view"),
    [
        ("{label}/{sample}/{view}", "cat/1/a.png", "cat/1", "a"),
        ("{sample}/{label}/{view}", "1/cat/a.png", "cat/1", "a"),
        ("{view}/{label}/{sample}", "a/cat/1.png", "cat/1", "a"),
        ("images/{label}/{sample}/rgb/{view}", "images/cat/1/rgb/a.png", "cat/1", "a"),
        ("{label}/{sample}/{view}-color", "cat/1/a-color.png", "cat/1", "a"),
        ("{label}/[{sample}] {view}.v2", "cat/[1] a.v2.png", "cat/1", "a"),
        ("{label}-set/{sample}/{view}", "cat-set/1/a.png", "cat/1", "a"),
        ("{label}/{sample}_{view}", "cat/1_a.png", "cat/1", "a"),
        ("{label}/{sample}_{view}", "cat/a_b_front.png", "cat/a_b", "front"),
        ("{label}_{sample}_{view}", "black_cat_1_a.png", "black_cat/1", "a"),
        ("{label}/{sample}", "cat/1.png", "cat/1", "0"),
        ("{label}/{sample}/{view}", "cat/1/a.b.PNG", "cat/1", "a.b"),
        ("{label}/{sample}/{sample}_{view}", "cat/1_2/1_2_a.png", "cat/1_2", "a"),
        ("{view}Img8bit/{label}/{sample}_{view}", "aImg8bit/cat/1_a.png", "cat/1", "a"),
        ("{label}/{sample}/{*}-{view}", "cat/1/2024-02-a.png", "cat/1", "a"),
        ("{*}/{label}/{sample}{*}/{view}", "any/cat/1/a.png", "cat/1", "a"),
        ("{label}/{sample}/{view}.png", "cat/1/a.PNG", "cat/1", "a"),
        ("{label}/{sample}/{view}.JPG", "cat/1/a.jpg", "cat/1", "a"),
    ],
)
def test_template(stream, make_tree, shown, layout, path, sample_id, view):
    ds = stream(make_tree(path), layout=layout)
    assert shown(ds) == [(sample_id, path)]
    assert [row["view_names"] for row in ds] == [[view]]
    assert ds.features["label"].names == [sample_id.partition("/")[0]]


def test_a_split_may_be_any_word_of_a_template(stream, make_tree, shown):
    tree = make_tree("fold2/cat/1/a.png", "fold10/cat/1/a.png")
    splits = stream(tree, split=None, layout="{split}/{label}/{sample}/{view}")
    assert list(splits) == ["fold2", "fold10"]
    assert shown(splits["fold10"]) == [("cat/1", "fold10/cat/1/a.png")]


def test_a_split_may_stand_anywhere(stream, make_tree, shown):
    tree = make_tree("cat/train/1_a.png", "cat/test/2_a.png")
    splits = stream(tree, split=None, layout="{label}/{split}/{sample}_{view}")
    assert shown(splits["test"]) == [("cat/2", "cat/test/2_a.png")]


def test_flat_views_are_gathered(load, make_tree, shown):
    tree = make_tree("cat/1_b.png", "cat/1_a.png", "cat/1_1_a.png")
    assert shown(load(tree, layout="{label}/{sample}_{view}")) == [
        ("cat/1", "cat/1_a.png", "cat/1_b.png"),
        ("cat/1_1", "cat/1_1_a.png"),
    ]


def test_a_field_never_crosses_a_slash(stream, make_tree, shown, caplog):
    tree = make_tree("cat/1_a.png", "cat/x_1/front.png")
    assert shown(stream(tree, layout="{label}/{sample}_{view}")) == [("cat/1", "cat/1_a.png")]
    assert "cat/x_1/front.png" in caplog.text


def test_images_that_no_template_fits_are_reported(stream, make_tree, shown, caplog):
    tree = make_tree("cat/1_a.png", "cat/cover.png")
    assert shown(stream(tree, layout="{label}/{sample}_{view}")) == [("cat/1", "cat/1_a.png")]
    assert "cat/cover.png" in caplog.text


def test_a_field_that_stands_twice_is_the_same_twice(stream, make_tree, shown, fails, caplog):
    tree = make_tree("cat/1/1_a.png", "cat/2/3_a.png", "cat/2/2_a.png")
    layout = "{label}/{sample}/{sample}_{view}"
    assert shown(stream(tree, layout=layout)) == [
        ("cat/1", "cat/1/1_a.png"),
        ("cat/2", "cat/2/2_a.png"),
    ]
    assert "a repeated field differs (1): cat/2/3_a.png" in caplog.text
    with fails("LayoutError", "a repeated field differs", "cat/2/3_a.png", layout):
        list(stream(make_tree("cat/2/3_a.png", under="none"), layout=layout))


def test_a_folder_whose_images_do_not_fit_says_why(stream, make_tree, fails):
    layout = "{label}/{sample}/{sample}_{view}"
    tree = make_tree("cat/1/1_a.png", "cat/2/1_a.png")
    with fails(
        "LayoutError", "1_a.png among images in whose path a repeated field differs", layout
    ):
        list(stream(tree, layout=layout))
    tree = make_tree("cat/1/a.png", "cat/2/a.jpg", under="extension")
    with fails("LayoutError", "a.jpg among images with another extension"):
        list(stream(tree, layout="{label}/{sample}/{view}.png"))


@pytest.mark.parametrize("layout", [None, "{label}/{sample}/{view}"])
def test_a_folder_without_images(layout, stream, make_tree, fails):
    with fails("LayoutError", "notes.txt"):
        list(stream(make_tree("cat/notes.txt"), layout=layout))


def test_files_that_differ_in_what_no_field_takes(stream, make_tree, fails):
    tree = make_tree("cat/1/x-a.png", "cat/1/y-a.png")
    with fails("LayoutError", "cat/1/x-a.png and cat/1/y-a.png", "{*}", "{view}"):
        list(stream(tree, layout="{label}/{sample}/{*}-{view}"))
    with fails("LayoutError", "the same view '0'", "a field such as {view} for {*}"):
        list(stream(tree, layout="{label}/{sample}/{*}-a"))


def test_files_that_differ_in_their_extension(stream, make_tree, shown, fails, caplog):
    tree = make_tree("cat/1/a.JPG", "cat/1/a.png", "cat/1/a.jpeg")
    layouts = [f"{{label}}/{{sample}}/{{view}}.{ending}" for ending in ("jpg", "png")]
    with fails("LayoutError", "cat/1/a.JPG and cat/1/a.jpeg", "{view}.JPG", "{view}.jpeg"):
        list(stream(tree))
    assert shown(stream(tree, layout=layouts[0])) == [("cat/1", "cat/1/a.JPG")]
    assert "images with another extension than that of the layout (2): cat/1/a.jpeg" in caplog.text
    ds = stream(tree, layout=dict(zip(("images", "masks"), layouts, strict=True)))
    assert shown(ds) == [("cat/1", "cat/1/a.JPG")]
    assert shown(ds, "masks") == [("cat/1", "cat/1/a.png")]
    ds = stream(
        make_tree("cat/1/a.jpg", "cat/1/a.png", under="two"),
        layout={"images": "{label}/{sample}/{view}", "masks": layouts[1]},
    )
    assert shown(ds, "masks") == [("cat/1", "cat/1/a.png")]


def test_folders_outside_a_literal_part_are_reported(stream, make_tree, shown, caplog):
    tree = make_tree("rgb/cat/1/a.png", "depth/cat/1/a.png")
    assert shown(stream(tree, layout="rgb/{label}/{sample}/{view}")) == [
        ("cat/1", "rgb/cat/1/a.png")
    ]
    assert "depth/cat/1/a.png" in caplog.text


def test_a_template_that_nothing_fits(stream, make_tree, fails):
    with fails("LayoutError", "cat/1/a.png", "{label}/{sample}_{view}"):
        list(stream(make_tree("cat/1/a.png"), layout="{label}/{sample}_{view}"))


def test_backslashes_between_folders(stream, make_tree, fails):
    with fails("LayoutError", "No image", 'Write "/" between folders, on Windows too. Nearest is'):
        list(stream(make_tree("cat/1/a.png", "cat/1/b.png"), layout=r"{label}\{sample}\{view}"))


# --- view_label -----------------------------------------------------------------------------------


def test_view_labels(load, make_tree, shown):
    tree = make_tree("cat/1/top/2.png", "cat/1/side/10.png", "cat/1/side/2.png", "cat/2/top/1.png")
    ds = load(tree, layout="{label}/{sample}/{view_label}/{view}")
    classes = datasets.Sequence(datasets.ClassLabel(names=["side", "top"]))
    assert ds.features["view_labels"] == classes
    assert shown(ds) == [
        ("cat/1", "cat/1/side/2.png", "cat/1/side/10.png", "cat/1/top/2.png"),
        ("cat/2", "cat/2/top/1.png"),
    ]
    assert [row["view_names"] for row in ds] == [["2", "10", "2"], ["1"]]
    assert [row["view_labels"] for row in ds] == [[0, 0, 1], [1]]


def test_view_labels_without_view(stream, make_tree, shown):
    ds = stream(
        make_tree("cat/1_top.png", "cat/1_side.png"), layout="{label}/{sample}_{view_label}"
    )
    assert shown(ds) == [("cat/1", "cat/1_side.png", "cat/1_top.png")]
    assert [(row["view_names"], row["view_labels"]) for row in ds] == [(["0", "0"], [0, 1])]


def test_view_names_under_view_labels(stream, make_tree, shown):
    tree = make_tree("cat/1/top/1.png", "cat/1/top/2.png", "cat/1/side/1.png")
    layout = "{label}/{sample}/{view_label}/{view}"
    ds = stream(tree, layout=layout, view_names=["top/2", "side/1"])
    assert shown(ds) == [("cat/1", "cat/1/top/2.png", "cat/1/side/1.png")]
    assert [(row["view_names"], row["view_labels"]) for row in ds] == [(["2", "1"], [1, 0])]


# --- image columns --------------------------------------------------------------------------------

MASKS = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}
PAIRS = ["cat/1/a.png", "cat/1/b.png", "cat/1/maps/b-map.png", "cat/1/maps/a-map.png"]


def test_a_dict_makes_image_columns(load, make_tree, shown):
    ds = load(make_tree(*PAIRS), layout=MASKS)
    assert ds.features["masks"] == ds.features["images"]
    assert shown(ds) == [("cat/1", "cat/1/a.png", "cat/1/b.png")]
    assert shown(ds, "masks") == [("cat/1", "cat/1/maps/a-map.png", "cat/1/maps/b-map.png")]
    assert [row["view_names"] for row in ds] == [["a", "b"]]


def test_columns_may_stand_in_trees_of_their_own(stream, make_tree, shown):
    kinds = ("rgb", "mask", "depth")
    tree = make_tree(
        *(f"{k}/{s}/cat/1/{v}.png" for k in kinds for s in ("train", "test") for v in "ab")
    )
    layout = {
        "images": "rgb/{split}/{label}/{sample}/{view}",
        "masks": "mask/{split}/{label}/{sample}/{view}",
        "depth": "depth/{split}/{label}/{sample}/{view}",
    }
    test = stream(tree, layout=layout, split="test")
    for column, kind in zip(layout, kinds, strict=True):
        here = f"{kind}/test/cat/1"
        assert shown(test, column) == [("cat/1", f"{here}/a.png", f"{here}/b.png")]


def test_the_template_with_more_literal_text_wins(stream, make_tree, shown):
    tree = make_tree("cat/1_a.png", "cat/1_a_mask.png", "cat/1_b_mask.png", "cat/1_b.png")
    layout = {"images": "{label}/{sample}_{view}", "masks": "{label}/{sample}_{view}_mask"}
    ds = stream(tree, layout=layout)
    assert shown(ds) == [("cat/1", "cat/1_a.png", "cat/1_b.png")]
    assert shown(ds, "masks") == [("cat/1", "cat/1_a_mask.png", "cat/1_b_mask.png")]


def test_a_dict_of_one_is_its_template(quick, make_tree, shown):
    ds = quick(make_tree("cat/1_a.png"), layout={"images": "{label}/{sample}_{view}"})
    assert shown(ds) == [("cat/1", "cat/1_a.png")]


def test_columns_are_joined_on_the_view_label_too(stream, make_tree, shown):
    tree = make_tree(
        "cat/1/top/1.png", "cat/1/side/1.png", "cat/1/top/1-map.png", "cat/1/side/1-map.png"
    )
    layout = "{label}/{sample}/{view_label}/{view}"
    ds = stream(tree, layout={"images": layout, "masks": layout + "-map"})
    assert shown(ds) == [("cat/1", "cat/1/side/1.png", "cat/1/top/1.png")]
    assert shown(ds, "masks") == [("cat/1", "cat/1/side/1-map.png", "cat/1/top/1-map.png")]


@pytest.mark.parametrize("lost", ["cat/1/maps/b-map.png", "cat/1/b.png"])
def test_a_view_that_lacks_in_one_column(stream, make_tree, shown, fails, lost):
    tree = make_tree(
        *(path for path in [*PAIRS, "cat/2/a.png", "cat/2/maps/a-map.png"] if path != lost)
    )
    with fails(
        "LayoutError",
        "cat/1",
        "'b'",
        "masks" if "map" in lost else "images",
        'on_missing_view="skip_sample"',
    ):
        list(stream(tree, layout=MASKS))
    ds = stream(tree, layout=MASKS, on_missing_view="skip_sample")
    assert shown(ds) == [("cat/2", "cat/2/a.png")]
    first = next(iter(stream(tree, layout=MASKS, on_missing_view="null")))
    assert first["view_names"] == ["a", "b"]
    assert (first["masks"][1] is None) == ("map" in lost)
    assert (first["images"][1] is None) == ("map" not in lost)


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ({"masks": "{label}/{sample}/{view}"}, 'with the column "images"'),
        ({"image": "{label}/{sample}/{view}"}, "Did you mean 'images'?"),
        ({"images": "{label}/{sample}/{view}", "label": "{label}/{sample}/maps/{view}"}, "label"),
        ({"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/{view}"}, "two columns"),
        (
            {"images": "{label}/{sample}/{view_label}/{view}", "masks": "{label}/{sample}/{view}"},
            "view_label",
        ),
        ({"images": "{split}/{label}/{sample}/{view}", "mask": "{label}/{sample}"}, "{split}"),
        ({"images": "{label}/{sample}", "masks": "{label}/{sample}/{view}"}, "neither {view}"),
        (["{label}/{sample}/{view}"], "dict"),
        (5, "{label}/{sample}/{view}"),
    ],
)
def test_wrong_dicts_of_templates(quick, make_tree, fails, layout, says):
    with fails("OptionError", "layout", says, path="layout"):
        list(quick(make_tree("cat/1/a.png"), layout=layout))


def test_a_file_that_fits_two_columns_equally_well(stream, make_tree, fails):
    layout = {"images": "{label}/{sample}_x{view}", "masks": "{label}/{sample}x_{view}"}
    with fails("LayoutError", "cat/1x_xa.png"):
        list(stream(make_tree("cat/1x_xa.png"), layout=layout))


# --- columns of one image a row -------------------------------------------------------------------

ONE_MASK = {"images": "{label}/{view}/{sample}", "mask": "{label}/mask/{sample}"}
CHANGES = [f"town/{view}/{sample}.png" for sample in "12" for view in ("A", "B", "mask")]


@pytest.mark.every_route
def test_a_column_without_views_is_one_image_a_row(load, make_tree, shown, seen):
    ds = load(make_tree(*CHANGES), layout=ONE_MASK)
    assert ds.features["mask"] == datasets.Image()
    assert shown(ds) == [(f"town/{n}", f"town/A/{n}.png", f"town/B/{n}.png") for n in "12"]
    assert seen([row["mask"] for row in ds]) == ["town/mask/1.png", "town/mask/2.png"]
    assert [row["view_names"] for row in ds] == [["A", "B"]] * 2


def test_options_of_views_leave_that_image_alone(stream, make_tree, shown, seen):
    tree = make_tree(*CHANGES)
    for options in ({"view_names": ["B"]}, {"num_views": 1, "view_sampling": "first"}):
        (row, _) = stream(tree, layout=ONE_MASK, **options)
        assert len(row["images"]) == 1
        assert seen([row["mask"]]) == ["town/mask/1.png"]
    (row, _) = stream(tree, layout=ONE_MASK, num_views=3, on_missing_view="null")
    assert seen(row["images"]) == ["town/A/1.png", "town/B/1.png", None]
    assert seen([row["mask"]]) == ["town/mask/1.png"]


def test_that_image_may_lack(stream, make_tree, seen, fails):
    tree = make_tree(*(path for path in CHANGES if path != "town/mask/1.png"))
    with fails(
        "LayoutError", "town/1 has no image in mask. Expected", 'on_missing_view="skip_sample"'
    ):
        list(stream(tree, layout=ONE_MASK))
    (row,) = stream(tree, layout=ONE_MASK, on_missing_view="skip_sample")
    assert row["sample_id"] == "town/2"
    rows = stream(tree, layout=ONE_MASK, on_missing_view="null")
    assert seen([row["mask"] for row in rows]) == [None, "town/mask/2.png"]


def test_that_image_of_no_sample(stream, make_tree, fails, caplog):
    tree = make_tree(*CHANGES, "town/mask/9.png")
    with fails("LayoutError", "town/9 has no image in images (but town/mask/9.png)"):
        list(stream(tree, layout=ONE_MASK))
    for how in ("null", "skip_sample"):
        rows = stream(tree, layout=ONE_MASK, on_missing_view=how)
        assert [row["sample_id"] for row in rows] == ["town/1", "town/2"]
        assert "town/mask/9.png" in caplog.text


@pytest.mark.parametrize(
    ("layout", "way_out"),
    [
        ("{*}/{sample}/{view}", "{label}/{sample}/{view}"),
        ("{*}/{*}_{sample}_{view}", "{view_label}/{*}_{sample}_{view}"),
        ("{*}/{label}/{sample}/{view}", "{view_label}/{label}/{sample}/{view}"),
    ],
)
@pytest.mark.parametrize("views", ["ab", "aa"])
def test_a_folder_that_is_part_of_no_name_parts_no_sample(
    stream, make_tree, fails, layout, way_out, views
):
    """Two samples 1 became one with the views of both, without a word."""
    below = layout.partition("/")[2].format_map(
        {"label": "any", "sample": "1", "view": "{view}", "*": "x"}
    )
    paths = [
        f"{folder}/{below}.png".format(view=view)
        for folder, view in zip(["cat", "dog"], views, strict=True)
    ]
    tree = make_tree(*paths)
    with fails("LayoutError", *paths, "one sample", layout, "{label}", "{view_label}"):
        list(stream(tree, layout=layout))
    assert len(list(stream(tree, layout=way_out))) == (2 if way_out.startswith("{label}") else 1)


def test_a_folder_that_is_part_of_no_name_may_differ_between_columns(stream, make_tree, seen):
    tree = make_tree("i/cat/1/a.png", "i/dog/2/a.png", "m/x/1/a.png", "m/x/2/a.png")
    layout = {"images": "i/{*}/{sample}/{view}", "masks": "m/{*}/{sample}/{view}"}
    rows = list(stream(tree, layout=layout))
    assert [seen(row["masks"]) for row in rows] == [["m/x/1/a.png"], ["m/x/2/a.png"]]


def test_two_of_that_image(stream, make_tree, fails):
    layout = {"images": "{label}/{sample}/{view}", "mask": "{label}/{sample}/mask{*}"}
    tree = make_tree("cat/1/a.png", "cat/1/mask1.png", "cat/1/mask2.png")
    with fails("LayoutError", "cat/1/mask1.png and cat/1/mask2.png", "the same image", "{*}"):
        list(stream(tree, layout=layout))


def test_that_image_is_unreadable(stream, make_tree, seen, fails):
    tree = make_tree(*CHANGES)
    (tree / "town/mask/1.png").write_bytes(b"no image")
    with fails("ImageError", "town/mask/1.png"):
        list(stream(tree, layout=ONE_MASK))
    with fails("ImageError", "town/1 lacks a view"):
        list(stream(tree, layout=ONE_MASK, on_error="skip_view"))
    options = {"layout": ONE_MASK, "on_error": "skip_view", "on_missing_view": "null"}
    assert seen([row["mask"] for row in stream(tree, **options)]) == [None, "town/mask/2.png"]


def test_the_layout_given_is_left_as_it_was(stream, make_tree):
    given = dict(MASKS)
    list(stream(make_tree(*PAIRS), layout=given))
    assert given == MASKS


@pytest.mark.parametrize("how", ["null", "skip_sample"])
def test_a_template_that_no_file_fits_is_told(make_tree, caplog, how):
    tree = make_tree("cat/1/a.png", "cat/1/maps/a-map.png")
    layout = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-mask"}
    options = {"data_dir": str(tree), "layout": layout, "on_missing_view": how}
    if how == "null":
        multiview_cifar.load_dataset(streaming=True, **options)
    else:  # no sample is left
        with pytest.raises(multiview_cifar.LayoutError, match="see the log"):
            multiview_cifar.load_dataset(streaming=True, **options)
    assert f"columns that no file fits (1): masks ({layout['masks']})" in caplog.text
