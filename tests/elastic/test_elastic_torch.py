"""Elastic epochs in PyTorch: its loaders, worker processes and several ranks."""

import itertools
import json
import multiprocessing
import os
from datetime import timedelta

import pytest
import torch
import torch.distributed
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from elastic_shards import FEATURES, row_of, rows_in, together, write_shards
from multiview_cifar_tools.batches.pytorch import TorchBatches
from multiview_cifar_tools.elastic.pytorch import TorchElastic
from multiview_cifar_tools.elastic.sampler import ElasticSampler
from multiview_cifar_tools.errors import ElasticError

# torchdata 0.10.1 calls what torch 2.13 deprecates, whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

SIZE = 8


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path / "shards", [30, 7, 25, 41, 50])


@pytest.fixture
def opened(shards, tmp_path):
    """opened(batch_size, **options): batches of these shards."""

    def make(batch_size=SIZE, **options):
        return TorchElastic(shards, batch_size, cache_dir=tmp_path / "mapped", **options)

    return make


@pytest.fixture
def right(opened):
    return opened().order.rows(0).tolist()


def loaded(batches):
    return [rows_in(batch) for batch in batches]


def test_batches_are_those_of_torch_batches(opened):
    data = opened(dtype=torch.float32, mean=[0.5] * 3, std=[0.25] * 3)
    batch = next(iter(data))
    assert batch["images"].shape == (SIZE, 2, 3, 2, 5)
    assert batch["images"].dtype == torch.float32
    assert batch["view_mask"].dtype == torch.bool
    assert batch["label"].dtype == torch.int64


# --- loaders --------------------------------------------------------------------------------------


@pytest.mark.each_value
@pytest.mark.parametrize("loader", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 3])
def test_workers_change_nothing(opened, right, loader, workers, ranks):
    read = [
        loaded(loader(opened(num_replicas=ranks, rank=rank), batch_size=None, num_workers=workers))
        for rank in range(ranks)
    ]
    assert together(read, SIZE) == right


@pytest.mark.each_value
@pytest.mark.parametrize(("ranks", "workers"), [(1, 0), (1, 2), (2, 0), (2, 2), (3, 2)])
@pytest.mark.parametrize(("ranks_then", "workers_then"), [(1, 2), (3, 0), (2, 2)])
def test_saved_by_a_stateful_loader_and_gone_on_with_on_others(
    opened, right, ranks, workers, ranks_then, workers_then
):
    first, states = [], []
    for rank in range(ranks):
        data = opened(num_replicas=ranks, rank=rank)
        loader = StatefulDataLoader(data, batch_size=None, num_workers=workers)
        first.append(loaded(itertools.islice(loader, 3)))
        states.append(json.loads(json.dumps(loader.state_dict())))
    rest = []
    for rank in range(ranks_then):
        data = opened(5, num_replicas=ranks_then, rank=rank)
        data.load_state_dict(states[-1])
        rest.append(loaded(DataLoader(data, batch_size=None, num_workers=workers_then)))
    seen = together(first, SIZE)
    assert len(seen) == 3 * ranks * SIZE
    assert seen + together(rest, 5) == right


@pytest.mark.each_value
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("stop", [0, 1, 5, 20])
def test_a_stateful_loader_goes_on_by_itself(opened, right, workers, every, stop):
    def make():
        return StatefulDataLoader(
            opened(), batch_size=None, num_workers=workers, snapshot_every_n_steps=every
        )

    before, after, data = make(), make(), opened(4)
    first = loaded(itertools.islice(before, stop))
    state = before.state_dict()
    after.load_state_dict(state)
    assert sum([*first, *loaded(after)], []) == right
    data.load_state_dict({"model": {}, "loader": state})
    assert sum([*first, *loaded(data)], []) == right
    assert sum(loaded(after), []) == right  # and then a whole one


def test_a_stateful_loader_says_where_it_cannot_go_on_by_itself(opened):
    before = StatefulDataLoader(opened(), batch_size=None, num_workers=2)
    next(iter(before))
    after = StatefulDataLoader(opened(5), batch_size=None, num_workers=2)
    after.load_state_dict(before.state_dict())
    with pytest.raises(ElasticError, match="load the state into the dataset instead"):
        next(iter(after))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_loader_whose_batches_are_counted(opened, right, workers):
    data = opened()
    loader, seen = DataLoader(data, batch_size=None, num_workers=workers), []
    for batch in itertools.islice(loader, 4):
        seen += rows_in(batch)
    other = opened(num_replicas=2, rank=0), opened(num_replicas=2, rank=1)
    for data_then in other:
        data_then.load_state_dict(data.state_dict(batches=4))
    assert seen + together([*map(loaded, other)], SIZE) == right


