"""Where elastic epochs find their shards, and the folder in which they are kept."""

import fcntl
import itertools
import json
import multiprocessing
import os
import shutil
import time

import datasets
import pytest

import multiview_cifar
import s3_server
from elastic_shards import (
    FEATURES,
    read_manifest,
    row_of,
    rows_in,
    together,
    write_manifest,
    write_shards,
)
from multiview_cifar_tools.elastic import cache as shard_cache
from multiview_cifar_tools.elastic.cache import ShardCache
from multiview_cifar_tools.elastic.index import read_index
from multiview_cifar_tools.elastic.prefetch import MAX_SHARDS_AHEAD
from multiview_cifar_tools.elastic.sampler import ElasticBatches
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.publishing.publish import publish

# aiobotocore leaves what it could close to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
]

COUNTS = [30, 7, 25, 41, 50, 12]
FEW = {"lanes": 2, "window": 1}  # a lane is at one shard or two


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path / "shards", COUNTS)


@pytest.fixture
def opened(tmp_path):
    """opened(source, batch_size, **options): batches of the shards there."""

    def make(source, batch_size=8, **options):
        return ElasticBatches(source, batch_size, **{"cache_dir": tmp_path / "mapped", **options})

    return make


@pytest.fixture
def s3(s3_address, shards):
    """S3 that holds the shards, answers at once and never fails; `s3.url` is where."""
    s3_address.log.clear()
    s3_address.faults.clear()
    s3_address.after.clear()
    name = f"{shards.parent.name}/shards"
    s3_address.put_tree(shards, name)
    s3_address.url = f"s3://{s3_server.BUCKET}/{name}"
    return s3_address


def read(data):
    return [row for batch in data for row in rows_in(batch)]


def mapped(tmp_path):
    """The shards that are kept, and their bytes, while none comes or goes."""
    with open(tmp_path / "mapped" / ".locks" / "room", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = [*(tmp_path / "mapped").glob("[!.]*.arrow")]
        return len(files), sum(file.stat().st_size for file in files)


def damage(file):
    with open(file, "r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 1]))


# --- local folders --------------------------------------------------------------------------------


def test_what_export_writes(make_tree, tmp_path, opened):
    tree = make_tree(
        *(
            f"{label}/{i:02d}/{view}.png"
            for label in ("cat", "dog")
            for i in range(20)
            for view in ("a", "b")
        )
    )
    ds = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    export(ds, tmp_path / "exported", format="parquet", max_shard_size=1_000)
    data = opened(str(tmp_path / "exported"), columns=("sample_id",))
    assert len(data.index.shards) > 3
    ids = [name for batch in data for name in batch["sample_id"]]
    assert sorted(ids) == ds["train"]["sample_id"][:]
    assert ids != sorted(ids)


def test_shards_in_folders_and_further_keys_of_a_manifest(shards, opened):
    (shards / "data").mkdir()
    manifest = {**read_manifest(shards), "jobs": 3}
    for shard in manifest["splits"]["train"]["shards"]:
        os.rename(shards / shard["path"], shards / "data" / shard["path"])
        shard.update(path=f"data/{shard['path']}", job=1)
    write_manifest(shards, manifest)
    assert sorted(read(opened(shards))) == [*range(sum(COUNTS))]


def test_empty_shards(tmp_path, opened):
    shards = write_shards(tmp_path / "shards", [0, 5, 0, 0, 3, 0])
    assert sorted(read(opened(shards))) == [*range(8)]


def test_a_copy_elsewhere_goes_on_with_a_state(shards, opened, tmp_path):
    data = opened(shards)
    seen = [row for batch in itertools.islice(data, 4) for row in rows_in(batch)]
    other = opened(shutil.copytree(shards, tmp_path / "copy"))
    other.load_state_dict(data.state_dict())
    assert seen + read(other) == read(opened(shards))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "hdf5"}, ["the format 'hdf5'", "--format parquet"]),
        ({"splits": {"train": {"num_rows": 1}}}, ["is damaged", "export again"]),
        ({"splits": None}, ["is damaged"]),
        (
            {
                "splits": {
                    "train": {
                        "num_rows": 1,
                        "shards": [{"path": "a", "num_rows": 1, "num_bytes": 1, "sha256": "../a"}],
                    }
                }
            },
            ["is damaged"],
        ),
        ({"splits": {}}, ["has no shards of a split 'train'", "it has none"]),
        ({"features": {"a": 1}}, []),
    ],
)
def test_wrong_manifests(shards, opened, fails, change, says):
    write_manifest(shards, {**read_manifest(shards), **change})
    with fails("MultiviewError", *says):
        opened(shards)


