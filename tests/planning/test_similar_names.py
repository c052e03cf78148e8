"""Names in two Unicode forms, or in upper and lower case: told by `plan` and `check`, and refused
where a class or a sample would be two.
"""

import json
from unicodedata import normalize

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

import multiview_cifar
from array_rows import PLAIN, rows_with
from exports import rows_object
from multiview_cifar_tools.checks.folder import check
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.formats import image_folder
from multiview_cifar_tools.planning.report import plan
from multiview_cifar_tools.planning.similar_names import compose, find_similar_names, fold_case
from sampling import examples

NFC, NFD = (normalize(form, "café") for form in ("NFC", "NFD"))
HANGUL = normalize("NFD", "한국")
BOTH = ("'caf\\xe9'", "'cafe\\u0301'")


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


def kinds(tree, **options):
    """The names that a check tells of: (kind, what was found)."""
    found = check(tree, **options).findings
    return [(f.kind, f.found) for f in found if f.kind in ("split-name", "name-forms", "name-case")]


@pytest.mark.every_route
def test_a_class_in_two_forms_is_refused(load, make_tree, fails):
    tree = make_tree(f"{NFC}/1/a.png", f"{NFD}/2/a.png")
    with fails("LayoutError", *BOTH, "Expected one form", path=NFC):
        list(load(tree))


def test_also_where_each_split_has_one_form(quick, make_tree, fails):
    tree = make_tree(f"train/{NFC}/1/a.png", f"test/{NFD}/1/a.png")
    with fails("LayoutError", *BOTH):
        quick(tree, split=None)


def test_a_sample_in_two_forms_is_refused(build, make_tree, fails):
    tree = make_tree(f"cat/{NFC}/a.png", f"cat/{NFD}/b.png")
    with fails("LayoutError", "'cat/caf\\xe9'", "'cat/cafe\\u0301'", path=f"cat/{NFC}"):
        build(tree)
    assert [kind for kind, _ in kinds(tree)] == ["split-name"]


def test_a_sample_in_two_forms_would_stand_in_two_splits(quick, make_tree, fails):
    paths = [f"cat/{i}/a.png" for i in range(20)]
    tree = make_tree(*paths, f"cat/{NFC}/a.png", f"cat/{NFD}/a.png")
    for seed in range(3):  # in one split, or each in another
        options = {"split_ratios": {"train": 0.5, "test": 0.5}, "seed": seed}
        with fails("LayoutError", "'cat/caf\\xe9'"):
            quick(tree, split=None, **options)
        assert kinds(tree, **options)[0][0] == "split-name"
        assert "two Unicode forms" in plan(tree, **options).problem


def test_samples_of_two_splits_are_told_and_built(quick, make_tree, shown):
    tree = make_tree(f"train/cat/{NFC}/a.png", f"test/cat/{NFD}/a.png")
    assert shown(quick(tree, split="test")) == [(f"cat/{NFD}", f"test/cat/{NFD}/a.png")]
    assert [kind for kind, _ in kinds(tree)] == ["name-forms"]


def test_class_names_may_make_one_class_of_both(quick, make_tree, fails):
    names = {NFC: "café", NFD: "café"}
    tree = make_tree(f"{NFC}/1/a.png", f"{NFD}/2/a.png")
    assert quick(tree, class_names=names).features["label"].names == ["café"]
    tree = make_tree(f"{NFC}/1/a.png", f"{NFD}/1/b.png", under="same sample")
    with fails("LayoutError", "'caf\\xe9/1'", "'cafe\\u0301/1'"):
        quick(tree, class_names=names)


def test_labels_of_metadata(quick, make_tree, fails):
    tree = make_tree("1/a.png", "2/a.png")
    rows = [{"sample_id": "1", "label": NFC}, {"sample_id": "2", "label": NFD}]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tree / "metadata.jsonl").write_text(text, encoding="utf-8")
    with fails("LayoutError", *BOTH):
        quick(tree, layout="{sample}/{view}")


def test_one_form_alone_is_nothing(quick, make_tree):
    for number, name in enumerate((NFC, NFD, HANGUL)):
        tree = make_tree(f"{name}/1/a.png", f"{name}/2/{name}.png", under=f"tree{number}")
        assert quick(tree).features["label"].names == [name]
        assert kinds(tree) == []
        assert plan(tree).similar_names == []


def test_plan_names_both_and_what_to_do(run, make_tree):
    tree = make_tree(f"{NFC}/1/a.png", f"{NFD}/2/a.png", "dog/1/a.png")
    report = plan(tree)
    assert not report.good
    assert all(form in report.problem for form in BOTH)
    [note] = [note for note in report.notes if "Unicode" in note]
    assert all(form in note for form in BOTH)
    assert "write them in one form" in note
    assert not any("only in spelling" in note for note in report.notes)
    done = run("plan", str(tree))
    assert done.returncode == 1
    assert "problem" in done.stdout
    assert BOTH[1] in done.stdout


def test_views_in_two_forms_are_told_and_built(quick, make_tree):
    tree = make_tree(f"cat/1/{NFC}.png", f"cat/2/{NFD}.png")
    assert len(list(quick(tree))) == 2
    report = plan(tree)
    assert report.good
    assert any("view" in note and BOTH[0] in note for note in report.notes)
    assert [kind for kind, _ in kinds(tree)] == ["name-forms"]
    assert not check(tree).good


