"""Views that are chosen when a batch is read: K of each sample, by seed, epoch and sample_id."""

from collections import Counter

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

import multiview_cifar
from multiview_cifar_tools.batches.augment import RandomCropFlip
from multiview_cifar_tools.batches.pytorch import TorchBatches, TorchStream
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.batches.views import draw_numbers
from multiview_cifar_tools.elastic.pytorch import TorchElastic
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.flat_png import flat_png
from pictures import expected, make_rows, png
from sampling import examples

COLUMNS = ["sample_id", "view_names"]


def choices(batches):
    """The names of the views of each sample."""
    return {
        name: tuple(views)
        for batch in batches
        for name, views in zip(batch["sample_id"], batch["view_names"], strict=True)
    }


def check_pixels(ds, batch):
    """That the images are those of the views named, and the rest is padding."""
    for name, views, images, mask in zip(
        *(batch[field] for field in ("sample_id", "view_names", "images", "view_mask")), strict=True
    ):
        (row,) = expected(ds, [int(name[4:])])
        assert mask.tolist() == [True] * len(views) + [False] * (len(mask) - len(views))
        assert np.array_equal(images[: len(views)], [row[int(view)] for view in views])
        assert not images[len(views) :].any()


@examples(40)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=9),
    st.integers(1, 6),
    st.integers(0, 1 << 70),
    st.integers(0, 99),
    st.sampled_from([flat_png, png]),
    st.data(),
)
def test_views_follow_from_seed_epoch_and_sample_alone(views, count, seed, epoch, encode, data):
    count = min(count, max(views))
    options = {"columns": COLUMNS, "view_sampling": "random", "num_views": count, "seed": seed}
    ds = make_rows(views, encode)
    reader = BatchReader(ds, **options)
    right = {}
    for sample in range(len(views)):  # one by one
        right |= choices([reader.read([sample], epoch)])
    for i, chosen in enumerate(right.values()):
        assert [*chosen] == sorted({*chosen})
        assert len(chosen) == min(views[i], count)
    order = data.draw(st.permutations(range(len(views))))
    part = data.draw(st.integers(1, len(views)))
    moved = datasets.concatenate_datasets([ds.select(order[:part]), ds.select(order[part:])])
    other = BatchReader(moved, **options | {"on_few_views": "pad"})
    other.set_epoch(epoch)
    batches = list(other.batches(data.draw(st.integers(1, 4)), shuffle=True))
    assert choices(batches) == right
    for batch in batches:
        check_pixels(ds, batch)
    stream = TorchStream(moved.to_iterable_dataset(), 2, **options)
    stream.set_epoch(epoch)
    assert choices(stream) == right


def test_another_epoch_or_seed_gives_other_views():
    ds = make_rows([6] * 30)
    reader = BatchReader(ds, columns=COLUMNS, view_sampling="random", num_views=3)
    first, second = (choices([reader.read(range(30), epoch)]) for epoch in (0, 1))
    other = BatchReader(ds, columns=COLUMNS, view_sampling="random", num_views=3, seed=1)
    assert first != second != choices([other.read(range(30), 0)]) != first
    epochs = [choices([reader.read(range(30), epoch)]) for epoch in range(20)]
    assert all({view for epoch in epochs for view in epoch[name]} == {*"012345"} for name in first)


@pytest.mark.parametrize(("total", "count"), [(5, 2), (4, 4), (3, 1)])
def test_each_choice_is_as_likely(total, count):
    seeds = np.random.default_rng(0).integers(0, 1 << 64, 9000, np.uint64)
    found = Counter(map(tuple, draw_numbers(total, count, seeds).tolist()))
    even = 9000 / len(found)
    assert 0.85 * even < min(found.values()) <= max(found.values()) < 1.15 * even


def test_choices_that_are_too_many_to_be_listed():
    seeds = np.random.default_rng(0).integers(0, 1 << 64, 8000, np.uint64)
    numbers = draw_numbers(40, 10, seeds)
    assert (np.diff(numbers, axis=1) > 0).all()
    counts = np.bincount(numbers.ravel(), minlength=40)
    assert 1850 < counts.min() <= counts.max() < 2150
    assert np.array_equal(draw_numbers(40, 10, seeds[7:9]), numbers[7:9])


@pytest.fixture
def rows(make_tree, tmp_path):
    """load(): ten samples of two to five views, built as flat PNG."""
    paths = [f"c{i % 2}/s{i}/{v}.png" for i in range(10) for v in range(2 + i % 4)]
    tree = make_tree(*paths)

    def load(**options):
        options = {"split": "train", "encoding": "flat_png"} | options
        return multiview_cifar.load_dataset(
            data_dir=str(tree), cache_dir=str(tmp_path / "cache"), **options
        )

    return load


