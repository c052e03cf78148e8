"""Each option: what it does, and what is said where its value or its name is wrong."""

import itertools
from collections import defaultdict
from operator import itemgetter

import pytest


def names(ds):
    return [row["view_names"] for row in ds]


# --- class_names ----------------------------------------------------------------------------------

CLASSES = ["cat/1/a.png", "dog/1/a.png", "elk/1/a.png"]


@pytest.mark.parametrize(
    ("class_names", "expected", "labels"),
    [
        (None, ["cat", "dog", "elk"], [0, 1, 2]),
        (["elk", "dog", "cat"], ["elk", "dog", "cat"], [2, 1, 0]),
        (("dog", "elk", "cat"), ["dog", "elk", "cat"], [2, 0, 1]),
        ({"elk": "moose", "cat": "tom", "dog": "rex"}, ["moose", "tom", "rex"], [1, 2, 0]),
        ({"elk": "wild", "cat": "pet", "dog": "pet"}, ["wild", "pet"], [1, 1, 0]),
    ],
)
def test_class_names(stream, make_tree, class_names, expected, labels):
    ds = stream(make_tree(*CLASSES), class_names=class_names)
    assert ds.features["label"].names == expected
    assert {row["sample_id"]: row["label"] for row in ds} == dict(
        zip(["cat/1", "dog/1", "elk/1"], labels, strict=True)
    )


def test_a_class_folder_left_out(stream, make_tree, fails):
    with fails("LayoutError", "class_names", "elk", path="elk"):
        list(stream(make_tree(*CLASSES), class_names=["cat", "dog"]))


@pytest.mark.parametrize("class_names", [["dog", "cat"], {"dog": "rex", "cat": "tom"}])
def test_other_classes_are_skipped_when_asked_for(load, make_tree, class_names, caplog):
    tree = make_tree(*CLASSES, "dog/1/b.png", "elk/2/")  # of elk not even the views count
    options = {"class_names": class_names, "on_error": "skip_sample", "view_names": ["a"]}
    ds = load(tree, other_classes="skip", **options)
    names = class_names if isinstance(class_names, list) else [*class_names.values()]
    assert ds.features["label"].names == names
    assert [(row["sample_id"], row["label"]) for row in ds] == [("cat/1", 1), ("dog/1", 0)]
    assert "samples of classes that class_names leaves out (1): train/elk/1" in caplog.text


def test_other_classes_want_class_names(stream, make_tree, fails):
    with fails("OptionError", "other_classes='skip'", "class_names", path="other_classes"):
        list(stream(make_tree(*CLASSES), other_classes="skip"))
    with fails("LayoutError", "'eel'", path="eel"):
        list(stream(make_tree(*CLASSES), class_names=["eel"], other_classes="skip"))


@pytest.mark.parametrize("class_names", [["cat", "dog", "elk", "eel"], {"eel": "fish"}])
def test_a_class_name_without_folder(stream, make_tree, fails, class_names):
    with fails("LayoutError", "class_names", "eel", "cat", "dog", "elk", path="eel"):
        list(stream(make_tree(*CLASSES), class_names=class_names))


# --- view_names and on_missing_view ---------------------------------------------------------------

RAGGED = ["cat/1/a.png", "cat/1/b.png", "cat/1/c.png", "cat/2/a.png"]


def test_view_names_choose_and_order(load, make_tree, shown):
    ds = load(make_tree(*RAGGED[:3]), view_names=["c", "a"])
    assert shown(ds) == [("cat/1", "cat/1/c.png", "cat/1/a.png")]
    assert names(ds) == [["c", "a"]]


def test_a_view_name_that_no_sample_has(stream, make_tree, fails):
    with fails("LayoutError", "view_names", "'front'", "'a', 'b', 'c'", path="front"):
        list(stream(make_tree(*RAGGED), view_names=["a", "front"]))


@pytest.mark.every_route
def test_on_missing_view_raise(load, make_tree, fails):
    with fails("LayoutError", "cat/2", "'b'", 'on_missing_view="skip_sample"', "null"):
        list(load(make_tree(*RAGGED), view_names=["b", "a"]))


def test_on_missing_view_skip_sample(load, make_tree, shown, caplog):
    ds = load(make_tree(*RAGGED), view_names=["b", "a"], on_missing_view="skip_sample")
    assert shown(ds) == [("cat/1", "cat/1/b.png", "cat/1/a.png")]
    assert "cat/2" in caplog.text


