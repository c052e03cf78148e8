"""What `check` found, as data frames, text, JSON and a page."""

from __future__ import annotations

import html
import io
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from multiview_cifar import join_first
from multiview_cifar_tools.checks.findings import KINDS, UNDECODABLE, Finding
from multiview_cifar_tools.console import escape_unprintable
from multiview_cifar_tools.conversion import DEEP_MODES, stretch_values
from multiview_cifar_tools.pages import split_page
from multiview_cifar_tools.previews.html import FIGURE_STYLE, data_url, html_page, html_table
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.spelling import quantity
from multiview_cifar_tools.storage.regular_file import regular_file

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "kind",
    "severity",
    "split",
    "sample_id",
    "path",
    "other_split",
    "other_sample_id",
    "other_path",
    "found",
    "remedy",
)
DUPLICATE_KINDS = ("leakage", "contradiction", "duplicate-view", "duplicate")
PICTURE_KINDS = (*DUPLICATE_KINDS, "suspect")
MAX_ROWS, MAX_PICTURES = 500, 50  # of a kind in the page: rows, and rows with pictures
THUMBNAIL, MAX_IN_ROW = 96, 8  # pixels; pictures
STYLE = (
    """\
.error { color: light-dark(#b3261e, #ff8a80); } .warning { color: light-dark(#8a5300, #ffc078); }
.note { color: var(--quiet); } a { color: var(--accent); } td { min-width: 6rem; }
"""
    + FIGURE_STYLE
)


@dataclass(repr=False)
class CheckReport(Report):
    """What was found in a folder.

    Attributes:
        data_dir: The folder, the archive or the URL; or the config.
        num_images, num_samples: How many were checked.
        class_counts: The number of samples of each class, for each split.
        ignored: The paths that the plan left out, by reason.
        num_plain: How many images have too little contrast to be compared for look-alikes.
        findings: All findings, the worst first.
        folder: Where the images are. For an archive or a URL it is a copy, removed with the report.
    """

    data_dir: str
    num_images: int
    num_samples: int
    class_counts: dict[str, dict[str, int]]
    ignored: dict[str, list[str]]
    num_plain: int
    findings: list[Finding]
    folder: str = field(default="", repr=False)

    @property
    def good(self) -> bool:
        """Whether only notes were found, or nothing."""
        return all(finding.severity == "note" for finding in self.findings)

    @cached_property
    def by_kind(self) -> dict[str, list[Finding]]:
        """The findings of each kind, the worst first."""
        kinds: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
        for finding in self.findings:
            kinds[finding.kind].append(finding)
        return {kind: findings for kind, findings in kinds.items() if findings}

    @property
    def bad_files(self) -> dict[str, str]:
        """The files that cannot be decoded, and why: what a quarantine moves."""
        return {
            split_page(finding.paths[0])[0]: finding.found
            for kind in UNDECODABLE
            for finding in self.by_kind.get(kind, [])
        }

    @cached_property
    def problems(self) -> pandas.DataFrame:
        """All findings: text columns `kind`, `severity`, `split`, `sample_id`, `path`, the same
        of a second sample or file (`other_...`), `found` and `remedy`; "" for what there is not.
        """
        import pandas

        return pandas.DataFrame(
            [_frame_row(f) for f in self.findings], columns=[*COLUMNS], dtype=str
        )

    @property
    def duplicates(self) -> pandas.DataFrame:
        """Those of `problems` with the same pixels: in a sample, several samples or splits."""
        return self.problems[self.problems["kind"].isin(DUPLICATE_KINDS)]

    @property
    def leakage(self) -> pandas.DataFrame:
        """Those of `problems` with the same pixels in several splits."""
        return self.problems[self.problems["kind"] == "leakage"]

    @property
    def suspects(self) -> pandas.DataFrame:
        """Those of `problems` that look alike in several splits."""
        return self.problems[self.problems["kind"] == "suspect"]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "data_dir": self.data_dir,
            "good": self.good,
            "images": self.num_images,
            "samples": self.num_samples,
            "plain": self.num_plain,
            "splits": self.class_counts,
            "ignored": self.ignored,
            "counts": {kind: len(findings) for kind, findings in self.by_kind.items()},
            "problems": [
                {
                    **dict(zip(COLUMNS, _frame_row(finding), strict=True)),
                    "samples": finding.samples,
                    "paths": finding.paths,
                }
                for finding in self.findings
            ],
        }

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """A complete page, with pictures of images that are the same or alike."""
        return html_page(f"Check of {self.data_dir}", "\n".join(_page_body(self)), STYLE)

    def summary(self, most_paths: int = 3) -> list[str]:
        """What was checked, what was not, and how much was found.

        Args:
            most_paths: How many of the paths that were ignored it names, for each reason.
        """
        lines = [
            f"Checked {quantity(self.num_images, 'image')} of "
            f"{quantity(self.num_samples, 'sample')} in {escape_unprintable(self.data_dir)}."
        ]
        for reason, paths in self.ignored.items():
            shown = f"Ignored {reason} ({len(paths):,}): {join_first(paths, most_paths)}."
            lines.append(escape_unprintable(shown))
        if self.num_plain:
            have = "image has" if self.num_plain == 1 else "images have"
            lines.append(
                f"{self.num_plain:,} {have} too little contrast to be compared for look-alikes."
            )
        counts = Counter(finding.severity for finding in self.findings)
        numbers = [
            quantity(counts[severity], severity)
            for severity in ("error", "warning", "note")
            if counts[severity]
        ]
        return [*lines, f"Found {', '.join(numbers) or 'nothing wrong'}."]

    def tables(self) -> Iterable[pandas.DataFrame]:
        """The findings."""
        return [self.problems]


