"""Batches for TensorFlow, fed by `BatchReader`.

    for batch in to_tf_dataset(ds, batch_size=64, shuffle=True):
        batch["images"]      (B, V, H, W, C) uint8, 0..255, or of their own type
        batch["view_mask"]   (B, V) bool, True = a real view
        batch["label"]       (B,) int64

Unlike the method of that name in `datasets`, it keeps the type of images, takes samples that differ
in their number of views, and reads flat PNG with no decoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, Unpack

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.arguments import expect_dataset
from multiview_cifar_tools.batches.adapters import (
    ReaderOptions,
    iter_epoch,
    keyword_names,
    make_reader,
)
from multiview_cifar_tools.batches.columns import check_alike
from multiview_cifar_tools.batches.decode import ImageShape
from multiview_cifar_tools.batches.indices import Index
from multiview_cifar_tools.batches.reader import (
    BatchReader,
    check_batch_size,
    check_batching,
    count_batches,
    iter_batches,
)
from multiview_cifar_tools.batches.samplers import SizeSampler
from multiview_cifar_tools.errors import BatchError

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError('TensorFlow is missing: pip install "multiview-cifar[tensorflow]"') from error

# A pass: its epoch, and the samples of each batch.
NumberEpoch = Callable[[], Iterator[tuple[int, Index]]]


def to_tf_dataset(
    dataset: datasets.Dataset,
    batch_size: int | None = None,
    *,
    shuffle: bool = False,
    drop_remainder: bool = False,
    sampler: Iterable[Index] | None = None,
    **options: Unpack[ReaderOptions],
) -> Any:
    """The rows of a dataset as a `tf.data.Dataset` of batches, prefetched.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples per batch.
        shuffle: Another order each time the dataset is iterated, by `seed`. Each such pass is an
            epoch.
        drop_remainder: Leave out the last batch if it is shorter than the others.
        sampler: Instead of these, an object that gives the samples of each batch, such as a
            `PKSampler`. If it has an epoch, that epoch is read, and each complete pass increases
            it. Batches are read ahead, so call its `state_dict(batches=n)`.
        options: Those of `BatchReader`, with "label" as the default of `columns`. `ragged` "flat"
            and "list" are the same here: a `tf.RaggedTensor` (B, V, H, W, C). Its `flat_values` are
            the views of all samples, its `row_splits` the offsets.

    Returns:
        A `tf.data.Dataset` of dicts. Its `element_spec` has all sizes that are the same in each
        batch: H, W and C are those of the first sample, V is None if samples differ. With a
        `SizeSampler` H, W and C are None.

    Raises:
        BatchError: As for `BatchReader`; `batch_size` is not an integer or below 1; it is given
            with a sampler; or TensorFlow cannot hold a column. While iterating, TensorFlow wraps
            the error in one of its own, which ends with its text.
    """
    expect_dataset(dataset, "to_tf_dataset({}, batch_size)", BatchError)
    check_batching(batch_size, sampler, shuffle=shuffle, drop_remainder=drop_remainder)
    if options.get("ragged") == "list":
        options["ragged"] = "flat"
    reader = make_reader(dataset, options, keyword_names(to_tf_dataset))
    if not len(reader):
        raise BatchError("There are no samples. Expected one or more.", "dataset")
    sizes = sampler.sizes if isinstance(sampler, SizeSampler) else {}
    fields = find_fields(reader, batch_size if drop_remainder else None, common_size(sizes))
    if sampler is not None:
        numbers = sampler_numbers(reader, sampler)
    else:
        numbers = sample_numbers(reader, check_batch_size(batch_size), shuffle, drop_remainder)
    return read_batches(numbers, reader, fields).prefetch(tf.data.AUTOTUNE)


def sample_numbers(
    reader: BatchReader, batch_size: int, shuffle: bool, drop_remainder: bool
) -> Any:
    """A `tf.data.Dataset` of (epoch, the numbers of a batch's samples); a pass is an epoch."""
    epochs = itertools.count()

    def number_epoch() -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        epoch = next(epochs)
        for samples in iter_batches(reader.order(shuffle, epoch), batch_size, drop_remainder):
            yield epoch, samples

    count = count_batches(len(reader), batch_size, drop_remainder)
    return number_batches(number_epoch, count)


def sampler_numbers(reader: BatchReader, sampler: Any) -> Any:
    """As `sample_numbers`, of the batches of a sampler."""
    count = len(sampler) if hasattr(sampler, "__len__") else None
    return number_batches(partial(iter_epoch, sampler, reader), count)


def number_batches(number_epoch: NumberEpoch, count: int | None) -> Any:
    """A `tf.data.Dataset` of what a pass gives: an epoch and numbers of samples, `count` times."""
    spec = tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int64)
    numbers = tf.data.Dataset.from_generator(number_epoch, output_signature=spec)
    if count is None:
        return numbers
    return numbers.apply(tf.data.experimental.assert_cardinality(count))


def read_batches(numbers: Any, reader: BatchReader, fields: list[Field]) -> Any:
    """The batches of a `tf.data.Dataset` of `sample_numbers`."""
    dtypes = [dtype for field in fields for dtype in field.dtypes]

    def read(epoch: Any, samples: Any) -> list[Any]:
        return read_arrays(reader, fields, epoch, samples)

    def read_tensors(epoch: Any, samples: Any) -> dict[str, Any]:
        tensors = iter(tf.numpy_function(read, [epoch, samples], dtypes))
        return {field.name: field.unflatten(tensors) for field in fields}

    return numbers.map(read_tensors, num_parallel_calls=2)


