"""to_tf_dataset: a tf.data.Dataset that holds what it says, and pixels that Pillow reads."""

import datasets
import numpy as np
import pytest

from multiview_cifar_tools.batches.augment import RandomCropFlip
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.batches.samplers import PKSampler, SizeSampler
from multiview_cifar_tools.flat_png import flat_png
from pictures import encoded, expected, make_masked, make_rows, png


@pytest.fixture
def tf():
    """Imported late; see `pytest_collection_modifyitems`."""
    import tensorflow

    return tensorflow


@pytest.fixture
def to_tf_dataset(tf):
    from multiview_cifar_tools.batches.tensorflow import to_tf_dataset

    return to_tf_dataset


def numbers(batches):
    """The number of each sample, in the order met; `make_rows` calls them cat/0, cat/1, ..."""
    return [int(name[4:]) for batch in batches for name in batch["sample_id"].numpy()]


@pytest.mark.parametrize("encode", [flat_png, png])
def test_equal_samples(tf, to_tf_dataset, encode):
    ds = make_rows([2] * 7, encode)
    data = to_tf_dataset(ds, 3, columns=["label", "sample_id"])
    assert data.element_spec == {
        "images": tf.TensorSpec((None, 2, 4, 5, 3), tf.uint8),
        "view_mask": tf.TensorSpec((None, 2), tf.bool),
        "label": tf.TensorSpec((None,), tf.int64),
        "sample_id": tf.TensorSpec((None,), tf.string),
    }
    assert len(data) == 3
    assert numbers(data) == list(range(7))
    for batch in data:
        samples = numbers([batch])
        assert np.array_equal(batch["images"], expected(ds, samples))
        assert batch["view_mask"].numpy().all()
        assert batch["label"].numpy().tolist() == [ds[i]["label"] for i in samples]


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_grey(to_tf_dataset, fails, mode):
    def tiff(image):
        return encoded(image, "tiff")

    ds = make_rows([1, [None], 1], tiff, mode)
    batches = [batch["images"].numpy() for batch in to_tf_dataset(ds, 1)]
    for images, (view,) in zip(batches, expected(ds, range(3)), strict=True):
        assert np.array_equal(images[0, 0], images[0, 0] * 0 if view is None else view)
        assert images.dtype == batches[0].dtype == expected(ds, [0])[0][0].dtype
    other = datasets.concatenate_datasets([ds, make_rows([1], tiff, "L")])
    with pytest.raises(Exception, match=r"sample 0 has images.*uint8"):
        list(to_tf_dataset(other, 1))


def test_a_known_batch_size(tf, to_tf_dataset):
    data = to_tf_dataset(make_rows([2] * 7), 3, drop_remainder=True)
    assert data.element_spec["images"] == tf.TensorSpec((3, 2, 4, 5, 3), tf.uint8)
    assert [len(batch["label"]) for batch in data] == [3, 3]
    assert len(data) == 2


@pytest.mark.parametrize("encode", [flat_png, png])
def test_ragged_samples(tf, to_tf_dataset, encode):
    ds = make_rows([2, [True, None, True], 1], encode)
    data = to_tf_dataset(ds, 3)
    assert data.element_spec["images"] == tf.TensorSpec((None, None, 4, 5, 3), tf.uint8)
    (batch,) = data
    assert batch["view_mask"].numpy().tolist() == [
        [True, True, False],
        [True, False, True],
        [True, False, False],
    ]
    assert batch["images"].shape == (3, 3, 4, 5, 3)
    for ragged in ("flat", "list"):
        data = to_tf_dataset(ds, 3, ragged=ragged, columns=["view_names"])
        spec = data.element_spec["images"]
        assert isinstance(spec, tf.RaggedTensorSpec)
        assert spec.shape.as_list() == [None, None, 4, 5, 3]
        (batch,) = data
        assert isinstance(batch["images"], tf.RaggedTensor)
        assert batch["images"].row_lengths().numpy().tolist() == [2, 3, 1]
        right = BatchReader(ds, ragged="flat")[[0, 1, 2]]
        assert np.array_equal(batch["images"].flat_values, right["images"])
        assert np.array_equal(batch["view_mask"].flat_values, right["view_mask"])
        assert batch["view_names"].to_list() == [[b"0", b"1"], [b"0", b"1", b"2"], [b"0"]]


def test_shuffled_and_repeated(to_tf_dataset):
    data = to_tf_dataset(make_rows([1] * 20), 4, shuffle=True, columns=["sample_id"], seed=3)
    epochs = [numbers(data) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))
    assert epochs[0] != epochs[1]
    again = to_tf_dataset(make_rows([1] * 20), 4, shuffle=True, columns=["sample_id"], seed=3)
    assert numbers(again.repeat(2)) == epochs[0] + epochs[1]