def test_on_missing_view_null(load, make_tree, shown):
    ds = load(make_tree(*RAGGED), view_names=["b", "a"], on_missing_view="null")
    assert shown(ds)[1] == ("cat/2", None, "cat/2/a.png")
    assert names(ds) == [["b", "a"], ["b", "a"]]


def test_a_row_left_without_views_is_skipped(load, make_tree, shown, caplog):
    ds = load(make_tree(*RAGGED), view_names=["b"], on_missing_view="null")
    assert shown(ds) == [("cat/1", "cat/1/b.png")]
    assert "cat/2" in caplog.text


def test_without_view_names_samples_may_differ_in_views(load, make_tree):
    assert names(load(make_tree(*RAGGED))) == [["a", "b", "c"], ["a"]]


# --- num_views, view_sampling, seed ---------------------------------------------------------------

RING = [f"cat/{sample}/{view}.png" for sample in range(12) for view in range(12)]


def drawn(ds):
    return {row["sample_id"]: row["view_names"] for row in ds}


def test_first_views(stream, make_tree):
    ds = stream(make_tree(*RING[:24]), num_views=5, view_sampling="first")
    assert names(ds) == [["0", "1", "2", "3", "4"]] * 2


@pytest.mark.parametrize("k", [1, 2, 3, 5, 11, 12])
def test_even_views_are_spread(quick, make_tree, k):
    row = next(iter(quick(make_tree(*RING[:12]), num_views=k)))
    chosen = [int(view) for view in row["view_names"]]
    gaps = [b - a for a, b in itertools.pairwise(chosen)]
    assert len(chosen) == k
    assert chosen[0] == 0
    assert all(gap > 0 for gap in gaps)
    assert max(gaps, default=1) - min(gaps, default=1) <= 1


def test_random_views_depend_on_seed_and_sample_only(load, make_tree):
    options = {"num_views": 4, "view_sampling": "random"}
    tree = make_tree(*RING)
    every = drawn(load(tree, **options))
    assert every == drawn(load(tree, **options, seed=0))
    assert every != drawn(load(tree, **options, seed=1))
    assert len({tuple(views) for views in every.values()}) > 1
    assert all(sorted(views, key=int) == views for views in every.values())
    assert all(len(set(views)) == 4 for views in every.values())
    few = drawn(load(make_tree(*RING[:24], under="fewer"), **options))
    assert few == {sample_id: every[sample_id] for sample_id in few}


def test_num_views_takes_of_view_names(stream, make_tree, shown):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/1/c.png")
    ds = stream(tree, view_names=["c", "b", "a"], num_views=2, view_sampling="first")
    assert shown(ds) == [("cat/1", "cat/1/c.png", "cat/1/b.png")]


def test_num_views_keeps_columns_aligned(load, make_tree, shown):
    tree = make_tree(*(f"cat/1/{kind}{view}.png" for kind in "xm" for view in range(6)))
    layout = {"images": "{label}/{sample}/x{view}", "masks": "{label}/{sample}/m{view}"}
    ds = load(tree, layout=layout, num_views=2, view_sampling="random", seed=1)
    (views,) = names(ds)
    assert shown(ds) == [("cat/1", *(f"cat/1/x{view}.png" for view in views))]
    assert shown(ds, "masks") == [("cat/1", *(f"cat/1/m{view}.png" for view in views))]


def test_fewer_than_num_views_raises(stream, make_tree, fails):
    with fails("LayoutError", "cat/2", "1 of 2 views", "on_missing_view="):
        list(stream(make_tree(*RAGGED), num_views=2))


def test_fewer_than_num_views_skips(stream, make_tree, shown):
    ds = stream(
        make_tree(*RAGGED), num_views=2, view_sampling="first", on_missing_view="skip_sample"
    )
    assert shown(ds) == [("cat/1", "cat/1/a.png", "cat/1/b.png")]


def test_fewer_than_num_views_pads(load, make_tree, shown):
    tree = make_tree("cat/1/top/a.png", "cat/1/top/b.png", "cat/2/top/a.png")
    layout = "{label}/{sample}/{view_label}/{view}"
    ds = load(tree, layout=layout, num_views=2, on_missing_view="null")
    assert shown(ds)[1] == ("cat/2", "cat/2/top/a.png", None)
    assert names(ds) == [["a", "b"], ["a", None]]
    assert [row["view_labels"] for row in ds] == [[0, 0], [0, None]]


