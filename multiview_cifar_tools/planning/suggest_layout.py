"""Which layouts a tree could have: guessed from the paths of its images, ranked by their fit.

The loading script asks for the nearest one where none fits; so this imports nothing of ours, and is
given the script's functions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MAX_CANDIDATES = 5
MAX_RANKED = 20_000  # images, spread over all, by which candidates are ranked
UNLABELLED = 0.4  # how much a layout without {label} is worth, of one with it
FILE_FORMS = ("{sample}_{view}", "{sample}-{view}", "{sample}")
# What the folders between a split and the files can mean, by how many of them there are.
FOLDER_FORMS = {
    0: [
        "{label}_{sample}_{view}",
        "{label}-{sample}-{view}",
        "{label}_{sample}",
        "{label}-{sample}",
        "{sample}_{view}",
        "{sample}-{view}",
    ],
    1: [*(f"{{label}}/{form}" for form in FILE_FORMS), "{sample}/{view}", "{view}/{sample}"],
    2: [
        "{label}/{sample}/{view}",
        "{label}/{view}/{sample}",
        "{view}/{label}/{sample}",
        "{label}/{sample}/{sample}_{view}",
        "{label}/{sample}/{sample}-{view}",
        "{label}/{view}/{sample}_{view}",
        "{view}/{label}/{sample}_{view}",
    ],
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


class LayoutFit(NamedTuple):
    """How well a candidate fits: by its number of images, then by the views of its samples."""

    candidate: Candidate
    view_agreement: float  # see measure_view_agreement


def suggest_layouts(
    paths: Sequence[str], parse: Callable[[str], Any], find_split: Callable[[str], str | None]
) -> list[LayoutFit]:
    """The layouts that take most of these images, best first; of two that take as many, the one
    whose samples have the same views.

    Args:
        paths: Of all images.
        parse: The script's `parse_template`.
        find_split: The script's, which tells the name of a split.
    """
    step = -(-len(paths) // MAX_RANKED) or 1
    templates = [parse(layout) for layout in dict.fromkeys(guess_layouts(paths, find_split))]

    def rank(fit: LayoutFit) -> tuple[float, ...]:
        return -fit.candidate.images, -fit.view_agreement

    templates.sort(key=lambda template: rank(measure_fit(template, paths[::step])))
    fits = [measure_fit(template, paths) for template in templates[:MAX_CANDIDATES]]
    return sorted((fit for fit in fits if fit.candidate.images), key=rank)


def describe_nearest(
    paths: Sequence[str],
    parse: Callable[[str], Any],
    find_split: Callable[[str], str | None],
    split_name: Callable[[str], str],
) -> str:
    """A sentence, with a space before it: the options that `plan` would list first, or two that fit
    equally well; "" where none fits an image. The arguments are those of `suggest_layouts`, and the
    script's `split_name`.
    """
    fits = suggest_layouts(paths, parse, find_split)
    ranks = [(fit.candidate.images, fit.view_agreement) for fit in fits]
    best = [fit.candidate for fit, rank in zip(fits, ranks, strict=True) if rank == ranks[0]][:2]
    if not best:
        return ""
    options = " or ".join(f'layout="{candidate.layout}"' for candidate in best)
    tops = dict.fromkeys(path.partition("/")[0] for path in paths)
    found = {top: split for top in tops if (split := find_split(top))}
    names = {top: split for top, split in found.items() if split != split_name(top)}
    if names and all(candidate.layout.startswith("{split}/") for candidate in best):
        options += f", split_names={names}"
    return f" Nearest is {options}: {best[0].images:,} of {len(paths):,} images fit it."


def guess_layouts(paths: Sequence[str], find_split: Callable[[str], str | None]) -> Iterator[str]:
    """Templates for the depths at which most images stand, the most usual ones first."""
    depths = Counter(path.count("/") for path in paths)
    for depth, _ in depths.most_common(3):
        at_depth = [path.split("/")[:-1] for path in paths if path.count("/") == depth]
        levels = [set(level) for level in zip(*at_depth, strict=True)]
        splits = {name for name in levels[0] if find_split(name)} if levels else set()
        if splits:
            yield from _guess_from_folders(levels, ["{split}", *[""] * (depth - 1)])
        if not splits or splits != levels[0]:
            yield from _guess_from_folders(levels, [""] * depth)


def _guess_from_folders(levels: Sequence[set[str]], fixed: list[str]) -> Iterator[str]:
    """Templates for folders with these names, some of which are fixed as text or {split}.

    A folder that has one name everywhere says nothing, so it may stand in the layout as text.
    """
    variants = [fixed]
    for i in reversed(range(len(levels))):
        if not fixed[i] and len(levels[i]) == 1 and not set("{}") & set(*levels[i]):
            variants.append([*variants[-1][:i], *levels[i], *variants[-1][i + 1 :]])
    for variant in sorted(variants, key=lambda texts: abs(texts.count("") - 2)):
        yield from _fill_fields(variant)


def _fill_fields(fixed: Sequence[str]) -> Iterator[str]:
    """Templates whose folders are those of `fixed`, where it has a text, and fields elsewhere."""
    for form in FOLDER_FORMS.get(fixed.count(""), ()):
        *folders, file = form.split("/")
        fields = iter(folders)
        yield "/".join([*(text or next(fields) for text in fixed), file])


def measure_fit(template: Any, paths: Sequence[str]) -> LayoutFit:
    """How many of these images a template takes, as how many samples, and how alike these are."""
    samples: dict[tuple[str, ...], set[str]] = defaultdict(set)
    left_out = []
    for path in paths:
        match = template.path.fullmatch(path, 0, path.rfind("."))
        fields = match.groupdict() if match else {}
        if not fields:
            left_out.append(path)
            continue
        views = samples[fields.get("split", ""), fields.get("label", ""), fields["sample"]]
        views.add(f"{fields.get('view_label')}/{fields.get('view')}")
    num_images = len(paths) - len(left_out)
    candidate = Candidate(template.text, num_images, len(samples), left_out[:3])
    agreement = measure_view_agreement(samples, "view" in template.fields)
    return LayoutFit(candidate, agreement * (1 if "label" in template.fields else UNLABELLED))


def measure_view_agreement(samples: dict[tuple[str, ...], set[str]], has_views: bool) -> float:
    """The share of the samples that have the most usual set of views, if that is several views.

    0 where a layout with views gives one view a sample or one sample a class, which is hardly
    meant; 0.5 for a layout without views, which tells nothing.

    Args:
        samples: The views by (split, label, sample).
        has_views: Whether the layout has the field `view`.
    """
    if not has_views:
        return 0.5
    view_sets = Counter(frozenset(names) for names in samples.values())
    classes = {label for _, label, _ in samples}
    usual, count = view_sets.most_common(1)[0] if view_sets else (frozenset(), 0)
    return count / len(samples) if len(usual) > 1 and len(samples) > len(classes) else 0.0
