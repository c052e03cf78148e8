"""What `check` finds: the kinds of findings, and those that counts and facts alone give."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multiview_cifar import IMAGE_EXTENSIONS, NO_LABEL, OptionError, Plan, join_first
from multiview_cifar_tools.checks.images import ImageProblem
from multiview_cifar_tools.formats.image_bytes import EXTENSIONS
from multiview_cifar_tools.pages import split_page
from multiview_cifar_tools.planning.similar_names import find_similar_names
from multiview_cifar_tools.planning.split_groups import GroupError, list_groups

MIN_IMBALANCE = 2  # times the samples of the smallest class, from which the largest is worth a note
UNDECODABLE = ("unreadable", "truncated", "zero-byte", "bomb")  # what a quarantine moves


class FindingKind(NamedTuple):
    """A kind of finding: its title, "error", "warning" or "note", and the way out."""

    title: str
    severity: str
    remedy: str


class Finding(NamedTuple):
    """One thing that was found; of two samples or more the texts stand side by side."""

    kind: str
    found: str
    samples: tuple[str, ...] = ()  # "train/cat/12"
    paths: tuple[str, ...] = ()  # relative to data_dir
    special_remedy: str = ""

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.special_remedy or KINDS[self.kind].remedy

    @property
    def severity(self) -> str:
        """How bad it is: "error", "warning" or "note"."""
        return KINDS[self.kind].severity


QUARANTINE_HINT = "; --quarantine DIR moves it aside"
_QUARANTINE_REMEDY = f"Replace or remove it{QUARANTINE_HINT}."
ASPECT_REMEDIES = {
    "mode": 'Convert the files, or build with mode="RGB".',
    "size": "",  # of each finding, with the usual size
    "orientation": "Write the files turned, as not every program obeys EXIF; a build with "
    "image_size or mode does it.",
    "animation": "Keep one frame: of an animation only the first one is used.",
}
ASPECT_UNITS = {"size": " (height x width)"}  # said at the end of a finding
WIDE_REMEDY = 'Build with mode="RGB" and value_range=(low, high), the values of black and white.'
# Of deep grey: its modes in Pillow, in words, and its batches' dtype.
DEEP_KINDS = {
    "16 bits": ([b"I;16", b"I;16B", b"I;16L"], "uint16"),
    "32-bit integers": ([b"I"], "int32"),
    "32-bit floats": ([b"F"], "float32"),
}
KINDS = {
    "unreadable": FindingKind("unreadable files", "error", _QUARANTINE_REMEDY),
    "truncated": FindingKind("truncated files", "error", _QUARANTINE_REMEDY),
    "zero-byte": FindingKind("files of no bytes", "error", _QUARANTINE_REMEDY),
    "bomb": FindingKind(
        "images too large to be decoded",
        "error",
        f"{_QUARANTINE_REMEDY} If it is meant so, raise --max-pixels.",
    ),
    "leakage": FindingKind(
        "same pixels in several splits", "error", "Keep the sample in one split only."
    ),
    "group-leakage": FindingKind(
        "groups in several splits",
        "error",
        "Keep a group in one split: move its samples, or build with split_by and split_ratios.",
    ),
    "contradiction": FindingKind(
        "same pixels in several classes",
        "error",
        "Decide for one class, and remove the other sample.",
    ),
    "pages": FindingKind(
        "files of several pages",
        "error",
        'Build with pages="first", or with pages="views", by which each page is a view.',
    ),
    "split-name": FindingKind(
        "a class or sample in two Unicode forms",
        "error",
        "Move the files into one folder, or rename those that are different: no build takes both.",
    ),
    "extension": FindingKind("contents that are not what the extension says", "warning", ""),
    "not-taken": FindingKind("images that a build does not take", "warning", ""),
    "left-out": FindingKind(
        "images that the layout leaves out",
        "warning",
        "Say with layout=... what their names mean, see `multiview-cifar plan`, or move them away.",
    ),
    **{
        f"{aspect}-in-sample": FindingKind(f"{aspect} differs within a sample", "warning", remedy)
        for aspect, remedy in ASPECT_REMEDIES.items()
    },
    **{
        aspect: FindingKind(f"{aspect} differs from the usual one", "warning", remedy)
        for aspect, remedy in ASPECT_REMEDIES.items()
    },
    "duplicate-view": FindingKind(
        "same pixels twice in a sample",
        "warning",
        "Replace one of them by a view of its own, or remove it.",
    ),
    "duplicate": FindingKind(
        "same pixels in several samples",
        "warning",
        "Remove one of the samples, or the views that they share.",
    ),
    "empty-sample": FindingKind(
        "sample folders without images",
        "warning",
        'Remove the folder, or build with on_error="skip_sample".',
    ),
    "absent-class": FindingKind(
        "classes without a sample in a split", "warning", "Add samples, or split the samples again."
    ),
    "name-forms": FindingKind(
        "names in two Unicode forms",
        "warning",
        "Write them in one form, or rename those that are different.",
    ),
    "no-group": FindingKind(
        "samples of which no group is known",
        "warning",
        "Add it to the metadata, or leave the samples out: their group may stand in another split.",
    ),
    "suspect": FindingKind(
        "look-alikes in several splits",
        "note",
        "Look at both: if they show the same, keep them in one split.",
    ),
    **{
        f"{aspect}-varies": FindingKind(f"no usual {aspect}", "note", remedy)
        for aspect, remedy in ASPECT_REMEDIES.items()
    },
    "deep": FindingKind("images of more than 8 bits", "note", ""),
    "animated": FindingKind("animations", "note", ASPECT_REMEDIES["animation"]),
    "name-case": FindingKind(
        "names that differ only in case",
        "note",
        "Write them alike, or rename one: on macOS and Windows such names are one.",
    ),
    "views": FindingKind(
        "samples with an unusual number of views",
        "note",
        "Add or remove views, or build with num_views=N; batches are padded.",
    ),
    "imbalance": FindingKind(
        "classes of unequal size",
        "note",
        "Weigh the classes in training, or even out the numbers of samples.",
    ),
    "empty-field": FindingKind(
        "fields of croissant.json that venues ask for, without a value",
        "note",
        "Write them into a JSON file, and publish or export with --croissant FILE.json.",
    ),
}


class ImageIndex:
    """Every planned image, by its number.

    Attributes:
        paths: N of them, relative to the folder.
        owner: (N,) int32, the number of its sample.
        column: (N,) uint8, the number of its image column in `columns`.
        samples: S texts such as "train/cat/12".
        label, split: (S,) int32, the numbers of a sample's class, NO_LABEL for none, and split.
        views: (S,) int64, how many images a sample has in the first column.
        splits, columns, class_names: The names.
    """

    def __init__(self, plan: Plan, columns: Iterable[str]) -> None:
        self.columns, self.splits = [*columns], [*plan.splits]
        labels = plan.features.get("label")
        self.class_names: list[str] = labels.names if labels else []
        rows = [
            (number, split, sample)
            for number, (split, samples) in enumerate(plan.splits.items())
            for sample in samples
        ]
        self.samples = [f"{split}/{sample.sample_id}" for _, split, sample in rows]
        self.split = np.array([number for number, _, _ in rows], np.int32)
        known = [NO_LABEL if sample.label is None else sample.label for _, _, sample in rows]
        self.label = np.array(known, np.int32)
        self.paths: list[str] = []
        owner, column = [], []
        for number, (_, _, sample) in enumerate(rows):
            for column_number, paths in enumerate(sample.paths):
                present = [path for path in paths if path is not None]
                self.paths += present
                owner += [number] * len(present)
                column += [column_number] * len(present)
        self.owner, self.column = np.array(owner, np.int32), np.array(column, np.uint8)
        self.views = np.bincount(self.owner[self.column == 0], minlength=len(rows))

    def finding(self, kind: str, found: str, *images: int, remedy: str = "") -> Finding:
        """A finding about these images, and their samples."""
        samples = dict.fromkeys(self.samples[self.owner[i]] for i in images)
        return Finding(kind, found, (*samples,), tuple(self.paths[i] for i in images), remedy)

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Of each split the number of samples of each class."""
        counts = Counter(zip(self.split.tolist(), self.label.tolist(), strict=True))
        return {
            split: {name: counts[i, label] for label, name in enumerate(self.class_names)}
            for i, split in enumerate(self.splits)
        }


