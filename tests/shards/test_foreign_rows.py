"""foreign_rows: rows of others become rows of this project, one by one as in whole datasets."""

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_rows import image
from multiview_cifar_tools.loading import complete_splits, to_split_rows
from multiview_cifar_tools.shards.foreign_rows import complete_row, resolve_columns
from sampling import examples

TEXT, NUMBER, IMAGES = (
    datasets.Value("string"),
    datasets.Value("int32"),
    datasets.Sequence(datasets.Image()),
)
VIEW = image(0)
LABELS = {
    "none": {},
    "classes": {"label": datasets.ClassLabel(names=["a", "b"])},
    "text": {"label": TEXT},
    "numbers": {"label": NUMBER},
}
VALUES = {
    "string": st.text("ab1", min_size=1, max_size=2),
    "int32": st.integers(-1, 12),
    "int64": st.integers(0, 1),
}


@st.composite
def foreign_datasets(draw):
    """A dataset with an image column of any name, and any of the other columns."""
    features = {draw(st.sampled_from(["images", "shots"])): IMAGES}
    features |= LABELS[draw(st.sampled_from([*LABELS]))]
    features |= draw(st.sampled_from([{}, {"sample_id": TEXT}, {"sample_id": NUMBER}]))
    kinds = [{}, *({"view_names": datasets.Sequence(kind)} for kind in (TEXT, NUMBER))]
    features |= draw(st.sampled_from(kinds))
    rows = []
    for i in range(draw(st.integers(1, 5))):
        count = draw(st.integers(0, 3))
        row = {next(iter(features)): [draw(st.sampled_from([VIEW, None])) for _ in range(count)]}
        if "label" in features:
            row["label"] = draw(VALUES[features["label"].dtype])
        if "sample_id" in features:
            row["sample_id"] = 10 + i if features["sample_id"] == NUMBER else f"sample {i}"
        if "view_names" in features:
            kind = features["view_names"].feature.dtype
            row["view_names"] = draw(st.lists(VALUES[kind], min_size=count, max_size=count))
        rows.append(row)
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


@given(foreign_datasets())
@examples(60)
def test_row_by_row_as_in_a_whole_dataset(ds):
    complete = complete_splits({"train": ds})["train"]
    names = complete.features["label"].names if "label" in complete.features else None
    columns = resolve_columns("", "", ds.features, names)
    assert columns.features == complete.features
    rows = list(to_split_rows(complete).iterate())
    raw = list(to_split_rows(ds).iterate())
    assert [row["images"] for row in rows] == [row[columns.image] for row in raw]
    if not columns.are_complete:
        assert [complete_row(row, i, columns) for i, row in enumerate(raw)] == rows
    assert len({row["sample_id"] for row in rows}) == len(rows)
    assert all(len(row["view_names"]) == len(row["images"]) for row in rows)


WRONG = {
    "no images": ({"x": TEXT}, {"x": "a"}, ["the columns x", "a column of image lists"]),
    "two columns": (
        {"a": IMAGES, "b": IMAGES},
        {"a": [VIEW], "b": [VIEW]},
        ["several columns of image lists, a, b", "rename_column"],
    ),
    "images that are none": (
        {"a": IMAGES, "images": TEXT},
        {"a": [VIEW], "images": "x"},
        ["image lists in 'a'", "something else in 'images'"],
    ),
    "single images": (
        {"a": datasets.Image()},
        {"a": VIEW},
        ["one image a row: a", "--group-by", "--view-columns"],
    ),
    "no list": ({"a": IMAGES}, {"a": None}, ["Row 0 has None in the column 'a'", "filter"]),
    "floats for ids": (
        {"a": IMAGES, "sample_id": datasets.Value("float32")},
        {"a": [VIEW], "sample_id": 0.5},
        ["'sample_id'", "text or integers", "cast it"],
    ),
    "one name for all views": (
        {"a": IMAGES, "view_names": TEXT},
        {"a": [VIEW], "view_names": "x"},
        ["'view_names'", "lists of text or integers"],
    ),
    "floats for labels": (
        {"a": IMAGES, "label": datasets.Value("float32")},
        {"a": [VIEW], "label": 0.5},
        ["'label'", "a ClassLabel, text or integers"],
    ),
    "view labels without names": (
        {"a": IMAGES, "view_labels": datasets.Sequence(NUMBER)},
        {"a": [VIEW], "view_labels": [1]},
        ["'view_labels'", "a list of ClassLabel"],
    ),
}


@pytest.mark.parametrize("way", [lambda ds: ds, lambda ds: ds.to_iterable_dataset()])
@pytest.mark.parametrize("name", WRONG)
def test_rows_that_cannot_become_ours(name, way, fails):
    kinds, row, says = WRONG[name]
    ds = way(datasets.Dataset.from_list([row], features=datasets.Features(kinds)))
    with fails("FormatError", *says, "Expected"):
        list(to_split_rows(complete_splits({"train": ds})["train"]).iterate())


def test_labels_of_a_stream_without_names(fails):
    kinds = datasets.Features({"images": IMAGES, "label": TEXT})
    ds = datasets.Dataset.from_list([{"images": [VIEW], "label": "cat"}], features=kinds)
    with fails("FormatError", "'train' have no names", "do not stream"):
        complete_splits({"train": ds.to_iterable_dataset()})


def test_classes_are_those_of_all_splits():
    kinds = datasets.Features({"images": IMAGES, "label": NUMBER})
    splits = {
        split: datasets.Dataset.from_list(
            [{"images": [VIEW], "label": label} for label in labels], features=kinds
        )
        for split, labels in {"train": [10, 9, None], "test": [2, -1]}.items()
    }
    complete = complete_splits(splits)
    assert complete["train"].features["label"].names == ["2", "9", "10"]
    assert complete["train"]["label"][:] == [2, 1, None]
    assert complete["test"]["label"][:] == [0, None]


def test_selected_rows_are_numbered_anew():
    ds = datasets.Dataset.from_list(
        [{"images": [VIEW] * n} for n in range(4)], features=datasets.Features({"images": IMAGES})
    )
    complete = complete_splits({"train": ds.select([3, 1, 3])})["train"]
    assert complete["sample_id"][:] == ["0", "1", "2"]
    assert [len(names) for names in complete["view_names"][:]] == [3, 1, 3]
