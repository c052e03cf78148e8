"""Public sets: the line of each on a tree of its own names, how `plan` greets it, and the page."""

import itertools
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import REPOSITORY
from multiview_cifar import FileListing, scan_folder
from multiview_cifar_tools.planning import recognition
from multiview_cifar_tools.planning.known_sets import KNOWN_SETS
from multiview_cifar_tools.planning.recognition import find_known_set
from multiview_cifar_tools.planning.report import plan
from plans import WHOLE, within
from sampling import examples
from write_datasets_page import page

BY_NAME = {known.name: known for known in KNOWN_SETS}


def expand(text):
    """a{1,2}.png is a1.png and a2.png."""
    parts = [part.split(",") for part in re.split(r"[{}]", text)]
    choices = [part if i % 2 else [",".join(part)] for i, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def files_of(known):
    return list(itertools.chain.from_iterable(map(expand, known.files)))


def shown_rows(splits):
    """Each row as "split sample_id: view view", with the view_label before a view that has one."""
    for split, rows in splits.items():
        labels = rows.features.get("view_labels")
        for row in rows:
            views = row["view_names"]
            if labels:
                names = map(labels.feature.int2str, row["view_labels"])
                views = map("/".join, zip(names, views, strict=True))
            yield f"{split} {row['sample_id']}: {' '.join(views)}"


def listing_of(data_dir, paths):
    """What `scan_folder` would list, without a file on disk."""
    return FileListing(data_dir, paths=sorted(paths))


@pytest.mark.parametrize("known", KNOWN_SETS, ids=BY_NAME)
def test_a_line_loads_its_set(known, make_tree, quick):
    tree = make_tree(*files_of(known), under=known.folder)
    assert list(shown_rows(quick(tree, split=None, **known.options))) == known.example
    assert find_known_set(scan_folder(str(tree))) == (known, str(tree))


def test_folders_around_a_set_are_passed_over():
    known = BY_NAME["UCF-101, frames"]
    within_folders = [f"Downloads/{known.folder}/{path}" for path in files_of(known)]
    found = find_known_set(listing_of("/data", within_folders))
    assert found == (known, f"/data/Downloads/{known.folder}")


@pytest.mark.parametrize("more", ["cat/1/front.png", "front.png", "train/0/1/2/3/4.png"])
def test_one_image_more_makes_it_another_folder(more):
    for known in KNOWN_SETS:
        assert find_known_set(listing_of(f"/{known.folder}", [*files_of(known), more])) is None


def test_any_other_file_may_stand_in_a_set():
    for known in KNOWN_SETS:
        files = ["README", *files_of(known), "0/notes.txt"]
        assert find_known_set(listing_of(f"/{known.folder}", files)).known is known


def test_names_that_say_too_little_count_in_a_folder_of_the_sets_name_alone(monkeypatch):
    known = replace(BY_NAME["HPatches, sequences"], named=True)
    monkeypatch.setattr(recognition, "KNOWN_SETS", [known])
    assert find_known_set(listing_of(f"/data/{known.folder}", files_of(known))).known is known
    assert find_known_set(listing_of("/data", [f"{known.folder}/v_woman/1.ppm"])).known is known
    assert find_known_set(listing_of("/data/photos", files_of(known))) is None


USUAL = st.sampled_from(["cat", "dog", "apple", "car_1", "n01440764", "001", "0", "12", "test"])
SAMPLES = st.sampled_from(["0001", "1", "cat_1", "00017", "sample_a", "s1", "000001", "a"])
VIEWS = st.sampled_from(["view_0", "0", "front", "00", "left", "000001", "image1", "img_2", "A"])


PATHS = st.lists(st.tuples(USUAL, SAMPLES, VIEWS), min_size=1, max_size=3, unique=True)


@examples(100)
@given(PATHS, st.booleans())
def test_the_usual_trees_are_greeted_by_no_name(paths, with_split):
    images = ["/".join(path) + ".png" for path in paths]
    images = [f"train/{image}" for image in images] if with_split else images
    assert find_known_set(listing_of("/data/photos", images)) is None


def test_plan_greets_a_set_by_its_name_and_line(make_tree, run):
    known = BY_NAME["HPatches, sequences"]
    tree = make_tree(*files_of(known), under=known.folder)
    shown = run("plan", known.folder)
    assert shown.stdout.startswith(f"known set\n  {known.name}, {known.home}, licence: MIT\n")
    report = json.loads(run("plan", known.folder, "--json").stdout)
    assert report["known_set"]["load"] in shown.stdout
    names = {}
    exec(report["known_set"]["load"], names)
    assert list(shown_rows(names["ds"])) == known.example
    assert plan(tree, layout="{label}_{sample}/{view}").known_set == {}


def test_plan_greets_no_usual_tree(make_tree, run):
    make_tree(*within("train", WHOLE))
    assert "known set" not in run("plan", "photos").stdout


def test_the_page_is_current():
    written = (REPOSITORY / "docs" / "datasets.md").read_text()
    assert written == page(), "run python scripts/write_datasets_page.py docs/datasets.md"