@pytest.mark.parametrize("workers", [1, 2])
def test_a_plain_loader_whose_batches_are_not_counted(opened, workers):
    data = opened()
    assert data.state_dict()["seen"] == 0
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    next(iter(loader))
    with pytest.raises(ElasticError, match=r"Expected their number, state_dict\(batches=n\)"):
        data.state_dict()
    data.set_epoch(1)
    assert data.state_dict()["seen"] == 0
    next(iter(data))
    assert data.state_dict()["seen"] == SIZE


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_see_which_epoch_it_is(opened, persistent):
    data = opened()
    loader = DataLoader(data, batch_size=None, num_workers=2, persistent_workers=persistent)
    data.load_state_dict(opened().state_dict(batches=3))
    rows = data.order.rows(0).tolist()
    assert sum(loaded(loader), []) == rows[3 * SIZE :]
    for epoch in (1, 2):
        data.set_epoch(epoch)
        assert sum(loaded(loader), []) == data.order.rows(epoch).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_knows_how_many_batches_come(opened, workers):
    loader = DataLoader(opened(drop_last=True), batch_size=None, num_workers=workers)
    assert len(loader) == len([*loader]) == 153 // SIZE


def test_workers_are_told_by_their_pickle_where_they_are_spawned(opened, right):
    loader = DataLoader(opened(), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert sum(loaded(loader), []) == right


# --- a sampler for datasets that are in place -----------------------------------------------------


@pytest.fixture
def rows():
    import datasets

    return datasets.Dataset.from_list([row_of(number) for number in range(90)], FEATURES)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_sampler(rows, workers):
    def make(ranks, rank, state=None):
        sampler = ElasticSampler(len(rows), SIZE, num_replicas=ranks, rank=rank)
        if state:
            sampler.load_state_dict(state)
        return StatefulDataLoader(TorchBatches(rows), batch_sampler=sampler, num_workers=workers)

    right = ElasticSampler(len(rows), SIZE).order.rows(0).tolist()
    loaders = [make(2, rank) for rank in range(2)]
    first = [loaded(itertools.islice(loader, 3)) for loader in loaders]
    state = loaders[0].state_dict()
    rest = [loaded(make(3, rank, state)) for rank in range(3)]
    assert together(first, SIZE) + together(rest, SIZE) == right


# --- torch.distributed ----------------------------------------------------------------------------


def train(rank, ranks, folder, state, steps, workers):
    """A process: so many steps over the shards, in step with the others; what it saw goes to a
    file, and the state with it.
    """
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store-{ranks}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=60),
    )
    try:
        data = TorchElastic(folder / "shards", SIZE, cache_dir=folder / "mapped")
        assert (data.num_replicas, data.rank) == (ranks, rank)
        if state:
            data.load_state_dict(state)
        data.set_epoch(1)
        loader = StatefulDataLoader(data, batch_size=None, num_workers=workers)
        seen = []
        for batch in itertools.islice(loader, steps):
            seen.append(rows_in(batch))
            total = torch.tensor(len(seen))
            torch.distributed.all_reduce(total)  # as gradients are
            assert total == len(seen) * ranks
        (folder / f"{ranks}-{rank}.json").write_text(json.dumps([seen, loader.state_dict()]))
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def run_ranks(ranks, folder, state, steps, workers):
    """What each rank saw, and the state of the first one."""
    context = multiprocessing.get_context("fork")  # as imports take seconds
    processes = [
        context.Process(target=train, args=(rank, ranks, folder, state, steps, workers))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
    assert [process.exitcode for process in processes] == [0] * ranks
    said = [json.loads((folder / f"{ranks}-{rank}.json").read_text()) for rank in range(ranks)]
    return [seen for seen, _ in said], said[0][1]


def test_two_ranks_are_gone_on_with_by_three_or_one(shards, opened, tmp_path):
    right = opened().order.rows(1).tolist()
    first, state = run_ranks(2, tmp_path, None, 3, workers=2)
    assert together(first, SIZE) == right[: 3 * 2 * SIZE]
    # 105 samples are left: four steps of 24, and one of 9 that three ranks share.
    three, _ = run_ranks(3, tmp_path, state, 5, workers=0)
    one, _ = run_ranks(1, tmp_path, state, 20, workers=0)
    assert together(three, SIZE) == together(one, SIZE) == right[3 * 2 * SIZE :]
