"""The option `augment`: which augmentations change which image columns of a batch."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.arguments import short_repr
from multiview_cifar_tools.batches.augment import GeometricAugmentation
from multiview_cifar_tools.batches.decode import Pixels
from multiview_cifar_tools.batches.seeds import Seeds, derive_seeds
from multiview_cifar_tools.errors import BatchError

Step = Callable[[Pixels, Seeds], npt.NDArray[Any]]
Steps: TypeAlias = Step | Sequence[Step]
Augment: TypeAlias = Steps | Mapping[str, Steps]


class Augmenter:
    """Changes the image columns of a batch.

    Args:
        augment: An augmentation, or a list of them: all change `images`, and those that move pixels
            the other columns too. Or a dict from a column to what changes it; others stay.
        columns: The image columns: `images` first, then those brought along.
        per_view: Those of them with an image a view.

    Raises:
        BatchError: There is no such column, or something is no callable.
    """

    def __init__(self, augment: Augment, columns: Sequence[str], per_view: set[str]) -> None:
        self.per_view, self.is_shared = per_view, not isinstance(augment, Mapping)
        self.steps: dict[str, list[Step]] = {}
        if isinstance(augment, Mapping):
            for name, steps in augment.items():
                check_column(name, columns)
                self.steps[name] = list_steps(f"augment[{name!r}]", steps)
            return
        self.steps["images"] = list_steps("augment", augment)
        moving = [step for step in self.steps["images"] if isinstance(step, GeometricAugmentation)]
        for name in columns[1:] if moving else ():
            self.steps[name] = [*moving]

    def moves(self, name: str) -> bool:
        """Whether the augmentations given for all columns change this one too."""
        return self.is_shared and name in self.steps

    def apply(
        self, images: Mapping[str, Pixels], seeds: Mapping[str, Seeds]
    ) -> dict[str, npt.NDArray[Any]]:
        """The images (N, H, W, C) of each column, changed by their (N,) seeds.

        BatchError where an augmentation does not give as many images, or changes the size of one
        of the columns that have an image a view and not of another.
        """
        if self.is_shared:
            self._check_sizes(images)
        changed = {name: self._change(name, each, seeds[name]) for name, each in images.items()}
        self._check_changes(images, changed)
        return changed

    def _change(self, name: str, pixels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[Any]:
        steps = self.steps.get(name, []) if len(pixels) else []
        for step, own in zip(steps, step_seeds(steps, seeds), strict=True):
            before = pixels
            if isinstance(step, GeometricAugmentation):
                pixels = step.change(pixels, own, nearest=name != "images")
            else:
                pixels = as_array(step(pixels, own))
            if pixels.ndim != 4 or len(pixels) != len(before):
                raise BatchError(
                    f"augment made {pixels.shape} of {name} {before.shape}. Expected as many "
                    "images, (N, H, W, C).",
                    "augment",
                )
        return pixels

    def _check_sizes(self, images: Mapping[str, Pixels]) -> None:
        """BatchError where columns that are to be moved alike differ in their size."""
        size = images["images"].shape[1:3]
        for name, pixels in images.items():
            is_known = len(pixels) and len(images["images"])  # without an image there is no size
            if self.moves(name) and is_known and pixels.shape[1:3] != size:
                raise BatchError(
                    f"{name} are (H, W) = {pixels.shape[1:3]}, and images {size}: they cannot be "
                    "moved alike. Expected one size (read or build with image_size), or "
                    f'augment={{"images": ..., "{name}": ...}}.',
                    name,
                )

    def _check_changes(self, images: Mapping[str, Pixels], changed: Mapping[str, Pixels]) -> None:
        """BatchError where the size of one aligned column alone was changed."""
        names = [name for name in images if name in self.per_view and len(images[name])]
        before = {name: images[name].shape[1:3] for name in names}
        after = {name: changed[name].shape[1:3] for name in names}
        is_resized = {name: before[name] != after[name] for name in names}
        if len({*after.values()}) > 1 and len({*is_resized.values()}) > 1:
            resized = next(name for name in names if is_resized[name])
            kept = next(name for name in names if not is_resized[name])
            raise BatchError(
                f"augment changed {resized} from (H, W) = {before[resized]} to {after[resized]}, "
                f"and left {kept} {after[kept]}. Expected both to change: "
                f'augment={{"{resized}": ..., "{kept}": ...}} of one size.',
                "augment",
            )


def as_array(changed: Any) -> npt.NDArray[Any]:
    """What an augmentation gave as an array, which is checked by its shape; an empty one where it
    is none, such as a tuple of images and seeds.
    """
    try:
        return np.asarray(changed)
    except ValueError:  # it has parts of several shapes
        return np.empty(0)


def list_steps(name: str, steps: Any) -> list[Step]:
    """One or more callables as a list; BatchError where they are none, or not of two arguments."""
    each = [*steps] if isinstance(steps, (list, tuple)) else [steps]
    for step in each:
        check_callable(name, step, "a callable of images and seeds: RandomCropFlip()")
        if not takes_two(step):
            raise BatchError(
                f"{name}={short_repr(step)} does not take images and seeds. Expected both; of a "
                "transform of single images SeededTransform makes such a callable.",
                "augment",
            )
    return each


def takes_two(step: Step) -> bool:
    """Whether a callable takes two arguments, as far as it tells."""
    try:
        inspect.signature(step).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it does not tell, as some that are written in C
        return True
    return True


def step_seeds(steps: Sequence[Step], seeds: Seeds) -> Iterator[Seeds]:
    """The seeds (N,) of each step: to the first one of its type as they are, to further ones
    others, or two of one type would draw the same.

    It counts steps of its own type alone: columns with the same ones are changed alike, whatever
    else changes each.
    """
    counts = Counter[type]()
    for step in steps:
        number = counts[type(step)]
        counts[type(step)] += 1
        yield derive_seeds(seeds, number, "further steps") if number else seeds


def check_column(name: Any, columns: Sequence[str]) -> None:
    """BatchError where `augment` names a column that is not brought along."""
    if name not in columns:
        raise BatchError(
            f"augment names {name!r}, which is not an image column of the batch. Expected some of "
            f'{[*columns]}, or columns=["{name}"] too.',
            "augment",
        )


def check_callable(name: str, value: Any, expected: str) -> None:
    """BatchError where an option is no function, nor an object that is called like one: a class is
    none.
    """
    if not callable(value) or isinstance(value, type):
        raise BatchError(f"{name}={short_repr(value)} is not right. Expected {expected}.", name)