def problem_finding(images: ImageIndex, problem: ImageProblem) -> Finding:
    """The finding about an image by itself."""
    image = problem.image
    if problem.kind != "extension":
        return images.finding(problem.kind, problem.found, image)
    remedy = _extension_remedy(images.paths[image], problem.found)
    return images.finding("extension", f"holds {problem.found}", image, remedy=remedy)


def not_taken_finding(path: str, image_format: str) -> Finding:
    """The finding about an image beside those of a sample, which the plan leaves out."""
    found = f"holds {image_format}, under a name that no build takes for an image's"
    remedy = _extension_remedy(path, image_format)
    return Finding("not-taken", found, paths=(path,), special_remedy=remedy)


def _extension_remedy(path: str, image_format: str) -> str:
    extension = EXTENSIONS.get(image_format, f".{image_format.lower()}")
    if extension not in IMAGE_EXTENSIONS:
        return "Convert it to PNG, say."
    name = path.rpartition("/")[2]
    return f"Rename it to {name.rpartition('.')[0] or name}{extension}."


def find_differences(images: ImageIndex, facts: npt.NDArray[Any]) -> Iterator[Finding]:
    """Modes, sizes, EXIF orientations and animation: what differs within a sample, and what from
    the usual, which is what more than half of the images of a column are.
    """
    for number, column in enumerate(images.columns):
        rows = np.flatnonzero((images.column == number) & facts["good"])
        for aspect in ASPECT_REMEDIES:
            names, codes = _aspect_values(facts[rows], aspect)
            if len(names) > 1:
                remedy, unit = _aspect_remedy(aspect, names, codes), ASPECT_UNITS.get(aspect, "")
                differing = [*_compare_with_usual(images, rows, aspect, names, codes, column)]
                differing += _compare_within_samples(images, rows, aspect, names, codes)
                for each in differing:
                    yield each._replace(found=each.found + unit, special_remedy=remedy)
        animated = rows[facts["animated"][rows]].tolist()
        if animated:
            found = f"{len(animated):,} of {len(rows):,} images in `{column}` have several frames"
            yield images.finding("animated", found, *animated)