@pytest.mark.parametrize("sampling", ["first", "even"])
def test_the_same_views_as_a_build_keeps(rows, sampling):
    kept = rows(num_views=2, view_sampling=sampling)
    right = choices([{name: kept[:][name] for name in COLUMNS}])
    reader = BatchReader(rows(), columns=COLUMNS, num_views=2, view_sampling=sampling)
    assert choices(reader.batches(4)) == right


def test_the_same_in_workers_streams_and_shards(rows, tmp_path):
    options = {"columns": COLUMNS, "num_views": 3, "view_sampling": "random", "seed": 5}
    ds = rows()
    shards = str(tmp_path / "shards")
    export(ds, shards, format="parquet")
    reader, data = BatchReader(ds, **options), TorchBatches(ds, **options)
    stream = TorchStream(rows(streaming=True), 4, **options)
    elastic = TorchElastic(shards, 3, **options)
    for epoch in (0, 1):
        right = choices([reader.read(range(10), epoch)])
        for loader in (data, stream, elastic):
            loader.set_epoch(epoch)
        assert choices(DataLoader(data, 3, shuffle=True, num_workers=2)) == right
        assert choices(DataLoader(stream, batch_size=None, num_workers=2)) == right
        assert choices(elastic) == right


@pytest.mark.parametrize("encode", [flat_png, png])
def test_samples_with_few_views(encode):
    ds = make_rows([1, 3, 5], encode)
    padded = BatchReader(ds, num_views=4, view_sampling="even")[range(3)]
    assert padded["view_mask"].sum(1).tolist() == [1, 3, 4]
    assert padded["view_names"] == [["0"], ["0", "1", "2"], ["0", "1", "2", "3"]]
    check_pixels(ds, padded)
    options = {"num_views": 4, "on_few_views": "repeat"}
    repeated = BatchReader(ds, view_sampling="random", **options)[range(3)]
    assert repeated["view_mask"].all()
    assert repeated["view_names"][:2] == [["0"] * 4, ["0", "1", "2", "0"]]
    check_pixels(ds, repeated)
    more = BatchReader(ds, num_views=7, view_sampling="first", on_few_views="repeat")[[2]]
    assert more["view_names"] == [["0", "1", "2", "3", "4", "0", "1"]]


@pytest.mark.parametrize("encode", [flat_png, png])
def test_views_that_are_missing(encode):
    ds = make_rows([[True, None, True], [None, None, None], 3], encode)
    batch = BatchReader(ds, num_views=2, view_sampling="first")[range(3)]
    assert batch["view_mask"].tolist() == [[True, False], [False, False], [True, True]]
    assert np.array_equal(batch["images"][2], expected(ds, [2])[0][:2])
    repeated = BatchReader(
        make_rows([0, 1], encode), num_views=2, view_sampling="first", on_few_views="repeat"
    )[[0, 1]]
    assert repeated["view_mask"].tolist() == [[False, False], [True, True]]


def test_in_each_form():
    ds = make_rows([2, 4, 3])
    options = {"num_views": 3, "view_sampling": "random"}
    padded = BatchReader(ds, **options)[[1, 0, 2]]
    flat = BatchReader(ds, ragged="flat", **options)[[1, 0, 2]]
    assert flat["offsets"].tolist() == [0, 3, 5, 8]
    assert np.array_equal(flat["images"], padded["images"][padded["view_mask"]])
    listed = BatchReader(ds, ragged="list", **options)[[1, 0, 2]]
    assert [len(images) for images in listed["images"]] == [3, 2, 3]
    assert np.array_equal(np.concatenate(listed["images"]), flat["images"])
    even = BatchReader(ds, ragged="error", num_views=2, view_sampling="random")[[1, 0, 2]]
    assert even["images"].shape == (3, 2, 4, 5, 3)
    one = BatchReader(ds, **options)[1]
    assert np.array_equal(one["images"], padded["images"][0])
    whole = BatchReader(ds, **options).to_arrays()
    assert np.array_equal(whole["images"][[1, 0, 2]], padded["images"])


@pytest.mark.parametrize("copy_views", [None, "same", "different"])
def test_which_views_says_nothing_of_how_they_are_changed(copy_views):
    # Black, and white at the left of the first view and at its right of the second.
    ds = make_rows([2] * 300, lambda image: png(image.resize((2, 1)).convert("L")))
    left, right = (Image.fromarray(np.uint8([pixels])) for pixels in ([250, 0], [9, 1]))
    files = [[{"bytes": png(image), "path": None} for image in (left, right)]] * 300
    ds = ds.remove_columns("images").add_column("images", files)
    copies = {} if copy_views is None else {"copies": 2, "copy_views": copy_views}
    reader = BatchReader(
        ds.cast_column("images", datasets.Sequence(datasets.Image())),
        num_views=1,
        view_sampling="random",
        augment=RandomCropFlip(0),
        **copies,
    )
    pixels = reader[:]["images"].reshape(-1, 2)
    found = Counter((int(pair.max()), bool(pair[0] < pair[1])) for pair in pixels)
    assert found.keys() == {(250, False), (250, True), (9, False), (9, True)}
    even = len(pixels) / 4
    assert 0.7 * even < min(found.values()) <= max(found.values()) < 1.3 * even


