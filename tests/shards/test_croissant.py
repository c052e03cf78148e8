"""croissant.json: mlcroissant, the library of the standard, reads the very rows by it."""

import datetime
import hashlib
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

import datasets
import pandas
import pytest
from datasets import ClassLabel, Image, Sequence, Value
from PIL import Image as Pillow

import multiview_cifar
from array_rows import PLAIN, ROWS, image, rows_with, with_columns
from exports import rows_object
from hub_server import TOKEN
from multiview_cifar_tools import check, export, publish
from multiview_cifar_tools.shards.croissant import CORE_FIELDS, RAI_FIELDS
from multiview_cifar_tools.shards.rows import label_names
from sampling import sampled

# mlcroissant 1.1.1 uses what pandas, and rdflib itself, have deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]


def open_croissant(folder, **mapping):
    """What mlcroissant makes of a folder, after it has validated its croissant.json."""
    import mlcroissant

    return mlcroissant.Dataset(folder / "croissant.json", mapping=mapping or None)


def document(folder):
    return json.loads((folder / "croissant.json").read_bytes())


def plain(value):
    """A value of a record, or of a row, as both have it."""
    if isinstance(value, Pillow.Image):
        return value.fp.getvalue()  # all of the file, of which Pillow has read the header
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return value["bytes"]
    if isinstance(value, dict):
        return {unquote(key.rpartition("/")[2]): plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return value.encode()
    if value != value:  # NaN, which pandas, by which mlcroissant reads, takes for None
        return None
    if isinstance(value, datetime.date):
        return pandas.Timestamp(value)
    return value


def records_of(dataset):
    """The records of the samples, by the names of the columns."""
    return [
        {unquote(name.partition("/")[2]): plain(value) for name, value in record.items()}
        for record in dataset.records("samples")
    ]


def by_sample(records):
    return sorted(records, key=lambda record: (record["split"], record["sample_id"]))


def expected_records(splits, features, left_out=()):
    """What the records of these rows are."""
    named = {"label_name"} & {"label_name" for name in features if name == "label"}
    return by_sample(
        {
            **{name: plain(row[name]) for name in features if name not in left_out},
            "split": split.encode(),
            **{name: name_of_label(row, features) for name in named},
        }
        for split, rows in splits.items()
        for row in rows
    )


def name_of_label(row, features):
    return None if row["label"] is None else features["label"].names[row["label"]].encode()


def check_records(dataset, splits, features, left_out=()):
    """That mlcroissant's records are the rows, and its enumerations the names of all labels."""
    assert by_sample(records_of(dataset)) == expected_records(splits, features, left_out)
    for column, feature in features.items():
        if names := label_names(feature):
            own = f"{column}_names"
            assert [*dataset.records(own)] == [
                {f"{own}/index": i, f"{own}/name": name} for i, name in enumerate(names)
            ]
            fields = {each.name: each for each in samples_of(dataset).fields}
            assert fields[column].references.field == f"{own}/index"
    assert [record["splits/name"] for record in dataset.records("splits")] == [*splits]


def samples_of(dataset):
    (found,) = (each for each in dataset.metadata.record_sets if each.id == "samples")
    return found


# --- exported -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sampled(ROWS, 8))
def test_records_of_an_export_are_its_rows(name, tmp_path):
    features, rows = ROWS[name]
    splits = {"train": rows, "test.a": rows[:1]}
    source = {split: rows_object(own, features) for split, own in splits.items()}
    folder = tmp_path / "out"
    export(source, folder, format="parquet", max_shard_size="1")  # a shard a row
    left_out = {"price", "raw"} & set(features)  # decimals and bytes
    check_records(open_croissant(folder), splits, features, left_out)
    for column in left_out:
        assert column in document(folder)["recordSet"][-1]["description"]


def test_metadata_columns_of_every_kind(tmp_path):
    columns = {
        "kind": (ClassLabel(names=["small", "large"]), [1, None]),
        "kinds": (Sequence(ClassLabel(names=["x", "y"])), [[0, 1], []]),
        "thumb": (Image(), [image(1), None]),
        "split": (Value("string"), ["a column", None]),
        "label_name": (Value("string"), ["another", "column"]),
        "o d/d#é%20": (Value("int16"), [1, 2]),
        "grid": (Sequence(Sequence(Value("int64"))), [[[1, 2], [3]], [[], [4]]]),
        "pose": (
            {"at x": Value("float64"), "by": Value("string")},
            [{"at x": 1.5, "by": "rig"}] * 2,
        ),
        "parts": ([{"size": Value("int32")}], [[{"size": 1}, {"size": 2}], []]),
        "sure": (Value("bool"), [True, None]),
        "day": (Value("date32"), [datetime.date(2026, 1, 2), None]),
        "hour": (Value("time64[us]"), [datetime.time(5, 6, 7), None]),
        "nothing": (Value("null"), [None, None]),
        "deep": ({"in": {"it": Value("int64")}}, [{"in": {"it": 1}}] * 2),
    }
    features = datasets.Features(PLAIN | {name: kind for name, (kind, _) in columns.items()})
    rows = with_columns(rows_with([1, 2]), **{name: own for name, (_, own) in columns.items()})
    export({"train": rows_object(rows, features)}, tmp_path / "out", format="parquet")
    dataset = open_croissant(tmp_path / "out")
    assert dataset.metadata.record_sets[-1].description == (
        "A record a sample. Columns that are not described: deep."
    )
    found = records_of(dataset)
    # Beside columns of these names the further fields have others.
    assert [record.pop("split_") for record in found] == [b"train"] * 2
    assert [record.pop("label_name_") for record in found] == [b"cat", b"dog"]
    expected = [{name: plain(row[name]) for name in features if name != "deep"} for row in rows]
    assert found == expected


def test_labels_of_views_alone_have_names(tmp_path):
    features, rows = ROWS["views without names"]
    rows = [{name: value for name, value in row.items() if name != "label"} for row in rows]
    features = datasets.Features({name: features[name] for name in features if name != "label"})
    export({"train": rows_object(rows, features)}, tmp_path / "out", format="parquet")
    check_records(open_croissant(tmp_path / "out"), {"train": rows}, features)


def test_what_is_exported_is_there_by_its_digest(tmp_path):
    export(rows_object(ROWS["equal"][1], PLAIN), tmp_path / "out", format="parquet")
    manifest = (tmp_path / "out/multiview_cifar.json").read_bytes()
    (entry, files) = document(tmp_path / "out")["distribution"]
    assert entry["contentUrl"] == "multiview_cifar.json"
    assert entry["sha256"] == hashlib.sha256(manifest).hexdigest()
    assert entry["contentSize"] == f"{len(manifest)} B"
    assert files["includes"] == "*.parquet"
    again = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert len(again["train"]) == 3  # the two .json beside the Parquet file are not taken for rows


# --- published ------------------------------------------------------------------------------------

TREES = {
    "missing views": (
        ["train/cat/1/a.png", "train/cat/2/b.png", "val/dog/1/b.png"],
        {"view_names": ["b", "a"], "on_missing_view": "null"},
    ),
    "two columns": (
        ["cat/1/a.png", "cat/1/maps/a-map.png", "dog/1/a.webp", "dog/1/maps/a-map.png"],
        {
            "layout": {
                "images": "{label}/{sample}/{view}",
                "masks": "{label}/{sample}/maps/{view}-map",
            }
        },
    ),
    "view labels": (
        ["left/cat/1/a.png", "right/cat/1/a.png"],
        {"layout": "{view_label}/{label}/{sample}/{view}"},
    ),
    "one image a sample": (["cat/1.png", "cat/2.png", "dog/3.png"], {"layout": "{label}/{sample}"}),
    "no labels": (["1/a.png", "1/b.png", "2/a.png"], {"layout": "{sample}/{view}"}),
}


def dry_run(tree, folder, **options):
    publish(tree, "me/photos", dry_run=folder, **options)
    return folder


@pytest.mark.parametrize("name", TREES)
def test_records_of_a_publication_are_the_rows_of_the_folder(name, make_tree, tmp_path):
    paths, options = TREES[name]
    tree = make_tree(*paths)
    folder = dry_run(tree, tmp_path / "files", **options)
    splits = multiview_cifar.load_dataset(
        data_dir=str(tree), cache_dir=str(tmp_path / "cache"), **options
    )
    features = next(iter(splits.values())).features
    rows = {split: split_rows(ds) for split, ds in splits.items()}
    check_records(open_croissant(folder, repo=folder), rows, features)


def split_rows(ds):
    raw = Sequence(Image(decode=False))
    for name, feature in ds.features.items():
        if isinstance(getattr(feature, "feature", None), Image):
            ds = ds.cast_column(name, raw)
    return list(ds)


def test_it_has_one_size_and_no_place_of_this_machine(make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(9)), "dog/1/a.png")
    first = dry_run(tree, tmp_path / "one", max_shard_size="1GB") / "croissant.json"
    second = dry_run(tree, tmp_path / "ten", max_shard_size="1") / "croissant.json"
    assert len([*(tmp_path / "ten/data").iterdir()]) == 10
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path) not in first.read_text()
    (repository, files) = document(tmp_path / "one")["distribution"]
    assert repository["contentUrl"].endswith("/datasets/me/photos")
    assert files["containedIn"] == {"@id": repository["@id"]}