# --- split_ratios ---------------------------------------------------------------------------------

MANY = [f"{label}/{sample}/a.png" for label in ("cat", "dog") for sample in range(30)]


def split_of(splits):
    return {row["sample_id"]: name for name, ds in splits.items() for row in ds}


def test_split_ratios(load, make_tree):
    splits = load(make_tree(*MANY), split=None, split_ratios={"train": 0.75, "test": 0.25})
    assert list(splits) == ["train", "test"]
    where = split_of(splits)
    assert len(where) == sum(len(list(ds)) for ds in splits.values()) == 60
    assert 33 <= sum(split == "train" for split in where.values()) <= 57  # 45 on average
    assert {i.partition("/")[0] for i, split in where.items() if split == "test"} == {"cat", "dog"}


def test_split_ratios_move_no_sample_when_others_come(load, make_tree):
    options = {"split": None, "split_ratios": {"train": 0.5, "validation": 0.25, "test": 0.25}}
    few = split_of(load(make_tree(*MANY[:20], under="few"), **options))
    every = split_of(load(make_tree(*MANY), **options))
    assert len(set(few.values())) == 3
    assert few == {sample_id: every[sample_id] for sample_id in few}


def test_split_ratios_follow_the_seed(quick, make_tree):
    options = {"split": None, "split_ratios": {"train": 0.5, "test": 0.5}}
    tree = make_tree(*MANY)
    assert split_of(quick(tree, **options, seed=1)) != split_of(quick(tree, **options))


def test_split_ratios_take_names_of_your_own(quick, make_tree):
    ratios = {"one": 1 / 3, "two": 1 / 3, "three": 1 / 3}
    assert set(quick(make_tree(*MANY), split=None, split_ratios=ratios)) == set(ratios)


HALVES = {"train": 0.5, "test": 0.5}


def write_patients(tree, line="{sample},P{number}\n", header="sample_id,patient\n"):
    """Six samples a patient, of either class."""
    samples = [path.rpartition("/")[0] for path in MANY]
    numbers = [int(sample.rpartition("/")[2]) // 3 for sample in samples]
    lines = [line.format(sample=s, number=n) for s, n in zip(samples, numbers, strict=True)]
    (tree / "metadata.csv").write_text(header + "".join(lines))


def splits_of_groups(splits, group_of):
    """In which splits each group stands."""
    found = defaultdict(set)
    for split, ds in splits.items():
        for row in ds:
            found[group_of(row)].add(split)
    return found


def test_groups_stay_in_one_split(load, make_tree):
    tree = make_tree(*MANY)
    write_patients(tree)
    options = {"split": None, "split_ratios": HALVES}
    assert (
        max(map(len, splits_of_groups(load(tree, **options), itemgetter("patient")).values())) == 2
    )
    splits = load(tree, **options, split_by="patient")
    found = splits_of_groups(splits, itemgetter("patient"))
    assert len(found) == 10
    assert {len(names) for names in found.values()} == {1}
    assert set(splits) == {"train", "test"}


def test_what_groups_can_be(quick, make_tree):
    tree, options = make_tree(*MANY), {"split": None, "split_ratios": HALVES}
    number = lambda row: row["sample_id"].partition("/")[2]  # noqa: E731
    by_name = splits_of_groups(quick(tree, **options, split_by="sample"), number)
    assert len(by_name) == 30
    assert {len(names) for names in by_name.values()} == {1}
    options |= {"split_by": "label", "seed": 1}
    by_class = splits_of_groups(quick(tree, **options), itemgetter("label"))
    assert sorted(map(sorted, by_class.values())) == [["test"], ["train"]]
    options |= {"layout": "{*}/{sample}/{view}", "label_column": "kind"}
    samples = {path.split("/")[1] for path in MANY}
    few = make_tree(*(f"all/{sample}/a.png" for sample in samples), under="few")
    lines = "".join(f"{sample},{'odd' if int(sample) % 2 else 'even'}\n" for sample in samples)
    (few / "metadata.csv").write_text(f"sample,kind\n{lines}")
    by_class = splits_of_groups(quick(few, **options | {"seed": 0}), itemgetter("label"))
    assert {len(names) for names in by_class.values()} == {1}


def test_a_group_a_view(quick, make_tree, fails):
    tree = make_tree(*MANY)
    write_patients(tree, "{sample},a,{number}\n", "sample_id,view,patient\n")
    options = {"split": None, "split_ratios": HALVES, "split_by": "patient"}
    found = splits_of_groups(quick(tree, **options), lambda row: row["patient"][0])
    assert {len(names) for names in found.values()} == {1}
    make_tree("cat/0/b.png")
    with open(tree / "metadata.csv", "a") as file:
        file.write("cat/0,b,7\n")
    with fails("LayoutError", "cat/0 has 0, 7", "one for all its views", path="cat/0"):
        quick(tree, **options)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"split_by": "patient"}, "OptionError", ["split_by='patient'", "split_ratios="]),
        ({"split_by": "person"}, "OptionError", ["'person' is not a column", "'patient', 'label'"]),
        ({"split_by": "patient", "drop_metadata": True}, "OptionError", ["'label', 'sample'"]),
        ({"split_by": "patient"}, "LayoutError", ["2 samples have none (cat/1, dog/1)"]),
        ({"split_by": ""}, "OptionError", ["the name of a column"]),
        ({"split_by": ["patient"]}, "OptionError", ["the name of a column"]),
    ],
)
def test_groups_that_are_not_there(quick, make_tree, fails, options, kind, says):
    tree = make_tree("cat/0/a.png", "cat/1/a.png", "dog/1/a.png")
    (tree / "metadata.csv").write_text("sample_id,patient\ncat/0,P1\ncat/1,\ndog/1,\n")
    ratios = {} if "split_ratios=" in says[-1] else {"split_ratios": HALVES}
    with fails(kind, *says):
        quick(tree, **ratios, **options)


