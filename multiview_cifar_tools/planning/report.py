"""What would become of a folder: its layout, samples and views, from names and sizes of files.

    plan("photos").missing_views    # a data frame; `multiview-cifar plan photos` prints all of it

Nothing is built and no image is opened. Where no row could be made, the report says which layouts
come nearest.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any

import multiview_cifar
from multiview_cifar import (
    CIFARS,
    NO_LABEL,
    FileListing,
    LayoutError,
    MultiviewCifarConfig,
    OptionError,
    Plan,
    Sample,
    check_name_forms,
    find_split,
    image_columns,
    keep_images,
    natural_key,
    no_garbage_collection,
    parse_template,
    plan_rows,
    split_namer,
)
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.defaults import CONFIG_NAMES
from multiview_cifar_tools.metadata import view_keys
from multiview_cifar_tools.options import (
    describe_feature,
    list_images,
    load_line,
    make_config,
    make_plan,
)
from multiview_cifar_tools.pages import files_of, split_page
from multiview_cifar_tools.planning.hints import UNLABELLED, find_hints
from multiview_cifar_tools.planning.layout_errors import see_plan
from multiview_cifar_tools.planning.recognition import Greeting, find_known_set
from multiview_cifar_tools.planning.similar_names import SimilarNames, find_similar_names
from multiview_cifar_tools.planning.split_groups import find_groups
from multiview_cifar_tools.planning.suggest_layout import (
    Candidate,
    find_folders,
    suggest_columns,
    suggest_layouts,
)
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.spelling import quantity

if TYPE_CHECKING:
    import pandas

HIDDEN_REASON = "hidden files, and those of operating systems"
# With these a plan shows what there is, where the user's options would refuse it.
LENIENT_OPTIONS: dict[str, Any] = {
    "on_missing_view": "null",
    "on_error": "skip_sample",
    "on_missing_metadata": "null",
    "view_names": None,
    "class_names": None,
}


@dataclass(repr=False)
class PlanReport(Report):
    """What a folder would become.

    Attributes:
        data_dir: The folder, the archive or the URL, without its user and query; or the config.
        options: The options of the dataset that were given.
        problem: Why no dataset can be built, and what to do; or "".
        plan: The planned rows. If there is a problem, those that would remain without it, or None.
        ignored: The paths that would be left out, by reason.
        candidates: If most images would be left out, the nearest layouts, best first.
        wider_layout: If images are left out, a layout with more columns that takes all, or empty.
        greeting: The public dataset that the folder is, if no layout was given; see recognition.
    """

    data_dir: str
    options: dict[str, Any]
    problem: str = ""
    plan: Plan | None = None
    ignored: dict[str, list[str]] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    wider_layout: dict[str, str] = field(default_factory=dict)
    greeting: Greeting | None = None

    @property
    def good(self) -> bool:
        """Whether a dataset can be built, and no image is left out by the layout."""
        return not self.problem and not self.num_left_out

    @property
    def num_images(self) -> int:
        """How many views the samples have together."""
        return sum(views * samples for views, samples in self.num_views.items())

    @property
    def num_left_out(self) -> int:
        """How many images the layout leaves out."""
        return len(self.paths_left_out)

    @property
    def paths_left_out(self) -> list[str]:
        """The images that the layout leaves out."""
        return [path for paths in left_out_by_layout(self.ignored).values() for path in paths]

    @property
    def left_out(self) -> str:
        """How many images the layout leaves out, and the layout that takes them, if it is known."""
        remedy = f" {take_all(self.wider_layout)}." if self.wider_layout else ""
        return f"Images that the layout leaves out: {self.num_left_out:,}.{remedy}"

    @property
    def layout(self) -> str | dict[str, str] | None:
        """The template, or templates by image column; None where none fits."""
        if not self.plan or self.options.get("layout") or self.data_dir in CIFARS:
            return self.options.get("layout")
        # Of a detected layout the depth tells which one it is.
        path = next(path for path in self.split_samples[0][1].paths[0] if path)
        depth = split_page(path)[0].count("/")
        return "{split}/" * (depth == 3) + "{label}/{sample}/{view}"

    @property
    def layout_reason(self) -> str:
        """Where the layout comes from."""
        if self.data_dir in CIFARS:
            return "the official files hold no folders"
        if self.options.get("layout") or not self.plan:
            return "as given" if self.plan else "no layout fits"
        if "{split}" in str(self.layout):
            return f"detected: every top folder is a split ({', '.join(self.plan.splits)})"
        return "detected: not every top folder has the name of a split, so that they are classes"

    @cached_property
    def split_samples(self) -> list[tuple[str, Sample]]:
        """(split, sample), in order."""
        splits = self.plan.splits if self.plan else {}
        return [(split, sample) for split, samples in splits.items() for sample in samples]

    @property
    def samples(self) -> list[Sample]:
        """The planned rows, in order."""
        return [sample for _, sample in self.split_samples]

    @cached_property
    def classes(self) -> pandas.DataFrame:
        """The samples of each class (index, in label order) in each split (columns); the last one
        is UNLABELLED, where samples have no label.
        """
        import pandas

        features = self.plan.features if self.plan else {}
        names = dict(enumerate(features["label"].names if "label" in features else []))
        counts = Counter(
            (split, NO_LABEL if sample.label is None else sample.label)
            for split, sample in self.split_samples
        )
        if any(label == NO_LABEL for _, label in counts):
            names[NO_LABEL] = UNLABELLED
        table = {
            split: [counts[split, label] for label in names]
            for split in (self.plan.splits if self.plan else ())
        }
        return pandas.DataFrame(table, index=pandas.Index([*names.values()], name="class"))

    @cached_property
    def num_groups(self) -> dict[str, int]:
        """How many groups of `split_by` each split has; nothing without it."""
        by = self.options.get("split_by")
        if not by or not self.plan or self.problem:
            return {}
        label = self.plan.features.get("label")
        names = label.names if label else None
        return {
            split: len({*find_groups(samples, by, names)})
            for split, samples in self.plan.splits.items()
        }

    @cached_property
    def views(self) -> dict[tuple[str, ...], list[str]]:
        """The samples ("split/class/sample") that have just these views, the largest group first.

        Under a layout with `{view_label}` a view is "view_label/view". Of several image columns, a
        view counts where all have it.
        """
        features = self.plan.features if self.plan else {}
        labels = features["view_labels"].feature.names if "view_labels" in features else None
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        are_lists = [*image_columns(self.options.get("layout")).values()]
        for split, sample in self.split_samples:
            names, columns = view_keys(sample, labels), [*compress(sample.paths, are_lists)]
            if any(None in paths for paths in columns):
                views = zip(names, *columns, strict=True)
                names = [name for name, *paths in views if None not in paths]
            groups[tuple(names)].append(f"{split}/{sample.sample_id}")
        return dict(sorted(groups.items(), key=lambda group: -len(group[1])))

    @cached_property
    def num_views(self) -> dict[int, int]:
        """How many samples have so many views."""
        counts: Counter[int] = Counter()
        for names, samples in self.views.items():
            counts[len(names)] += len(samples)
        return dict(sorted(counts.items()))

    @cached_property
    def usual_views(self) -> list[str]:
        """The views that more than half of the samples have, in natural order."""
        counts: Counter[str] = Counter()
        for names, samples in self.views.items():
            counts.update(dict.fromkeys(names, len(samples)))
        half = sum(self.num_views.values()) / 2
        return sorted((name for name, n in counts.items() if n > half), key=natural_key)

    @cached_property
    def missing_views(self) -> pandas.DataFrame:
        """The samples that lack a usual view: columns `sample` ("split/class/sample") and
        `missing`, a list of view names.
        """
        import pandas

        rows = [
            (sample, missing)
            for names, samples in self.views.items()
            if (missing := [view for view in self.usual_views if view not in names])
            for sample in samples
        ]
        return pandas.DataFrame(rows, columns=["sample", "missing"])

    @cached_property
    def similar_names(self) -> list[SimilarNames]:
        """The names that one takes for the same, those that a build refuses first."""
        one_split = bool(self.options.get("split_ratios"))
        return find_similar_names(self.plan, one_split) if self.plan else []

    @cached_property
    def notes(self) -> list[str]:
        """What could be meant otherwise, or may surprise, and the option that settles it."""
        return [*find_hints(self)] if self.plan and self.data_dir not in CIFARS else []

    @property
    def whole_load_line(self) -> str:
        """The Python that loads this with the images that the layout leaves out, if it is known
        how; else `load_line`.
        """
        wider = {"layout": self.wider_layout} if self.wider_layout else {}
        return replace(self, options={**self.options, **wider}).load_line

    @property
    def load_line(self) -> str:
        """The Python that loads exactly this."""
        is_config = self.data_dir in CONFIG_NAMES
        return load_line({"name" if is_config else "data_dir": self.data_dir, **self.options})

    @property
    def known_set(self) -> dict[str, str]:
        """The public dataset that the folder is: name, home, licence, note, and `load`, the Python
        that loads it. Empty if it is none.
        """
        if self.greeting is None:
            return {}
        known, data_dir = self.greeting
        return {
            "name": known.name,
            "home": known.home,
            "licence": known.licence,
            "note": known.note,
            "load": load_line({**self.options, "data_dir": data_dir, **known.options}),
        }

    def summary(self) -> list[str]:
        """The folder, the planned rows, and the problem or the line that loads them."""
        samples, images = quantity(len(self.samples), "sample"), quantity(self.num_images, "image")
        classes = quantity(len(self.classes), "class")
        lines = [f"{self.data_dir}: {samples} of {classes}, {images}"]
        lines.append(f"layout: {self.layout or 'none'} ({self.layout_reason})")
        if self.num_left_out:
            lines.append(self.left_out)
        notes = [f"note: {note}" for note in self.notes]
        return [*lines, *notes, f"problem: {self.problem}" if self.problem else self.load_line]

    def tables(self) -> Iterator[pandas.DataFrame]:
        """The samples of each class in each split."""
        yield self.classes.reset_index()

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        features = self.plan.features if self.plan else {}
        return {
            "data_dir": self.data_dir,
            "known_set": self.known_set,
            "good": self.good,
            "problem": self.problem,
            "layout": self.layout,
            "why": self.layout_reason,
            "classes": self.classes.to_dict(),
            "num_groups": self.num_groups,
            "num_views": {str(views): samples for views, samples in self.num_views.items()},
            "usual_views": self.usual_views,
            "missing_views": dict(self.missing_views.itertuples(index=False, name=None)),
            "images_left_out": self.num_left_out,
            "wider_layout": self.wider_layout,
            "ignored": self.ignored,
            "notes": self.notes,
            "features": {name: describe_feature(feature) for name, feature in features.items()},
            "candidates": [candidate._asdict() for candidate in self.candidates],
            "load": "" if self.problem else self.load_line,
        }


@no_garbage_collection()
def plan(data_dir: str | os.PathLike[str], **options: Any) -> PlanReport:
    """Plan the dataset of a folder from its names.

    Args:
        data_dir: The folder, an archive of it, the URL of either, or the name of a dataset of the
            Hub that holds them; or "shapes", "cifar10" or "cifar100", which are downloaded.
        **options: Those of `MultiviewCifarConfig`.

    Raises:
        OptionError: An option has a wrong name or value, or contradicts the folder, or `data_dir`
            is not a path.
        LayoutError: There is no such folder, or it may not be listed.
        ArchiveError: An archive is damaged or refused, or a URL cannot be read.
    """
    data_dir = expect_path(data_dir, "plan({})", OptionError)
    config = make_config(data_dir, options)
    if config.name in CIFARS:
        with silence_log():
            return PlanReport(config.name, options, plan=make_plan(config))
    tree = list_images(config)
    rows, problem, ignored = _plan_leniently(tree, config)
    if tree.hidden:
        ignored[HIDDEN_REASON] = tree.hidden
    place = tree.data_dir if config.name == "default" else config.name
    report = PlanReport(place, options, problem, rows, ignored)
    if not options.get("layout") and not tree.stored and config.name == "default":
        report.greeting = find_known_set(tree)
    if not problem and report.num_left_out:
        report.wider_layout = find_wider_layout(report, tree, config)
    if not rows or report.num_left_out > report.num_images:
        paths = _image_paths(tree)
        fits = suggest_layouts(paths, parse_template, find_split)
        report.candidates = [
            fit.candidate for fit in fits if _has_plain_splits(fit.candidate.layout, paths, config)
        ]
    return report


def take_all(wider_layout: Mapping[str, str]) -> str:
    """What to do with images that the layout leaves out, where this one takes them."""
    return f"To take all, pass layout={wider_layout}"


def find_wider_layout(
    report: PlanReport, tree: FileListing, config: MultiviewCifarConfig
) -> dict[str, str]:
    """The layout of `suggest_columns`, where with it a dataset can be built of all images."""
    if not isinstance(report.layout, str) or tree.is_by_split:
        return {}
    taken = (path for sample in report.samples for path in files_of(sample.paths))
    columns = suggest_columns(report.layout, taken, report.paths_left_out)
    if not columns:
        return {}
    try:
        wider = replace(config, layout=columns)
        rows, problem, ignored = _plan_leniently(tree, wider)
    except OptionError:  # a folder called as another column is
        return {}
    again = PlanReport(
        report.data_dir, {**report.options, "layout": columns}, problem, rows, ignored
    )
    return columns if again.good else {}


def _has_plain_splits(layout: str, paths: list[str], config: MultiviewCifarConfig) -> bool:
    """Whether no two folders would be one split under a layout, but for those of `split_names`."""
    folders = find_folders("split", parse_template(layout), paths)
    name_split = split_namer(False, replace(config, layout=layout))
    counts = Counter(map(name_split, folders))
    return all(counts[name_split(f)] == 1 for f in folders if f not in (config.split_names or {}))


def _plan_leniently(
    tree: FileListing, config: MultiviewCifarConfig
) -> tuple[Plan | None, str, dict[str, list[str]]]:
    """The plan with the config, else with lenient options, else without metadata; the first
    problem, or ""; and the paths that the plan ignores, by reason.
    """
    lenient = replace(config, **LENIENT_OPTIONS)
    problem = ""
    bare = replace(lenient, drop_metadata=True, label_column=None, split_by=None)
    if "{label}" not in str(config.layout or "{label}"):  # then metadata gave the labels
        bare = replace(bare, class_names=None, other_classes="raise")
    for attempt in (config, lenient, bare):
        listing = replace(tree, ignored=defaultdict(list, tree.ignored))
        try:
            with silence_log():
                plan = plan_rows(listing, attempt)
        except LayoutError as error:
            problem = problem or str(error).removesuffix(see_plan(tree.data_dir))
            continue
        return plan, problem or _name_problem(plan, config), dict(plan.ignored)
    return None, problem, dict(listing.ignored)


def _name_problem(plan: Plan, config: MultiviewCifarConfig) -> str:
    """Why the names of a plan keep it from being built, or ""."""
    try:
        check_name_forms(plan, config)
    except LayoutError as error:
        return str(error)
    return ""


def _image_paths(tree: FileListing) -> list[str]:
    """The paths of all images; none where a name is not text, which is the problem then."""
    try:
        images = replace(tree, ignored=defaultdict(list))
        keep_images(images)
        return images.paths
    except LayoutError:
        return []


def left_out_by_layout(ignored: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Of the paths that a plan ignores, by reason, the images that its layout leaves out."""
    return {why: paths for why, paths in ignored.items() if why.startswith("images")}


@contextmanager
def silence_log() -> Iterator[None]:
    """Without the warnings of a plan, which stand in a report instead."""
    level = multiview_cifar.logger.level
    multiview_cifar.logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        multiview_cifar.logger.setLevel(level)