def test_augmented_alike_in_each_run(to_tf_dataset):
    options = {"augment": RandomCropFlip(2), "columns": ["sample_id"], "draws": "per_view"}
    ds = make_rows([2] * 6)
    data = to_tf_dataset(ds, 4, shuffle=True, **options)
    reader = BatchReader(ds, **options)
    for epoch in range(2):
        reader.set_epoch(epoch)
        for batch in data:
            assert np.array_equal(batch["images"], reader[numbers([batch])]["images"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_trains_on_it(tf, to_tf_dataset):
    ds = make_rows([2] * 8)
    data = to_tf_dataset(ds, 4, drop_remainder=True).map(
        lambda batch: (tf.cast(batch["images"], tf.float32) / 255, batch["label"])
    )
    model = tf.keras.Sequential(
        [
            tf.keras.layers.TimeDistributed(tf.keras.layers.Conv2D(4, 3)),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(data, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


def test_errors_are_told(tf, to_tf_dataset, fails):
    with fails("BatchError", "no samples"):
        to_tf_dataset(make_rows([1]).select([]), 2)
    for size in (0, "4", None, 2.0):
        with fails("BatchError", f"batch_size={size!r} is not right"):
            to_tf_dataset(make_rows([1]), size, drop_remainder=True)
    with fails("BatchError", "no option 'drop_remaindr'. Did you mean 'drop_remainder'?"):
        to_tf_dataset(make_rows([1]), 1, drop_remaindr=True)
    for rows in ({"train": make_rows([1])}, "photos", make_rows([1]).to_iterable_dataset()):
        with fails("BatchError", "to_tf_dataset takes one datasets.Dataset, found"):
            to_tf_dataset(rows, 1)
    with fails("BatchError", "'tags'", "string"):
        to_tf_dataset(make_rows([1]).add_column("tags", [{"a": 1}]), 1, columns=["tags"])
    mixed = datasets.concatenate_datasets([make_rows([1]), make_rows([1], size=(6, 6))])
    for batch_size in (1, 2):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"BatchError: .*\(6, 6, 3\)"):
            list(to_tf_dataset(mixed, batch_size))


def test_a_sampler(tf, to_tf_dataset, fails):
    ds = make_rows([2] * 12)
    sampler = PKSampler(ds["label"], 2, 2, seed=1)
    batches = to_tf_dataset(ds, sampler=sampler)
    assert int(batches.cardinality()) == 3
    assert batches.element_spec["images"].shape.as_list() == [None, 2, 4, 5, 3]
    for epoch in range(2):  # a pass counts it up
        seen = [batch["images"].numpy() for batch in batches]
        alone = PKSampler(ds["label"], 2, 2, seed=1)
        alone.set_epoch(epoch)
        for images, chosen in zip(seen, alone, strict=True):
            assert np.array_equal(images, expected(ds, chosen))
    lists = to_tf_dataset(ds, sampler=iter([[3], [4, 5]]), columns=["sample_id"])
    assert int(lists.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    assert [len(batch["sample_id"]) for batch in lists] == [1, 2]
    with fails("BatchError", "batch_size=None is not right"):
        to_tf_dataset(ds)


def test_sizes_that_differ(to_tf_dataset, fails):
    ds = datasets.concatenate_datasets([make_rows([1, 1], size=size) for size in ((5, 4), (8, 9))])
    batches = to_tf_dataset(ds, sampler=SizeSampler(ds, 4))
    assert batches.element_spec["images"].shape.as_list() == [None, 1, None, None, 3]
    shapes = sorted(tuple(batch["images"].shape) for batch in batches)
    assert shapes == [(2, 1, 4, 5, 3), (2, 1, 9, 8, 3)]
    deep = datasets.concatenate_datasets([ds, make_rows([1], mode="I;16")])
    with fails("BatchError", "uint16 and uint8", "one type"):
        to_tf_dataset(deep, sampler=SizeSampler(deep, 4))


def test_views_columns_and_numbers_of_each_view(tf, to_tf_dataset):
    ds = make_masked([3, 4, 5, 6])
    poses = [np.ones((len(row), 2, 2)).tolist() for row in ds["view_names"]]
    floats = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
    ds = ds.add_column("pose", poses, feature=floats)
    columns = ["sample_id", "view_names", "pose", "masks", "plan"]
    options = {"columns": columns, "num_views": 3, "view_sampling": "random", "seed": 2}
    for copies in (None, 2):
        more = options | {"copies": copies, "copy_views": "different" if copies else "same"}
        data = to_tf_dataset(ds, 3, **more)
        reader, axes = BatchReader(ds, **more), [copies] if copies else []
        assert data.element_spec == {
            "images": tf.TensorSpec((None, *axes, 3, 8, 8, 3), tf.uint8),
            "view_mask": tf.TensorSpec((None, *axes, 3), tf.bool),
            "sample_id": tf.TensorSpec((None,), tf.string),
            "view_names": tf.RaggedTensorSpec(
                (None, *axes, None), tf.string, len(axes) + 1, tf.int64
            ),
            "pose": tf.TensorSpec((None, *axes, 3, 2, 2), tf.float32),
            "masks": tf.TensorSpec((None, *axes, 3, 8, 8, 1), tf.uint8),
            "plan": tf.TensorSpec((None, *axes, 2, 3, 1), tf.uint8),
        }
        for epoch in range(2):
            for batch in data:
                right = reader.read(numbers([batch]), epoch)
                for name in ("images", "pose", "masks", "plan", "view_mask"):
                    assert np.array_equal(batch[name], right[name])
                names = batch["view_names"].to_list()
                assert np.array_equal(np.array(names).astype(str), right["view_names"])


def test_ragged_numbers_and_masks(tf, to_tf_dataset):
    ds = make_masked([1, 3])
    angles = datasets.Sequence(datasets.Value("float64"))
    ds = ds.add_column("angle", [[0.5], [1.0, 2.0, None]], feature=angles)
    data = to_tf_dataset(ds, 2, ragged="flat", columns=["angle", "masks"])
    assert data.element_spec["angle"] == tf.RaggedTensorSpec((None, None), tf.float64, 1, tf.int64)
    (batch,) = data
    assert batch["angle"].to_list()[0] == [0.5]
    assert batch["angle"].to_list()[1][:2] == [1.0, 2.0]
    assert batch["masks"].row_lengths().numpy().tolist() == [1, 3]


def test_a_first_sample_without_an_image(to_tf_dataset):
    data = to_tf_dataset(make_rows([[None], 1, 1]), 1)
    assert data.element_spec["images"].shape.as_list() == [None, 1, None, None, None]
    assert [batch["view_mask"].numpy().all() for batch in data] == [False, True, True]
