"""What differs between two datasets: as counts, text, JSON and a page with pictures."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from multiview_cifar import join_first
from multiview_cifar_tools.batches.columns import all_image_columns, image_columns, views_in
from multiview_cifar_tools.diffs.sides import Side
from multiview_cifar_tools.previews.html import FIGURE_STYLE, html_page, html_table
from multiview_cifar_tools.previews.samples import convert_view
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.shards.rows import Row
from multiview_cifar_tools.spelling import quantity

if TYPE_CHECKING:
    import pandas

MAX_PICTURES, MAX_ROWS = 50, 500  # in the page: samples with pictures, and lines of a table
THUMBNAIL, MAX_VIEWS = 96, 8  # pixels; pictures of a side
STATES = ("added", "removed", "changed")
NO_CLASS = "(no label)"
STYLE = FIGURE_STYLE + (
    ".different img { outline: 3px solid var(--accent); outline-offset: -3px; }\n"
)


class Sample(NamedTuple):
    """A sample of one side.

    Attributes:
        split, label, sample_id: The label is the name of its class, "" for none.
        row: Its number in the split.
    """

    split: str
    label: str
    sample_id: str
    row: int


class ViewChanges(NamedTuple):
    """What of the images of a column differs, by the names of the views.

    Attributes:
        added, removed, changed: The views, in their order.
        reordered: Whether those that both sides have come in another order.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    reordered: bool


class SampleChange(NamedTuple):
    """A sample that is not the same on both sides.

    Attributes:
        before, after: Where it stands, and its class.
        views: Of the columns of image lists that differ, what does.
        columns: The other columns that differ.
    """

    before: Sample
    after: Sample
    views: dict[str, ViewChanges]
    columns: list[str]

    @property
    def parts(self) -> dict[str, str]:
        """What differs, in a few words, by what is counted together."""
        parts: dict[str, str] = {
            name: f"{name} {old or NO_CLASS} -> {new or NO_CLASS}"
            for name in ("split", "sample_id", "label")
            if (old := getattr(self.before, name)) != (new := getattr(self.after, name))
        }
        for column, views in self.views.items():
            for state, names in zip(STATES, views[:3], strict=True):
                if names:
                    parts[f"{column}: views {state}"] = f"{column} {join_first(names)} {state}"
            if views.reordered:
                parts[f"{column}: views reordered"] = f"{column} reordered"
        return parts | {column: column for column in self.columns}


@dataclass(repr=False)
class DiffReport(Report):
    """What differs between two datasets.

    Attributes:
        before, after: The two sides.
        added, removed: The samples that only one side has, in the order of its rows.
        changed: The samples that both sides have, but with differences.
        num_same: How many samples are the same.
    """

    before: Side = field(compare=False)
    after: Side = field(compare=False)
    added: list[Sample]
    removed: list[Sample]
    changed: list[SampleChange]
    num_same: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.changed)

    @cached_property
    def counts(self) -> dict[tuple[str, str], dict[str, int]]:
        """How many samples were added, removed and changed, by (split, class); a sample that moved
        counts where it stands now.
        """
        states = zip(STATES, self._samples(), strict=True)
        found = Counter((s.split, s.label, state) for state, samples in states for s in samples)
        names = [name for side in (self.after, self.before) for name in _class_names(side)]
        splits = [*dict.fromkeys([*self.after.tables, *self.before.tables])]
        keys = [(s, name) for s in splits for name in dict.fromkeys([*names, ""])]
        counts = {key: {state: found[*key, state] for state in STATES} for key in keys}
        return {key: own for key, own in counts.items() if any(own.values())}

    @cached_property
    def part_counts(self) -> dict[str, int]:
        """In how many samples each part changed, such as "label"; the most frequent first."""
        return dict(Counter(part for change in self.changed for part in change.parts).most_common())

    def _samples(self) -> tuple[Sequence[Sample], ...]:
        """Those of each of STATES."""
        return self.added, self.removed, [change.after for change in self.changed]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "before": {"name": self.before.name, "samples": self.before.num_rows},
            "after": {"name": self.after.name, "samples": self.after.num_rows},
            "equal": self.equal,
            "same": self.num_same,
            **dict(zip(STATES, map(len, self._samples()), strict=True)),
            "counts": [
                {"split": split, "label": label, **own}
                for (split, label), own in self.counts.items()
            ],
            "parts": self.part_counts,
            "samples": {
                "added": [_sample_dict(sample) for sample in self.added],
                "removed": [_sample_dict(sample) for sample in self.removed],
                "changed": [
                    {
                        **_sample_dict(change.after),
                        "before": _sample_dict(change.before),
                        "views": {name: own._asdict() for name, own in change.views.items()},
                        "columns": change.columns,
                    }
                    for change in self.changed
                ],
            },
        }

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """A complete page, with pictures of the first changed samples, before and after.

        It reads their rows: FormatError or DiffError if that fails.
        """
        title = f"{self.before.name} and {self.after.name}"
        return html_page(title, "\n".join(_page_body(self)), STYLE)

    def summary(self) -> list[str]:
        """What was compared, and what came of it."""
        sides = [f"{s.name} ({quantity(s.num_rows, 'sample')})" for s in (self.before, self.after)]
        states = zip(STATES, self._samples(), strict=True)
        found = ", ".join(f"{len(samples):,} {state}" for state, samples in states)
        return [
            f"Compared {sides[0]} with {sides[1]}.",
            f"{'Nothing differs' if self.equal else found}; {self.num_same:,} the same.",
        ]

    def tables(self) -> Iterator[pandas.DataFrame]:
        """How many samples were added, removed and changed, by split and class."""
        import pandas

        yield pandas.DataFrame(count_rows(self), columns=["split", "class", *STATES])


