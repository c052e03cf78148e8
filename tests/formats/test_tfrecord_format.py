"""TFRecord files: rows come back, TensorFlow reads them as its users do, and damage is named."""

import json
import logging
import pickle
import struct
import sys
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_rows import (
    DESCRIBED,
    LABELLED,
    MASKED,
    PLAIN,
    ROWS,
    decoded,
    image,
    manifest_of,
    read,
    rows_with,
    shown,
    with_columns,
    write,
)
from multiview_cifar import row_features
from multiview_cifar_tools.formats import tfrecords
from multiview_cifar_tools.loading import detect_source
from sampling import examples

ANIMALS = row_features(["images"], ["cat", "dog"], None)


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    """As `tf`, and not above: of the processes that import this module only one runs its tests."""
    global tf
    import tensorflow as tf


def write_records(path, rows, features=PLAIN, pixels=False):
    return write(tfrecords, path, rows, pixels, features)


def read_records(path, manifest=None, **options):
    return read(tfrecords, path, manifest, **options)


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [False, True], ids=["bytes", "pixels"])
@pytest.mark.parametrize("name", ROWS)
def test_there_and_back(name, pixels, tmp_path):
    features, rows = ROWS[name]
    path = write_records(tmp_path / "a.tfrecord", rows, features, pixels)
    manifest = manifest_of(tmp_path, {"train": [("a.tfrecord", len(rows))]}, features)
    reading = tfrecords.read(str(tmp_path), manifest)
    assert (reading.features, reading.files) == (features, [path])
    back = read_records(tmp_path, manifest)["train"]
    assert shown(back, features, pixels) == shown(rows, features, pixels)


@pytest.mark.parametrize("name", ["equal", "ragged", "missing views", "grey", "16-bit grey"])
@pytest.mark.parametrize("pixels", [False, True], ids=["bytes", "pixels"])
def test_without_the_manifest(name, pixels, tmp_path):
    """Records say most of it themselves."""
    features, rows = ROWS[name]
    path = write_records(tmp_path / "a.tfrecord", rows, features, pixels)
    assert tfrecords.read(path, None).features == features
    assert shown(read_records(path)["train"], PLAIN, pixels) == shown(rows, PLAIN, pixels)