def _frame_row(finding: Finding) -> tuple[str, ...]:
    samples = [tuple(sample.split("/", 1)) for sample in finding.samples[:2]]
    (split, sample), (other_split, other_sample) = [*samples, ("", ""), ("", "")][:2]
    # The second path of a pair is the other sample's, also where each has several.
    path, other_path = [*finding.paths[:2], "", ""][:2]
    return (
        finding.kind,
        finding.severity,
        split,
        sample,
        path,
        other_split,
        other_sample,
        other_path,
        finding.found,
        finding.remedy,
    )


# --- a page ---------------------------------------------------------------------------------------


def _page_body(report: CheckReport) -> Iterable[str]:
    yield f"<h1>Check of {html.escape(os.path.basename(report.data_dir))}</h1>"
    yield from (f"<p>{html.escape(line)}</p>" for line in report.summary())
    yield _kind_table(report)
    for kind, findings in report.by_kind.items():
        of = KINDS[kind]
        yield f'<h2 id="{kind}">{of.title}: {len(findings):,} '
        yield f'<span class="{of.severity}">{of.severity}{"s" * (len(findings) > 1)}</span></h2>'
        if of.remedy:
            yield f"<p>{html.escape(of.remedy)}</p>"
        yield from html_table(
            ["sample", "file", "found", *["remedy"] * (not of.remedy)],
            _finding_rows(report.folder, kind, findings),
        )
        if len(findings) > MAX_ROWS:
            yield f'<p class="quiet">The first {MAX_ROWS:,}; --json lists all.</p>'
        elif kind in PICTURE_KINDS and len(findings) > MAX_PICTURES:
            yield f'<p class="quiet">Pictures of the first {MAX_PICTURES:,}.</p>'
    yield "<h2>samples</h2>"
    rows = [
        [html.escape(name), *(f"{counts[name]:,}" for counts in report.class_counts.values())]
        for name in next(iter(report.class_counts.values()))
    ]
    yield from html_table(["class", *map(html.escape, report.class_counts)], rows)


def _kind_table(report: CheckReport) -> str:
    rows = [
        [
            f'<a href="#{kind}">{KINDS[kind].title}</a>',
            _severity_span(KINDS[kind].severity),
            f"{len(findings):,}",
        ]
        for kind, findings in report.by_kind.items()
    ]
    return "\n".join(html_table(["kind", "severity", "times"], rows)) if rows else ""


def _severity_span(severity: str) -> str:
    return f'<span class="{severity}">{severity}</span>'


def _finding_rows(folder: str, kind: str, findings: Sequence[Finding]) -> Iterable[list[str]]:
    for number, finding in enumerate(findings[:MAX_ROWS]):
        pictures = kind in PICTURE_KINDS and number < MAX_PICTURES
        files = [_file_cell(folder, path, pictures) for path in finding.paths[:MAX_IN_ROW]]
        if len(finding.paths) > MAX_IN_ROW:
            files.append(f"and {len(finding.paths) - MAX_IN_ROW:,} more")
        samples = [html.escape(sample) for sample in finding.samples[:MAX_IN_ROW]]
        if len(finding.samples) > MAX_IN_ROW:
            samples.append(f"and {len(finding.samples) - MAX_IN_ROW:,} more")
        cells = ["<br>".join(samples), ("" if pictures else "<br>").join(files)]
        special = [html.escape(finding.remedy)] if finding.special_remedy else []
        yield [*cells, html.escape(finding.found), *special]


def _file_cell(folder: str, path: str, picture: bool) -> str:
    name = html.escape(path)
    if not picture:
        return name
    return (
        f'<figure><img src="{_thumbnail_url(f"{folder}/{path}")}" alt="">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _thumbnail_url(path: str) -> str:
    """A data URL of a small PNG; of a file that is gone since it was checked, one of no bytes."""
    import PIL.Image
    import PIL.ImageOps

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check has said it better
        try:
            file, page = split_page(path)
            with (
                open(file, "rb", opener=regular_file) as stream,
                PIL.Image.open(stream) as image,
            ):
                image.seek(page or 0)
                upright = PIL.ImageOps.exif_transpose(image)
                small = stretch_values(upright) if upright.mode in DEEP_MODES else upright
                small = small.convert("RGBA")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small.save(buffer, "PNG")
        except (OSError, ValueError):
            buffer = io.BytesIO()
    return data_url(buffer.getvalue(), "image/png")
