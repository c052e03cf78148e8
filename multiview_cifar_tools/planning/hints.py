"""What a plan's reader may have meant otherwise, and the option that settles it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from multiview_cifar import SPLIT_WORDS, natural_key
from multiview_cifar_tools.console import some

if TYPE_CHECKING:
    from multiview_cifar_tools.planning.report import PlanReport


def notes_on(report: PlanReport) -> Iterator[str]:
    """Sentences about a plan that has samples, the most important ones first."""
    for note in (
        _split_words,
        _alike_classes,
        _swapped,
        _single_views,
        _ragged,
        _no_usual_view,
        _greedy,
        _absent_classes,
        _one_split,
    ):
        if text := note(report):
            yield text


def _split_words(report: PlanReport) -> str:
    words = [name for name in report.classes.index if name.lower() in SPLIT_WORDS]
    if not words or "{split}" in str(report.layout):
        return ""
    others = [name for name in report.classes.index if name not in words]
    return (
        f"{some(words)} would be a class, as {some(others)} is no split. If it is one, pass "
        'layout="{split}/{label}/{sample}/{view}"; else nothing.'
    )


def _alike_classes(report: PlanReport) -> str:
    groups = defaultdict(list)
    for name in report.classes.index:
        groups["".join(filter(str.isalnum, name.casefold()))].append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    if not alike:
        return ""
    same = ", ".join(f'"{name}": "{alike[0][0]}"' for name in alike[0])
    return (
        f"The classes {' and '.join(map(repr, alike[0]))} differ in spelling alone. If they "
        f"are one, pass class_names={{{same}, ...}} with all class folders."
    )


def _swapped(report: PlanReport) -> str:
    """class/view/sample.png taken for class/sample/view.png: alike in all of a class."""
    names: dict[str, set[str]] = defaultdict(set)
    for samples in report.views.values():
        for sample in samples:
            folder, _, name = sample.rpartition("/")
            names[folder].add(name)
    layout, sets = str(report.layout), list(names.values())
    if "{sample}/{view}" not in layout or len(sets) < 2 or any(s != sets[0] for s in sets):
        return ""
    if len(sets[0]) >= min(report.num_views) or len(report.views) > len(report.classes):
        return ""
    swapped = layout.replace("{sample}/{view}", "{view}/{sample}")
    same = some(sorted(sets[0], key=natural_key))
    return (
        f"All classes hold the same samples, {same}, and each has more views than there are "
        f'samples. If these are the views, pass layout="{swapped}".'
    )


def _single_views(report: PlanReport) -> str:
    if [*report.num_views] != [1] or "{view}" not in str(report.layout):
        return ""
    return (
        "Every sample has one view. If several folders are one sample, say with layout=... "
        "what their names mean."
    )


def _ragged(report: PlanReport) -> str:
    counts = report.num_views
    if len(counts) < 2:
        return ""
    usual = json.dumps(report.usual_views) if 0 < len(report.usual_views) < 9 else "[...]"
    return (
        f"Samples have {min(counts)} to {max(counts)} views. Rows may differ; for equal ones "
        f"pass num_views={min(counts) or 1}, or view_names={usual} with "
        'on_missing_view="skip_sample" or "null".'
    )


def _no_usual_view(report: PlanReport) -> str:
    if report.usual_views or "{view}" not in str(report.layout):
        return ""
    views = [name for names in report.views for name in names[:1]]
    return (
        f"No view is in more than half of the samples ({some(views)}), so that none can be "
        "missed. If file names hold more than the view, say so with layout=..."
    )


def _greedy(report: PlanReport) -> str:
    """In "{sample}_{view}" a field takes as much as it can: a_b_front is sample a_b."""
    layout = report.options.get("layout")
    if not isinstance(layout, str):
        return ""
    for mark in "_-":
        inside = [
            sample
            for samples in report.views.values()
            for sample in samples
            if mark in sample.rpartition("/")[2]
        ]
        if f"{{sample}}{mark}{{view}}" in layout and inside:
            return (
                f'"{mark}" stands in the names of {len(inside):,} samples too ({some(inside)}):'
                " the sample ends at the last one. If it ends at the first one, rename the "
                "files, since fields take as much as they can."
            )
    return ""


def _absent_classes(report: PlanReport) -> str:
    absent = [
        f"{name!r} in {split}"
        for split, counts in report.classes.items()
        for name in counts.index[counts == 0]
    ]
    return f"No sample of the class {some(absent)}." if absent else ""


def _one_split(report: PlanReport) -> str:
    if report.classes.shape[1] > 1 or report.options.get("split_ratios"):
        return ""
    (split,) = report.classes
    more = (
        ""
        if "{split}" in str(report.layout)
        else ('; split_ratios={"train": 0.8, "test": 0.2} makes two of them')
    )
    return f"All samples are in one split, {split!r}{more}."
