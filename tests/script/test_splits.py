"""What `load_dataset` says of a split that is not there, before anything is built."""

import pytest

import multiview_cifar
from multiview_cifar import OptionError, load_dataset

STREAMS = pytest.mark.parametrize("streaming", [False, True])


@pytest.fixture
def tree(make_tree):
    return make_tree("train/cat/1/a.png", "train/cat/2/a.png", "test/cat/3/a.png")


def load(tree, split, streaming=False):
    return load_dataset(data_dir=str(tree), split=split, streaming=streaming)


@STREAMS
def test_a_misspelt_split(tree, streaming, monkeypatch):
    monkeypatch.setattr(multiview_cifar, "read_example", None)  # nothing is read
    with pytest.raises(OptionError) as caught:
        load(tree, "trian", streaming)
    assert str(caught.value) == (
        "There is no split 'trian'. Did you mean 'train'? Expected 'train' or 'test'."
    )
    assert caught.value.path == "split"


@STREAMS
@pytest.mark.parametrize("split", ["train[:10%", "train[5]", "", "train+", "train [:3]"])
def test_no_part_of_a_split(tree, split, streaming):
    with pytest.raises(OptionError, match="Expected 'train' or 'test'"):
        load(tree, split, streaming)


@pytest.mark.parametrize("split", ["test[:10]+trian[:1]", ["train", "trian"]])
def test_a_misspelt_split_among_others(tree, split):
    with pytest.raises(OptionError, match="no split 'trian'"):
        load(tree, split)


@STREAMS
def test_a_tree_without_splits(make_tree, streaming):
    with pytest.raises(OptionError, match="this tree has no splits, split_ratios="):
        load(make_tree("cat/1/a.png"), "test", streaming)


@STREAMS
def test_a_misspelt_split_of_a_config(streaming):
    with pytest.raises(OptionError, match="Did you mean 'test'"):
        load_dataset("shapes", split="tset", streaming=streaming)


def test_a_part_of_a_stream(tree):
    with pytest.raises(OptionError, match="a stream has no parts"):
        load(tree, "train[:1]", streaming=True)


def test_right_splits(tree):
    assert load(tree, "train[:1]+test").num_rows == 2
    assert load(tree, "all").num_rows == 3
    assert [ds.num_rows for ds in load(tree, ["train", "test"])] == [2, 1]
    with pytest.raises(OptionError):  # also once the cache is there
        load(tree, "trian")


def test_the_list_of_options_has_what_can_be_given():
    with pytest.raises(OptionError) as caught:
        load_dataset("shapes", image_sise=32)
    text = str(caught.value)
    assert "Did you mean 'image_size'?" in text
    listed = text.partition("Expected one of ")[2].rstrip(".").split(", ")
    assert {"data_files", "split", "streaming", "storage_options", "layout", "seed"} <= {*listed}
    assert not {"version", "description", "options"} & {*listed}
