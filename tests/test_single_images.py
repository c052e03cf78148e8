"""Rows with a column of one image, and without labels or with some: everything takes them."""

import datasets
import numpy as np
import pytest

import multiview_cifar
from multiview_cifar_tools import BatchReader, check, contact_sheet, export, load, preview, publish
from multiview_cifar_tools.batches.columns import all_image_columns
from multiview_cifar_tools.shards.writer import row_sizes

LAYOUT = {"images": "{sample}/{view}", "mask": "{sample}/mask/{*}"}
TREE = [f"P{n}/{name}.png" for n in (1, 2) for name in ("a", "b", "mask/m")]


def bytes_of(ds):
    """The rows, each image as its bytes."""
    plain = datasets.Image(decode=False)
    ds = ds.cast_column("images", datasets.Sequence(plain)).cast_column("mask", plain)
    return [
        {
            **row,
            "images": [view["bytes"] for view in row["images"]],
            "mask": row["mask"] and row["mask"]["bytes"],
        }
        for row in ds
    ]


@pytest.fixture
def photos(make_tree, tmp_path):
    """photos(**options): such rows, built."""
    tree = make_tree(*TREE)

    def build(**options):
        arguments = {"data_dir": str(tree), "layout": LAYOUT, "split": "train", **options}
        return multiview_cifar.load_dataset(cache_dir=str(tmp_path / "cache"), **arguments)

    return build


@pytest.mark.parametrize("format", ["folder", "webdataset", "numpy", "hdf5", "parquet", "tfrecord"])
def test_every_format_gives_them_back(photos, tmp_path, format):
    ds = photos()
    assert "label" not in ds.features
    arguments = export({"train": ds}, tmp_path / format, format=format)
    if format == "folder":
        back = multiview_cifar.load_dataset(split="train", **arguments)
    else:
        back = load(**arguments)["train"]
    assert dict(back.features) == dict(ds.features)
    assert bytes_of(back) == bytes_of(ds)


def test_the_records_of_cifar_want_labels(photos, tmp_path):
    with pytest.raises(ValueError, match="have no label"):
        export({"train": photos()}, tmp_path / "cifar", format="cifar")


def test_batches(photos):
    ds = photos()
    batch = BatchReader(ds)[[1, 0]]
    assert "label" not in batch
    assert "mask" not in batch
    masks = BatchReader(ds, "mask")[[1, 0]]
    assert masks["images"].shape == (2, 1, 4, 4, 3)
    wanted = [np.asarray(ds[i]["mask"]) for i in (1, 0)]
    assert (masks["images"][:, 0] == wanted).all()


def test_batches_where_one_lacks(photos, make_tree, tmp_path):
    ds = photos()
    rows = ds.map(lambda row, i: {"mask": row["mask"] if i else None}, with_indices=True)
    for data in (rows, rows.select([0, 1]), datasets.concatenate_datasets([rows, ds])):
        masks = BatchReader(data, "mask")[[0, 1]]
        assert masks["view_mask"].tolist() == [[False], [True]]
        assert (masks["images"][1, 0] == np.asarray(ds[1]["mask"])).all()


def test_sizes_count_them(photos):
    ds = photos()
    table = ds.data.table
    images = [sum(len(view["bytes"]) for view in row) for row in table["images"].to_pylist()]
    masks = [len(row["bytes"]) for row in table["mask"].to_pylist()]
    assert row_sizes(ds).tolist() == [a + b for a, b in zip(images, masks, strict=True)]
    assert all_image_columns(ds.features) == ["images", "mask"]


def test_the_page_and_the_card(photos, tmp_path, make_tree):
    ds = photos()
    page = preview(ds, tmp_path / "page.html")
    assert page.samples[0].sizes == ("4 x 4",) * 3
    assert contact_sheet(ds).size[0] > 100
    publish(ds, "me/scans", dry_run=tmp_path / "rows")
    source = publish(str(make_tree(*TREE)), "me/scans", dry_run=tmp_path / "files", layout=LAYOUT)
    assert source
    cards = [(tmp_path / name / "README.md").read_text() for name in ("rows", "files")]
    assert all("Image columns: `images`, `mask`." in card for card in cards)
    pictures = [(tmp_path / name / "views.png").read_bytes() for name in ("rows", "files")]
    assert pictures[0] == pictures[1]
    back = datasets.load_dataset(str(tmp_path / "files"), split="train")
    assert bytes_of(back) == bytes_of(ds)


def test_a_row_without_a_mask_cannot_be_in_a_folder(photos, make_tree, tmp_path):
    tree = make_tree(*TREE[:-1], under="lacking")
    ds = photos(data_dir=str(tree), on_missing_view="null")
    with pytest.raises(ValueError, match=r"P2 has no image in 'mask'.*another format"):
        export({"train": ds}, tmp_path / "folder", format="folder")
    back = load(**export({"train": ds}, tmp_path / "tars", format="webdataset"))["train"]
    assert bytes_of(back) == bytes_of(ds)


def test_labels_that_are_none(photos, make_tree, tmp_path):
    """A metadata file may leave them out."""
    tree = make_tree(*TREE)
    (tree / "metadata.csv").write_text("sample,label\nP1,cat\n")
    ds = photos(on_missing_metadata="null")
    assert ds["label"][:] == [0, None]
    back = load(**export({"train": ds}, tmp_path / "parquet", format="parquet"))["train"]
    assert bytes_of(back) == bytes_of(ds)
    publish(ds, "me/scans", dry_run=tmp_path / "rows")
    options = {"layout": LAYOUT, "on_missing_metadata": "null"}
    publish(str(tree), "me/scans", dry_run=tmp_path / "files", **options)
    for folder in ("rows", "files"):
        back = datasets.load_dataset(str(tmp_path / folder), split="train")
        assert back["label"][:] == [0, None]
    back = load(**export({"train": ds}, tmp_path / "tars", format="webdataset"))["train"]
    assert bytes_of(back) == bytes_of(ds)


def test_check_knows_the_labels_of_metadata(make_tree):
    tree = make_tree(*TREE)
    for name in ("a", "b"):
        (tree / f"P2/{name}.png").write_bytes((tree / f"P1/{name}.png").read_bytes())
    kinds = {finding.kind for finding in check(tree, layout=LAYOUT).findings}
    assert "duplicate" in kinds
    (tree / "metadata.csv").write_text("sample,kind\nP1,cat\nP2,dog\n")
    report = check(tree, layout=LAYOUT, label_column="kind")
    assert "contradiction" in {finding.kind for finding in report.findings}
    assert report.class_counts == {"train": {"cat": 1, "dog": 1}}
