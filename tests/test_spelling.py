"""A misspelt name is answered with the one that was meant, wherever names are given."""

import pytest

import multiview_cifar_tools as tools
from multiview_cifar import LayoutError, load_dataset
from multiview_cifar_tools.options import load_line
from multiview_cifar_tools.spelling import nearest


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"image_sizes": 32}, "image_size"),
        ({"encoding": "jpg"}, "jpeg"),
        ({"layout": "{lable}/{sample}/{view}"}, "label"),
        ({"view_names": ["view_00"]}, "view_0"),
        ({"class_names": ["cat", "dgo"]}, "dog"),
        ({"split_names": {"trian": "train"}}, "train"),
        ({"split_ratios": {"a": 1}, "split_by": "lable"}, "label"),
    ],
)
def test_options_of_a_folder(options, meant, make_tree, fails):
    split = "train/" if "split_names" in options else ""
    tree = make_tree(f"{split}cat/1/view_0.png", f"{split}dog/1/view_0.png")
    is_name = {"view_names", "class_names", "split_names"} & {*options}
    with fails("LayoutError" if is_name else "OptionError", f"Did you mean {meant!r}? Expected "):
        load_dataset(data_dir=str(tree), **options)


@pytest.mark.parametrize(
    ("view", "near"), [("azimuth_45", None), ("azimuth_90", "azimuth_090"), ("azimut_000", "")]
)
def test_views_of_a_series_differ_by_their_numbers(view, near, make_tree):
    tree = make_tree(*(f"cat/1/azimuth_{angle:03}.png" for angle in (0, 90, 180, 270)))
    with pytest.raises(LayoutError) as caught:
        load_dataset(data_dir=str(tree), view_names=[view])
    says = "Did you mean" if not near else f"Did you mean {near!r}?"
    assert (says in str(caught.value)) == (near is not None)


def test_configs_and_repositories(fails):
    with fails("OptionError", "Did you mean 'shapes'?", path="name"):
        load_dataset("shape")
    with fails("OptionError", "datasets.load_dataset('me/photos')", path="name"):
        load_dataset("me/photos")


def test_options_of_readers(make_tree, tmp_path, fails):
    tree = make_tree("cat/1/view_0.png", "dog/1/view_0.png")
    rows = load_dataset(data_dir=str(tree), split="train", cache_dir=str(tmp_path / "cache"))
    with fails("BatchError", "Did you mean 'label'?", path="lable"):
        tools.BatchReader(rows, columns=["lable"])
    with fails("BatchError", "Did you mean 'num_views'?", path="num_view"):
        tools.TorchBatches(rows, num_view=1)
    with fails("BatchError", "DataLoader(TorchBatches(ds), batch_size=64)", path="batch_size"):
        tools.TorchBatches(rows, batch_size=2)


def test_what_readers_need_not_be_told(make_tree, fails):
    rows = load_dataset(data_dir=str(make_tree("cat/1/view_0.png")), split="train")
    for adapter in (tools.TorchLoader, tools.TorchBatches):
        with fails("BatchError", "need no workers", "prefetch of TorchLoader", path="num_workers"):
            adapter(rows, num_workers=2)
    for name in ("view_mask", "images"):
        with fails("BatchError", "images and view_mask are in every batch", path=name):
            tools.BatchReader(rows, columns=["label", name])


@pytest.mark.parametrize("of_rows", [False, True])
def test_options_of_publish(of_rows, make_tree, tmp_path, fails):
    tree = make_tree("cat/1/view_0.png")
    data = load_dataset(data_dir=str(tree)) if of_rows else tree
    with fails("OptionError", "Did you mean 'license'? Expected one of", path="licence"):
        tools.publish(data, "me/photos", licence="mit", dry_run=tmp_path / "out")
    if of_rows:
        with fails("OptionError", "is not for built rows", path="num_views"):
            tools.publish(data, "me/photos", num_views=1, dry_run=tmp_path / "out")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shape", "shapes"),
        ("phots", "photos"),
        ("photos/deep/cta/1", "photos/deep/cat/1"),
        ("photo.zip", "photos.zip"),
    ],
)
@pytest.mark.parametrize("verb", ["build", "plan", "check", "preview", "stats"])
def test_places(verb, typed, meant, make_tree, tmp_path, run):
    make_tree("deep/cat/1/view_0.png")
    (tmp_path / "photos.zip").touch()
    done = run(verb, typed)
    assert done.returncode == 2
    assert f"Did you mean {meant!r}?" in done.stderr.splitlines()[-1]


def test_a_misspelt_option_is_answered_with_one(run):
    done = run("build", "shapes", "--imagesize", "3")
    assert "No such option: --imagesize. Did you mean --image-size? See" in done.stderr


def test_a_layout_error_names_the_command_that_says_more(make_tree, fails):
    tree = make_tree("a b/c/d/e/1.png")
    with fails("LayoutError", "To see more, run `multiview-cifar plan '"):
        load_dataset(data_dir=str(tree / "a b"))


def test_a_load_line_shows_values_as_they_are():
    line = load_line({"data_dir": "photos", "image_size": (32, 32), "view_names": ["a"]})
    assert line.endswith("image_size=(32, 32), view_names=['a'])")


def test_numbers_of_any_length_are_compared():
    names = [f"view_{'9' * 5000}", "view_1"]  # more digits than int() takes
    assert nearest("view_2", names) is None
    assert nearest("view_01", names) == "view_1"