def read_arrays(
    reader: BatchReader, fields: list[Field], epoch: Any, samples: npt.NDArray[np.int64]
) -> list[Any]:
    """A batch as the arrays of all fields. BatchError where its images differ from the first
    sample's in size or type, unless their sizes are known to differ.
    """
    batch = reader.read(samples, int(epoch))
    for field in fields:
        images, spec = batch[field.name], field.spec
        if field.name not in reader.image_columns or None in tuple(spec.shape[-3:]):
            continue
        zero = np.zeros((), spec.dtype.as_numpy_dtype)
        like_first = np.broadcast_to(zero, tuple(spec.shape[-3:]))
        if images.shape[-3:] == (1, 1, 1) and not batch["view_mask"].any():  # none tells its size
            batch[field.name] = np.broadcast_to(zero, (*images.shape[:-3], *like_first.shape))
        else:
            check_alike("sample 0", like_first, f"sample {samples[0]}", images)
    return [array for field in fields for array in field.flatten(batch)]


class Field(NamedTuple):
    """A column of a batch as one tensor, or as the values and row splits of a ragged one."""

    name: str
    spec: Any  # of the tensor, or of a ragged one's values
    is_ragged: bool
    is_per_view: bool  # its row splits are the batch's offsets
    copies: int | None = None  # of text, where each sample has so many lists

    @property
    def dtypes(self) -> list[Any]:
        """Those of the arrays that `flatten` gives."""
        return [self.spec.dtype, tf.int64] if self.is_ragged else [self.spec.dtype]

    def flatten(self, batch: dict[str, Any]) -> list[Any]:
        """The field of a batch as arrays of these `dtypes`."""
        values = batch[self.name]
        if not self.is_ragged:
            return [as_array(values, self.spec)]
        if self.is_per_view:
            return [as_array(values, self.spec), batch["offsets"]]
        if self.copies:
            values = [*itertools.chain(*values)]
        splits = np.cumsum([0, *map(len, values)])
        return [as_array(list(itertools.chain(*values)), self.spec), splits]

    def unflatten(self, tensors: Iterator[Any]) -> Any:
        """The tensor, made of those that `flatten` gave."""
        values = tf.ensure_shape(next(tensors), self.spec.shape)
        if not self.is_ragged:
            return values
        splits = tf.ensure_shape(next(tensors), (None,))
        lists = tf.RaggedTensor.from_row_splits(values, splits, validate=False)
        if self.copies is None:
            return lists
        return tf.RaggedTensor.from_uniform_row_length(lists, self.copies)


def as_array(values: Any, spec: Any) -> npt.NDArray[Any]:
    """An array of the spec's type; None becomes the empty string."""
    if spec.dtype == tf.string:
        return np.array([value or "" for value in values], object)
    return np.ascontiguousarray(values)


def common_size(shapes: Iterable[ImageShape | None]) -> list[int | None]:
    """H, W and C of all images, None in the place of what differs; [] where there are no shapes.

    BatchError where their types differ.
    """
    known = [shape for shape in shapes if shape is not None]
    if len(dtypes := {shape.dtype for shape in known}) > 1:
        raise BatchError(
            f"The images are of {' and '.join(sorted(dtypes))}. Expected one type, as all batches "
            'of a tf.data.Dataset have: build with mode="RGB".',
            "dataset",
        )
    axes = zip(*(shape[:3] for shape in known), strict=True)
    return [axis[0] if len({*axis}) == 1 else None for axis in axes]


def find_fields(reader: BatchReader, batch_size: int | None, size: list[int | None]) -> list[Field]:
    """The fields of a batch, images first, as the first sample has them.

    `batch_size` is None where the last batch may be shorter, and `size` is H, W and C; [] where all
    images have those of the first sample.
    """
    batch = reader[[0]]
    is_ragged = batch.pop("offsets", None) is not None
    has_image = bool(batch["view_mask"].any())
    copies = [] if reader.copies is None else [reader.copies]
    view_axes = [None] if is_ragged else [batch_size, *copies, reader.fixed_num_views]
    fields = []
    for name, values in batch.items():
        if not isinstance(values, np.ndarray):
            fields.append(find_text_field(name, values, batch_size))
            continue
        is_per_view, is_image = name in reader.view_fields, name in reader.image_columns
        axes = view_axes if is_per_view else [batch_size, *copies] if is_image else [batch_size]
        sizes: list[int | None] = [*values.shape[len(axes) :]]
        if is_image and (size or not has_image):
            sizes = size if size and name == "images" else [None] * 3
        spec = tf.TensorSpec([*axes, *sizes], values.dtype)
        fields.append(Field(name, spec, is_ragged and is_per_view, is_per_view))
    return fields


def find_text_field(name: str, values: list[Any], batch_size: int | None) -> Field:
    """The field of a column of strings, or of lists of them; BatchError at any other column."""
    copies = None
    if isinstance(values[0], list) and values[0] and isinstance(values[0][0], list):
        copies, values = len(values[0]), values[0]
    is_list = isinstance(values[0], list)
    strings = itertools.chain(*values) if is_list else values
    if not all(isinstance(value, str) for value in strings):
        raise BatchError(
            f"Column {name!r} is not a number, string or list of strings. "
            "Expected columns= without it.",
            name,
        )
    spec = tf.TensorSpec([None if is_list else batch_size], tf.string)
    return Field(name, spec, is_list, False, copies)
