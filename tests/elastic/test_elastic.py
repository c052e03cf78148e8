"""Elastic epochs: one order on any number of ranks, gone on with on any other."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import ENVIRONMENT
from conftest import REPOSITORY
from elastic_shards import FEATURES, rows_in, together, write_shards
from multiview_cifar_tools.batches.samplers import random_numbers
from multiview_cifar_tools.elastic.order import Order
from multiview_cifar_tools.elastic.sampler import (
    ElasticBatches,
    ElasticSampler,
    ElasticTables,
    select_worker_rows,
)
from multiview_cifar_tools.errors import BatchError
from sampling import examples

some = examples(40)

counts_of = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(sum)
orders = st.builds(
    lambda counts, **options: (counts, options),
    counts_of,
    seed=st.integers(0, 2**40),
    lanes=st.integers(1, 9),
    window=st.none() | st.integers(1, 60),
    shuffle=st.booleans(),
)
sharing = st.tuples(st.integers(1, 5), st.integers(1, 7))  # ranks, batch size


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path / "shards", [30, 7, 25, 41])


@pytest.fixture
def opened(shards, tmp_path):
    """opened(batch_size, **options): batches of these shards."""

    def make(batch_size=8, kind=ElasticBatches, **options):
        return kind(shards, batch_size, cache_dir=tmp_path / "mapped", **options)

    return make


def samplers(counts, options, ranks, batch_size, **more):
    return [
        ElasticSampler(counts, batch_size, num_replicas=ranks, rank=rank, **options, **more)
        for rank in range(ranks)
    ]


# --- the order ------------------------------------------------------------------------------------


@some
@given(orders, st.integers(0, 5), st.lists(sharing, min_size=1, max_size=4), st.data())
def test_every_sample_once_in_one_order_whoever_reads(order, epoch, shares, data):
    """Ranks stop after some steps, and other ones go on, again and again."""
    counts, options = order
    right = Order(np.array(counts), **options).rows(epoch).tolist()
    assert sorted(right) == [*range(sum(counts))]
    seen, state = [], None
    for ranks, batch_size in shares:
        readers = samplers(counts, options, ranks, batch_size)
        for reader in readers:
            reader.set_epoch(epoch)
            if state is not None:
                reader.load_state_dict(json.loads(json.dumps(state)))
        steps = data.draw(st.integers(0, 6))
        passes = [iter(reader) for reader in readers]
        batches = [[*itertools.islice(each, steps)] for each in passes]
        seen += together(batches, batch_size)
        state = readers[0].state_dict()
        assert state["seen"] == len(seen)
    readers = samplers(counts, options, 1, 5)
    readers[0].load_state_dict(state)
    assert [*seen, *itertools.chain.from_iterable(readers[0])] == right


@some
@given(orders, sharing, st.booleans())
def test_len_and_the_last_step(order, share, drop_last):
    counts, options = order
    ranks, batch_size = share
    batches = [[*s] for s in samplers(counts, options, ranks, batch_size, drop_last=drop_last)]
    lengths = [len(s) for s in samplers(counts, options, ranks, batch_size, drop_last=drop_last)]
    assert [*map(len, batches)] == lengths
    assert max(lengths) - min(lengths) <= (not drop_last)
    if drop_last:
        assert {len(rows) for rank in batches for rows in rank} <= {batch_size}
        assert sum(counts) - len(together(batches, batch_size)) < ranks * batch_size
    else:
        last = [len(rank[-1]) if len(rank) == max(lengths) else 0 for rank in batches]
        assert max(last) - min(last) <= 1


@some
@given(st.integers(0, 100), st.integers(1, 7), st.integers(1, 5))
def test_workers_in_turn_hand_out_the_batches_of_their_rank(rows, batch_size, workers):
    every = np.arange(rows)
    parts = [select_worker_rows(every, batch_size, worker, workers) for worker in range(workers)]
    batches = [
        [part[i : i + batch_size] for i in range(0, len(part), batch_size)] for part in parts
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*batches, fillvalue=every[:0]))
    assert np.concatenate([*turns, every[:0]]).tolist() == every.tolist()


def test_seeds_and_epochs_give_other_orders():
    orders = [Order(np.array([500] * 4), seed).rows(epoch) for seed in (0, 1) for epoch in (0, 1)]
    for one, other in itertools.combinations(orders, 2):
        assert (one == other).mean() < 0.05


def test_the_order_is_that_of_every_machine():
    """States outlive installations: what NumPy draws must not change."""
    drawn = (random_numbers(3, 1, 2) * 2**53).astype(np.int64)
    assert drawn.tolist() == [4038964544837015, 3881039917090675, 3783015845253219]
    rows = Order(np.array([5, 7]), 3, lanes=2, window=3).rows(4)
    assert rows.tolist() == [0, 6, 1, 7, 2, 8, 5, 10, 4, 9, 3, 11]


def test_rows_move_at_most_a_window_within_their_lane():
    order = Order(np.array([10_000]), lanes=1, window=100)
    moved = np.abs(order.rows(0) - np.arange(10_000))
    assert 50 < moved.max() <= 100


def test_the_classes_of_sorted_rows_are_mixed():
    """As `export` writes them, class by class."""
    classes = Order(np.array([1_000] * 50)).rows(0)[:512] // 5_000
    assert len({*classes.tolist()}) >= 5


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_rank_has_its_own_shards_in_every_epoch(ranks):
    """But for those that a lane's end cuts."""
    order = Order(np.array([100] * 80), lanes=8)
    own = [
        {*order.shards_of(order.rows(epoch, rank, ranks)).tolist()}
        for rank in range(ranks)
        for epoch in range(2)
    ]
    assert own[::2] == own[1::2]
    assert sum(map(len, own[::2])) <= 80 + 8


