"""What results show of themselves: a few lines in Python, lines and tables in a notebook."""

import re

import PIL.Image
import pytest

from multiview_cifar import load_dataset
from multiview_cifar_tools import build_shards, channel_stats, check, open_engine, plan, preview
from multiview_cifar_tools.spelling import quantity


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """800 samples, one class of which is called as no HTML is."""
    place = tmp_path_factory.mktemp("reports") / "photos"
    for label in ("cat", "<b>dog"):
        for sample in range(400):
            view = place / label / f"{sample:03}" / "front.png"
            view.parent.mkdir(parents=True)
            PIL.Image.new("RGB", (4, 4), (sample % 256, len(label), 0)).save(view)
    return str(place)


def make_results(folder, place):
    rows = load_dataset(data_dir=folder, split="train", cache_dir=str(place / "cache"))
    with open_engine(num_proc=1) as engine:
        built = build_shards(folder, str(place / "built"), engine=engine)
    yield "plan", plan(folder), ["800 samples of 2 classes, 800 images", "{label}/{sample}/{view}"]
    yield "check", check(folder), ["Checked 800 images of 800 samples"]
    yield "preview", preview(rows, str(place / "page.html")), ["800 samples, 800 images"]
    yield "build", built, ["800 samples in 1 shard, "]
    yield "stats", channel_stats(rows), ["800 images of 800 samples, uint8", "mean=["]


def test_results_are_short(folder, tmp_path):
    for name, result, expected in make_results(folder, tmp_path):
        shown, page = repr(result), result._repr_html_()
        assert len(shown) < 2000, name
        assert len(page) < 60_000, name
        for text in expected:
            assert text in shown, name
            assert text in page, name
        assert "<b>dog" not in page, name
        assert ("&lt;b&gt;dog" in page) == (name in ("plan", "check", "stats")), name
        assert bool(re.search(r'<img src="data:image/png;base64,\w', page)) == (name == "preview")


def test_a_plan_that_fails_says_why(tmp_path):
    (tmp_path / "notes.txt").touch()
    report = plan(str(tmp_path))
    assert "problem: " in repr(report)
    assert "holds no images" in report._repr_html_()


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "sample", "0 samples"),
        (1, "sample", "1 sample"),
        (2000, "image", "2,000 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
    ],
)
def test_nouns_follow_their_number(number, noun, text):
    assert quantity(number, noun) == text
