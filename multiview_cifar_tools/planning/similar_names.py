"""Names that one takes for the same: in two Unicode forms, or in upper and lower case.

"é" is one character (NFC, as most systems write it) or two (NFD, as macOS may): the names look the
same, and are different to Linux. Names that differ only in case are the same to macOS and Windows.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize

if TYPE_CHECKING:
    from multiview_cifar import Plan


class NameFormError(ValueError):
    """Two classes or samples have one name in two Unicode forms; `.path` is one of the names,
    `.kind` the script's error.
    """

    kind = "LayoutError"

    def __init__(self, name: str, other: str) -> None:
        super().__init__(
            f"{name!r} exists in two Unicode forms, {other!a} and {name!a}, which would be "
            "two. Expected one form: rename, or merge, the files or folders of the other."
        )
        self.path = name


def check_forms(plan: Plan, one_split: bool) -> None:
    """NameFormError where two classes, or two samples of a split, have one name in two Unicode
    forms (NFC and NFD, as systems write them): they look the same, and most likely are one.
    """
    ids = [(sample.sample_id for sample in samples) for samples in plan.splits.values()]
    classes = plan.features["label"].names if "label" in plan.features else ()
    for names in (classes, *([itertools.chain(*ids)] if one_split else ids)):
        first: dict[str, str] = {}
        for name in names:
            if name.isascii():
                continue
            if (other := first.setdefault(compose(name), name)) != name:
                raise NameFormError(name, other)


class SimilarNames(NamedTuple):
    """Two names that one takes for the same.

    Attributes:
        what: "class", "sample", "view label" or "view".
        name, other: The names, in the order of the rows.
        are_forms: Whether they are one name in two Unicode forms; else they differ only in case.
        is_refused: Whether a build refuses them, as a class, or a sample of a split, would be two.
    """

    what: str
    name: str
    other: str
    are_forms: bool
    is_refused: bool

    @property
    def found(self) -> str:
        """Both names, so that they can be told apart."""
        if self.are_forms:
            forms = f"{self.name!a} and {self.other!a}"
            return f"the {self.what} {self.name!r} exists in two Unicode forms, {forms}"
        return f"the {self.what} names {self.name!r} and {self.other!r} differ only in case"


def find_similar_names(plan: Plan, one_split: bool) -> list[SimilarNames]:
    """All classes, samples, view labels and views of a plan whose names one takes for the same,
    those that a build refuses first; `one_split` where `split_ratios` divides all samples.
    """
    samples = [sample for samples in plan.splits.values() for sample in samples]
    ids = {sample.sample_id for sample in samples}
    views = {view for names in {s.view_names for s in samples} for view in names if view}
    label, view_labels = map(plan.features.get, ("label", "view_labels"))
    pairs = [
        *_find_pairs("class", label.names if label else ()),
        *_judge_samples(_find_pairs("sample", ids), plan, one_split),
        *_find_pairs("view label", view_labels.feature.names if view_labels else ()),
        *_find_pairs("view", views),
    ]
    return sorted(pairs, key=lambda pair: (not pair.is_refused, not pair.are_forms))


def _find_pairs(what: str, names: Iterable[str]) -> Iterator[SimilarNames]:
    """Of names, each once, the pairs that one takes for the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[fold_case(name)].append(name)
    for key in sorted(key for key, alike in groups.items() if len(alike) > 1):
        by_form: dict[str, list[str]] = defaultdict(list)
        for name in sorted(groups[key]):
            by_form[compose(name)].append(name)
        firsts = [first for first, *_ in by_form.values()]
        for forms in by_form.values():
            is_refused = what in ("class", "sample")
            yield from (SimilarNames(what, *p, True, is_refused) for p in combinations(forms, 2))
        yield from (SimilarNames(what, *pair, False, False) for pair in pairwise(firsts))


def _judge_samples(
    pairs: Iterable[SimilarNames], plan: Plan, one_split: bool
) -> Iterator[SimilarNames]:
    """The pairs of samples, without those by case of two classes, whose names tell it once;
    refused in one split alone.
    """
    pairs = [*pairs]
    names = {name for pair in pairs for name in (pair.name, pair.other)}
    splits, labels = defaultdict[str, set[str]](set), dict[str, int | None]()
    for split, samples in plan.splits.items():
        for sample in samples:
            if sample.sample_id in names:
                splits[sample.sample_id].add(split)
                labels[sample.sample_id] = sample.label
    for pair in pairs:
        together = one_split or not splits[pair.name].isdisjoint(splits[pair.other])
        if pair.are_forms or labels[pair.name] == labels[pair.other]:
            yield pair._replace(is_refused=pair.are_forms and together)


def compose(name: str) -> str:
    """The name in the form NFC."""
    return name if name.isascii() else normalize("NFC", name)


def fold_case(name: str) -> str:
    """The name in NFC, without upper case."""
    return name.lower() if name.isascii() else compose(compose(name).casefold())