def _class_names(side: Side) -> list[str]:
    """The names of the classes of a side, in the order of their numbers."""
    return list(getattr(side.features.get("label"), "names", []))


def _sample_dict(sample: Sample) -> dict[str, Any]:
    return {"split": sample.split, "label": sample.label, "sample_id": sample.sample_id}


def count_rows(report: DiffReport) -> list[tuple[str | int, ...]]:
    """The rows of a table: split, class, and how many samples of each of STATES."""
    return [
        (split, label or NO_CLASS, *own.values()) for (split, label), own in report.counts.items()
    ]


def describe_sample(sample: Sample) -> str:
    """A sample in a few words."""
    return f"{sample.split} {sample.sample_id}"


def describe_change(change: SampleChange) -> str:
    """A sample that changed, and what of it."""
    return f"{describe_sample(change.after)}: {'; '.join(change.parts.values())}"


# --- a page ---------------------------------------------------------------------------------------


def _page_body(report: DiffReport) -> Iterator[str]:
    yield f"<h1>{html.escape(report.before.name)} and {html.escape(report.after.name)}</h1>"
    yield from (f"<p>{html.escape(line)}</p>" for line in report.summary())
    yield from _count_table(report)
    if report.part_counts:
        parts = ([html.escape(part), f"{n:,}"] for part, n in report.part_counts.items())
        yield from html_table(["what changed", "samples"], parts)
    if report.changed:
        yield f"<h2>changed: {len(report.changed):,}</h2>"
        yield from html_table(["sample", "before", "after"], _picture_rows(report))
        yield from _note(len(report.changed), MAX_PICTURES)
    for state, samples in zip(STATES, (report.added, report.removed), strict=False):
        if samples:
            yield f"<h2>{state}: {len(samples):,}</h2>"
            rows = ([html.escape(cell) for cell in sample[:3]] for sample in samples[:MAX_ROWS])
            yield from html_table(["split", "class", "sample"], rows)
            yield from _note(len(samples), MAX_ROWS)


def _note(count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f'<p class="quiet">The first {most:,}; --json lists all.</p>'


def _count_table(report: DiffReport) -> Iterator[str]:
    if not report.equal:
        rows = ([html.escape(str(cell)) for cell in row] for row in count_rows(report))
        yield from html_table(["split", "class", *STATES], rows)


def _picture_rows(report: DiffReport) -> Iterator[list[str]]:
    """The cells of the first samples that changed."""
    changes = report.changed[:MAX_PICTURES]
    before = _read_samples(report.before, [change.before for change in changes])
    after = _read_samples(report.after, [change.after for change in changes])
    features = report.after.features
    for change in changes:
        parts = "<br>".join(map(html.escape, change.parts.values()))
        columns = [*change.views, *(c for c in change.columns if c in all_image_columns(features))]
        columns = columns or image_columns(features)[:1]
        old, new = before[change.before], after[change.after]
        yield [
            f'{html.escape(describe_sample(change.after))}<br><span class="quiet">{parts}</span>',
            _figures(old, change, columns, gone=True),
            _figures(new, change, columns, gone=False),
        ]


def _read_samples(side: Side, samples: Iterable[Sample]) -> dict[Sample, Row]:
    """The rows of samples."""
    rows: dict[Sample, Row] = {}
    wanted = sorted(samples, key=lambda sample: (sample.split, sample.row))
    for split in dict.fromkeys(sample.split for sample in wanted):
        own = [sample for sample in wanted if sample.split == split]
        found = side.read_rows(split, [sample.row for sample in own])
        rows |= zip(own, found, strict=True)
    return rows


def _figures(row: Row, change: SampleChange, columns: Sequence[str], gone: bool) -> str:
    """Pictures of the views of a side, those that differ first."""
    figures: list[tuple[bool, str]] = []
    for column in columns:
        views = views_in(row[column])
        names = row["view_names"] if isinstance(row[column], list) else []
        for i, view in enumerate(views):
            name = str(names[i]) if i < len(names) and names[i] is not None else str(i)
            state = _view_state(change.views.get(column), name, gone)
            caption = f"{column} {name}" if isinstance(row[column], list) else column
            figures.append(
                (not state, _figure(view and view["bytes"], f"{caption} {state}".strip(), state))
            )
    figures.sort(key=lambda figure: figure[0])
    more = f"and {len(figures) - MAX_VIEWS:,} more" if len(figures) > MAX_VIEWS else ""
    return "".join(figure for _, figure in figures[:MAX_VIEWS]) + more


def _view_state(views: ViewChanges | None, name: str, gone: bool) -> str:
    """Whether a view was "removed", "added" or "changed"; "" where it is the same."""
    if views is None:
        return ""
    own = {"removed": views.removed} if gone else {"added": views.added}
    return next((s for s, names in {**own, "changed": views.changed}.items() if name in names), "")


def _figure(data: bytes | None, caption: str, state: str) -> str:
    facts: Mapping[str, Any] | None = convert_view(data, THUMBNAIL).facts
    shown = '<span class="quiet">missing</span>'
    if facts is not None:
        image = f'<img src="{facts.get("src", "")}" alt="">'
        shown = image if "src" in facts else html.escape(facts["error"])
    kind = ' class="different"' if state else ""
    return f"<figure{kind}>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"