@pytest.mark.parametrize("layout", [None, "{split}/{label}/{sample}/{view}"])
def test_split_ratios_for_a_tree_with_splits(stream, make_tree, fails, layout):
    with fails("OptionError", "split_ratios", "split folders", path="split_ratios"):
        list(stream(make_tree("train/cat/1/a.png"), layout=layout, split_ratios={"train": 1.0}))


@pytest.mark.parametrize(
    ("options", "log"),
    [
        ({"view_names": ["a", "d"]}, "train/cat/1 has no 'd'"),
        (
            {"layout": {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/m/{view}"}},
            "train/cat/1 has no 'a', 'b', 'c' in masks, ",
        ),
    ],
)
@pytest.mark.parametrize("ratios", [None, {"train": 0.5, "test": 0.5}])
def test_no_sample_is_left(stream, make_tree, fails, caplog, options, log, ratios):
    options = options | {"on_missing_view": "skip_sample", "split_ratios": ratios}
    with fails("LayoutError", "'train'", "none of the 0 samples left. Expected one: see the log"):
        list(stream(make_tree(*RAGGED, "cat/3/d.png"), **options))
    assert log in caplog.text


def test_no_sample_of_a_named_split_is_left(stream, make_tree, fails, caplog):
    names = {"split_names": {"a": "train"}, "view_names": ["a", "b"]}
    with fails("LayoutError", "none of the 0 samples left"):
        tree = make_tree("a/cat/1/a.png", "a/cat/2/b.png")
        list(stream(tree, on_missing_view="skip_sample", **names))
    assert "a/cat/1 has no 'b'" in caplog.text


def test_split_ratios_that_leave_a_split_empty(load, make_tree, fails, tmp_path):
    says = "'test' gets none of the 1 samples left. Expected a larger share in split_ratios"
    with fails("LayoutError", says, "or another seed"):
        list(load(make_tree("cat/1/a.png"), split_ratios={"train": 0.999, "test": 0.001}))
    assert not list(tmp_path.glob("cache/**/*.arrow"))


# --- wrong values and names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("on_missing_view", "skip", ["'raise'", "'skip_sample'", "'null'"]),
        ("view_sampling", "middle", ["'first'", "'even'", "'random'"]),
        ("on_missing_metadata", "skip", ["'raise'", "'null'"]),
        ("drop_metadata", "true", ["True or False"]),
        ("drop_metadata", 1, ["True or False"]),
        ("scaled_decode", 1, ["True or False"]),
        ("verify", "full", ["'signature'", "'decode'", "'none'"]),
        ("verify", True, ["'signature'", "'decode'", "'none'"]),
        ("on_error", "skip", ["'raise'", "'skip_view'", "'skip_sample'"]),
        ("on_error", ["raise"], ["'raise'", "'skip_view'", "'skip_sample'"]),
        ("pages", "all", ["'raise'", "'first'", "'views'"]),
        ("mode", "rgb", ["'RGB'", "'L'"]),
        ("resize", "fit", ["'stretch'", "'crop'", "'pad'"]),
        ("encoding", "bmp", ["'png'", "'jpeg'", "'webp'"]),
        ("num_views", 0, [">= 1"]),
        ("num_views", 2.0, [">= 1"]),
        ("num_views", True, [">= 1"]),
        ("seed", "one", [">= 0"]),
        ("image_size", True, ["(height, width)", "32 for a square"]),
        ("image_size", (32,), ["(height, width)"]),
        ("image_size", (0, 32), ["(height, width)"]),
        ("image_size", "32", ["(height, width)"]),
        ("value_range", (400, -160), ["(low, high)", "the lower one first"]),
        ("value_range", (0, 0), ["(low, high)"]),
        ("value_range", (0, float("inf")), ["(low, high)"]),
        ("value_range", (float("nan"), 1), ["(low, high)"]),
        ("value_range", [0, "1"], ["(low, high)"]),
        ("value_range", (0, 1, 2), ["(low, high)"]),
        ("value_range", 255, ["(low, high)"]),
        ("class_names", "cat", ["list", "dict"]),
        ("class_names", [], ["list", "dict"]),
        ("class_names", ["cat", "cat"], ["different"]),
        ("class_names", {"cat": 1}, ["dict"]),
        ("view_names", "front", ["list"]),
        ("view_names", ["a", "a"], ["different"]),
        ("view_names", [1, 2], ["list"]),
        ("split_ratios", {"train": 0.8, "test": 0.1}, ["add up to 1"]),
        ("split_ratios", {"train": 1.0, "test": 0.0}, ["add up to 1"]),
        ("split_ratios", {"my split": 1.0}, ["train"]),
        ("split_ratios", {"train": "all"}, ["add up to 1"]),
        ("split_ratios", {1: 1.0}, ["train"]),
        ("split_ratios", [0.8, 0.2], ["add up to 1"]),
    ],
)
def test_a_wrong_value_gets_the_right_ones(quick, make_tree, fails, option, value, right):
    with fails("OptionError", option, repr(value), *right, path=option):
        quick(make_tree("cat/1/a.png"), **{option: value})


