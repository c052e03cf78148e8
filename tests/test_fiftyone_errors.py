"""What `to_fiftyone` says of what it cannot show; FiftyOne is not needed for it."""

import importlib.util

import pytest

from multiview_cifar import OptionError
from multiview_cifar_tools import to_fiftyone


@pytest.mark.skipif(importlib.util.find_spec("fiftyone") is not None, reason="FiftyOne is here")
def test_without_fiftyone(make_tree):
    with pytest.raises(ImportError, match=r'pip install "multiview-cifar\[fiftyone\]"'):
        to_fiftyone(make_tree("cat/1/a.png"))


def test_what_is_no_folder_of_files():
    with pytest.raises(OptionError, match=r"not each view of shapes is one. Expected a folder"):
        to_fiftyone("shapes")


def test_pages_are_no_files(make_tree):
    with pytest.raises(OptionError, match="without pages='views'"):
        to_fiftyone(make_tree("cat/1/a.png"), pages="views")
