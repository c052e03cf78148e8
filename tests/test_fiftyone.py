"""`to_fiftyone`, and its section of docs/other_tools.md; `nox -s fiftyone` runs this.

A dataset needs FiftyOne's database: MongoDB on 127.0.0.1, which comes with it where it can be
downloaded, or the one at FIFTYONE_DATABASE_URI. Without it the views are tested alone.
"""

import datetime
import importlib.util
import os
import re
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from doc_pages import run_blocks, sections
from multiview_cifar import OptionError
from multiview_cifar_tools import export, load, to_fiftyone
from multiview_cifar_tools.fiftyone_groups import iter_views
from multiview_cifar_tools.planning.table import plan_source

if importlib.util.find_spec("fiftyone") is None:
    pytest.skip("FiftyOne is not installed: nox -s fiftyone", allow_module_level=True)


@pytest.fixture(scope="module")
def fiftyone(tmp_path_factory):
    """The library, which warns when it is imported."""
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
    os.environ["FIFTYONE_DATABASE_DIR"] = str(tmp_path_factory.mktemp("fiftyone"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fiftyone
    return fiftyone


@pytest.fixture
def database(fiftyone):
    """FiftyOne with its database."""
    from fiftyone.core.config import FiftyOneConfigError

    try:
        fiftyone.list_datasets()
    except FiftyOneConfigError as error:
        pytest.skip(f"no database: {error}")
    yield fiftyone
    if fiftyone.dataset_exists("photos"):
        fiftyone.delete_dataset("photos")


# --- the views, which need no database ------------------------------------------------------------


@pytest.fixture
def views(fiftyone, tmp_path):
    """views(tree): of each view its path, group, slice, and its other fields."""

    def read(tree, **options):
        found, groups = [], {}
        for view in iter_views(plan_source(str(tree), **options)):
            path = os.path.relpath(view.filepath, tree)
            found.append((path, groups.setdefault(view.group.id, len(groups)), view.group.name))
        return found

    return read


def test_a_group_for_each_sample_and_a_slice_for_each_view(views, make_tree):
    paths = [f"{s}/{v}.png" for s in ("test/cat/1", "train/cat/1", "train/dog/7") for v in "ab"]
    paths = [paths[i] for i in (2, 3, 4, 5, 0, 1)]  # train before test
    expected = [(path, i // 2, "ab"[i % 2]) for i, path in enumerate(paths)]
    assert views(make_tree(*paths)) == expected


def test_the_fields_of_a_view(fiftyone, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/1/maps/a.png", "cat/1/maps/b.png")
    (tree / "metadata.csv").write_text("sample_id,weight\ncat/1,4.5\n")
    layout = {"masks": "{label}/{sample}/maps/{view}", "images": "{label}/{sample}/{view}"}
    first, second = iter_views(plan_source(str(tree), layout=layout))
    assert first.tags == ["train"]
    assert (first.ground_truth.label, first.sample_id, first.view_name) == ("cat", "cat/1", "a")
    assert (first.weight, second.weight) == (4.5, 4.5)
    assert isinstance(second.masks, fiftyone.Segmentation)
    assert second.masks.mask_path == str(tree / "cat/1/maps/b.png")


def test_metadata_of_each_view(make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png")
    lines = ["sample_id,view,angle,time", "cat/1,a,0,12:30:00", "cat/1,b,90,12:31:00"]
    (tree / "metadata.csv").write_text("\n".join(lines))
    found = [(view.angle, view.time) for view in iter_views(plan_source(str(tree)))]
    assert found == [(0, "12:30:00"), (90, "12:31:00")]


def test_a_view_that_is_missing(views, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/2/b.png")
    found = views(tree, view_names=["a", "b"], on_missing_view="null")
    assert found[1:] == [("cat/1/b.png", 0, "b"), ("cat/2/b.png", 1, "b")]


def test_views_with_labels(views, make_tree):
    tree = make_tree("left/cat/1/a.png", "right/cat/1/a.png")
    found = views(tree, layout="{view_label}/{label}/{sample}/{view}")
    assert [name for _, _, name in found] == ["left/a", "right/a"]


@pytest.mark.parametrize(
    "paths",
    [
        ["cat/1/x.1.png", "cat/1/x.2.png"],
        [f"cat/{i}/IMG_{10 * i + j}.png" for i in range(3) for j in range(2)],
    ],
)
def test_slices_are_numbers_where_names_cannot_be_slices(paths, views, make_tree):
    found = views(make_tree(*paths))
    assert [name for _, _, name in found] == ["0", "1"] * (len(paths) // 2)


def test_rows_without_labels(make_tree):
    (view,) = iter_views(plan_source(str(make_tree("1/a.png")), layout="{sample}/{view}"))
    assert view.ground_truth is None


@pytest.mark.parametrize("column", ["tags", "filename", "_weight", "weight.kg", "$"])
def test_a_column_that_cannot_be_a_field(column, make_tree):
    tree = make_tree("cat/1/a.png")
    (tree / "metadata.csv").write_text(f"sample_id,{column}\ncat/1,4\n")
    with pytest.raises(OptionError, match=f"as the column '{re.escape(column)}'"):
        to_fiftyone(tree)


# --- the dataset ----------------------------------------------------------------------------------


def test_a_dataset(database, make_tree):
    tree = make_tree(*(f"{s}/{v}.png" for s in ("cat/1", "cat/2", "dog/1") for v in "ab"))
    dataset = to_fiftyone(tree, name="photos")
    assert (dataset.name, dataset.media_type, dataset.group_slices) == (
        "photos",
        "group",
        ["a", "b"],
    )
    assert dataset.count_values("ground_truth.label") == {"cat": 2, "dog": 1}  # of one slice
    views = dataset.select_group_slices()
    keys = zip(views.values("sample_id"), views.values("group.name"), strict=True)
    found = dict(zip(keys, views.values("filepath"), strict=True))
    expected = {
        (s, v): str(tree / s / f"{v}.png") for s in ("cat/1", "cat/2", "dog/1") for v in "ab"
    }
    assert found == expected


def test_a_dataset_that_cannot_be_filled_is_taken_back(database, make_tree):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    times = pa.array([None, [datetime.time(3)]])  # of which FiftyOne knows no lists
    table = pa.table({"sample_id": ["cat/1", "cat/2"], "times": times})
    pq.write_table(table, tree / "metadata.parquet")
    with pytest.raises(Exception, match=r"datetime\.time"):
        to_fiftyone(tree, name="photos")
    assert not database.dataset_exists("photos")


def test_a_name_that_is_taken(database, make_tree):
    to_fiftyone(make_tree("cat/1/a.png"), name="photos")
    with pytest.raises(OptionError, match=r"has a dataset 'photos' already.*delete_dataset"):
        to_fiftyone(make_tree("cat/1/a.png"), name="photos")


def test_the_code_of_the_page(database, make_tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = ["train/cat/0001", "train/cat/0002", "train/dog/0001", "test/cat/0001"]
    export(
        load(make_tree(*(f"{s}/{v}.png" for s in samples for v in "ab"))), "rows", format="numpy"
    )
    code = sections("other_tools.md")["FiftyOne"].replace('"me/photos"', '"rows"')
    found = run_blocks(code)
    assert found["names"] == ["cat", "dog"]
    assert found["counts"] == {"train": 3, "test": 1}
    assert (len(found["cats"]), len(found["views"])) == (3, 2)