@pytest.mark.every_route
def test_a_wrong_value_on_every_route(load, make_tree, fails):
    with fails("OptionError", "verify='full'", "'signature', 'decode', 'none'", path="verify"):
        load(make_tree("cat/1/a.png"), verify="full")


def test_no_jpeg_is_transparent(quick, make_tree, fails):
    with fails("OptionError", "encoding='jpeg'", 'mode="RGBA"', path="encoding"):
        quick(make_tree("cat/1/a.png"), encoding="jpeg", mode="RGBA")
    (row,) = quick(make_tree("cat/1/a.png"), encoding="webp", mode="RGBA")
    assert row["images"][0].format == "WEBP"


def test_resize_needs_a_size(quick, make_tree, fails):
    with fails("OptionError", "resize", "image_size", path="resize"):
        quick(make_tree("cat/1/a.png"), resize="crop")


def test_a_scaled_decode_needs_a_size(quick, make_tree, fails):
    with fails("OptionError", "scaled_decode=True", "image_size=(height, w", path="scaled_decode"):
        quick(make_tree("cat/1/a.png"), scaled_decode=True, mode="RGB")


@pytest.mark.parametrize("name", ["veiw_names", "transform"])
def test_a_wrong_option_name_gets_the_right_ones(stream, make_tree, fails, name):
    with fails("OptionError", name, "view_names", "num_views", "layout", path=name):
        stream(make_tree("cat/1/a.png"), **{name: 1})


def test_lists_do_where_tuples_do(quick, make_tree):
    row = next(iter(quick(make_tree("cat/1/a.png"), image_size=[6, 8])))
    assert row["images"][0].size == (8, 6)