def test_a_branch_is_where_the_files_are(make_tree, tmp_path):
    publish(make_tree("cat/1/a.png"), "me/photos", revision="v/2", dry_run=tmp_path / "files")
    address = document(tmp_path / "files")["distribution"][0]["contentUrl"]
    assert address.endswith("/datasets/me/photos/tree/refs%2Fheads%2Fv%2F2")


# --- the author's fields --------------------------------------------------------------------------

MINE = {
    "description": "Photos of pets.",
    "license": "https://creativecommons.org/licenses/by/4.0/",
    "citeAs": "@misc{pets}",
    "rai:dataBiases": ["Cats éverywhere."],
    "rai:hasSyntheticData": False,
    "prov:wasDerivedFrom": [{"@id": "https://example.org/pets"}],
    "isLiveDataset": False,
    "@context": {"mine": "https://example.org/terms#"},
    "mine:colour": "red",
}


def test_nothing_is_made_up(make_tree, tmp_path):
    found = document(dry_run(make_tree("cat/1/a.png"), tmp_path / "files"))
    structure = {"@context", "@type", "conformsTo", "distribution", "recordSet"}
    assert found.keys() - structure == {"name", "description", "url"}
    assert found["conformsTo"] == ["http://mlcommons.org/croissant/1.1"]