def test_names_that_differ_in_case_alone(quick, make_tree):
    tree = make_tree("Cat/A1/Left.png", "cat/a1/left.png", "cat/A1/left.png")
    assert len(list(quick(tree))) == 3
    assert plan(tree).good
    notes = "\n".join(plan(tree).notes)
    assert "'Left' and 'left' differ only in case" in notes
    assert "'cat/A1' and 'cat/a1' differ only in case" in notes
    assert "macOS and Windows" in notes
    assert [(kind, found.split(" ")[1]) for kind, found in kinds(tree)] == [
        ("name-case", "class"),
        ("name-case", "sample"),
        ("name-case", "view"),
    ]


NAMES = st.text(st.sampled_from(["é", "É", "e", "E", "\u0301", "한", "ß", "S"]), min_size=1)


@examples(200)
@given(names=st.lists(NAMES, unique=True, max_size=8), split=st.booleans())
def test_plan_and_check_agree_with_the_build(names, split):
    """Any names: the build refuses just what is told as such, and every clash is told."""
    splits = {"train": names[::2] if split else names, "test": names[1::2] if split else []}
    rows = {
        key: [multiview_cifar.Sample(f"cat/{name}", 0, ("a",), (), (("a",),)) for name in own]
        for key, own in splits.items()
    }
    features = multiview_cifar.row_features(["images"], ["cat"], None)
    planned = multiview_cifar.Plan(rows, features, {}, 1)
    told = find_similar_names(planned, one_split=False)
    try:
        multiview_cifar.check_name_forms(planned, multiview_cifar.MultiviewCifarConfig())
        refused = False
    except multiview_cifar.LayoutError:
        refused = True
    assert refused == any(pair.is_refused for pair in told)
    assert bool(told) == (len({*map(fold_case, names)}) < len(names))
    assert all(pair.are_forms == (compose(pair.name) == compose(pair.other)) for pair in told)


# --- an export to a folder ------------------------------------------------------------------------


def rows_named(*ids, views=("a",)):
    """Rows of these sample_ids, whose class is the one in them, each with these views."""
    classes = sorted({sample.partition("/")[0] for sample in ids})
    [row] = rows_with([1])
    rows = [
        row
        | {"sample_id": sample, "label": classes.index(sample.partition("/")[0])}
        | {"images": row["images"] * len(views), "view_names": [*views]}
        for sample in ids
    ]
    features = datasets.Features({**PLAIN, "label": datasets.ClassLabel(names=classes)})
    return rows_object(rows, features)


@pytest.fixture
def any_case(monkeypatch):
    """As on a file system that takes upper and lower case for one."""
    monkeypatch.setattr(image_folder, "ignores_case", lambda folder: True)


def test_whether_a_file_system_ignores_case_is_tried(tmp_path):
    assert not image_folder.ignores_case(str(tmp_path))
    (tmp_path / ".pROBE").touch()  # what such a file system would find
    assert image_folder.ignores_case(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".pROBE"]


CLASHES = {
    "classes": rows_named("Cat/1", "cat/2"),
    "samples": rows_named("cat/A", "cat/a"),
    "views": rows_named("cat/1", views=("Left", "left")),
}


@pytest.mark.parametrize("what", CLASHES)
def test_case_alone_is_refused_where_it_is_not_told_apart(what, any_case, tmp_path, fails):
    with fails("ExportError", "one name to this file system", "rename one"):
        export({"train": CLASHES[what]}, tmp_path / "out")


@pytest.mark.parametrize("what", CLASHES)
def test_case_alone_is_written_where_it_is(what, tmp_path):
    arguments = export({"train": CLASHES[what]}, tmp_path / "out")
    again = multiview_cifar.load_dataset(
        **arguments, cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert {*again["sample_id"]} == {row["sample_id"] for row in CLASHES[what].iterate()}


@pytest.mark.parametrize("ids", [(f"{NFC}/1", f"{NFD}/2"), (f"cat/{NFC}", f"cat/{NFD}")])
@pytest.mark.parametrize("size", ["1GB", 1])  # one shard, or each row its own
def test_two_forms_are_not_exported_to_a_folder(ids, size, tmp_path, fails):
    with fails("ExportError", "caf\\xe9", "cafe\\u0301", "two Unicode forms"):
        export({"train": rows_named(*ids)}, tmp_path / "out", max_shard_size=size)


@pytest.mark.parametrize("what", ["classes", "samples"])
def test_case_alone_in_two_shards(what, any_case, tmp_path, fails):
    with fails("ExportError", "one name to this file system"):
        export({"train": CLASHES[what]}, tmp_path / "out", max_shard_size=1)


def test_a_class_of_several_shards_and_splits_is_one(tmp_path):
    rows = rows_named(f"{NFD}/1", f"{NFD}/2", "dog/1")
    arguments = export({"train": rows, "test": rows}, tmp_path / "out", max_shard_size=1)
    again = multiview_cifar.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))
    assert again["test"]["sample_id"][:] == [f"{NFD}/1", f"{NFD}/2", "dog/1"]
