"""Which layouts a tree could have, guessed from where its images stand and ranked by their fit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from multiview_cifar import SPLIT_WORDS, Template, parse_template

MOST_CANDIDATES = 5
FILE_FORMS = ("{sample}_{view}", "{sample}-{view}", "{sample}")
# What the folders between a split and the files can mean, by how many of them there are.
FOLDER_FORMS = {
    0: [
        "{label}_{sample}_{view}",
        "{label}-{sample}-{view}",
        "{label}_{sample}",
        "{label}-{sample}",
    ],
    1: [f"{{label}}/{form}" for form in FILE_FORMS],
    2: ["{label}/{sample}/{view}", "{label}/{view}/{sample}", "{view}/{label}/{sample}"],
    3: [
        "{label}/{sample}/{view_label}/{view}",
        "{label}/{view_label}/{sample}/{view}",
        "{view_label}/{label}/{sample}/{view}",
    ],
}


class Candidate(NamedTuple):
    """A layout that could be meant."""

    layout: str
    images: int  # that it takes
    samples: int
    left_out: list[str]  # the first images that do not fit


class Trial(NamedTuple):
    """A candidate, and how well it fits beyond the number of images."""

    candidate: Candidate
    share: float  # of the samples, those that have just the views that most have


def nearest_layouts(paths: Sequence[str]) -> list[Candidate]:
    """The layouts that take most of these images, best first; of two that take as many, the one
    whose samples have the same views.
    """
    trials = [try_layout(parse_template(layout), paths) for layout in dict.fromkeys(guess(paths))]
    trials = [trial for trial in trials if trial.candidate.images]
    trials.sort(key=lambda trial: (-trial.candidate.images, -trial.share))
    return [trial.candidate for trial in trials[:MOST_CANDIDATES]]


def guess(paths: Sequence[str]) -> Iterator[str]:
    """Templates for the depths at which most images stand, the most usual ones first."""
    depths = Counter(path.count("/") for path in paths)
    for depth, _ in depths.most_common(3):
        at_depth = [path.split("/")[:-1] for path in paths if path.count("/") == depth]
        levels = [set(level) for level in zip(*at_depth, strict=True)]
        words = {name for name in levels[0] if name.lower() in SPLIT_WORDS} if levels else set()
        if words:
            yield from _guess_folders(levels, ["{split}", *[""] * (depth - 1)])
        if not words or words != levels[0]:
            yield from _guess_folders(levels, [""] * depth)


def _guess_folders(levels: Sequence[set[str]], fixed: list[str]) -> Iterator[str]:
    """Templates for folders with these names, some of which are fixed as text or {split}.

    A folder that has one name everywhere says nothing, so it may stand in the layout as text.
    """
    variants = [fixed]
    for i in reversed(range(len(levels))):
        if not fixed[i] and len(levels[i]) == 1 and not set("{}") & set(*levels[i]):
            variants.append([*variants[-1][:i], *levels[i], *variants[-1][i + 1 :]])
    for variant in sorted(variants, key=lambda texts: abs(texts.count("") - 2)):
        yield from _fill(variant)


def _fill(fixed: Sequence[str]) -> Iterator[str]:
    """Templates whose folders are those of `fixed`, where it has a text, and fields elsewhere."""
    for form in FOLDER_FORMS.get(fixed.count(""), ()):
        *folders, file = form.split("/")
        fields = iter(folders)
        yield "/".join([*(text or next(fields) for text in fixed), file])


def try_layout(template: Template, paths: Sequence[str]) -> Trial:
    """What a template takes of these images."""
    samples: dict[tuple[str, ...], set[str]] = defaultdict(set)
    left_out = []
    for path in paths:
        match = template.path.fullmatch(path, 0, path.rfind("."))
        fields = match.groupdict() if match else {}
        if not fields:
            left_out.append(path)
            continue
        views = samples[fields.get("split", ""), fields["label"], fields["sample"]]
        views.add(f"{fields.get('view_label')}/{fields.get('view')}")
    taken = len(paths) - len(left_out)
    candidate = Candidate(template.text, taken, len(samples), left_out[:3])
    return Trial(candidate, _share(samples, "view" in template.fields))


def _share(samples: dict[tuple[str, ...], set[str]], has_views: bool) -> float:
    """1 where all samples have the same views, and several. One view a sample is neither good nor
    bad where the layout says so; it is bad where the layout has views, as is one sample a class.
    """
    if not has_views:
        return 0.5
    views = Counter(frozenset(names) for names in samples.values())
    classes = {label for _, label, _ in samples}
    alike, n = views.most_common(1)[0] if views else (frozenset(), 0)
    return n / len(samples) if len(alike) > 1 and len(samples) > len(classes) else 0.0