def test_the_author_wins(make_tree, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(MINE))
    tree = make_tree("cat/1/a.png")
    folder = dry_run(tree, tmp_path / "files", croissant=tmp_path / "mine.json", license="mit")
    found = document(folder)
    assert found["@context"].pop("mine") == "https://example.org/terms#"
    assert {name: found[name] for name in MINE if name != "@context"} == {
        name: value for name, value in MINE.items() if name != "@context"
    }
    assert "http://mlcommons.org/croissant/RAI/1.0" in found["conformsTo"]
    metadata = open_croissant(folder, repo=folder).metadata
    assert (metadata.data_biases, metadata.cite_as) == (["Cats éverywhere."], "@misc{pets}")


def test_the_card_is_the_authors_too(make_tree, tmp_path):
    tree, bibtex = make_tree("cat/1/a.png"), "@misc{pets, title={Pets}}"
    (tmp_path / "paper.bib").write_text(bibtex)
    told = {"license": "mit", "citation": tmp_path / "paper.bib"}
    found = document(dry_run(tree, tmp_path / "files", **told))
    assert (found["license"], found["citeAs"]) == ("mit", bibtex)
    (tmp_path / "files/README.md").write_text("---\nlicense: other\n---\n")
    (tmp_path / "files/croissant.json").write_text('{"rai:dataBiases": "none", "recordSet": []}')
    found = document(dry_run(tree, tmp_path / "files"))
    assert not found.keys() & {"license", "citeAs"}
    assert (found["rai:dataBiases"], len(found["recordSet"])) == ("none", 3)