# --- names that TensorFlow gives ------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["mine-train.tfrecord-00000-of-00002", "mine-train.tfrecord-00001-of-00002"],
        ["train-00000-of-00002", "train-00001-of-00002"],
        ["1.0.0/mine-train.tfrecord-00000-of-00002", "1.0.0/mine-train.tfrecord-00001-of-00002"],
    ],
    ids=["tensorflow_datasets", "slim", "a folder of a version"],
)
def test_shards_as_tensorflow_calls_them(names, tmp_path):
    for i, name in enumerate([*names, names[0].replace("train", "validation")]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        file_of(tmp_path / name, example(label=i, image=png(1)))
    (tmp_path / name).with_name("features.json").write_text("{}")
    assert detect_source(tmp_path) == (str(tmp_path), "tfrecord")
    assert detect_source(tmp_path / names[0])[1] == "tfrecord"
    rows = read_records(tmp_path)
    assert [row["label"] for row in rows["train"]] == [0, 1]
    assert [row["label"] for row in rows["validation"]] == [2]
    assert len({row["sample_id"] for row in rows["train"]}) == 2
    assert len(read_records(tmp_path / names[1])["train"]) == 1


def test_names_of_labels_beside_the_shards(tmp_path, fails):
    path = file_of(tmp_path / "mine-train.tfrecord-00000-of-00001", example(label=1, image=png(1)))
    names = tmp_path / "label.labels.txt"
    names.write_text("cat\nchien é\n", encoding="utf-8")
    assert tfrecords.read(path, None).features["label"].names == ["cat", "chien é"]
    assert tfrecords.read(path, None, class_names=["a", "b"]).features["label"].names == ["a", "b"]
    names.write_text("cat\ncat\n")
    with fails("FormatError", "names no classes", "pass class_names", path=str(names)):
        read_records(path)
    names.write_text("cat\n")
    with fails("FormatError", "record 0", "the label is 1. Expected 0 to 0", path=path):
        read_records(path)


def test_features_as_tensorflow_calls_them(tmp_path):
    cat = {"image/class/label": 1, "image/class/text": b"cat", "image/encoded": png(1)}
    path = file_of(tmp_path / "a.tfrecord", example(**cat))
    assert tfrecords.read(path, None).features["label"].names == ["0", "cat"]
    (row,) = read_records(path)["train"]
    assert (row["label"], row["sample_id"], len(row["images"])) == (1, "cat/a-0", 1)


def test_the_only_feature_with_images(tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", example(frames=[png(1), png(2)], key=b"k", label=0))
    assert len(read_records(path)["train"][0]["images"]) == 2
    path = file_of(tmp_path / "b.tfrecord", example(left=png(1), right=png(2), label=0))
    with fails("FormatError", "record 0", "left and right hold images", "one alone", path=path):
        tfrecords.read(path, None)


def test_records_without_labels(tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", example(image=png(1)), example(image=png(2)))
    assert tfrecords.read(path, None).features == row_features(["images"], None, None)
    assert [row["sample_id"] for row in read_records(path)["train"]] == ["a-0", "a-1"]
    with fails("OptionError", "class_names", "no label", path="class_names"):
        tfrecords.read(path, None, class_names=["cat"])
    path = file_of(tmp_path / "b.tfrecord", example(image=png(1)), example(image=png(2), label=0))
    with fails("FormatError", "record 1", "it has 'label'", "first record", path=path):
        read_records(path)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@st.composite
def any_rows(draw):
    rows = []
    for i in range(draw(st.integers(1, 4))):
        views = draw(st.lists(st.booleans(), max_size=4))
        rows.append(
            {
                "images": [image(9 * i + j) if real else None for j, real in enumerate(views)],
                "label": draw(st.integers(0, 1)),
                "sample_id": draw(TEXTS),
                "view_names": [draw(st.none() | TEXTS) for _ in views],
                "view_labels": [draw(st.none() | st.integers(0, 1)) for _ in views],
            }
        )
    return rows


@examples(30)
@given(rows=any_rows(), pixels=st.booleans())
def test_any_rows(rows, pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    write_records(folder / "a.tfrecord", rows, LABELLED, pixels)
    manifest = manifest_of(folder, {"test": [("a.tfrecord", len(rows))]}, LABELLED)
    back = read_records(folder, manifest)["test"]
    assert shown(back, LABELLED, pixels) == shown(rows, LABELLED, pixels)


def test_equal_rows_give_equal_bytes(tmp_path):
    features, rows = ROWS["metadata"]
    first = write_records(tmp_path / "a.tfrecord", rows, features)
    second = write_records(tmp_path / "b.tfrecord", rows, features)
    with open(first, "rb") as one, open(second, "rb") as other:
        assert one.read() == other.read()


def test_the_shards_can_be_pickled(tmp_path):
    write_records(tmp_path / "a.tfrecord", rows_with([1, 2]))
    reading = pickle.loads(pickle.dumps(tfrecords.read(str(tmp_path), None)))
    assert len(list(reading.rows(reading.shards["train"][0]))) == 2


def test_memory(tmp_path):
    """One row at a time, whatever the size of the file."""
    view = {"bytes": image(0)["bytes"] + bytes(2_000_000), "path": None}
    rows = [{**rows_with([1])[0], "images": [view], "sample_id": str(i)} for i in range(20)]
    path = write_records(tmp_path / "a.tfrecord", rows)
    reading = tfrecords.read(path, None, class_names=["cat", "dog"])
    tracemalloc.start()
    assert sum(1 for _ in reading.rows(reading.shards["train"][0])) == 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


def test_without_tensorflow(tmp_path, fails, monkeypatch):
    path = write_records(tmp_path / "a.tfrecord", rows_with([1]))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with fails("FormatError", "need TensorFlow", 'pip install "multiview-cifar[tensorflow]"'):
        read_records(path)
    with fails("FormatError", "need TensorFlow"):
        write_records(tmp_path / "b.tfrecord", [])


def test_nothing_is_said_of_deprecation(tmp_path, caplog):
    write_records(tmp_path / "a.tfrecord", rows_with([1, 2]))
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        assert len(read_records(tmp_path)["train"]) == 2
    finally:
        logger.removeHandler(caplog.handler)
    assert "deprecated" not in caplog.text


# --- as others read them --------------------------------------------------------------------------


@pytest.fixture
def strings():
    """The features that are lists of strings."""
    feature = tf.io.FixedLenSequenceFeature([], tf.string)
    return dict.fromkeys(("images", "view_names"), feature)


def test_tensorflow_decodes_them(strings, tmp_path):
    rows = rows_with([2, 3])
    path = write_records(tmp_path / "a.tfrecord", rows)
    about = dict.fromkeys(("label_name", "sample_id"), tf.io.FixedLenFeature([], tf.string))
    about["label"] = tf.io.FixedLenFeature([], tf.int64)

    def parse(record):
        context, lists = tf.io.parse_single_sequence_example(record, about, strings)
        images = tf.map_fn(tf.io.decode_image, lists["images"], fn_output_signature=tf.uint8)
        return context, lists, images

    found = list(tf.data.TFRecordDataset(path).map(parse).as_numpy_iterator())
    assert len(found) == len(rows)
    for row, plain, (context, lists, images) in zip(rows, decoded(rows), found, strict=True):
        assert context == {
            "label": row["label"],
            "sample_id": row["sample_id"].encode(),
            "label_name": [b"cat", b"dog"][row["label"]],
        }
        assert [name.decode() for name in lists["view_names"]] == row["view_names"]
        assert images.tolist() == [pixels for _, pixels in plain["images"]]


def test_tensorflow_reads_pixels(strings, tmp_path):
    rows = rows_with([2], {(0, 1)}, shape=(4, 5, 1), dtype=np.uint16)
    path = write_records(tmp_path / "a.tfrecord", rows, pixels=True)
    about = {
        "images/shape": tf.io.FixedLenFeature([3], tf.int64),
        "images/dtype": tf.io.FixedLenFeature([], tf.string),
    }
    (record,) = tf.data.TFRecordDataset(path)
    context, lists = tf.io.parse_single_sequence_example(record, about, strings)
    assert context["images/dtype"] == b"uint16"
    assert lists["images"][1] == b""
    pixels = tf.reshape(tf.io.decode_raw(lists["images"][0], tf.uint16), context["images/shape"])
    assert pixels.numpy()[:, :, 0].tolist() == decoded(rows)[0]["images"][0][1]


def test_what_else_is_there(tmp_path):
    features, rows = ROWS["metadata"]
    (record, *_) = tf.data.TFRecordDataset(
        write_records(tmp_path / "a.tfrecord", rows, features)
    ).as_numpy_iterator()
    context = tf.train.SequenceExample.FromString(record).context.feature
    metadata = json.loads(context["metadata"].bytes_list.value[0])
    assert metadata["day"] == "2024-05-01T12:30:00.000007"
    labelled = with_columns(rows_with([2], {(0, 1)}), view_labels=[[1, None]])
    (record,) = tf.data.TFRecordDataset(
        write_records(tmp_path / "b.tfrecord", labelled, LABELLED)
    ).as_numpy_iterator()
    lists = tf.train.SequenceExample.FromString(record).feature_lists.feature_list
    assert [step.int64_list.value[0] for step in lists["view_labels"].feature] == [1, -1]


# --- records of others ----------------------------------------------------------------------------


def feature(value):
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def made_example(features):
    return tf.train.Example(
        features=tf.train.Features(
            feature={name: feature(value) for name, value in features.items()}
        )
    )


def example(**features):
    """example(): the record; as TensorFlow is not imported yet where these are listed."""
    return partial(made_example, features)


def made_sequence(context, lists):
    return tf.train.SequenceExample(
        context=tf.train.Features(feature={name: feature(v) for name, v in context.items()}),
        feature_lists=tf.train.FeatureLists(
            feature_list={
                name: tf.train.FeatureList(feature=map(feature, v)) for name, v in lists.items()
            }
        ),
    )


def sequence(context, **lists):
    return partial(made_sequence, context, lists)


def file_of(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in examples:
            writer.write(each if isinstance(each, bytes) else each().SerializeToString())
    return str(path)


def png(seed):
    return image(seed)["bytes"]


FOREIGN = {
    "sequences": sequence({"label": 1}, images=[png(1), png(2)]),
    "sequences of another name": sequence({"label": 1}, image=[png(1), png(2)]),
    "examples": example(label=1, images=[png(1), png(2)]),
    "examples of another name": example(label=1, image=[png(1), png(2)]),
    "as in tensorflow/models": example(**{"label": 1, "image/encoded": [png(1), png(2)]}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_records_of_others(name, tmp_path):
    path = file_of(tmp_path / "val-0.tfrecords", FOREIGN[name], FOREIGN[name])
    reading = tfrecords.read(path, None)
    assert reading.features == row_features(["images"], ["0", "1"], None)
    assert [*reading.shards] == ["validation"]
    views = [{"bytes": png(i), "path": None} for i in (1, 2)]
    rows = [
        {"images": views, "label": 1, "sample_id": f"1/val-0-{i}", "view_names": ["0", "1"]}
        for i in range(2)
    ]
    assert list(reading.rows(reading.shards["validation"][0])) == rows
    (row, _) = read_records(path, class_names=["cat", "dog"])["validation"]
    assert row["sample_id"] == "dog/val-0-0"


def test_what_others_may_say_besides(tmp_path, caplog):
    path = file_of(
        tmp_path / "a.tfrecord",
        example(
            label=2,
            label_name=b"cow",
            images=[png(1), b""],
            view_names=[b"left", b"right"],
            sample_id="é".encode(),
            height=32,
        ),
        sequence({"label": 0}, images=[png(2)], view_names=[b"top"], boxes=[1]),
    )
    reading = tfrecords.read(path, None)
    assert reading.features["label"].names == ["0", "1", "cow"]
    with caplog.at_level(logging.WARNING):
        one, other = reading.rows(reading.shards["train"][0])
    assert (one["sample_id"], one["view_names"], one["images"][1]) == ("é", ["left", "right"], None)
    assert (other["sample_id"], other["view_names"]) == ("0/a-1", ["top"])
    assert "the features height" in caplog.text
    assert "the features boxes" in caplog.text


def test_splits_by_name(tmp_path):
    (tmp_path / "test").mkdir()
    for i, name in enumerate(
        [
            "train-00000-of-00002.tfrecord",
            "train-00001-of-00002.tfrecord",
            "test/a.tfrecord",
            "valid.tfrecords",
        ]
    ):
        file_of(tmp_path / name, example(label=0, image=png(i), sample_id=b"%d" % i))
    rows = read_records(tmp_path)
    assert {split: [row["sample_id"] for row in rows[split]] for split in rows} == {
        "train": ["0", "1"],
        "validation": ["3"],
        "test": ["2"],
    }


# --- what is wrong --------------------------------------------------------------------------------

GOOD = example(label=0, image=png(1))
WRONG = {
    "no label": (example(image=png(1)), "no feature 'label' (there are: image)"),
    "a label that is text": (example(label=b"cat"), "'label' holds bytes_list with 0 values of"),
    "two labels": (example(label=[0, 1]), "'label' holds int64_list with 2 values of int64"),
    "a label below 0": (example(label=-1), "the label is -1. Expected 0 to"),
    "no image": (example(label=0), "no feature 'images' or 'image' or 'image/encoded'"),
    "an image that is none": (example(label=0, image=b"text"), "view 0 in 'image' is 4 bytes that"),
    "names that are too few": (
        sequence({"label": 0}, images=[png(1)] * 2, view_names=[b"a"]),
        "view_names is ['a'],",
    ),
    "a name that is not UTF-8": (
        sequence({"label": 0}, images=[png(1)], view_names=[b"\xff"]),
        "'view_names' is b'\\xff'",
    ),
    "views of two files": (
        sequence({"label": 0}, images=[[png(1), png(2)]]),
        "with 2 values of bytes",
    ),
    "no protocol buffer": (b"\xff" * 9, "9 bytes that begin with b'\\xff"),
    "pixels too few": (
        example(
            **{"label": 0, "images": b"12345", "images/shape": [1, 2, 3], "images/dtype": b"uint8"}
        ),
        "view 0 in 'images' has 5 bytes",
    ),
    "pixels of another dtype": (
        example(
            **{"label": 0, "images": b"12345", "images/shape": [1, 2, 3], "images/dtype": b"object"}
        ),
        "images/dtype is 'object'",
    ),
    "pixels that no PNG can hold": (
        example(
            **{"label": 0, "images": b"12", "images/shape": [1, 1, 2], "images/dtype": b"uint8"}
        ),
        "Pixels are of shape (1, 1, 2)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_records_that_are_not_right(name, tmp_path, fails):
    record, found = WRONG[name]
    path = file_of(tmp_path / "a.tfrecord", GOOD, record)
    at = len(GOOD().SerializeToString()) + 16
    with fails("FormatError", f"{path}, record 1 at byte {at}: ", found, "Expected", path=path):
        read_records(path)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (example(label=0, label_name=b"cat", image=png(1)), "called 'cat', and before it was '0'"),
        (example(label=1 << 20, image=png(1)), "the label is 1048576. Expected 0 to 1048575"),
    ],
)
def test_labels_that_do_not_go_together(record, found, tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", GOOD, record)
    with fails("FormatError", f"{path}, record 1 at byte", found, path=path):
        tfrecords.read(path, None)


def test_two_labels_of_one_name(tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", example(label=1, label_name=b"0"))
    with fails("FormatError", "two labels are called '0'", "pass class_names", path=path):
        tfrecords.read(path, None)


def test_labels_that_class_names_do_not_have(tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", GOOD, example(label=2, image=png(1)))
    with fails("FormatError", "record 1 at byte", "the label is 2. Expected 0 to 1", path=path):
        read_records(path, class_names=["cat", "dog"])


OWN = {
    "no sample_id": ({"label": 0}, {"images": [], "view_names": []}, "no feature 'sample_id'"),
    "no names": ({"label": 0, "sample_id": b"x"}, {"images": []}, "no feature 'view_names'"),
    "no images": ({"label": 0, "sample_id": b"x"}, {"view_names": []}, "no feature 'images'"),
    "a label beyond": (
        {"label": 2, "sample_id": b"x", "metadata": json.dumps(dict.fromkeys(DESCRIBED)).encode()},
        {"images": [], "view_names": []},
        "the label is 2",
    ),
    "metadata that are none": (
        {"label": 0, "sample_id": b"x", "metadata": b"{"},
        {"images": [], "view_names": []},
        "metadata: b'{' is not JSON",
    ),
    "metadata too few": (
        {"label": 0, "sample_id": b"x", "metadata": b"{}"},
        {"images": [], "view_names": []},
        "no column 'weight'",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_records_of_ours_that_are_not_right(name, tmp_path, fails):
    context, lists, found = OWN[name]
    path = file_of(tmp_path / "a.tfrecord", sequence(context, **lists))
    manifest = manifest_of(tmp_path, {"train": [("a.tfrecord", 1)]}, DESCRIBED)
    with fails("FormatError", f"{path}, record 0 at byte 0: ", found, "Expected", path=path):
        read_records(tmp_path, manifest)


@pytest.mark.parametrize("names", [[], ["a", "a"], [1], "ab"])
def test_class_names_that_are_none(names, tmp_path, fails):
    path = file_of(tmp_path / "a.tfrecord", GOOD)
    with fails("OptionError", repr(names), "Expected a list of names", path="class_names"):
        read_records(path, class_names=names)


def test_class_names_where_the_manifest_says_them(tmp_path, fails):
    write_records(tmp_path / "a.tfrecord", rows_with([1]))
    manifest = manifest_of(tmp_path, {"train": [("a.tfrecord", 1)]})
    with fails("OptionError", "class_names", "leave them out", path="class_names"):
        read_records(tmp_path, manifest, class_names=["a"])


def test_nothing_there(tmp_path, fails):
    with fails("FormatError", "has none", "a TFRecord file (.tfrecord"):
        read_records(tmp_path)
    path = file_of(tmp_path / "a.tfrecord")
    with fails("FormatError", "has no records", path=path):
        read_records(path)


def test_a_manifest_that_says_something_else(tmp_path, fails):
    path = write_records(tmp_path / "a.tfrecord", rows_with([1, 2]))
    manifest = manifest_of(tmp_path, {"train": [("a.tfrecord", 3)]})
    with fails("FormatError", "has 2 records. Expected 3", path=path):
        read_records(tmp_path, manifest)


# damage


def three_records(tmp_path):
    """A file, its bytes, and where its records begin."""
    path = write_records(tmp_path / "a.tfrecord", rows_with([1, 1, 1]))
    with open(path, "rb") as file:
        data = file.read()
    starts = [0]
    while starts[-1] < len(data):
        starts.append(starts[-1] + struct.unpack_from("<Q", data, starts[-1])[0] + 16)
    return path, data, starts


def test_a_file_that_is_cut_off(tmp_path, fails):
    path, data, starts = three_records(tmp_path)
    for size in {*range(1, len(data), 16), *(at - 1 for at in starts[1:])} - {*starts}:
        with open(path, "wb") as file:
            file.write(data[:size])
        number = max(i for i, at in enumerate(starts) if at <= size)
        says = f"cut off at record {number}, byte {starts[number]} ("
        with fails("FormatError", says, "copy or make it again", path=path):
            read_records(path, class_names=["cat", "dog"])


def test_a_file_that_is_cut_off_between_records(tmp_path, fails):
    """Only the manifest tells."""
    path, data, starts = three_records(tmp_path)
    manifest = manifest_of(tmp_path, {"train": [("a.tfrecord", 3)]})
    with open(path, "wb") as file:
        file.write(data[: starts[2]])
    with fails("FormatError", f"has {starts[2]} bytes. Expected {len(data)}", path=path):
        tfrecords.read(str(tmp_path), manifest)


def test_checksums_that_are_wrong(tmp_path, fails):
    """A flipped bit anywhere is found."""
    path, data, starts = three_records(tmp_path)
    for at in range(0, len(data), 7):
        with open(path, "wb") as file:
            file.write(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        number = max(i for i, start in enumerate(starts) if start <= at)
        says = f"damaged or cut off at record {number}, byte {starts[number]} ("
        with fails("FormatError", says, "copy or make it again", path=path):
            read_records(path, class_names=["cat", "dog"])


# --- rows that cannot be written ------------------------------------------------------------------


def test_rows_that_are_not_right(tmp_path, fails):
    (row,) = rows_with([1])
    writer = tfrecords.Writer(str(tmp_path / "a.tfrecord"), MASKED, False)
    row["masks"] = [None]
    try:
        for change, says in [
            ({"label": 2}, "the label is 2"),
            ({"sample_id": ""}, "sample_id is ''"),
            ({"view_names": [""]}, "A view of the sample cat/0000 is called ''"),
            ({"images": [{"bytes": None, "path": "a.png"}]}, "holds no bytes"),
        ]:
            with fails("ExportError", says, "Expected"):
                writer.write(row | change)
        writer.write(row)
    finally:
        writer.close()
    assert len(read_records(tmp_path / "a.tfrecord")["train"]) == 1


def test_a_row_too_large(tmp_path, fails, monkeypatch):
    """2 GB of bytes would be too much for a test."""
    monkeypatch.setattr(tfrecords, "MAX_BYTES", 100)
    writer = tfrecords.Writer(str(tmp_path / "a.tfrecord"), PLAIN, False)
    try:
        with fails("ExportError", "cat/0000", "more than 100 bytes", "leave out", path="cat/0000"):
            writer.write(rows_with([1])[0])
    finally:
        writer.close()


def test_no_place_to_write(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        tfrecords.Writer(str(tmp_path / "none" / "a.tfrecord"), PLAIN, False)
    writer = tfrecords.Writer("/dev/full", PLAIN, False)
    writer.write(rows_with([1])[0])
    with pytest.raises(OSError, match="No space left"):
        writer.close()
