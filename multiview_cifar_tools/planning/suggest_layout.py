"""Which layouts a tree could have: guessed from the paths of its images, ranked by their fit.

The loading script asks for the nearest one where none fits; so this imports nothing of ours, and is
given the script's functions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

MAX_CANDIDATES = 5
MAX_RANKED = 20_000  # images, spread over all, by which candidates are ranked: half of them in runs
RUN = 2000  # images that follow each other
UNLABELLED = 0.4  # how much a layout without {label} is worth, of one with it
ONE_CLASS = 0.55  # how much one is worth whose {label} is the same everywhere, within other fields
ONE_SAMPLE = 0.6  # how much one is worth with one sample a class, where a number names it
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
        "{sample}",
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
    has_numbers_for_classes: bool  # as samples and views may have, but classes rarely


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
    parts = _spread_paths(paths)
    templates = [parse(layout) for layout in dict.fromkeys(guess_layouts(paths, find_split))]

    def rank(fit: LayoutFit) -> tuple[float, ...]:
        return -fit.candidate.images, -fit.view_agreement

    def rank_in_parts(template: Any) -> tuple[float, ...]:
        fits = [(measure_fit(template, part), len(part)) for part in parts]
        # Rounded, since a run may begin and end within a sample.
        return min(
            (-fit.candidate.images / size, -round(fit.view_agreement, 1)) for fit, size in fits
        )

    templates.sort(key=rank_in_parts)
    fits = [measure_fit(template, paths) for template in templates[:MAX_CANDIDATES]]
    return sorted((fit for fit in fits if fit.candidate.images), key=rank)


def _spread_paths(paths: Sequence[str]) -> list[Sequence[str]]:
    """Some of many paths, spread over all of them: single ones, and runs, which hold all views of a
    sample where these stand in its own folder.
    """
    if len(paths) <= MAX_RANKED:
        return [paths] if paths else []
    step = -(-len(paths) // (MAX_RANKED // 2))
    starts = range(0, len(paths), RUN * step)
    return [paths[::step], [path for start in starts for path in paths[start : start + RUN]]]


def describe_nearest(
    paths: Sequence[str],
    parse: Callable[[str], Any],
    find_split: Callable[[str], str | None],
    split_name: Callable[[str], str],
    is_by_split: bool = False,
    min_images: int = 0,
) -> str:
    """A sentence, with a space before it: the options that `plan` would list first, or two that fit
    equally well; "" where none fits more than `min_images`. The other arguments are those of
    `suggest_layouts`, the script's `split_name`, and whether the paths are those in the archive of
    a split.
    """
    fits = suggest_layouts(paths, parse, find_split)
    ranks = [(fit.candidate.images, fit.view_agreement) for fit in fits]
    equal = [fit for fit, rank in zip(fits, ranks, strict=True) if rank == ranks[0]]
    best = [fit.candidate for fit in equal if _is_worth_saying(fit, equal[0])][:2]
    if not best or best[0].images <= min_images:
        return ""
    options = " or ".join(f'layout="{candidate.layout}"' for candidate in best)
    folders = [find_folders("split", parse(candidate.layout), paths) for candidate in best]
    found = {folder: split for folder in folders[0] if (split := find_split(folder))}
    names = {folder: split for folder, split in found.items() if split != split_name(folder)}
    if names and all(own == folders[0] for own in folders):
        options += f", split_names={names}"
    if is_by_split and folders[0]:  # where {split} would be refused
        options = f"to pass it as data_dir, since it holds splits itself, with {options}"
    return f" Nearest is {options}: {best[0].images:,} of {len(paths):,} images fit it."


def _is_worth_saying(fit: LayoutFit, first: LayoutFit) -> bool:
    """Whether a layout that fits as well as the first is to be named beside it: not where its
    classes are numbers, and those of the first are words.
    """
    return fit is first or first.has_numbers_for_classes or not fit.has_numbers_for_classes


def suggest_columns(layout: str, taken: Iterable[str], left_out: Sequence[str]) -> dict[str, str]:
    """A layout with further columns, one for each folder below those of the taken images in which
    images are left out whose names are those of taken ones and more: maps/front-map.png beside
    front.png. Empty where one image lies in no such folder.
    """
    above, _, file = layout.rpartition("/")
    stems: dict[str, list[str]] = defaultdict(list)
    for path in taken:
        folder, _, name = path.rpartition("/")
        stems[folder].append(name.rpartition(".")[0])
    columns: dict[str, str] = {}
    for path in left_out:
        outer, _, inner = path.rpartition("/")[0].rpartition("/")
        if inner in columns:
            continue
        stem = path.rpartition("/")[2].rpartition(".")[0]
        own = max((own for own in stems[outer] if own in stem), key=len, default="")
        before, _, after = stem.partition(own) if own else ("{", "", "")
        if {*"{}"} & {*before, *after, *inner}:
            return {}
        columns[inner] = f"{above}/{inner}/{before}{file}{after}".removeprefix("/")
    return {"images": layout, **columns}


def find_folders(field: str, template: Any, paths: Sequence[str]) -> list[str]:
    """What a field of a template takes in these paths, each once; nothing where it has no such."""
    if field not in template.fields:
        return []
    matches = (template.path.fullmatch(path, 0, path.rfind(".")) for path in paths)
    return list(dict.fromkeys(match[field] for match in matches if match))


def guess_layouts(paths: Sequence[str], find_split: Callable[[str], str | None]) -> Iterator[str]:
    """Templates for the depths at which most images stand, the most usual ones first.

    A level of nothing but names of splits is {split}, wherever it stands. Where only some are, it
    may be {split} if it is the first level with several names. A folder around it is text.
    """
    depths = Counter(path.count("/") for path in paths)
    for depth, _ in depths.most_common(3):
        at_depth = [path.split("/")[:-1] for path in paths if path.count("/") == depth]
        levels = [set(level) for level in zip(*at_depth, strict=True)]
        plain = [""] * depth
        several = [i for i in range(depth) if len(levels[i]) > 1][:1]
        at = _find_split_level(levels, find_split)
        for i in several if at is None else [at]:
            if any(map(find_split, levels[i])):
                above = [_only_name(names) for names in levels[:i]]
                yield from _guess_from_folders(levels, [*above, "{split}", *plain[i + 1 :]])
        if at is None:
            yield from _guess_from_folders(levels, plain)


def _find_split_level(
    levels: Sequence[set[str]], find_split: Callable[[str], str | None]
) -> int | None:
    """The level of nothing but names of splits, of several the one that names most splits.

    Below the top it is none where all names mean one split, as those of samples test_1, test_2 do.
    """
    counts = {}
    for i, names in enumerate(levels):
        if all(map(find_split, names)):
            count = len({find_split(name) for name in names})
            if i == 0 or count >= min(len(names), 2):
                counts[i] = count
    return max(counts, key=lambda i: counts[i], default=None)


def _only_name(names: set[str]) -> str:
    """The one name of a level, where it may stand in a layout as text; else ""."""
    (name, *others) = names
    return "" if others or set("{}") & set(name) else name


def _guess_from_folders(levels: Sequence[set[str]], fixed: list[str]) -> Iterator[str]:
    """Templates for folders with these names, some of which are fixed as text or {split}.

    A folder that has one name everywhere says nothing, so it may stand in the layout as text: the
    innermost ones, such as images/, or the outermost ones.
    """
    lone = [i for i, names in enumerate(levels) if _only_name(names) and not fixed[i]]
    variants = [fixed]
    for order in (lone[::-1], lone):
        texts = fixed
        for i in order:
            texts = [*texts[:i], _only_name(levels[i]), *texts[i + 1 :]]
            variants.append(texts)
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
    text = template.text
    if "label" not in template.fields:
        agreement *= UNLABELLED
    elif "}" in text[: text.index("{label}")].replace("{split}", "") and _has_one_class(samples):
        agreement *= ONE_CLASS
    elif "/" not in text and _has_one_class(samples):
        agreement = 0.0  # the start of all names, such as img in img_001.png, is no class
    numbers = "label" in template.fields and all(label.isdigit() for _, label, _ in samples)
    return LayoutFit(candidate, agreement, numbers)


def _has_one_class(samples: Iterable[tuple[str, ...]]) -> bool:
    return len({label for _, label, _ in samples}) == 1


def measure_view_agreement(samples: dict[tuple[str, ...], set[str]], has_views: bool) -> float:
    """The share of the samples that have the most usual set of views, if that is several views.

    0 where a layout with views gives one view a sample or one sample a class, which is hardly
    meant; 0.5 for a layout without views, which tells nothing. ONE_SAMPLE of it where the one
    sample of each class has a number in its name.

    Args:
        samples: The views by (split, label, sample).
        has_views: Whether the layout has the field `view`.
    """
    if not has_views:
        return 0.5
    view_sets = Counter(frozenset(names) for names in samples.values())
    usual, count = view_sets.most_common(1)[0] if view_sets else (frozenset(), 0)
    if len(usual) < 2:
        return 0.0
    share = count / len(samples)
    if len(samples) > len({label for _, label, _ in samples}):
        return share
    are_numbers = all(any(map(str.isdigit, name)) for _, _, name in samples)
    return share * ONE_SAMPLE if are_numbers else 0.0
