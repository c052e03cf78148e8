"""Streams: shards for workers and nodes, resuming at the exact row, and files that change."""

import os
import shutil

import pytest
from datasets.distributed import split_dataset_by_node
from PIL import Image

pytestmark = pytest.mark.every_route

SAMPLES = [f"cat/{i}/a.png" for i in range(11)]
IDS = [f"cat/{i}" for i in range(11)]


def ids(ds):
    return [row["sample_id"] for row in ds]


def test_there_are_shards(stream, make_tree):
    assert stream(make_tree(*SAMPLES)).num_shards > 1


def test_two_workers_share_the_rows(stream, make_tree):
    from torch.utils.data import DataLoader

    ds = stream(make_tree(*SAMPLES))
    batches = list(DataLoader(ds, batch_size=2, num_workers=2, collate_fn=ids))
    assert sorted(sum(batches, [])) == sorted(IDS)
    assert len(batches) > 2


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES[:4]])
def test_nodes_share_the_rows(stream, make_tree, nodes, samples):
    ds = stream(make_tree(*samples))
    shares = [ids(split_dataset_by_node(ds, rank=i, world_size=nodes)) for i in range(nodes)]
    assert sorted(sum(shares, [])) == sorted(IDS[: len(samples)])
    assert all(shares)


def test_nodes_share_a_built_dataset(build, make_tree):
    ds = build(make_tree(*SAMPLES))
    shares = [ids(split_dataset_by_node(ds, rank=i, world_size=3)) for i in range(3)]
    assert sum(shares, []) == IDS


def test_nodes_and_workers_together(stream, make_tree):
    from torch.utils.data import DataLoader

    ds = stream(make_tree(*SAMPLES))
    got = []
    for rank in range(2):
        part = split_dataset_by_node(ds, rank=rank, world_size=2)
        got += sum(DataLoader(part, batch_size=3, num_workers=2, collate_fn=ids), [])
    assert sorted(got) == sorted(IDS)


@pytest.mark.parametrize("taken", [1, 5, 10])
def test_a_stream_resumes_at_the_exact_row(stream, make_tree, taken):
    tree = make_tree(*SAMPLES)
    ds = stream(tree)
    rows = iter(ds)
    assert [next(rows)["sample_id"] for _ in range(taken)] == IDS[:taken]
    state = ds.state_dict()
    again = stream(tree)
    again.load_state_dict(state)
    assert ids(again) == IDS[taken:]


def test_a_second_epoch_is_as_the_first(stream, make_tree):
    ds = stream(make_tree(*SAMPLES))
    assert ids(ds) == ids(ds) == IDS


def test_more_samples_than_shards(quick, make_tree):
    """Chunks of samples then make the shards; all rows still come, in order, once."""
    tree = make_tree("cat/1.png")
    data = (tree / "cat/1.png").read_bytes()
    for i in range(1100):
        (tree / f"cat/{i}.png").write_bytes(data)
    ds = quick(tree, layout="{label}/{sample}")
    assert 1 < ds.num_shards <= 1100
    assert ids(ds) == [f"cat/{i}" for i in range(1100)]
    rows = iter(ds)
    for _ in range(700):
        next(rows)
    state = ds.state_dict()
    again = quick(tree, layout="{label}/{sample}")
    again.load_state_dict(state)
    assert ids(again) == [f"cat/{i}" for i in range(700, 1100)]


def test_shuffled_shards_lose_nothing(stream, make_tree):
    ds = stream(make_tree(*SAMPLES)).shuffle(seed=1, buffer_size=3)
    assert ids(ds) != IDS
    assert sorted(ids(ds)) == sorted(IDS)


# --- files that change ----------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["raise", "skip_view", "skip_sample"])
def test_a_file_that_is_rewritten_is_an_error(stream, make_tree, write_image, fails, on_error):
    tree = make_tree("cat/1/a.png", "cat/2/a.png", "cat/2/b.png")
    rows = iter(stream(tree, on_error=on_error))
    assert next(rows)["sample_id"] == "cat/1"
    write_image(tree / "cat/2/b.png", "cat/1/a.png")
    with fails("SourceChangedError", f"{tree} changed while it was read", path=str(tree)):
        next(rows)


def test_a_file_that_becomes_no_image_is_not_skipped(stream, make_tree, fails):
    tree = make_tree("cat/1/a.png", "cat/1/b.png")
    rows = iter(stream(tree, on_error="skip_view"))
    (tree / "cat/1/b.png").write_text("no image")
    with fails("SourceChangedError", f"{tree} changed while it was read"):
        next(rows)


TEMPLATE = "{label}/{sample}/{view}"
FILES = ["cat/1/a.png", "cat/1/b.png", "cat/1/a.bmp", "cat/1/b.bmp", "dog/1/a.png", "dog/1/b.png"]
FIRST = {"num_views": 1, "view_sampling": "first"}
SELECTIONS = {  # options, files that no row takes, and some that one takes
    "number": (FIRST | {"layout": f"{TEMPLATE}.png"}, [*FILES[1:4], FILES[5]], FILES[::4]),
    "names": ({"layout": f"{TEMPLATE}.png", "view_names": ["b"]}, FILES[::2], FILES[1::4]),
    "a class": (
        {"layout": f"{TEMPLATE}.png", "class_names": ["cat"], "other_classes": "skip"},
        FILES[4:],
        FILES[:2],
    ),
    "masks": (
        FIRST | {"layout": {"images": f"{TEMPLATE}.png", "masks": f"{TEMPLATE}.bmp"}},
        FILES[1:4:2],
        [FILES[0], FILES[2]],
    ),
}


@pytest.mark.parametrize(("options", "left", "taken"), SELECTIONS.values(), ids=SELECTIONS)
def test_only_the_files_of_a_row_count(quick, make_tree, fails, options, left, taken):
    tree = make_tree(*FILES)
    if "masks" in options["layout"]:
        shutil.rmtree(tree / "dog")
    ds = quick(tree, **options)
    assert len(ids(ds)) == len({path[:3] for path in taken})
    for path in left:
        if (tree / path).exists():
            (tree / path).write_text("no image")
    assert len(ids(ds)) == len({path[:3] for path in taken})
    for path in taken:
        ds = quick(tree, **options)
        os.utime(tree / path)
        with fails("SourceChangedError", f"{tree} changed while it was read"):
            ids(ds)


@pytest.mark.parametrize("options", [{}, FIRST, {"view_names": ["s/1"]}])
def test_a_page_changes_with_its_file(quick, make_tree, fails, options):
    tree = make_tree("cat/1/s.tif")
    pages = [Image.new("L", (4, 4), grey) for grey in (1, 2)]
    pages[0].save(tree / "cat/1/s.tif", save_all=True, append_images=pages[1:])
    ds = quick(tree, pages="views", **options)
    assert ids(ds) == ["cat/1"]
    os.utime(tree / "cat/1/s.tif")
    with fails("SourceChangedError", f"{tree} changed while it was read"):
        ids(ds)