def test_wrong_places(shards, opened, tmp_path, fails):
    with fails(
        "ElasticError", "has no shards of a split 'dev'", "Expected one of 'train'", path="dev"
    ):
        opened(shards, split="dev")
    with fails("ElasticError", "is not a dataset of the Hub", path="revision"):
        opened(shards, revision="main")
    (tmp_path / "empty").mkdir()
    for place in ("empty", "none"):
        with fails("ElasticError", "holds no multiview_cifar.json", "--format parquet"):
            opened(tmp_path / place)
    with fails("ElasticError", "cannot be read", "Protocol not known"):
        opened("nowhere://bucket/shards")


def test_a_shard_that_is_gone_or_cut_off(shards, opened, fails):
    path = shards / read_manifest(shards)["splits"]["train"]["shards"][3]["path"]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with fails("ElasticError", "as its index says", "copy it again", path=str(path)):
        read(opened(shards))
    path.unlink()
    with fails("ElasticError", "cannot be read (FileNotFoundError", path=str(path)):
        read(opened(shards))
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with fails("ElasticError", "has the sha256", "copy or export it again", path=str(path)):
        read(opened(shards))
    path.write_bytes(data)
    assert len(read(opened(shards))) == sum(COUNTS)


def test_a_manifest_that_counts_wrong(shards, opened, fails):
    manifest = read_manifest(shards)
    manifest["splits"]["train"]["shards"][0]["num_rows"] += 1
    manifest["splits"]["train"]["num_rows"] += 1
    write_manifest(shards, manifest)
    with fails("ElasticError", "has 30 rows. Expected 31"):
        read(opened(shards))


def test_shards_of_other_columns(shards, opened, fails):
    features = datasets.Features({**FEATURES, "weight": datasets.Value("float32")})
    manifest = read_manifest(shards)
    manifest["features"]["weight"] = features.to_dict()["weight"]
    write_manifest(shards, manifest)
    with fails("ElasticError", "has other columns than its index says", "weight"):
        read(opened(shards))


# --- the folder -----------------------------------------------------------------------------------


