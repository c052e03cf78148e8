"""Batches for TensorFlow, fed by `BatchReader`.

    for batch in to_tf_dataset(ds, batch_size=64, shuffle=True):
        batch["images"]      (B, V, H, W, C) uint8, 0..255
        batch["view_mask"]   (B, V) bool, True = a real view
        batch["label"]       (B,) int64

Unlike the method of that name in `datasets`, it keeps images uint8, takes samples that differ in
their number of views, and reads flat PNG with no decoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, Unpack

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.batches.reader import (
    PER_VIEW,
    BatchReader,
    ReadOptions,
    count_batches,
    cut,
)
from multiview_cifar_tools.errors import BatchError

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError('TensorFlow is missing: pip install "multiview-cifar[tensorflow]"') from error


def to_tf_dataset(
    dataset: datasets.Dataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    drop_remainder: bool = False,
    **options: Unpack[ReadOptions],
) -> Any:
    """The rows of a dataset as a `tf.data.Dataset` of batches, prefetched.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples a batch.
        shuffle: Another order each time the dataset is iterated, by `seed`. Each such pass counts
            as an epoch.
        drop_remainder: Leave out the last batch where it is shorter than the others.
        options: As for `BatchReader`, but for `columns`, whose default is ("label",). `ragged`
            "flat" and "list" are one here: a `tf.RaggedTensor` (B, V, H, W, C), whose `flat_values`
            and `row_splits` are the views of all samples and the offsets.

    Returns:
        A `tf.data.Dataset` of dicts. Its `element_spec` says all sizes that hold throughout: H, W
        and C are those of the first sample, V is None where samples differ.

    Raises:
        BatchError: As `BatchReader` does, or a column has no form in TensorFlow. While iterating,
            TensorFlow wraps it in an error of its own, which ends with its text.
    """
    options.setdefault("columns", ("label",))
    if options.get("ragged") == "list":
        options["ragged"] = "flat"
    reader = BatchReader(dataset, **options)
    if not len(reader):
        raise BatchError("There are no samples. Expected one or more.", "dataset")
    fields = find_fields(reader, batch_size if drop_remainder else None)
    size = fields[0].spec.shape[-3:]
    epochs = itertools.count()

    def cut_epoch() -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        epoch = next(epochs)
        for samples in cut(reader.order(shuffle, epoch), batch_size, drop_remainder):
            yield epoch, samples

    def read(epoch: npt.NDArray[np.int64], samples: npt.NDArray[np.int64]) -> list[Any]:
        batch = reader.read(samples, int(epoch))
        images = batch["images"]
        if not batch["view_mask"].any():  # no image tells its size
            batch["images"] = np.zeros((*images.shape[:-3], *size), images.dtype)
        elif images.shape[-3:] != size:
            raise BatchError(
                f"Sample {samples[0]} has images of (H, W, C) = {images.shape[-3:]}, "
                f"sample 0 of {tuple(size)}. Expected one size: build with "
                f'image_size={tuple(size[:2])} and mode="RGB".',
                f"row {samples[0]}",
            )
        return [array for field in fields for array in field.flatten(batch)]

    def read_tensors(epoch: Any, samples: Any) -> dict[str, Any]:
        kinds = [kind for field in fields for kind in field.kinds]
        tensors = iter(tf.numpy_function(read, [epoch, samples], kinds))
        return {field.name: field.unflatten(tensors) for field in fields}

    number, numbers = tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int64)
    count = count_batches(len(reader), batch_size, drop_remainder)
    epoch = tf.data.Dataset.from_generator(cut_epoch, output_signature=(number, numbers))
    epoch = epoch.apply(tf.data.experimental.assert_cardinality(count))
    return epoch.map(read_tensors, num_parallel_calls=2).prefetch(tf.data.AUTOTUNE)


class Field(NamedTuple):
    """A column of a batch as one tensor, or as the values and row splits of a ragged one."""

    name: str
    spec: Any  # of the tensor, or of a ragged one's values
    is_ragged: bool
    is_per_view: bool  # its row splits are the batch's offsets

    @property
    def kinds(self) -> list[Any]:
        """The types of the arrays that `flatten` gives."""
        return [self.spec.dtype, tf.int64] if self.is_ragged else [self.spec.dtype]

    def flatten(self, batch: dict[str, Any]) -> list[Any]:
        """Its part of a batch as arrays of these kinds."""
        values = batch[self.name]
        if not self.is_ragged:
            return [as_array(values, self.spec)]
        if self.is_per_view:
            return [as_array(values, self.spec), batch["offsets"]]
        splits = np.cumsum([0, *map(len, values)])
        return [as_array(list(itertools.chain(*values)), self.spec), splits]

    def unflatten(self, tensors: Iterator[Any]) -> Any:
        """The tensor out of those of `flatten`."""
        values = tf.ensure_shape(next(tensors), self.spec.shape)
        if not self.is_ragged:
            return values
        splits = tf.ensure_shape(next(tensors), (None,))
        return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def as_array(values: Any, spec: Any) -> npt.NDArray[Any]:
    """An array of the spec's type; None becomes the empty string."""
    if spec.dtype == tf.string:
        return np.array([value or "" for value in values], object)
    return np.ascontiguousarray(values)


def find_fields(reader: BatchReader, batch_size: int | None) -> list[Field]:
    """What a batch holds, images first, as its first sample tells."""
    batch = reader[[0]]
    offsets = batch.pop("offsets", None)
    views = reader.common_views
    fields = []
    for name, values in batch.items():
        if name in PER_VIEW:
            shape = [None] if offsets is not None else [batch_size, views]
            if name == "images":
                shape += values.shape[-3:] if batch["view_mask"].any() else [None] * 3
            spec = tf.TensorSpec(shape, values.dtype)
            fields.append(Field(name, spec, offsets is not None, True))
        elif isinstance(values, np.ndarray):
            fields.append(Field(name, tf.TensorSpec((batch_size,), values.dtype), False, False))
        else:
            is_list = isinstance(values[0], list)
            flat = itertools.chain(*values) if is_list else values
            if not all(isinstance(value, str) for value in flat):
                raise BatchError(
                    f"Column {name!r} is no number, string or list of strings. "
                    "Expected columns= without it.",
                    name,
                )
            spec = tf.TensorSpec([None if is_list else batch_size], tf.string)
            fields.append(Field(name, spec, is_list, False))
    return fields
