"""What the formats of `datasets` itself make of this project's rows: array types, shapes, pixels.

TensorFlow and JAX run in a child process: once they are imported, every later fork of the test
process (workers, num_proc) warns that it may never end, and would be right.
"""

from typing import Any, NamedTuple

import datasets
import numpy as np
import pytest
from PIL import Image

from processes import NEEDS_TF, in_child, needs

# --- the child process ----------------------------------------------------------------------------


class Held(NamedTuple):
    """A format's array as (its package, NumPy's copy), a list as (builtins, its items)."""

    package: str
    values: Any


def held(value):
    """The same for whatever a format gives; dicts stay dicts, of our two columns."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {column: held(value[column]) for column in ("images", "label")}
    package = type(value).__module__.partition(".")[0]
    if isinstance(value, list) or getattr(value, "dtype", None) == np.dtype(object):
        return Held(package, [held(item) for item in value])
    return Held(package, np.asarray(value))


def rows_and_batch(ds, name):
    ds = ds.with_format(name)
    return [held(ds[0]), held(ds[1]), held(ds[:2])]


def streamed_rows_and_batch(ds, name):
    ds = ds.with_format(name)
    return [*map(held, ds), held(next(ds.iter(batch_size=2)))]


def image_column(ds, name):
    column = ds.with_format(name)["images"]
    return type(column).__module__.partition(".")[0], held(column[:])


def tf_spec(ds, batch_size):
    ds = ds.to_tf_dataset(columns=["images", "label"], batch_size=batch_size)
    return {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in ds.element_spec.items()}


def tf_batches(ds, batch_size):
    ds = ds.to_tf_dataset(columns=["images", "label"], batch_size=batch_size)
    return [held(batch) for batch in ds]


# --- the rows -------------------------------------------------------------------------------------

A, B, C, D = "cat/1/a.png", "cat/1/b.png", "dog/1/a.png", "dog/1/b.png"
WIDE, TALL, GREY, CLEAR = (3, 4, 3), (5, 2, 3), (3, 4), (3, 4, 4)  # (height, width, bands)


class Case(NamedTuple):
    """The files' shapes, and what a batch holds: a tuple is one array, a list holds several."""

    files: dict
    batch: Any


EQUAL = {
    "RGB": Case({A: WIDE, B: WIDE, C: WIDE, D: WIDE}, ((A, B), (C, D))),
    "RGBA": Case({A: CLEAR, B: CLEAR, C: CLEAR, D: CLEAR}, ((A, B), (C, D))),
    "L": Case({A: GREY, B: GREY, C: GREY, D: GREY}, ((A, B), (C, D))),
    "one view": Case({A: WIDE, C: WIDE}, ((A,), (C,))),
}
RAGGED = {
    "more views in one row": Case({A: WIDE, B: WIDE, C: WIDE}, [(A, B), (C,)]),
    "sizes differ from row to row": Case({A: WIDE, B: WIDE, C: TALL, D: TALL}, [(A, B), (C, D)]),
    "sizes differ in a row": Case({A: WIDE, B: TALL, C: WIDE, D: TALL}, [[A, B], [C, D]]),
    "modes differ in a row": Case({A: WIDE, B: GREY, C: WIDE, D: GREY}, [[A, B], [C, D]]),
    "a view is missing": Case({A: WIDE, B: WIDE, C: WIDE}, [(A, B), [C, None]]),
}
CASES = {**EQUAL, **RAGGED}


def noise(path, shape):
    return np.random.default_rng([*path.encode()]).integers(0, 256, shape, np.uint8)


@pytest.fixture
def load_case(make_tree):
    """load_case(build, "RGB"): the rows of that case's files."""

    def load(how, case):
        tree = make_tree(*CASES[case].files)
        for path, shape in CASES[case].files.items():
            Image.fromarray(noise(path, shape)).save(tree / path)
        null = {"view_names": ["a", "b"], "on_missing_view": "null"}
        return how(tree, **(null if case == "a view is missing" else {}))

    return load


# --- what each format gives -----------------------------------------------------------------------


class Format(NamedTuple):
    """Where its arrays and what holds several of them come from, its ints, its order of axes."""

    package: str
    container: str = "builtins"
    int: str = "int64"
    channels_first: bool = False


FORMATS = {
    "numpy": Format("numpy", container="numpy"),  # an array of dtype object
    "torch": Format("torch", channels_first=True),
    "tf": Format("tensorflow"),
    "jax": Format("jaxlib", int="int32"),
}
# One route that builds: test_routes.py shows that all give the same rows.
imported = pytest.mark.parametrize("build", ["import-built"], indirect=True)
each_format = pytest.mark.parametrize(
    "name",
    [
        "numpy",
        "torch",
        pytest.param("tf", marks=NEEDS_TF),
        pytest.param("jax", marks=needs("jax", "jax")),
    ],
)