def test_an_export_takes_more_from_its_author_later(tmp_path, run):
    export(rows_object(ROWS["equal"][1], PLAIN), tmp_path / "rows", format="parquet")
    (tmp_path / "mine.json").write_text('{"rai:dataBiases": "none known"}')
    arguments = ["export", "rows", "out", "--format", "parquet"]
    run(*arguments)
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    run(*arguments, "--croissant", "mine.json")
    assert document(tmp_path / "out")["rai:dataBiases"] == "none known"
    run(*arguments)
    assert document(tmp_path / "out")["rai:dataBiases"] == "none known"  # it stays
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


WRONG = {
    "a list": (b'["rai:dataBiases"]', "['rai:dataBiases']"),
    "no JSON": (b"{rai:", "Expecting property name"),
    "no number": (b'{"rai:x": NaN}', "NaN is not JSON"),
    "no text": (b'{"a": "\xff"}', "utf-8"),
    "nested": (b"[" * 100_000, "too deeply"),
    "no object in it": (b'{"@context": "https://schema.org"}', "@context"),
    "its own files": (b'{"distribution": [], "rai:dataBiases": "x"}', "has distribution"),
    "records, too": (b'{"cr:recordSet": [], "conformsTo": "x"}', "has cr:recordSet, conformsTo"),
    "a folder": (None, "folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_part_of_a_croissant_is_refused_before_anything_is_made(
    name, make_tree, tmp_path, fails
):
    data, says = WRONG[name]
    file = tmp_path / "mine.json"
    file.mkdir() if data is None else file.write_bytes(data)
    tree = make_tree("cat/1/a.png")
    with fails("OptionError", says, str(file), path="croissant"):
        publish(tree, "me/photos", dry_run=tmp_path / "files", croissant=file)
    rows = rows_object(ROWS["equal"][1], PLAIN)
    with fails("OptionError", says, str(file), path="croissant"):
        export(rows, tmp_path / "files", format="parquet", croissant=file)
    assert not (tmp_path / "files").exists()


def test_other_arguments_that_are_no_croissant(make_tree, tmp_path, fails, run):
    tree = make_tree("cat/1/a.png")
    for given, says in ((7, "a path"), ({"when": datetime.date(2026, 1, 2)}, "date")):
        with fails("OptionError", says):
            publish(tree, "me/photos", dry_run=tmp_path / "files", croissant=given)
    rows = rows_object(ROWS["equal"][1], PLAIN)
    with fails("OptionError", "'webdataset' gets no croissant.json", "'parquet'"):
        export(rows, tmp_path / "out", format="webdataset", croissant={})
    arguments = ("--croissant", "not there.json")
    ended = run("export", "photos", "out", *arguments)
    assert (ended.returncode, "'folder' gets no croissant.json" in ended.stderr) == (2, True)
    ended = run("publish", "photos", "me/photos", *arguments)
    assert (ended.returncode, "not there.json cannot be read" in ended.stderr) == (2, True)


# --- published again ------------------------------------------------------------------------------


def publish_often(calls, folder):
    """Publish a tree with arguments, and each next one; what was returned or raised, and the
    croissant.json that stands there then.
    """
    import contextlib

    from huggingface_hub import hf_hub_download

    import multiview_cifar
    from multiview_cifar_tools.publishing.publish import publish

    found = []
    for i, (tree, arguments) in enumerate(calls):
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                where = publish(tree, "me/photos", **arguments)
            except multiview_cifar.MultiviewError as error:
                return f"{type(error).__name__}: {error}"
            path = hf_hub_download(
                "me/photos", "croissant.json", repo_type="dataset", local_dir=f"{folder}/{i}"
            )
        with open(path, encoding="utf-8") as file:
            found.append((where, file.read()))
    return found


def test_a_new_version_is_written_anew_and_keeps_what_its_author_said(hub, make_tree, tmp_path):
    less = str(make_tree("train/cat/1/a.png", under="less"))
    more = str(make_tree("train/cat/1/a.png", "test/cat/2/a.png", under="more"))
    said = {"rai:dataBiases": "none known", "license": "of mine", "description": "Cats."}
    calls = [(less, {"croissant": said}), (more, {}), (more, {"license": "mit"}), (more, {})]
    found = hub.run(publish_often, calls, str(tmp_path), token=TOKEN)
    first, second, third, fourth = (json.loads(text) for _, text in found)
    assert said.items() <= first.items()
    assert said.items() <= second.items()
    assert [each["splits/name"] for each in second["recordSet"][0]["data"]] == ["train", "test"]
    assert third == fourth == second | {"license": "mit"}
    assert [where.rpartition("/")[2] for where, _ in found][-1] == "photos"  # nothing to publish
    for path, data in hub.files("me/photos").items():
        file = tmp_path / "clone" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    dataset = open_croissant(tmp_path / "clone", repo=tmp_path / "clone")
    assert [each["sample_id"] for each in by_sample(records_of(dataset))] == [b"cat/2", b"cat/1"]


def test_a_damaged_one_on_the_hub_is_no_prey(hub, make_tree, tmp_path):
    hub.create("me/photos")
    hub.write("me/photos", {"croissant.json": b"{"})
    before = hub.files("me/photos")
    calls = [(str(make_tree("cat/1/a.png")), {})]
    where = hub.run(publish_often, calls, str(tmp_path), token=TOKEN)
    assert where.startswith("PublishError: croissant.json cannot be read")
    assert "remove it first" in where
    assert hub.files("me/photos") == before
    assert not hub.lfs_bytes


# --- checked --------------------------------------------------------------------------------------


def test_check_says_which_fields_are_empty(make_tree, tmp_path, run):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    dry_run(tree, tmp_path / "files", croissant={"rai:dataBiases": " ", "creator": {"name": ""}})
    ended = run("check", "files")
    assert ended.returncode == 0
    for text in ("2 samples", "images are not opened", *RAI_FIELDS, *CORE_FIELDS):
        assert text in ended.stdout
    filled = dict.fromkeys((*RAI_FIELDS, *CORE_FIELDS), "said") | {"rai:hasSyntheticData": False}
    dry_run(tree, tmp_path / "all", croissant=filled)
    ended = run("check", "all")
    assert (ended.returncode, "nothing wrong" in ended.stdout) == (0, True)
    report = check(dry_run(tree, tmp_path / "few", croissant={**filled, "license": None}))
    assert report.good
    (finding,) = report.to_dict()["problems"]
    assert (finding["kind"], finding["severity"]) == ("empty-field", "note")
    assert (finding["path"], finding["found"]) == ("croissant.json", "about the dataset: license")
    assert "license" in report.to_html()


def test_check_of_what_build_left(make_tree, run, tmp_path, fails):
    make_tree("cat/1/a.png", "dog/1/a.png")
    run("build", "photos", "--output", "shards")
    ended = run("check", "shards", "--json")
    assert ended.returncode == 0
    found = [each["found"] for each in json.loads(ended.stdout)["problems"]]
    assert found[0] == "there is no croissant.json"
    assert all(name in found[1] for name in RAI_FIELDS)
    with fails("OptionError", "layout is given", "Parquet"):
        check(tmp_path / "shards", layout="{label}/{sample}")
    (tmp_path / "shards/croissant.json").write_text("[]")
    with fails("CheckError", "croissant.json cannot be read"):
        check(tmp_path / "shards")


# --- docs/publishing.md ---------------------------------------------------------------------------


def test_the_page(make_tree, tmp_path, run):
    page = (Path(__file__).parents[2] / "docs/publishing.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Croissant\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S))
    assert {*json.loads(blocks["json"])} == {*CORE_FIELDS, *RAI_FIELDS}
    (tmp_path / "fields.json").write_text(blocks["json"])
    tree = make_tree("train/cat/1/a.png", "test/dog/1/b.png")
    dry_run(tree, tmp_path / "files", croissant=tmp_path / "fields.json")
    assert "nothing wrong" in run(*blocks["bash"].split()[1:]).stdout
    names = {}
    exec(blocks["python"], names)
    assert (names["name"], len(names["images"])) == ("cat", 1)
