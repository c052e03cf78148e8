"""Shards: the same rows give the same bytes; each says what it holds; every version loads them."""

import hashlib
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import multiview_cifar
from multiview_cifar_tools.shards import writer
from multiview_cifar_tools.shards.schema import (
    DIGEST_TABLE,
    DIGESTS,
    NO_VIEW,
    PART_BYTES,
    digest_rows,
    encode_table,
    features_json,
    make_digest_table,
    read_shard,
)
from multiview_cifar_tools.shards.stats import image_kinds
from multiview_cifar_tools.shards.writer import (
    divide_into_shards,
    row_sizes,
    slice_by_bytes,
    take_rows,
    write_shard,
)
from pictures import make_masked, make_rows, png


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 100))
def test_cuts_hold_all_rows_and_no_more_bytes_than_asked_for(sizes, most):
    cuts = slice_by_bytes(np.array(sizes, np.int64), most)
    assert [row for cut in cuts for row in range(cut.start, cut.stop)] == list(range(len(sizes)))
    for cut in cuts:
        assert sum(sizes[cut]) <= most or cut.stop - cut.start == 1


@given(st.lists(st.integers(0, 8), min_size=1, unique=True))
def test_rows_taken_in_any_order(rows):
    table = make_rows([1] * 9, png).data.table
    taken = take_rows(table, np.array(rows))
    assert taken["sample_id"].to_pylist() == [f"cat/{row}" for row in rows]


def test_the_sizes_of_rows():
    ds = datasets.concatenate_datasets([make_rows([2, [True, None], 0], png), make_rows([1], png)])
    right = [
        sum(len(view["bytes"]) for view in views if view)
        for views in ds.data.table["images"].to_pylist()
    ]
    assert row_sizes(ds).tolist() == right


def test_the_kinds_of_images_in_a_slice():
    ds = datasets.concatenate_datasets([make_rows([2, 3], png), make_rows([1], size=(6, 6))])
    assert list(image_kinds(ds)) == [(5, 4, "RGB")] * 5 + [(6, 6, "RGB")]
    assert list(image_kinds(ds.select(range(1, 3)))) == [(5, 4, "RGB")] * 3 + [(6, 6, "RGB")]
    assert row_sizes(ds.select(range(1, 2))).tolist() == row_sizes(ds).tolist()[1:2]