def test_without_shuffle_rows_come_as_they_stand():
    ranks = [[*s] for s in samplers([5, 6], {"shuffle": False}, 2, 3)]
    assert ranks == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9]]]


# --- states ---------------------------------------------------------------------------------------


def test_set_epoch_goes_on_in_the_epoch_of_a_state_and_begins_any_other():
    first = ElasticSampler(100, 10)
    first.set_epoch(3)
    rest = [*itertools.islice(first, 10)][4:]
    for _, batch in zip(range(4), first, strict=False):
        assert batch
    second = ElasticSampler(100, 10)
    second.load_state_dict(first.state_dict())
    assert second.epoch == 3
    second.set_epoch(3)
    assert [*second] == rest
    second.set_epoch(4)
    assert len([*second]) == 10


def test_a_finished_epoch_has_nothing_left():
    first = ElasticSampler(100, 10)
    assert len([*first]) == 10
    second = ElasticSampler(100, 10)
    second.load_state_dict(first.state_dict())
    assert [*second] == []


def test_a_state_before_the_first_batch_is_the_beginning():
    second = ElasticSampler(100, 10)
    second.load_state_dict(ElasticSampler(100, 10).state_dict())
    assert len([*second]) == 10


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (ElasticSampler(101, 10), "rows"),
        (ElasticSampler([50, 50], 10), "rows"),
        (ElasticSampler(100, 10, seed=1), "seed"),
        (ElasticSampler(100, 10, lanes=4), "lanes"),
        (ElasticSampler(100, 10, window=7), "window"),
        (ElasticSampler(100, 10, shuffle=False), "shuffle"),
    ],
)
def test_a_state_of_another_order(other, name, fails):
    with fails(
        "ElasticError", f"The state has {name}=", "give the same shards and options", path=name
    ):
        ElasticSampler(100, 10).load_state_dict(other.state_dict())


