"""Plans as columns: the rows, errors and ignored paths of the builder, whatever the route."""

import os
import pickle
import shutil
import tempfile
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import s3_server
from archives import write_archive
from multiview_cifar import (
    FileListing,
    MultiviewCifar,
    MultiviewCifarConfig,
    MultiviewError,
    iter_examples,
    plan_rows,
    source_of,
)
from multiview_cifar_tools.loading import stream_rows
from multiview_cifar_tools.planning.table import (
    RowPlan,
    check_source,
    plan_source,
    rows_between,
    samples_of,
    split_table,
    table_of,
)
from multiview_cifar_tools.shards.build import build_signature
from plans import WHOLE, within
from sampling import examples

some = examples(25)


def planned(plan):
    """What a plan says, as Python objects."""
    splits = [(split, samples_of(table)) for split, table in plan.splits.items()]
    return splits, plan.features, plan.ignored


def outcome(make):
    """What a function gives, or the error that it raises."""
    try:
        return make()
    except MultiviewError as error:
        return type(error), str(error), error.path


def by_builder(folder, options):
    plan = MultiviewCifar(data_dir=str(folder), **options).plan
    return [*plan.splits.items()], plan.features, plan.ignored


def write_tree(folder, paths):
    """Empty files, as a plan opens none, and folders ("cat/")."""
    for path in paths:
        file = Path(folder, path)
        (file if path.endswith("/") else file.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            file.write_bytes(os.fsencode(path))  # so that sizes differ


def check_same(paths, options):
    """The columns hold the plan of the builder, or there is its error, which it gives."""
    with tempfile.TemporaryDirectory() as folder:
        write_tree(folder, paths)
        expected = outcome(lambda: by_builder(folder, options))
        assert outcome(lambda: planned(plan_source(folder, **options))) == expected
    return expected


# --- the same as the builder ----------------------------------------------------------------------

names = st.sampled_from(["1", "2", "10", "a", "B", "ß"])
tops = st.sampled_from(["cat", "dog", "b10", "b9", "train", "Training", "test", "dev", "other"])
files = st.sampled_from(["v1.png", "v2.png", "v10.png", "v1.jpg", "l_1.png", "notes.txt", ".x.png"])
LAYOUTS = [
    None,
    None,
    None,
    "{label}/{sample}/{view}",
    "{split}/{label}/{sample}/{view}",
    "{label}/{sample}",
    "{label}/{sample}_{view}",
    "{split}/{label}/{sample}",
    "{label}/{sample}/{view_label}_{view}",
    "{label}/{split}/{sample}/{view}",
    "{label}/{sample}/{view_label}/{view}",
]


@st.composite
def trees(draw):
    """Paths of a tree: mostly of one depth, with something at odds now and then."""
    depth = draw(st.integers(0, 2))
    regular = st.tuples(tops, *[names] * depth, files)
    odd = st.one_of(
        st.tuples(files),
        st.tuples(tops, files),
        st.tuples(tops, names, names, files),
        st.tuples(tops, names, st.just("")),
        st.tuples(tops, st.just("")),
    )
    rows = draw(st.lists(regular, min_size=1, max_size=14))
    rows += draw(st.lists(odd, max_size=2)) if draw(st.booleans()) else []
    return sorted({"/".join(row) for row in rows})


@st.composite
def all_options(draw):
    """Options of a folder, most of them left out."""
    given = {
        "layout": draw(st.sampled_from(LAYOUTS)),
        "view_names": draw(st.sampled_from([None, None, ["v2", "v1"], ["l/1"], ["v1", "l"]])),
        "num_views": draw(st.sampled_from([None, None, 1, 2])),
        "view_sampling": draw(st.sampled_from(["even", "random"])),
        "on_missing_view": draw(st.sampled_from(["raise", "skip_sample", "null"])),
        "on_error": draw(st.sampled_from(["raise", "skip_sample"])),
        "class_names": draw(st.sampled_from([None, None, None, ["dog", "cat"], {"cat": "x"}])),
        "split_ratios": draw(st.sampled_from([None, None, {"train": 0.6, "test": 0.4}])),
        "image_size": draw(st.sampled_from([None, (4, 6)])),
    }
    return {name: value for name, value in given.items() if value is not None}


@some
@given(trees(), all_options())
def test_columns_hold_the_plan_of_the_builder(paths, options):
    check_same(paths, options)


@some
@given(
    st.sets(
        st.tuples(
            st.sampled_from(["cat", "dog", "b10", "b9"]),
            names,
            st.sampled_from(["v1.png", "v2.png", "v10.png"]),
        ),
        min_size=1,
    ),
    st.booleans(),
    all_options(),
)
def test_columns_hold_the_plan_of_trees_without_flaws(paths, by_split, options):
    paths = ["/".join(path) for path in paths]
    if by_split:
        paths = within("train", paths) + within("test", paths[::2])
    check_same(paths, options | {"layout": None, "on_missing_view": "null", "class_names": None})


REGULAR = within("train", WHOLE) + within("test", WHOLE)


@pytest.mark.parametrize(
    ("paths", "options"),
    [
        (["notes.txt"], {}),
        (["cat/notes.txt", "dog/", "cat/1/"], {}),
        (["a/b/c/d/e.png", "f/g/h/i/j.png"], {}),
        ([*WHOLE, "a.png"], {}),
        ([*WHOLE, "cat/1/left.jpg", "dog/2/"], {}),
        ([*WHOLE, "cat/0/", "dog/0/notes.txt"], {}),
        ([*WHOLE, "cat/0/", "dog/0/notes.txt", "empty/"], {"on_error": "skip_sample"}),
        ([*WHOLE, "cat/\udcff/a.png"], {}),
        ([*WHOLE, *REGULAR], {}),
        ([*REGULAR, "docs/readme.txt"], {}),
        ([*REGULAR, "training/cat/1/left.png"], {}),
        ([*REGULAR, "train/empty/", "validation/", "test/readme.txt"], {}),
        ([*REGULAR, "all/cat/1/left.png"], {"layout": "{split}/{label}/{sample}/{view}"}),
        (WHOLE, {"layout": "{label}/x{sample}/{view}"}),
        (WHOLE, {"class_names": ["dog"]}),
        (WHOLE, {"view_names": ["left", "top"]}),
        (WHOLE[1:-1], {"view_names": ["left", "right"]}),
        (WHOLE[1:-1], {"view_names": ["left", "right"], "on_missing_view": "skip_sample"}),
        (WHOLE, {"num_views": 3, "on_missing_view": "skip_sample"}),
        (WHOLE, {"split_ratios": {"train": 0.999, "test": 0.001}}),
        (REGULAR, {"split_ratios": {"train": 0.9, "test": 0.1}}),
    ],
)
def test_the_same_errors_and_the_same_ignored_paths(paths, options):
    expected = check_same(paths, options)
    assert isinstance(expected[0], type) or expected[2] or options, "says nothing"


def test_the_first_error_is_raised(make_tree, fails):
    tree = make_tree("a/1/x.png", "a/1/x.jpg", "b/1/x.png", "b/1/x.jpg")
    with fails("LayoutError", "a/1/x.png", "the same view 'x'", path="a/1/x.png"):
        plan_source(tree)


def test_links(make_tree):
    tree = make_tree(*WHOLE)
    os.symlink(tree, tree / "cat" / "up")
    os.symlink(tree / "cat", tree / "cow", target_is_directory=True)
    plan = plan_source(tree)
    assert planned(plan) == by_builder(tree, {})
    assert plan.ignored == {"links to a folder above themselves": ["cat/up", "cow/up"]}
    assert plan.features["label"].names == ["cat", "cow", "dog"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may list any folder")
def test_a_folder_that_may_not_be_listed(make_tree, fails):
    tree = make_tree(*WHOLE)
    (tree / "dog" / "1").chmod(0)
    with fails("LayoutError", "The folder dog/1 cannot be listed", path="dog/1"):
        plan_source(tree)
    (tree / "dog" / "1").chmod(0o700)


# --- remote folders -------------------------------------------------------------------------------


@pytest.fixture
def store(s3_address, tmp_path):
    """store(path, ...): the URL of a folder of a store with such images, and its options."""
    s3_address.log.clear()

    def make(*paths):
        for path in paths:
            is_folder = not path or path.endswith("/")  # as the web pages of stores make them
            s3_address.put(f"{tmp_path.name}/{path}", b"" if is_folder else os.fsencode(path))
        return (f"s3://{s3_server.BUCKET}/{tmp_path.name}", {"storage_options": s3_address.options})

    return make


@pytest.mark.each_value
@pytest.mark.parametrize(
    ("paths", "options"),
    [
        (WHOLE, {}),
        (REGULAR, {}),
        (REGULAR, {"num_views": 1, "split_ratios": None}),
        ([*WHOLE, "notes.txt", "cat/.x.png", ".git/a/b.png", "cat/1/x.txt", ".secret/1/1.png"], {}),
        ([*REGULAR, "train/cat/2/maps/a.png", "empty/.hidden"], {}),
        ([*WHOLE, "cow/.hidden", "cow/1/.x.png"], {}),
        ([*WHOLE, "cow/notes.txt", "cow/1/notes.txt"], {"on_error": "skip_sample"}),
        ([*WHOLE, "cow/1/notes.txt"], {}),
        ([*WHOLE, "a.png"], {}),
        ([*WHOLE, *REGULAR], {}),
        ([*WHOLE, "cat2/1/left.png", "cat/10/left.png"], {"view_names": ["left"]}),
        (["notes.txt"], {}),
        (["a.png"], {}),
        ([], {}),
        (WHOLE, {"class_names": ["dog"]}),
        (WHOLE, {"layout": "{label}/{sample}_{view}"}),
    ],
)
def test_a_store_as_columns_is_the_builder(store, paths, options):
    url, access = store(*paths)
    options = options | access
    expected = outcome(lambda: by_builder(url, options))
    plan = outcome(lambda: plan_source(url, **options))
    assert (plan if isinstance(plan, tuple) else planned(plan)) == expected
    if isinstance(plan, RowPlan):
        assert plan.has_versions
        assert plan.sources[0].path == url


@pytest.mark.parametrize("paths", [WHOLE, REGULAR])
def test_folders_that_are_empty_files_of_a_store(store, paths):
    url, options = store(*paths)
    before = by_builder(url, options)[0]
    folders = {f"{parent}/" for path in paths for parent in Path(path).parents}
    store("", *folders - {"./"}, "cow/")
    after = by_builder(url, options)
    assert after[0] == before
    assert after[2] == {"empty folders": ["cow"]}
    assert planned(plan_source(url, **options)) == after


def test_rows_of_a_store(store, s3_address, make_tree, tmp_path):
    url, options = store()
    s3_address.put_tree(make_tree(*REGULAR), tmp_path.name)
    plan = plan_source(f"{url}/", **options)
    check_rows(url, options, plan)


def test_a_build_goes_on_with_another_key_of_the_store(store):
    url, options = store(*REGULAR)
    before = build_signature(plan_source(url, **options), 1000)
    options["storage_options"] = {**options["storage_options"], "token": "of another day"}
    assert build_signature(plan_source(url, **options), 1000) == before
    assert build_signature(plan_source(url, num_views=1, **options), 1000) != before


def test_many_classes_of_a_store_are_listed_in_few_requests(store, s3_address):
    url, options = store(*(f"{label}/1/a.png" for label in range(200)))
    s3_address.log.clear()
    plan = plan_source(url, **options)
    assert [row["sample_id"] for row in plan.splits["train"].to_pylist()] == [
        f"{label}/1" for label in range(200)
    ]
    assert len(s3_address.log) < 220


def test_a_store_that_changes(store, s3_address, tmp_path, fails):
    url, options = store(*REGULAR)

    def versions():
        table = plan_source(url, **options).splits["train"]
        return dict(zip(table["sample_id"].to_pylist(), table["version"].to_pylist(), strict=True))

    plan, before = plan_source(url, **options), versions()
    check_source(plan)
    assert versions() == before
    s3_address.put(f"{tmp_path.name}/train/{WHOLE[0]}", b"x" * len(os.fsencode(WHOLE[0])))
    with fails("ArchiveError", "changed while it was read", path=url):
        check_source(plan)
    assert {name for name, version in versions().items() if version != before[name]} == {"cat/1"}
    plan = plan_source(url, **options)
    s3_address.put(f"{tmp_path.name}/notes.txt", b"at the top")
    with fails("ArchiveError", "changed while it was read", path=url):
        check_source(plan)


def test_a_store_that_may_not_be_listed(store, s3_address, fails):
    url, options = store(*WHOLE)
    s3_address.fail(403, times=1, where=url.rpartition("/")[2])
    with fails("ArchiveError", "cannot be read", path=url):
        plan_source(url, **options)
    s3_address.faults.clear()


# --- what is planned as a whole -------------------------------------------------------------------

METADATA = "sample_id,angle\ncat/1,1\ncat/2,2\ndog/1,3\ndog/2,\n"
OF_VIEWS = "sample_id,view,at,tags\n" + "".join(
    f"{c}/{s},{v},2020-01-01 00:00:00,{v}{s}\n"
    for c in ("cat", "dog")
    for s in "12"
    for v in ("left", "right")
)


@pytest.mark.parametrize("text", [METADATA, OF_VIEWS], ids=["of samples", "of views"])
def test_metadata(make_tree, text):
    tree = make_tree(*WHOLE)
    (tree / "metadata.csv").write_text(text)
    plan = plan_source(tree)
    assert planned(plan) == by_builder(tree, {})
    check_rows(tree, {}, plan)


def test_metadata_of_a_split(make_tree):
    tree = make_tree(*REGULAR)
    (tree / "test" / "metadata.csv").write_text(METADATA)
    options = {"on_missing_metadata": "null"}
    assert planned(plan_source(tree, **options)) == by_builder(tree, options)
    options = {"drop_metadata": True}
    assert planned(plan_source(tree, **options)) == by_builder(tree, options)


def test_several_image_columns(make_tree):
    tree = make_tree(*WHOLE, *(path.replace(".png", "-map.png") for path in WHOLE[1:]))
    layout = {"nbytes": "{label}/{sample}/{view}-map", "images": "{label}/{sample}/{view}"}
    options = {"layout": layout, "on_missing_view": "null"}
    plan = plan_source(tree, **options)
    assert planned(plan) == by_builder(tree, options)
    check_rows(tree, options, plan)


# --- from a plan to rows --------------------------------------------------------------------------


def check_rows(place, options, plan):
    """Its samples give the rows that a builder streams, from wherever they are sent to."""
    rows = stream_rows(MultiviewCifar(data_dir=str(place), **options))
    assert [*rows] == [*plan.splits]
    for split, table in plan.splits.items():
        sent = [
            pickle.loads(pickle.dumps((plan.config, rows_between(table, at, at + 3))))
            for at in range(0, len(table), 3)
        ]
        found = [
            row
            for config, part in sent
            for row in iter_examples(samples_of(part), source_of(split, plan.sources), config)
        ]
        assert found == [*rows[split].iterate()]
        assert rows[split].features == plan.features


@pytest.mark.parametrize("options", [{}, {"image_size": (2, 2), "encoding": "flat_png"}])
def test_rows_of_a_folder(make_tree, options):
    tree = make_tree(*REGULAR)
    check_rows(tree, options, plan_source(tree, **options))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_rows_of_an_archive(make_tree, tmp_path, kind):
    tree = make_tree(*REGULAR)
    write_archive(tmp_path / f"a.{kind}", {path: (tree / path).read_bytes() for path in REGULAR})
    check_rows(tmp_path / f"a.{kind}", {}, plan_source(str(tmp_path / f"a.{kind}")))


def test_rows_of_an_archive_a_split(make_tree, tmp_path):
    tree, given = make_tree(*WHOLE), {}
    for split in ("train", "test"):
        write_archive(tmp_path / f"{split}.zip", {p: (tree / p).read_bytes() for p in WHOLE})
        given[split] = str(tmp_path / f"{split}.zip")
    plan = plan_source(None, data_files=given)
    assert len(plan.sources) == 2
    builder = MultiviewCifar(data_files=given)
    assert planned(plan)[0] == [*builder.plan.splits.items()]
    samples = samples_of(plan.splits["test"])
    rows = iter_examples(samples, source_of("test", plan.sources), plan.config)
    assert [*rows] == [*stream_rows(builder)["test"].iterate()]


def test_rows_of_shapes():
    plan = plan_source("shapes")
    samples = samples_of(rows_between(plan.splits["test"], 4, 6))
    rows = iter_examples(samples, source_of("test", plan.sources), plan.config)
    assert [*rows] == [*stream_rows(MultiviewCifar(config_name="shapes"))["test"].iterate(4)][:2]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_rows_of_a_cifar(make_folder, name):
    options = {"data_dir": str(make_folder(name)), "num_views": 3}
    plan = plan_source(name, **options)
    rows = stream_rows(MultiviewCifar(config_name=name, **options))["test"]
    samples = samples_of(plan.splits["test"])
    assert {sample.nbytes for sample in samples} == {3 * 32 * 32 * 3}
    assert [*iter_examples(samples, source_of("test", plan.sources), plan.config)] == [
        *rows.iterate()
    ]


def test_skipped_samples(make_tree):
    tree = make_tree(*WHOLE)
    (tree / WHOLE[0]).write_bytes(b"no image")
    options = {"on_error": "skip_sample"}
    plan = plan_source(tree, **options)
    check_rows(tree, options, plan)
    rows = iter_examples(samples_of(plan.splits["train"]), plan.sources[0], plan.config)
    assert [row["sample_id"] for row in rows] == ["cat/2", "dog/1", "dog/2"]


def test_rows_are_made_without_another_look_at_the_tree(make_tree):
    tree = make_tree(*WHOLE)
    plan = plan_source(tree)
    shutil.rmtree(tree / "cat")
    samples = samples_of(rows_between(plan.splits["train"], 2, 4))
    rows = [*iter_examples(samples, plan.sources[0], plan.config)]
    assert [row["sample_id"] for row in rows] == ["dog/1", "dog/2"]


# --- what it takes --------------------------------------------------------------------------------


def listing_of(folders):
    """A listing of four images of 2,400 bytes in each folder."""
    paths = [f"{folder}/view_{view}.png" for folder in folders for view in range(4)]
    sizes, versions = array("q", [2400] * len(paths)), array("q", [1] * len(paths))
    return FileListing("/photos", [], folders, paths, sizes, versions)


def test_bytes(make_tree):
    tree = make_tree(*WHOLE)
    (plain,) = plan_source(tree).splits.values()
    assert plain["nbytes"].to_pylist() == [
        sum((tree / path).stat().st_size for path in sample.paths[0])
        for sample in samples_of(plain)
    ]
    (resized,) = plan_source(tree, image_size=(3, 5)).splits.values()
    assert resized["nbytes"].to_pylist() == [2 * 3 * 5 * 3] * 4


def test_a_file_takes_less_than_150_bytes():
    listing = listing_of([f"cat/{i:032x}" for i in range(2500)])
    plan = plan_rows(listing, MultiviewCifarConfig())
    table = table_of(plan.splits["train"], ["images"], {})
    assert table.get_total_buffer_size() / 10_000 < 150


def test_samples_are_freed_as_they_become_columns():
    listing = listing_of([f"cat/{i}" for i in range(100)])
    plan = plan_rows(listing, MultiviewCifarConfig())
    samples = plan.splits["train"]
    chunks = [samples[i : i + 10] for i in range(0, 100, 10)]
    table = split_table(chunks, ["images"], {})
    assert not chunks
    assert samples_of(table) == samples


def test_a_few_rows_are_sent_as_a_few(make_tree):
    samples = samples_of(plan_source(make_tree(*WHOLE)).splits["train"])
    table = table_of(samples * 500, ["images"], {})
    few = rows_between(table, 1000, 1003)
    assert few.equals(table.slice(1000, 3))
    assert len(pickle.dumps(few)) < 5_000 < 100_000 < len(pickle.dumps(table.slice(1000, 3)))


def test_many_small_classes_make_few_chunks(make_tree):
    tree = make_tree(*(f"{label}/1/a.png" for label in range(100)))
    (table,) = plan_source(tree).splits.values()
    assert table["paths"].num_chunks == 1
    assert [row["sample_id"] for row in table.to_pylist()] == [f"{i}/1" for i in range(100)]


def test_the_fingerprint_follows_files_and_options(make_tree):
    tree, seen = make_tree(*WHOLE), set()

    def look(**options):
        seen.add(plan_source(tree, **options).fingerprint)
        return len(seen)

    assert look() == look() == 1
    assert look(seed=1) == 2
    assert look(class_names=["cat", "dog"]) == 3
    assert look(class_names=["dog", "cat"]) == 4
    assert look(storage_options={"key": "secret"}) == 4
    (tree / WHOLE[0]).write_bytes(b"other")
    assert look() == 5
    (tree / "notes.txt").write_text("at the top")
    assert look() == 6
    (tree / "metadata.csv").write_text(METADATA)
    assert look() == 7


def test_wrong_options(make_tree, fails):
    with fails("OptionError", "There is no option 'sed'", path="sed"):
        plan_source(make_tree(*WHOLE), sed=1)
    with fails("OptionError", "on_error='x' is not right", path="on_error"):
        plan_source(make_tree(*WHOLE), on_error="x")
    with fails("LayoutError", "does not exist"):
        plan_source("nowhere")