def write(ds, path, rows=None):
    sizes = row_sizes(ds)
    (shard,) = divide_into_shards(
        "train", np.arange(len(ds)) if rows is None else rows, sizes, 10**9
    )
    write_shard(ds, shard.rows, sizes, str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_rows_give_the_same_bytes(make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/{v}.png" for i in range(20) for v in range(2)))
    sums = set()
    for turn, options in enumerate([{}, {"num_proc": 2}, {"writer_batch_size": 3}]):
        ds = multiview_cifar.load_dataset(
            data_dir=str(tree), split="train", cache_dir=str(tmp_path / str(turn)), **options
        )
        sums.add(write(ds, tmp_path / f"{turn}.parquet"))
    assert len(sums) == 1
    (tree / "cat/1/0.png").write_bytes((tree / "cat/1/1.png").read_bytes())
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", cache_dir=str(tmp_path / "new")
    )
    assert write(ds, tmp_path / "new.parquet") not in sums


def test_a_shard_says_what_it_holds(tmp_path):
    ds = make_rows([2, [True, None], 1], png)
    write(ds, tmp_path / "shard.parquet")
    held = read_shard(tmp_path / "shard.parquet")
    assert held.sample_ids == ["cat/0", "cat/1", "cat/2"]
    assert held.digests == digest_rows(ds.data.table, ds.features)
    assert len(set(held.digests)) == 3
    # As 3.6 writes it and every version reads it.
    text = pq.read_metadata(tmp_path / "shard.parquet").metadata[b"huggingface"].decode()
    assert '"Sequence"' in text
    assert '"List"' not in text
    assert json.loads(text)["info"]["features"] == held.features


def test_a_shard_says_what_tells_its_rows_apart(tmp_path):
    ds = make_masked([2, 1]).cast_column("label", datasets.ClassLabel(names=["cow", "fox"]))
    ds = ds.add_column("age", [3, None])
    write(ds, tmp_path / "shard.parquet")
    table = read_shard(tmp_path / "shard.parquet").table
    assert table.column_names == [*ds.features]
    assert table["label"].to_pylist() == ["cow", "fox"]
    assert table["view_names"].to_pylist() == ['["0", "1"]', '["0"]']
    assert [len(row) for row in table["images"].to_pylist()] == [2 * PART_BYTES, PART_BYTES]
    both, one = table["masks"].to_pylist()
    assert both == one * 2  # all masks are the same
    assert len({*table["plan"].to_pylist(), *table["age"].to_pylist()}) == 4
    rows = make_rows([[True, None]], png)
    (views,) = make_digest_table(rows.data.table, rows.features)["images"].to_pylist()
    assert views.endswith(NO_VIEW) and len({*views[:PART_BYTES]}) > 1


@pytest.mark.parametrize("text", ["", "no table", "of other rows", "of other columns"])
def test_digests_that_do_not_fit_a_shard_are_not_believed(tmp_path, text):
    ds, path = make_rows([1, 2], png), tmp_path / "shard.parquet"
    write(ds, path)
    table = read_shard(path).table
    if text.startswith("of"):
        other = table.slice(1) if text == "of other rows" else table.drop_columns("label")
        text = encode_table(other)
    with pq.ParquetWriter(path, ds.features.arrow_schema) as file:
        file.write_table(pa.Table.from_batches(ds.data.table.to_batches()))
        features = {"info": {"features": features_json(ds.features)}}
        digests = {DIGESTS: "".join(digest_rows(ds.data.table, ds.features)), DIGEST_TABLE: text}
        file.add_key_value_metadata({b"huggingface": json.dumps(features), **digests})
    held = read_shard(path)
    assert held.table is None
    assert held.sample_ids == ["cat/0", "cat/1"]  # as of shards of earlier versions
    assert held.digests == digest_rows(ds.data.table, ds.features)


@pytest.mark.parametrize("says", ["{", "[]", '{"info": null}', '{"info": {"features": "text"}}'])
def test_a_file_that_says_no_features_says_nothing(tmp_path, says):
    table = pa.table({"sample_id": ["cat/1"]}).replace_schema_metadata({"huggingface": says})
    pq.write_table(table, tmp_path / "other.parquet")
    assert read_shard(tmp_path / "other.parquet")[:4] == ({}, [], [], None)


def test_what_makes_a_digest():
    (plain,) = digest_rows(make_rows([2], png).data.table, make_rows([2], png).features)
    others = [
        make_rows([1], png),
        make_rows([3], png),
        make_rows([[True, None]], png),
        make_rows([2]),
    ]
    renamed = make_rows([2], png)
    renamed = renamed.cast_column("label", datasets.ClassLabel(names=["fox", "dog"]))
    seen = {digest_rows(ds.data.table, ds.features)[0] for ds in [*others, renamed]}
    assert len(seen) == 5
    assert plain not in seen
    more = datasets.ClassLabel(names=["cat", "cow", "dog"])
    more = make_rows([2], png).cast_column("label", more)
    assert digest_rows(more.data.table, more.features) == [plain]


def test_row_groups_are_bounded_by_bytes(tmp_path, monkeypatch):
    ds = make_rows([1] * 50, size=(40, 40))
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 25_000)
    write(ds, tmp_path / "shard.parquet")
    metadata = pq.read_metadata(tmp_path / "shard.parquet")
    assert metadata.num_row_groups == 10
    assert [metadata.row_group(i).num_rows for i in range(10)] == [5] * 10


@pytest.mark.parametrize("streaming", [False, True])
def test_every_version_loads_it(tmp_path, streaming):
    ds = make_rows([2, [True, None], 1], png)
    write(ds, tmp_path / "shard.parquet", np.array([2, 0, 1]))
    again = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "shard.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
        streaming=streaming,
    )
    assert again.features == ds.features
    raw = datasets.Sequence(datasets.Image(decode=False))
    rows = list(again.cast_column("images", raw))
    assert rows == [ds.cast_column("images", raw)[i] for i in (2, 0, 1)]