def test_small_local_shards_are_read_to_memory_unless_a_folder_is_named(
    shards, opened, tmp_path, monkeypatch, fails
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = read(opened(shards))
    assert read(opened(shards, cache_dir=None)) == rows
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(
        shard_cache,
        "MAX_BYTES_IN_MEMORY",
        (shards / "train-00004-of-00006.parquet").stat().st_size - 1,
    )
    assert read(opened(shards, cache_dir=None)) == rows
    assert len([*(tmp_path / "cache" / "multiview_shards").glob("*.arrow")]) == 1
    path = shards / "train-00000-of-00006.parquet"
    path.write_bytes(b"x" * path.stat().st_size)
    with fails("ElasticError", "has the sha256", "copy or export it again", path=str(path)):
        read(opened(shards, cache_dir=None))


def test_a_shard_is_converted_once_for_all(shards, opened, tmp_path):
    rows = read(opened(shards))
    written = {file: file.stat().st_ino for file in (tmp_path / "mapped").glob("*.arrow")}
    assert read(opened(shards)) == rows
    assert {file: file.stat().st_ino for file in (tmp_path / "mapped").glob("*.arrow")} == written
    assert len(written) == len(COUNTS)


def test_damage_in_the_folder_is_noticed(shards, opened, tmp_path, caplog):
    rows = read(opened(shards))
    first, second, *_ = sorted((tmp_path / "mapped").glob("*.arrow"))
    damage(first)
    second.write_bytes(second.read_bytes()[:10])
    assert read(opened(shards)) == rows
    assert caplog.text.count("is damaged. It is fetched again") == 2
    caplog.clear()
    assert read(opened(shards)) == rows
    assert not caplog.text


def test_the_limit_is_kept_and_the_oldest_go(shards, opened, tmp_path):
    read(opened(shards))
    count, size = mapped(tmp_path)
    assert count == len(COUNTS)
    shutil.rmtree(tmp_path / "mapped")
    # One lane and hardly any window: few shards at a time.
    data = opened(shards, 4, lanes=1, window=1, cache_limit=size * 2 // 3)
    seen = []
    for batch in data:
        seen += rows_in(batch)
        assert mapped(tmp_path)[1] <= size * 2 // 3
    assert sorted(seen) == [*range(sum(COUNTS))]
    last = data.order.shards_of(data.order.rows(0)[-1:])[0]
    assert (tmp_path / "mapped" / f"{data.index.shards[last].sha256}.arrow").exists()


def test_shards_in_use_are_never_removed(shards, opened, tmp_path, fails):
    index = read_index(str(shards), "train")
    large = ShardCache(tmp_path / "mapped", "1GB")
    held = [large.open(shard, index.options) for shard in index.shards[:3]]
    size = mapped(tmp_path)[1]
    small = ShardCache(tmp_path / "mapped", size + 1)
    with fails(
        "ElasticError",
        "shards in use take",
        f"cache_limit={size + 1}: raise it",
        path="cache_limit",
    ):
        small.open(index.shards[4], index.options)
    assert mapped(tmp_path)[0] == 3
    held.pop(2)
    small.open(index.shards[2], index.options)  # is there still
    small.open(index.shards[5], index.options)  # it makes room
    assert mapped(tmp_path)[1] <= size + 1
    assert [table["sample_id"][0].as_py() for table in held] == ["00000", "00030"]


def test_a_limit_that_holds_no_batch(shards, opened, fails):
    with fails("ElasticError", "Expected at most cache_limit=10000:", "fewer lanes"):
        read(opened(shards, 64, cache_limit=10_000))


def test_shards_ahead_give_room_to_those_needed(shards, opened, tmp_path):
    read(opened(shards))
    largest = max(file.stat().st_size for file in (tmp_path / "mapped").glob("*.arrow"))
    shutil.rmtree(tmp_path / "mapped")
    data = opened(shards, 1, lanes=1, window=1, cache_limit=largest * 2)
    assert sorted(read(data)) == [*range(sum(COUNTS))]


def test_a_folder_that_cannot_be_written(shards, opened, tmp_path, fails):
    (tmp_path / "file").write_text("")
    with fails("ElasticError", "cannot be kept in", "name another cache_dir"):
        read(opened(shards, cache_dir=tmp_path / "file" / "mapped"))


def read_in_process(source, options, folder, limit, rank, queue):
    data = ElasticBatches(
        source,
        4,
        num_replicas=2,
        rank=rank,
        storage_options=options,
        cache_dir=folder,
        cache_limit=limit,
        **FEW,
    )
    queue.put((rank, [[rows_in(batch) for batch in data] for _ in range(3)]))


@pytest.mark.parametrize("share", [pytest.param(1, marks=pytest.mark.exhaustive), 0.7])
def test_two_processes_at_once(s3, opened, tmp_path, share):
    """Without and with too little room for all: each has few at a time."""
    name = f"{tmp_path.name}/many"
    s3.put_tree(write_shards(tmp_path / "many", [9] * 24), name)
    s3.url = f"s3://{s3_server.BUCKET}/{name}"
    right = read(opened(s3.url, storage_options=s3.options, **FEW))
    limit = int(mapped(tmp_path)[1] * share)
    shutil.rmtree(tmp_path / "mapped")
    s3.log.clear()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(
            target=read_in_process,
            args=(s3.url, s3.options, tmp_path / "mapped", limit, rank, queue),
        )
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    for epoch in range(3):
        assert together([found[rank][epoch] for rank in range(2)], 4) == right
    if share == 1:
        gets = [line for line in s3.log if line.startswith("GET") and ".parquet" in line]
        assert len(gets) == len({*gets}) == 24
    assert mapped(tmp_path)[1] <= limit


# --- S3 -------------------------------------------------------------------------------------------


def test_remote_shards_are_the_local_ones(s3, shards, opened, tmp_path):
    remote = read(opened(s3.url, storage_options=s3.options))
    assert remote == read(opened(shards, cache_dir=tmp_path / "other"))
    s3.log.clear()
    assert read(opened(s3.url, storage_options=s3.options)) == remote
    assert not [line for line in s3.log if ".parquet" in line]  # all of them are kept


def test_a_download_that_arrives_damaged_is_tried_again(s3, shards, opened, caplog):
    path = next(shards.glob("*.parquet"))
    name = f"{shards.parent.name}/shards/{path.name}"
    s3.put(name, path.read_bytes()[:-1] + b"x")
    s3.after[path.name] = lambda: s3.put(name, path.read_bytes())
    assert sorted(read(opened(s3.url, storage_options=s3.options))) == [*range(sum(COUNTS))]


def test_a_shard_that_stays_damaged(s3, shards, opened, fails, tmp_path):
    path = next(shards.glob("*.parquet"))
    s3.put(f"{shards.parent.name}/shards/{path.name}", path.read_bytes()[:-1] + b"x")
    with fails("ElasticError", "its sha256 is", "try again later", path=f"{s3.url}/{path.name}"):
        read(opened(s3.url, storage_options=s3.options))
    assert not [*(tmp_path / "mapped").glob(".*.parquet")]


def test_a_store_that_fails_at_times(s3, opened):
    s3.fail(503, times=2, where=".parquet")
    s3.fail(0, times=2, where="multiview_cifar.json")
    assert sorted(read(opened(s3.url, storage_options=s3.options))) == [*range(sum(COUNTS))]


def test_a_shard_that_vanishes(s3, shards, opened, fails):
    data = opened(s3.url, 4, lanes=1, window=1, storage_options=s3.options)
    last = data.index.shards[data.order.shards_of(data.order.rows(0)[-1:])[0]].path
    s3.delete(last.removeprefix(f"s3://{s3_server.BUCKET}/"))
    with fails("ElasticError", "cannot be read (FileNotFoundError", path=last):
        read(data)
    assert data.state_dict()["seen"] > 0


def test_stores_that_cannot_be_read(s3, opened, fails):
    with fails("ElasticError", "holds no multiview_cifar.json"):
        opened(f"{s3.url}/nowhere", storage_options=s3.options)
    s3.fail(403, times=99, where="multiview_cifar.json")
    with fails("ElasticError", "cannot be read (PermissionError", "the right to read it"):
        opened(s3.url, storage_options=s3.options)


def test_options_of_the_store_are_not_shown(s3, opened):
    data = opened(s3.url, storage_options=s3.options)
    assert "test" not in repr(data.index).replace(s3.url, "")
    assert "secret" not in json.dumps(data.state_dict())


def test_shards_come_while_batches_are_read(s3, opened, tmp_path):
    """After the first batch those ahead come, and nobody asks for another batch."""
    batches = iter(opened(s3.url, 1, storage_options=s3.options, lanes=1, window=1))
    next(batches)
    until = time.monotonic() + 60
    while mapped(tmp_path)[0] < 1 + MAX_SHARDS_AHEAD and time.monotonic() < until:
        time.sleep(0.01)
    assert mapped(tmp_path)[0] == 1 + MAX_SHARDS_AHEAD
    batches.close()


# --- the Hub --------------------------------------------------------------------------------------


def publish_rows(folder, numbers):
    """In a client of the Hub."""
    import datasets

    ds = datasets.Dataset.from_list([row_of(number) for number in numbers], FEATURES)
    publish(
        datasets.DatasetDict({"train": ds, "test": ds.select(range(10))}),
        "me/photos",
        max_shard_size=3_000,
    )
    return ElasticBatches("me/photos", 8, cache_dir=folder).index.fingerprint


def read_hub(folder, options, ranks, state):
    every, saved = [], None
    for rank in range(ranks):
        data = ElasticBatches(
            "me/photos", 8, cache_dir=folder, num_replicas=ranks, rank=rank, **options
        )
        if state:
            data.load_state_dict(state)
        steps = None if state else 3
        every.append([rows_in(batch) for batch in itertools.islice(data, steps)])
        saved = saved or data.state_dict()
    return together(every, 8), saved, [shard.path for shard in data.index.shards]


def fail_on_hub(folder, options):
    try:
        read_hub(folder, options, 1, None)
    except ValueError as error:
        return type(error).__name__, str(error)
    return None


def test_a_dataset_of_the_hub(hub, tmp_path):
    hub.run(publish_rows, str(tmp_path / "mapped"), [*range(90)])
    commit = hub.commits("me/photos")[0].id
    first, state, urls = hub.run(read_hub, str(tmp_path / "mapped"), {}, 2, None)
    hub.run(publish_rows, str(tmp_path / "mapped"), [*range(50)])  # meanwhile
    rest, _, _ = hub.run(read_hub, str(tmp_path / "mapped"), {"revision": commit}, 3, state)
    assert len(urls) > 2
    assert all(f"@{commit}/data/train-" in url for url in urls)
    assert sorted(first + rest) == [*range(90)]
    kind, says = hub.run(fail_on_hub, str(tmp_path / "mapped"), {"split": "dev"})
    assert kind == "ElasticError"
    assert "Expected one of 'test', 'train'" in says


def push_rows(numbers):
    import datasets

    ds = datasets.Dataset.from_list([row_of(number) for number in numbers], FEATURES)
    ds.push_to_hub("me/photos", num_shards=3)


def test_what_push_to_hub_made(hub, tmp_path):
    hub.run(push_rows, [*range(24)])
    rows, _, urls = hub.run(read_hub, str(tmp_path / "mapped"), {}, 1, None)
    assert sorted(rows) == [*range(24)]
    assert len(urls) == 3


def test_a_hub_that_fails_at_times(hub, tmp_path):
    hub.run(publish_rows, str(tmp_path / "first"), [*range(40)])
    hub.inject("object", 503)
    hub.inject("tree", "drop")
    hub.inject("object", "drop", skip=4)
    rows, *_ = hub.run(read_hub, str(tmp_path / "mapped"), {}, 1, None)
    assert len(rows) == 24


def test_datasets_that_the_hub_does_not_have(hub, tmp_path):
    kind, says = hub.run(fail_on_hub, str(tmp_path), {})
    assert kind == "ElasticError"
    assert "me/photos on the Hub cannot be read (RepositoryNotFoundError" in says
    hub.create("me/photos")
    kind, says = hub.run(fail_on_hub, str(tmp_path), {"revision": "v9"})
    assert "me/photos at v9 on the Hub cannot be read (RevisionNotFoundError" in says
    kind, says = hub.run(fail_on_hub, str(tmp_path), {})
    assert "has no shards of a split 'train'" in says
    hub.write("me/photos", {"data/train-00000.parquet": b"PAR1"})
    kind, says = hub.run(fail_on_hub, str(tmp_path), {})
    assert "is not in LFS" in says