@pytest.mark.parametrize("state", [{}, {"epoch": 1}, {"_snapshot": {"a": [1]}}])
def test_what_is_no_state(state, fails):
    with fails("ElasticError", "not a state of an elastic epoch", "StatefulDataLoader"):
        ElasticSampler(100, 10).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"num_replicas": 0}, "num_replicas"),
        ({"rank": 1}, "rank"),
        ({"rank": -1}, "rank"),
        ({"seed": -1}, "seed"),
        ({"lanes": 0}, "lanes"),
        ({"window": 0}, "window"),
    ],
)
def test_options_out_of_range(options, name, fails):
    with fails("ElasticError", f"{name}={options[name]} is not right", path=name):
        ElasticSampler(10, **{"batch_size": 2, **options})
    with fails("ElasticError", "There are no rows"):
        ElasticSampler([0, 0], 2)
    with fails("ElasticError", "epoch=-1 is not right"):
        ElasticSampler(10, 2).set_epoch(-1)


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_batches_are_the_rows_of_the_order(opened, ranks):
    right = opened().order.rows(2).tolist()
    read = []
    for rank in range(ranks):
        data = opened(num_replicas=ranks, rank=rank)
        data.set_epoch(2)
        read.append([rows_in(batch) for batch in data])
        assert len(read[-1]) == len(data)
    assert together(read, 8) == right


def test_a_batch_is_that_of_a_batch_reader(opened):
    batch = next(iter(opened(columns=None, num_views=3)))
    assert batch["images"].shape == (8, 3, 2, 5, 3)
    assert batch["images"].dtype == np.uint8
    assert batch["view_mask"].tolist() == [[True, True, False]] * 8
    assert batch["view_names"] == [["a", "b"]] * 8
    rows = rows_in({**batch, "images": batch["images"][:, :2]})
    assert batch["sample_id"] == [f"{row:05d}" for row in rows]


def test_raw_rows(opened):
    tables = [*opened(10, ElasticTables)]
    assert {len(table) for table in tables[:-1]} == {10}
    rows = [row for table in tables for row in table.to_pylist()]
    assert [int(row["sample_id"]) for row in rows] == opened().order.rows(0).tolist()
    assert all(row["images"][0]["bytes"][:4] == b"\x89PNG" for row in rows)
    assert tables[0].schema == FEATURES.arrow_schema


def test_a_state_after_any_batch(opened):
    right = opened().order.rows(0).tolist()
    data, seen = opened(), []
    for batch in data:
        seen += rows_in(batch)
        other = opened(13)
        other.load_state_dict(data.state_dict())
        assert [row for rest in other for row in rows_in(rest)] == right[len(seen) :]
    assert seen == right


def test_a_batch_that_fails_is_not_counted(opened):
    def augment(images, seeds):
        if next(calls) == 2:
            raise RuntimeError("broken")
        return images

    calls = itertools.count()
    data = opened(augment=augment)
    batches = iter(data)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(RuntimeError, match="broken"):
        next(batches)
    assert data.state_dict()["seen"] == 16


def test_augmentation_is_that_of_the_epoch(opened):
    def noise(images, seeds):
        return images + (seeds % 5).astype(np.uint8)[:, None, None, None]

    def epoch(number):
        data = opened(augment=noise, columns=("sample_id",))
        data.set_epoch(number)
        pairs = [zip(batch["sample_id"], batch["images"].tolist(), strict=True) for batch in data]
        return dict(itertools.chain.from_iterable(pairs))

    assert epoch(1) == epoch(1) != epoch(2)


def test_options_of_batches(opened, fails):
    with pytest.raises(BatchError, match="no column 'weight'"):
        opened(columns=("weight",))
    with fails("OptionError", "cache_limit='much' is not right", path="cache_limit"):
        opened(cache_limit="much")


# --- the page -------------------------------------------------------------------------------------


def test_the_example_of_the_page(tmp_path):
    page = (REPOSITORY / "docs/elastic.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    write_shards(tmp_path / "shards", [50, 100, 50])
    code = "\n".join([*blocks, "print(left, tuple(batch['images'].shape))"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Of 200 samples 64 were seen: one of two ranks has half of the others.
    assert done.stdout.splitlines()[-1] == "68 (64, 2, 3, 2, 5)"