def test_wrong_use(fails):
    ds = make_rows([2, 3])
    with fails("BatchError", "view_sampling='some'", "None, 'random', 'first', 'even'"):
        BatchReader(ds, view_sampling="some", num_views=1)
    with fails("BatchError", "view_sampling='random'", "num_views=4"):
        TorchBatches(ds, view_sampling="random")
    with fails("BatchError", "num_views=4", "more than 3 views", "cat/1", "repeat"):
        TorchBatches(ds, view_sampling="random", num_views=4)
    with fails("BatchError", "num_views=3", "more than 2 views", "cat/0"):
        TorchBatches(ds.select([0]), view_sampling="even", num_views=3)
    with fails("BatchError", "No sample has a view, as cat/0. Expected one at least"):
        TorchBatches(make_rows([0, 0]), view_sampling="even", num_views=3)
    with fails("BatchError", 'on_few_views="repeat"', "view_sampling"):
        BatchReader(ds, num_views=3, on_few_views="repeat")
    with fails("BatchError", "on_few_views='drop'"):
        BatchReader(ds, num_views=3, on_few_views="drop")
    with fails("BatchError", "cat/1 has 3 views", 'view_sampling="random"'):
        BatchReader(ds, num_views=2)[[0, 1]]


# --- copies ---------------------------------------------------------------------------------------


def number_of_draw(images, seeds):
    """Images that say which draw they are."""
    drawn = (seeds % np.uint64(251)).astype(np.uint8)
    return np.broadcast_to(drawn[:, None, None, None], images.shape)


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize("copy_views", ["same", "different"])
def test_copies(encode, copy_views):
    ds = make_rows([4, 6, 5, 6], encode)
    options = {"num_views": 3, "view_sampling": "random", "copies": 2, "copy_views": copy_views}
    reader = BatchReader(ds, **options)
    batch = reader.read([2, 0, 3], 1)
    assert batch["images"].shape == (3, 2, 3, 4, 5, 3)
    assert batch["view_mask"].shape == (3, 2, 3)
    assert batch["label"].shape == (3,)
    for i, sample in enumerate((2, 0, 3)):
        (row,) = expected(ds, [sample])
        first, second = batch["view_names"][i]
        if copy_views == "same":
            assert first == second
        for copy, names in enumerate((first, second)):
            assert np.array_equal(batch["images"][i, copy], [row[int(name)] for name in names])
        one = reader.read(sample, 1)
        assert np.array_equal(one["images"], batch["images"][i])
        assert one["view_names"] == batch["view_names"][i]
    pairs = [reader.read([2, 0, 3], epoch)["view_names"] for epoch in range(9)]
    is_same = [first == second for batch in pairs for first, second in batch]
    assert all(is_same) == (copy_views == "same")
    assert sum(is_same) < 9 or copy_views == "same"


def test_copies_are_changed_each_by_its_own_draw():
    ds = make_rows([2, 3])
    drawn = {}
    for draws in ("per_sample", "per_view"):
        data = TorchBatches(ds, augment=number_of_draw, draws=draws, copies=3)
        batch = data[[1, 0]]
        assert batch["images"].shape == (2, 3, 3, 3, 4, 5)
        assert batch["view_mask"].tolist() == [[[True] * 3] * 3, [[True, True, False]] * 3]
        assert not batch["images"][~batch["view_mask"]].any()
        drawn[draws] = batch["images"][..., 0, 0, 0]
    assert all(len({*copies[:, 0].tolist()}) == 3 for copies in drawn["per_sample"])
    assert (drawn["per_sample"][0] == drawn["per_sample"][0][:, :1]).all()
    assert len({*drawn["per_view"][0].ravel().tolist()}) == 9


def test_wrong_copies(fails):
    ds = make_rows([2])
    for copies in (0, "2", 1.5):
        with fails("BatchError", f"copies={copies!r} is not right"):
            BatchReader(ds, copies=copies)
    with fails("BatchError", "copies=2", "ragged='flat'", 'ragged="pad"'):
        BatchReader(ds, copies=2, ragged="flat")
    with fails("BatchError", 'copy_views="different"', "copies=2"):
        BatchReader(ds, copy_views="different", num_views=1, view_sampling="random")
    with fails("BatchError", 'copy_views="different"', 'view_sampling="random"'):
        BatchReader(ds, copies=2, copy_views="different")