def find_multi_page_files(images: ImageIndex, facts: npt.NDArray[Any]) -> Iterator[Finding]:
    """Files of several pages, none of which is a view of its own."""
    for image in np.flatnonzero(facts["pages"] > 1).tolist():
        if split_page(images.paths[image])[1] is None:
            yield images.finding("pages", f"has {facts['pages'][image]} pages", image)


def find_deep_images(images: ImageIndex, facts: npt.NDArray[Any]) -> Iterator[Finding]:
    """Images in `images` of more than 8 bits, and grey ones in what range."""
    rows = np.flatnonzero((images.column == images.columns.index("images")) & facts["good"])
    if len(deep := rows[facts["deep_colour"][rows]]):
        found = f"{len(deep):,} of {len(rows):,} in `images` have 16 bits a colour; Pillow reads 8"
        remedy = "Where 8 are too few, keep each colour as a 16-bit grey view of its own."
        yield images.finding("deep", found, *deep.tolist(), remedy=remedy)
    for words, (modes, dtype) in DEEP_KINDS.items():
        deep = rows[np.isin(facts["mode"][rows], modes)]
        if len(deep):
            low, high = facts["low"][deep].min(), facts["high"][deep].max()
            found = f"{len(deep):,} of {len(rows):,} in `images` are of {words}: "
            remedy = f'For 8 bits build with mode="L" and value_range=({low:.9g}, {high:.9g}), say'
            if dtype == "uint16":
                remedy += "; without it they are divided by 256"
            found += f"{low:.9g} to {high:.9g}, {dtype} in batches"
            yield images.finding("deep", found, *deep.tolist(), remedy=f"{remedy}.")