def arrays(images, files, form):
    """A case's batch, or a part of it, with the pixels of the files in place of their paths."""
    if images is None:
        return None
    if isinstance(images, str):
        pixels = noise(images, files[images])
        return np.atleast_3d(pixels).transpose(2, 0, 1) if form.channels_first else pixels
    several = [arrays(item, files, form) for item in images]
    return np.stack(several) if isinstance(images, tuple) else several


def check_images(found, expected, form, dtype=np.uint8):
    if expected is None:
        assert found is None
    elif isinstance(expected, list):
        assert found.package == form.container
        for item, right in zip(found.values, expected, strict=True):
            check_images(item, right, form, dtype)
    else:
        assert found.package == form.package
        assert (found.values.dtype, found.values.shape) == (dtype, expected.shape)
        assert np.array_equal(found.values, expected)


def check_labels(found, expected, form):
    assert found.package == form.package
    assert found.values.dtype == form.int
    assert found.values.tolist() == expected


@pytest.mark.each_value
@pytest.mark.parametrize("case", CASES)
@each_format
@imported
def test_rows_and_batches(build, load_case, name, case):
    """One array of whatever has one shape, from the whole batch down to a view."""
    form, (files, batch) = FORMATS[name], CASES[case]
    found = in_child(rows_and_batch, load_case(build, case), name)
    for item, images, label in zip(found, (*batch, batch), (0, 1, [0, 1]), strict=True):
        check_images(item["images"], arrays(images, files, form), form)
        check_labels(item["label"], label, form)


@pytest.mark.each_value
@pytest.mark.parametrize("case", CASES)
@each_format
def test_streamed_rows_and_batches(quick, load_case, name, case):
    """The same but for NumPy's batches, with int64 pixels, and for some labels."""
    form, (files, batch) = FORMATS[name], CASES[case]
    *rows, found = in_child(streamed_rows_and_batch, load_case(quick, case), name)
    if name == "tf" and not datasets.__version__.startswith("3."):
        form = form._replace(int="int32")
    for row, images, label in zip(rows, batch, (0, 1), strict=True):
        check_images(row["images"], arrays(images, files, form), form)
        check_labels(row["label"], label, form)
    wide = np.int64 if name == "numpy" else np.uint8
    check_images(found["images"], arrays(batch, files, form), form, wide)
    if name == "numpy" and datasets.__version__.startswith("3."):  # an array of dtype object
        assert [int(label.values) for label in found["label"].values] == [0, 1]
    else:
        check_labels(found["label"], [0, 1], form)


@pytest.mark.each_value
@pytest.mark.parametrize("case", ["RGB", "a view is missing"])
@each_format
@imported
def test_a_whole_column(build, load_case, name, case):
    """`ds["images"]` is what a batch of all rows holds; from `datasets` 4 on, once it is sliced."""
    form, (files, batch) = FORMATS[name], CASES[case]
    package, found = in_child(image_column, load_case(build, case), name)
    check_images(found, arrays(batch, files, form), form)
    eager = form.package if isinstance(batch, tuple) else form.container
    assert package == (eager if datasets.__version__.startswith("3.") else "datasets")


# --- to_tf_dataset --------------------------------------------------------------------------------


@NEEDS_TF
@pytest.mark.parametrize("case", EQUAL)
@imported
def test_to_tf_dataset_takes_equal_rows_and_widens_their_pixels(build, load_case, case):
    form, (files, batch) = FORMATS["tf"], CASES[case]
    ds, right = load_case(build, case), arrays(batch, files, form)
    spec = {"images": ("int64", (None, *right.shape[1:])), "label": ("int64", (None,))}
    assert in_child(tf_spec, ds, 2) == spec
    (found,) = in_child(tf_batches, ds, 2)
    check_images(found["images"], right, form, np.int64)
    check_labels(found["label"], [0, 1], form)


@NEEDS_TF
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("sizes differ in a row", "Unrecognized array dtype object"),
        ("modes differ in a row", "Unrecognized array dtype object"),
        # It guesses the types from batches of 1 or 2 rows at random: the error too is random.
        ("a view is missing", "Unrecognized array dtype object|tuple index out of range"),
    ],
)
@imported
def test_to_tf_dataset_refuses_rows_that_are_no_array(build, load_case, case, says, batch_size):
    with pytest.raises(RuntimeError, match=says):
        in_child(tf_spec, load_case(build, case), batch_size)


@NEEDS_TF
@pytest.mark.parametrize("case", ["more views in one row", "sizes differ from row to row"])
@imported
def test_to_tf_dataset_fails_late_at_rows_that_differ(build, load_case, case):
    """Made without complaint, it fails at the first batch of rows that differ."""
    form, (files, batch) = FORMATS["tf"], CASES[case]
    ds = load_case(build, case)
    assert in_child(tf_spec, ds, 2)["images"][0] == "int64"
    with pytest.raises(RuntimeError, match="all input arrays must have the same shape"):
        in_child(tf_batches, ds, 2)
    for found, images in zip(in_child(tf_batches, ds, 1), batch, strict=True):
        check_images(found["images"], arrays((images,), files, form), form, np.int64)
