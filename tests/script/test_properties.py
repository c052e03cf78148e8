"""What holds for any tree: Hypothesis makes up names, orders and layouts."""

import io
import itertools
import re
import tempfile
from pathlib import Path

import datasets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import multiview_cifar
from conftest import colour_of
from sampling import examples

few = examples(8)

# Names that are no split words, no droppings and not hidden; any text that a file system takes.
text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8
)
name = text.filter(
    lambda s: (
        s[0] != "."
        and multiview_cifar.find_split(s) is None
        and s not in multiview_cifar.SYSTEM_NAMES
    )
)
plain = st.text("abc012 ", min_size=1, max_size=4)
trees = st.dictionaries(
    name,
    st.dictionaries(name, st.sets(name, min_size=1, max_size=3), min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)


def image_bytes(path):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), colour_of(path)).save(buffer, "PNG")
    return buffer.getvalue()


def rows_of(files, **options):
    """The rows that a folder with these files (path -> bytes) gives, images as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        split = options.pop("split", "train")
        ds = multiview_cifar.load_dataset(data_dir=folder, split=split, streaming=True, **options)
        raw = datasets.Sequence(datasets.Image(decode=False))
        rows = {}
        for key, part in {split: ds}.items() if split else ds.items():
            names = part.features["label"].names
            rows[key] = [
                {
                    **row,
                    "label": names[row["label"]],
                    "images": [image["bytes"] for image in row["images"]],
                }
                for row in part.cast_column("images", raw)
            ]
    return rows[split] if split else rows


def paths_of(tree):
    return [
        f"{c}/{s}/{v}.png" for c, samples in tree.items() for s, vs in samples.items() for v in vs
    ]


@few
@given(trees)
def test_a_tree_comes_back_as_it_was_written(tree):
    rows = rows_of({path: image_bytes(path) for path in paths_of(tree)})
    assert {row["sample_id"] for row in rows} == {f"{c}/{s}" for c, ss in tree.items() for s in ss}
    assert len({row["sample_id"] for row in rows}) == len(rows)
    for row in rows:
        label, _, sample = row["sample_id"].partition("/")
        assert row["label"] == label
        assert set(row["view_names"]) == tree[label][sample]
        assert row["images"] == [
            image_bytes(f"{label}/{sample}/{view}.png") for view in row["view_names"]
        ]


@few
@given(trees, st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_order_of_creation(tree, random):
    paths = paths_of(tree)
    files = {path: image_bytes(path) for path in paths}
    other = random.sample(paths, len(paths))
    assert rows_of(files) == rows_of({path: files[path] for path in other})


@few
@given(st.lists(text, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_natural_order_is_one_order(names, random):
    key = multiview_cifar.natural_key
    assert sorted(names, key=key) == sorted(random.sample(names, len(names)), key=key)
    assert all((key(a) == key(b)) == (a == b) for a, b in itertools.combinations(names, 2))


@few
@given(text.filter(lambda s: not re.search("[0-9]$", s)), st.integers(0, 999), st.integers(0, 999))
def test_natural_order_counts(prefix, a, b):
    first, second = sorted([f"{prefix}{a}", f"{prefix}{b}"], key=multiview_cifar.natural_key)
    assert (first, second) == (f"{prefix}{min(a, b)}", f"{prefix}{max(a, b)}")


@few
@given(st.sets(name, min_size=2, max_size=12), st.integers(0, 99), st.data())
def test_split_ratios_move_no_sample(samples, seed, data):
    few_of_them = data.draw(st.sets(st.sampled_from(sorted(samples)), min_size=1))

    def split_of(names):
        options = {"split": None, "split_ratios": {"train": 0.5, "test": 0.5}, "seed": seed}
        files = {f"cat/{s}/a.png": image_bytes(s) for s in names}
        try:
            splits = rows_of(files, **options)
        except multiview_cifar.LayoutError as error:  # all of few samples may go to one split
            whole = {"train": "test", "test": "train"}[error.path]
            return {f"cat/{s}": whole for s in names}
        return {row["sample_id"]: split for split, rows in splits.items() for row in rows}

    every = split_of(samples)
    assert every.keys() == {f"cat/{s}" for s in samples}
    assert split_of(few_of_them) == {f"cat/{s}": every[f"cat/{s}"] for s in few_of_them}


@examples(25)
@given(
    st.dictionaries(st.integers(0, 99), st.integers(0, 4), min_size=2),
    st.integers(0, 99),
    st.data(),
)
def test_groups_stay_together_and_none_moves(patients, seed, data):
    """Of the samples with these numbers, and of a part of them."""
    few_of_them = data.draw(st.sets(st.sampled_from(sorted(patients)), min_size=1))
    options = {"split_ratios": {"train": 0.5, "test": 0.5}, "split_by": "patient", "seed": seed}

    def splits_of_patients(numbers):
        with tempfile.TemporaryDirectory() as folder:
            lines = [f"cat/{number},{patients[number]}\n" for number in numbers]
            Path(folder, "metadata.csv").write_text("sample_id,patient\n" + "".join(lines))
            for number in numbers:
                Path(folder, "cat", str(number)).mkdir(parents=True)
                Path(folder, "cat", str(number), "a.png").touch()
            try:
                plan = multiview_cifar.MultiviewCifar(data_dir=folder, **options).plan
            except multiview_cifar.LayoutError as error:  # all may go to one split
                whole = {"train": "test", "test": "train"}[error.path]
                return {(patients[number], whole) for number in numbers}
        return {(s.metadata["patient"], split) for split, own in plan.splits.items() for s in own}

    every = splits_of_patients(patients)
    assert sorted(patient for patient, _ in every) == sorted({*patients.values()})
    own = {patients[number] for number in few_of_them}
    assert splits_of_patients(few_of_them) == {found for found in every if found[0] in own}


@st.composite
def layouts(draw):
    """A template of label, sample, view and more that may stand there, cut anywhere by / or =."""
    more = st.lists(st.sampled_from(["set-x", "{*}", "{label}", "{sample}", "{view}"]), max_size=2)
    fields = draw(st.permutations(["{label}", "{sample}", "{view}", *draw(more)]))
    cuts = draw(st.lists(st.sampled_from("/="), min_size=len(fields) - 1, max_size=len(fields) - 1))
    text = fields[0] + "".join(cut + f for cut, f in zip(cuts, fields[1:], strict=True))
    return text + draw(st.sampled_from(["", ".png", ".PNG"]))


@few
@given(layouts(), st.sets(st.tuples(plain, plain, plain), min_size=1, max_size=6), plain)
def test_any_layout_gives_back_what_it_was_filled_with(layout, triples, other):
    def path_of(label, sample, view):
        stem = layout.removesuffix(".png").removesuffix(".PNG").replace("{*}", other)
        return stem.format(label=label, sample=sample, view=view) + ".png"

    files = {path_of(*triple): image_bytes(path_of(*triple)) for triple in triples}
    rows = rows_of(files, layout=layout)
    got = {
        (row["label"], row["sample_id"].partition("/")[2], view): data
        for row in rows
        for view, data in zip(row["view_names"], row["images"], strict=True)
    }
    assert got.keys() == triples
    for (label, sample, view), data in got.items():
        assert data == files[path_of(label, sample, view)]


@few
@given(st.integers(1, 9), st.data(), st.sampled_from(["first", "even", "random"]))
def test_num_views_keeps_the_order(views, data, how):
    k = data.draw(st.integers(1, views))
    files = {f"cat/1/{v}.png": image_bytes(str(v)) for v in range(views)}
    (row,) = rows_of(files, num_views=k, view_sampling=how)
    assert len(row["view_names"]) == k
    assert row["view_names"] == sorted(set(row["view_names"]), key=int)
    assert row["images"] == [files[f"cat/1/{view}.png"] for view in row["view_names"]]


def test_numbers_of_any_length_are_ordered():
    names = ["0", "00", "007", "8", "0010", "9" * 5000, "1" + "0" * 5000]
    assert sorted(reversed(names), key=multiview_cifar.natural_key) == names
