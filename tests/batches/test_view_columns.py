"""Numbers for each view as arrays, in the form that the images have."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import multiview_cifar
from multiview_cifar_tools.batches.pytorch import TorchBatches, TorchStream
from multiview_cifar_tools.batches.reader import BatchReader
from pictures import make_rows

NAN = float("nan")
POSE = np.arange(16.0).reshape(4, 4)
ANGLES = [[0.0, 90.0], None, [10.0, None, 30.0]]
FRAMES = [[7, 8], [9], [1, 2, None]]
POSITIONS = [[[0, 1, 2], [3, 4, 5]], [None], [[6, 7, 8], None, [9, None, 11]]]
POSES = [[(POSE + 100 * i + v).tolist() for v in range(n)] for i, n in enumerate((2, 1, 3))]
VALUE = datasets.Value


def add(ds, **columns):
    """The rows with these columns: of values, and their feature."""
    for name, (values, feature) in columns.items():
        ds = ds.add_column(name, values, feature=feature)
    return ds


@pytest.fixture
def ds():
    """Three samples of two, one and three views."""
    lists = datasets.Sequence
    return add(
        make_rows([2, 1, 3]),
        angle=(ANGLES, lists(VALUE("float32"))),
        frame=(FRAMES, lists(VALUE("uint8"))),
        position=(POSITIONS, lists(lists(VALUE("float64")))),
        pose=(POSES, lists(lists(lists(VALUE("float64"))))),
        note=([["a", None], ["b"], ["c", "d", "e"]], lists(VALUE("string"))),
    )


def same(array, right):
    assert np.array_equal(array, np.array(right, array.dtype), equal_nan=array.dtype.kind == "f")


def test_padded(ds):
    batch = BatchReader(ds)[[2, 0, 1]]
    assert batch["angle"].dtype == np.float32
    same(batch["angle"], [[10, NAN, 30], [0, 90, NAN], [NAN] * 3])
    assert batch["frame"].dtype == np.int64
    same(batch["frame"], [[1, 2, -1], [7, 8, -1], [9, -1, -1]])
    none = [NAN] * 3
    same(batch["position"][0], [[6, 7, 8], none, [9, NAN, 11]])
    same(batch["position"][1], [[0, 1, 2], [3, 4, 5], none])
    same(batch["position"][2], [none] * 3)
    assert batch["pose"].shape == (3, 3, 4, 4)
    same(batch["pose"][1, :2], POSES[0])
    assert np.isnan(batch["pose"][1, 2]).all()
    assert batch["note"] == [["c", "d", "e"], ["a", None], ["b"]]


def test_in_other_forms(ds):
    padded = BatchReader(ds, num_views=4)[[2, 0, 1]]
    assert padded["pose"].shape == (3, 4, 4, 4)
    flat = BatchReader(ds, ragged="flat")[[2, 0]]
    same(flat["frame"], [1, 2, -1, 7, 8])
    assert flat["pose"].shape == (5, 4, 4)
    listed = BatchReader(ds, ragged="list")[[2, 0]]
    assert [frames.tolist() for frames in listed["frame"]] == [[1, 2, -1], [7, 8]]
    one = BatchReader(ds)[2]
    same(one["frame"], [*FRAMES[2][:2], -1])
    whole = BatchReader(ds).to_arrays()
    same(whole["frame"], [[7, 8, -1], [9, -1, -1], [1, 2, -1]])


def test_in_the_choice_of_views(ds):
    options = {"num_views": 2, "view_sampling": "random", "seed": 3}
    for copies in (None, 2):
        reader = BatchReader(
            ds, copies=copies, copy_views="different" if copies else "same", **options
        )
        for epoch in range(4):
            batch = reader.read([2, 0, 1], epoch)
            shape = (3, 2) if copies is None else (3, 2, 2)
            assert batch["pose"].shape == (*shape, 4, 4)
            samples = np.broadcast_to(
                np.array([2, 0, 1]).reshape(-1, *[1] * (len(shape) - 2)), shape[:-1]
            )
            for at in np.ndindex(shape[:-1]):
                sample, names = samples[at], batch["view_names"]
                for index in at:
                    names = names[index]
                views = [int(name) for name in names]
                same(batch["pose"][at][: len(views)], [POSES[sample][v] for v in views])
                right = [FRAMES[sample][v] for v in views]
                same(batch["frame"][at][: len(views)], [-1 if f is None else f for f in right])
                notes = batch["note"]
                for index in at:
                    notes = notes[index]
                assert notes == [ds[int(sample)]["note"][v] for v in views]


def test_what_is_no_value_a_view_stays_a_list(ds):
    more = add(
        ds,
        box=([[1, 2], [3, 4], [5, 6]], datasets.Sequence(VALUE("int64"))),
        size=([[1, 2], [3, 4], [5, 6]], datasets.Sequence(VALUE("int64"), length=2)),
        points=(
            [[[1], [2, 3]], [[4]], [[5], [6], []]],
            datasets.Sequence(datasets.Sequence(VALUE("int64"))),
        ),
    )
    batch = BatchReader(more)[[0, 2]]
    assert batch["box"] == batch["size"] == [[1, 2], [5, 6]]
    assert batch["points"] == [[[1], [2, 3]], [[5], [6], []]]
    # The feature says that `size` is of the sample, where it is as long as there are views, too.
    equal = BatchReader(more.select([0]), num_views=1, view_sampling="first")[[0]]
    assert equal["size"] == [[1, 2]]
    assert equal["points"] == [[[1]]]
    assert equal["box"].tolist() == [[1]]


def test_tensors_of_rows_and_streams(ds):
    options = {"columns": ["pose", "frame", "note"], "num_views": 2, "view_sampling": "random"}
    (right,) = DataLoader(TorchBatches(ds, **options), 3)
    assert right["pose"].shape == (3, 2, 4, 4)
    assert right["pose"].dtype == torch.float64
    assert right["frame"].dtype == torch.int64
    (streamed,) = TorchStream(ds.to_iterable_dataset(), 3, **options)
    for name in ("pose", "frame"):
        assert torch.equal(torch.nan_to_num(streamed[name]), torch.nan_to_num(right[name]))
    assert streamed["note"] == right["note"]


def test_metadata_of_a_folder(make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/{v}.png" for i in range(2) for v in range(1 + i)))
    lines = [
        f'{{"sample_id": "cat/{i}", "view": "{v}", "angle": {90 * v}, "position": [{i}, {v}, 0.5]}}'
        for i in range(2)
        for v in range(1 + i)
    ]
    (tree / "metadata.jsonl").write_text("\n".join(lines))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", cache_dir=str(tmp_path / "cache")
    )
    batch = BatchReader(ds)[[1, 0]]
    assert batch["angle"].tolist() == [[0, 90], [0, -1]]
    same(batch["position"], [[[1, 0, 0.5], [1, 1, 0.5]], [[0, 0, 0.5], [NAN] * 3]])
