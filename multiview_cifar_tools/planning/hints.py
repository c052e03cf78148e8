"""Hints: where a folder may mean something else than its plan says, and the option that says so."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multiview_cifar import find_split, join_first, natural_key, parse_template
from multiview_cifar_tools.pages import files_of
from multiview_cifar_tools.planning.large_rows import describe_large_files
from multiview_cifar_tools.planning.similar_names import compose
from multiview_cifar_tools.planning.suggest_layout import suggest_layouts

if TYPE_CHECKING:
    from multiview_cifar_tools.planning.report import PlanReport
    from multiview_cifar_tools.planning.similar_names import SimilarNames

VIEW_WORD = re.compile(  # what folders of views are called
    r"(cam(era)?|view|angle|left|right|front|back|rear|side|top|bottom|rgb|depth)[-_ ]?\d*", re.I
)
MIN_AGREEMENT = 0.5  # of the samples have the same views, from which a layout is better than none
UNLABELLED = "(no label)"  # among the classes of a plan


def find_hints(report: PlanReport) -> Iterator[str]:
    """A sentence for each hint on a plan that has samples, the most important ones first."""
    for find_hint in (
        _hint_split_words,
        _hint_unicode_forms,
        _hint_similar_classes,
        _hint_case,
        _hint_swapped_folders,
        _hint_single_views,
        _hint_unequal_views,
        _hint_rare_views,
        _hint_greedy_sample,
        _hint_missing_classes,
        _hint_single_split,
        _hint_large_rows,
    ):
        if hint := find_hint(report):
            yield hint


def _hint_split_words(report: PlanReport) -> str:
    words = [name for name in report.classes.index if find_split(name)]
    if not words or "{split}" in str(report.layout):
        return ""
    classes = join_first((name for name in report.classes.index if name not in words), most=3)
    return (
        f"{join_first(words, most=3)} would be a class, as {classes} is not a split. If it is one, "
        'pass layout="{split}/{label}/{sample}/{view}".'
    )


def _hint_similar_classes(report: PlanReport) -> str:
    groups = defaultdict(list)
    for name in report.classes.index:
        groups["".join(filter(str.isalnum, compose(name).casefold()))].append(name)
    several = (names for names in groups.values() if len({*map(compose, names)}) > 1)
    spellings = next(several, None)
    if spellings is None:
        return ""
    class_names = ", ".join(f'"{name}": "{spellings[0]}"' for name in spellings)
    return (
        f"The classes {' and '.join(map(repr, spellings))} differ only in spelling. If they "
        f"are one, pass class_names={{{class_names}, ...}} with all class folders."
    )


def _hint_unicode_forms(report: PlanReport) -> str:
    pairs = [pair for pair in report.similar_names if pair.are_forms]
    if not pairs:
        return ""
    return (
        f"{_describe_pairs(pairs)}. Such names look the same, but are not: write them in one "
        "form, or rename those that are different."
    )


def _hint_case(report: PlanReport) -> str:
    pairs = [pair for pair in report.similar_names if not pair.are_forms and pair.what != "class"]
    if not pairs:
        return ""
    return (
        f"{_describe_pairs(pairs)}. On macOS and Windows such names are one: if they are meant so, "
        "write them alike; else rename one, where the folder may be copied there."
    )


def _describe_pairs(pairs: Sequence[SimilarNames]) -> str:
    text = join_first((pair.found for pair in pairs), most=2)
    return text[0].upper() + text[1:]


def _hint_swapped_folders(report: PlanReport) -> str:
    """class/view/sample.png or view/class/sample.png planned as class/sample/view.png: all classes
    have the same samples.
    """
    names_by_class: dict[str, set[str]] = defaultdict(set)
    for samples in report.views.values():
        for sample in samples:
            folder, _, name = sample.rpartition("/")
            names_by_class[folder].add(name)
    layout, groups = str(report.layout), list(names_by_class.values())
    if "{sample}/{view}" not in layout or len(groups) < 2 or any(g != groups[0] for g in groups):
        return ""
    are_views = all(VIEW_WORD.fullmatch(name) for name in report.classes.index)
    has_few = len(groups[0]) < min(report.num_views) and len(report.views) <= len(report.classes)
    if not are_views and not has_few:
        return ""
    ordered = sorted(groups[0], key=natural_key)
    names = join_first(ordered, most=3)
    classes = join_first(report.classes.index, most=3)
    return (
        f"All classes ({classes}) hold the same samples ({names}). If the samples are the views, "
        f'pass layout="{layout.replace("{sample}/{view}", "{view}/{sample}")}"; if the classes '
        f'are, layout="{layout.replace("{label}/{sample}/{view}", "{view}/{label}/{sample}")}".'
    )


def _hint_single_views(report: PlanReport) -> str:
    if [*report.num_views] != [1] or "{view}" not in str(report.layout):
        return ""
    return (
        "Every sample has one view. If several folders are one sample, say with layout=... "
        "what their names mean."
    )


def _hint_unequal_views(report: PlanReport) -> str:
    counts = report.num_views
    if len(counts) < 2:
        return ""
    usual = json.dumps(report.usual_views) if 0 < len(report.usual_views) < 9 else "[...]"
    return (
        f"Samples have {min(counts)} to {max(counts)} views. Rows may differ; for equal ones "
        f"pass num_views={min(counts) or 1}, or view_names={usual} with "
        'on_missing_view="skip_sample" or "null".'
    )


def _hint_rare_views(report: PlanReport) -> str:
    if report.usual_views or "{view}" not in str(report.layout):
        return ""
    views = join_first((name for names in report.views for name in names[:1]), most=3)
    if not views:
        return ""
    return (
        f"No view is in more than half of the samples ({views}), so that none can be "
        f"missed. {_remedy_of_rare_views(report)}"
    )


def _remedy_of_rare_views(report: PlanReport) -> str:
    """With the layout of the same images whose samples have the same views, where there is one."""
    paths = [path for sample in report.samples for path in files_of(sample.paths)]
    for candidate, view_agreement, _ in suggest_layouts(paths, parse_template, find_split):
        if candidate.images == len(paths) and view_agreement > MIN_AGREEMENT:
            layout = candidate.layout
            return f'If file names hold more than the view, say so with layout="{layout}".'
    return (
        "If the samples have the same views, give the files of a view the same name in all of "
        "them, such as front.png."
    )


def _hint_greedy_sample(report: PlanReport) -> str:
    """In "{sample}_{view}" a field takes as much as it can: a_b_front is sample a_b."""
    layout = report.options.get("layout")
    marks = [mark for mark in "_-" if f"{{sample}}{mark}{{view}}" in str(layout)]
    if not isinstance(layout, str) or not marks:
        return ""
    mark = marks[0]
    samples = [sample for group in report.views.values() for sample in group]
    samples = [sample for sample in samples if mark in sample.rpartition("/")[2]]
    if not samples:
        return ""
    return (
        f'"{mark}" stands in the names of {len(samples):,} samples too '
        f"({join_first(samples, most=3)}): the sample ends at the last one. If it ends at the "
        "first one, rename the files, since fields take as much as they can."
    )


def _hint_missing_classes(report: PlanReport) -> str:
    missing = [
        f"{name!r} in {split}"
        for split, counts in report.classes.items()
        for name in counts.index[counts == 0]
        if name != UNLABELLED
    ]
    return f"No sample of the class {join_first(missing, most=3)}." if missing else ""


def _hint_single_split(report: PlanReport) -> str:
    if report.classes.shape[1] > 1 or report.options.get("split_ratios"):
        return ""
    (split,) = report.classes
    remedy = '; split_ratios={"train": 0.8, "test": 0.2} makes two of them'
    if "{split}" in str(report.layout):
        remedy = ""
    return f"All samples are in one split, {split!r}{remedy}."


def _hint_large_rows(report: PlanReport) -> str:
    if not os.path.isdir(report.data_dir):  # there the sizes are known once it is read
        return ""
    return describe_large_files(report.data_dir, report.options, report.split_samples)
