"""A misspelt name is answered with the one that was meant, wherever names are given."""

import pytest

import multiview_cifar_tools as tools
from multiview_cifar import load_dataset
from multiview_cifar_tools.options import load_line


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


def test_a_layout_error_names_the_command_that_says_more(make_tree, fails):
    tree = make_tree("a b/c/d/e/1.png")
    with fails("LayoutError", "To see more, run `multiview-cifar plan '"):
        load_dataset(data_dir=str(tree / "a b"))


def test_a_load_line_shows_values_as_they_are():
    line = load_line({"data_dir": "photos", "image_size": (32, 32), "view_names": ["a"]})
    assert line.endswith("image_size=(32, 32), view_names=['a'])")