def _aspect_values(facts: npt.NDArray[Any], aspect: str) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The values of an aspect in words, and (n,) which of them each image has."""
    if aspect == "size":
        sizes = facts["height"].astype(np.uint64) << 32 | facts["width"]
        values, codes = np.unique(sizes, return_inverse=True)
        return [f"{int(v) >> 32}x{int(v) & 0xFFFFFFFF}" for v in values], codes
    field = "animated" if aspect == "animation" else aspect
    values, codes = np.unique(facts[field], return_inverse=True)
    if aspect == "mode":
        return [value.decode() for value in values], codes
    if aspect == "orientation":
        return [f"of EXIF orientation {value}" for value in values], codes
    return ["animated" if value else "still" for value in values], codes


def _aspect_remedy(aspect: str, names: list[str], codes: npt.NDArray[np.intp]) -> str:
    """What to do where the kind of finding alone does not say it; else ""."""
    if aspect == "mode" and {"I", "F"} & {*names}:
        return WIDE_REMEDY
    if aspect == "size":
        height, width = names[np.bincount(codes).argmax()].split("x")
        return f"Resize the files, or build with image_size=({height}, {width}), say."
    return ""


def _compare_with_usual(
    images: ImageIndex,
    rows: npt.NDArray[np.intp],
    aspect: str,
    names: list[str],
    codes: npt.NDArray[np.intp],
    column: str,
) -> Iterator[Finding]:
    counts = np.bincount(codes)
    usual = int(counts.argmax())
    share = f"{counts[usual]:,} of {len(rows):,} in `{column}` are {names[usual]}"
    if counts[usual] * 2 <= len(rows):
        yield Finding(f"{aspect}-varies", f"{len(names):,} different ones; at most {share}")
        return
    for at in np.flatnonzero(codes != usual):
        yield images.finding(aspect, f"is {names[codes[at]]}; {share}", int(rows[at]))


def _compare_within_samples(
    images: ImageIndex,
    rows: npt.NDArray[np.intp],
    aspect: str,
    names: list[str],
    codes: npt.NDArray[np.intp],
) -> Iterator[Finding]:
    owner = images.owner[rows]  # in ascending order
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lowest, highest = np.minimum.reduceat(codes, starts), np.maximum.reduceat(codes, starts)
    ends = np.append(starts[1:], len(rows))
    for at in np.flatnonzero(lowest < highest):
        own = slice(starts[at], ends[at])
        counts = Counter(names[code] for code in codes[own]).most_common()
        found = ", ".join(f"{n} {'is' if n == 1 else 'are'} {name}" for name, n in counts)
        yield images.finding(f"{aspect}-in-sample", found, *rows[own].tolist())


def find_name_clashes(plan: Plan, one_split: bool) -> Iterator[Finding]:
    """Names that one takes for the same; `one_split` where `split_ratios` divides all samples."""
    for pair in find_similar_names(plan, one_split):
        kind = "name-forms" if pair.are_forms else "name-case"
        yield Finding("split-name" if pair.is_refused else kind, pair.found)


def find_group_leaks(plan: Plan, group: str) -> Iterator[Finding]:
    """Groups that stand in several splits, and samples without a group.

    Args:
        plan: The samples of all splits.
        group: A column of the metadata, by sample or by view; or "label", or "sample", as for
            `split_by`.

    Raises:
        OptionError: There is no such column.
    """
    labels = plan.features.get("label")
    class_names = labels.names if labels else None
    members: dict[str, dict[str, list[str]]] = {}  # of each group the samples by split
    for split, samples in plan.splits.items():
        for sample in samples:
            name = f"{split}/{sample.sample_id}"
            try:
                groups = list_groups(sample, "group", group, class_names)
            except GroupError as error:
                raise OptionError(str(error), error.path) from None
            if not groups:
                yield Finding("no-group", f"has no {group}", (name,))
            for value in groups:
                members.setdefault(value, {}).setdefault(split, []).append(name)
    for value, splits in members.items():
        if len(splits) > 1:
            first, others = zip(*((names[0], names[1:]) for names in splits.values()), strict=True)
            places = " and in ".join(join_first(names, most=3) for names in splits.values())
            samples_of_all = (*first, *itertools.chain(*others))  # a pair of two splits first
            yield Finding("group-leakage", f"{group} {value} stands in {places}", samples_of_all)


def find_unusual_view_counts(images: ImageIndex) -> Iterator[Finding]:
    """Samples that have not as many views as most have, by image column."""
    for number, column in enumerate(images.columns):
        own = images.owner[images.column == number]
        views = np.bincount(own, minlength=len(images.samples))
        counts = np.bincount(views)
        usual = int(counts.argmax())
        share = f"{counts[usual]:,} of {len(views):,} samples have {usual}"
        if counts[usual] * 2 <= len(views):
            found = f"{views.min()} to {views.max()} in `{column}`; at most {share}"
            yield Finding("views", found)
            continue
        for sample in np.flatnonzero(views != usual):
            found = f"has {views[sample]} in `{column}`; {share}"
            yield Finding("views", found, (images.samples[sample],))


def find_class_imbalance(class_counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Classes that a split lacks, and splits whose classes differ much in size."""
    for split, counts in class_counts.items():
        if not (present := {name: n for name, n in counts.items() if n}):
            continue  # rows without labels
        for name in counts.keys() - present.keys():
            yield Finding("absent-class", f"{split} has no sample of {name}")
        largest, smallest = (
            max(present, key=present.__getitem__),
            min(present, key=present.__getitem__),
        )
        if present[largest] >= MIN_IMBALANCE * present[smallest]:
            ratio = present[largest] / present[smallest]
            yield Finding(
                "imbalance",
                f"in {split} {largest} has {present[largest]:,} samples, "
                f"{smallest} {present[smallest]:,}: {ratio:.1f} times as many",
            )
