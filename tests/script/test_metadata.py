"""metadata.csv, .jsonl and .parquet: their columns stand in the rows, with the right types, beside
the right sample or view; and what does not fit is named.
"""

import csv
import datetime
import decimal
import io
import json
import math
import subprocess
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import multiview_cifar
from commands import ENVIRONMENT
from plans import within
from sampling import examples

TREE = ["cat/1/a.png", "cat/1/b.png", "cat/2/a.png", "dog/1/a.png"]
MASKS = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/m/{view}"}
TOP = "metadata.csv"
NESTED = '{"sample_id": "cat/1", "x": ' + "[" * 200_000 + "]" * 200_000 + "}\n"
SPLITS = ["train/cat/1/a.png", "train/cat/2/a.png", "test/cat/1/a.png"]


@pytest.fixture
def photos(make_tree):
    """photos(TREE, **{TOP: "..."}): the tree with these files, text or bytes."""

    def make(paths, **files):
        tree = make_tree(*paths)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (tree / name).write_bytes(data)
        return tree

    return make


@pytest.fixture
def write_metadata():
    """write_metadata(tree, "sample,label...", "metadata.csv"): the only file of its kind there."""

    def write(tree, text, name=TOP):
        for kind in multiview_cifar.METADATA_FILES:
            (tree / kind).unlink(missing_ok=True)
        (tree / name).write_text(text)

    return write


def parquet(**columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def column(ds, name):
    return {row["sample_id"]: row[name] for row in ds}


# --- where it stands, and how it is joined --------------------------------------------------------

ANGLES = {"cat/1": 90, "cat/2": None, "dog/1": 7}
KINDS = {
    TOP: "sample_id,angle\ndog/1,7\ncat/1,90\ncat/2,\n",
    "metadata.jsonl": '{"angle": 7, "sample_id": "dog/1"}\n{"angle": 90, "sample_id": "cat/1"}\n'
    '\n{"sample_id": "cat/2"}\n',
    "metadata.parquet": parquet(sample_id=["dog/1", "cat/1", "cat/2"], angle=[7, 90, None]),
}


@pytest.mark.every_route
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_file(load, photos, shown, caplog, name):
    ds = load(photos(TREE, **{name: KINDS[name]}))
    assert column(ds, "angle") == ANGLES
    assert ds.features["angle"] == datasets.Value("int64")
    assert list(ds.features)[-1] == "angle"
    assert shown(ds)[0] == ("cat/1", "cat/1/a.png", "cat/1/b.png")
    assert name not in caplog.text


@pytest.mark.parametrize("name", KINDS)
def test_drop_metadata(load, photos, caplog, name):
    ds = load(photos(TREE, **{name: KINDS[name]}), drop_metadata=True)
    assert list(ds.features) == ["images", "label", "sample_id", "view_names"]
    assert name in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "label,sample,x\ncat,1,one\ncat,2,two\ndog,1,three\n",
        "sample_id,x\ncat/1,one\ncat/2,two\ndog/1,three\n",
    ],
)
def test_each_key(load, photos, content):
    ds = load(photos(TREE, **{TOP: content}))
    assert column(ds, "x") == {"cat/1": "one", "cat/2": "two", "dog/1": "three"}


def test_keys_are_text(load, photos):
    tree = photos(
        ["7/0001/a.png", "7/01/a.png"], **{TOP: "label,sample,view,x\n7,0001,a,1\n7,01,a,2\n"}
    )
    assert column(load(tree), "x") == {"7/0001": [1], "7/01": [2]}


def test_numbers_of_a_parquet_may_be_keys(quick, photos):
    table = parquet(label=["cat", "cat", "dog"], sample=[1, 2, 1], x=[True, False, None])
    ds = quick(photos(TREE, **{"metadata.parquet": table}))
    assert column(ds, "x") == {"cat/1": True, "cat/2": False, "dog/1": None}


def test_text_of_a_parquet_that_is_no_utf_8(quick, photos, fails):
    names = pa.array([b"\xff\xfe", b"b"]).view(pa.string())
    table = parquet(sample_id=["cat/1", "cat/2"], x=names)
    with fails("LayoutError", "metadata.parquet"):
        quick(photos(["cat/1/a.png", "cat/2/a.png"], **{"metadata.parquet": table}))


def test_a_column_whose_name_arrow_cuts_off(quick, photos, fails):
    with fails("LayoutError", "metadata.csv", "a column called '\\x00n'"):
        quick(photos(["cat/1/a.png"], **{"metadata.csv": "sample_id,\0n\ncat/1,2\n"}))


def test_an_error_of_arrow_is_one_line(quick, photos, fails):
    with fails("LayoutError", "metadata.parquet cannot be read (") as caught:
        quick(photos(["cat/1/a.png"], **{"metadata.parquet": b"PAR1" + bytes(40) + b"PAR1"}))
    assert "\n" not in str(caught.value)


def test_keys_are_class_folders_not_renamed_classes(load, photos):
    tree = photos(TREE, **KINDS)
    for name in ("metadata.jsonl", "metadata.parquet"):
        (tree / name).unlink()
    ds = load(tree, class_names={"dog": "rex", "cat": "tom"})
    assert column(ds, "angle") == ANGLES
    assert ds.features["label"].names == ["rex", "tom"]


def test_a_split_column_at_the_top(load, photos):
    tree = photos(
        SPLITS, **{TOP: "split,sample_id,x\ntesting,cat/1,3\ntrain,cat/1,1\ntraining,cat/2,2\n"}
    )
    splits = load(tree, split=None)
    assert [row["x"] for split in ("train", "test") for row in splits[split]] == [1, 2, 3]
    assert "split" not in splits["train"].features


def test_no_split_column_where_each_sample_stands_in_one_split(load, photos):
    tree = photos(
        ["train/cat/1/a.png", "test/cat/2/a.png"], **{TOP: "sample_id,x\ncat/2,2\ncat/1,1\n"}
    )
    assert column(load(tree, split="test"), "x") == {"cat/2": 2}


def test_a_file_in_each_split(load, photos):
    tree = photos(
        SPLITS,
        **{
            "train/metadata.csv": "sample_id,x,y\ncat/1,1,a\ncat/2,2,b\n",
            "test/metadata.jsonl": '{"y": "c", "x": 0.5, "sample_id": "cat/1"}\n',
        },
    )
    splits = load(tree, split=None)
    assert column(splits["train"], "x") == {"cat/1": 1.0, "cat/2": 2.0}
    assert [row["x"] for row in splits["test"]] == [0.5]
    assert {ds.features["x"].dtype for ds in splits.values()} == {"float64"}


def test_split_is_an_ordinary_column_without_split_folders(load, photos):
    tree = photos(TREE, **{TOP: "sample_id,split\ncat/1,a\ncat/2,b\ndog/1,a\n"})
    assert column(load(tree), "split") == {"cat/1": "a", "cat/2": "b", "dog/1": "a"}


def test_split_ratios(load, photos):
    tree = photos(
        [f"cat/{i}/a.png" for i in range(20)],
        **{TOP: "label,sample,x\n" + "".join(f"cat,{i},{i}\n" for i in range(20))},
    )
    splits = load(tree, split=None, split_ratios={"train": 0.5, "test": 0.5})
    found = [(row["sample_id"], row["x"]) for ds in splits.values() for row in ds]
    assert sorted(found) == sorted((f"cat/{i}", i) for i in range(20))


@pytest.mark.parametrize("path", ["cat/metadata.csv", "cat/1/metadata.csv"])
def test_elsewhere_it_is_a_file_like_any_other(load, photos, caplog, path):
    ds = load(photos(TREE, **{path: "sample_id,angle\n"}))
    assert "angle" not in ds.features
    assert path in caplog.text


def test_a_split_folder_further_down_holds_no_metadata(quick, photos, caplog):
    tree = photos(["x/train/cat/1/a.png"], **{"x/metadata.csv": "a", "x/train/metadata.csv": "a"})
    list(quick(tree, layout="x/{split}/{label}/{sample}/{view}"))
    assert "x/train/metadata.csv" in caplog.text


# --- values of views ------------------------------------------------------------------------------

POSES = "sample_id,view,angle,name\n" + "".join(
    f"{path[:5]},{path[6]},{i},{path}\n" for i, path in reversed([*enumerate(TREE)])
)


def test_values_of_views_are_aligned_with_images(load, photos, shown):
    ds = load(photos(TREE, **{TOP: POSES}))
    assert column(ds, "angle") == {"cat/1": [0, 1], "cat/2": [2], "dog/1": [3]}
    assert ds.features["angle"] == datasets.Sequence(datasets.Value("int64"))
    assert [(row["sample_id"], *row["name"]) for row in ds] == shown(ds)


@pytest.mark.parametrize(
    "options",
    [
        {"view_names": ["b", "a"], "on_missing_view": "null"},
        {"view_names": ["a"]},
        {"view_names": ["b"], "on_missing_view": "skip_sample"},
        {"num_views": 2, "on_missing_view": "null"},
        {"num_views": 2, "on_missing_view": "skip_sample"},
        {"num_views": 1, "view_sampling": "random", "seed": 3},
    ],
)
def test_values_follow_the_views_that_options_keep(load, photos, shown, options):
    ds = load(photos(TREE, **{TOP: POSES}), **options)
    assert [(row["sample_id"], *row["name"]) for row in ds] == shown(ds)


@pytest.mark.parametrize("on_missing_view", ["raise", "null"])
def test_values_follow_where_an_image_is_skipped(load, photos, shown, on_missing_view):
    tree = photos(TREE, **{TOP: POSES, "cat/1/a.png": b"no image"})
    row = next(iter(load(tree, on_error="skip_view", on_missing_view=on_missing_view)))
    names = {"raise": ["cat/1/b.png"], "null": ["cat/1/a.png", "cat/1/b.png"]}[on_missing_view]
    assert row["name"] == names
    assert len(row["images"]) == len(row["angle"]) == len(row["view_names"]) == len(names)


def test_view_labels(load, photos, shown):
    paths = ["cat/1/top/a.png", "cat/1/top/b.png", "cat/1/low/a.png", "cat/2/low/a.png"]
    rows = "".join(f"{p[:5]},{p[6:9]},{p[10]},{p}\n" for p in paths)
    tree = photos(paths, **{TOP: f"sample_id,view_label,view,name\n{rows}"})
    options = {"num_views": 3, "on_missing_view": "null"}
    ds = load(tree, layout="{label}/{sample}/{view_label}/{view}", **options)
    assert [(row["sample_id"], *row["name"]) for row in ds] == shown(ds)


def test_a_second_image_column_has_no_rows_of_its_own(load, photos):
    tree = photos(["cat/1/a.png", "cat/1/m/a.png"], **{TOP: "sample_id,view,x\ncat/1,a,5"})
    ds = load(tree, layout=MASKS)
    assert column(ds, "x") == {"cat/1": [5]}
    assert list(ds.features)[-2:] == ["masks", "x"]


def test_a_layout_without_views(quick, photos):
    tree = photos(["cat/1.png"], **{TOP: "label,sample,view,x\ncat,1,0,5"})
    assert column(quick(tree, layout="{label}/{sample}"), "x") == {"cat/1": [5]}


# --- types ----------------------------------------------------------------------------------------

NOON = datetime.datetime(2020, 1, 2, 12, 0, 0)
BERLIN = pa.timestamp("s", "Europe/Berlin")
VALUES = [
    ("null", pa.null(), [None, None]),
    ("bool", pa.bool_(), [True, None]),
    ("int8", pa.int8(), [-5, None]),
    ("int64", pa.uint64(), [5, None]),
    ("float16", pa.float16(), [0.5, None]),
    ("float32", pa.float32(), [0.5, None]),
    ("float64", pa.float64(), [0.1, math.inf]),
    ("string", pa.string(), ["", "ä\n,"]),
    ("string", pa.dictionary(pa.int8(), pa.string()), ["a", None]),
    ("string", pa.string_view(), ["a", None]),
    ("large_string", pa.large_string(), ["a", None]),
    ("binary", pa.binary(), [b"\xff", None]),
    ("date32", pa.date32(), [NOON.date(), None]),
    ("date32", pa.date64(), [NOON.date(), None]),
    ("timestamp[us]", pa.timestamp("s"), [NOON, None]),
    ("timestamp[us]", pa.timestamp("ns"), [NOON, None]),
    ("timestamp[us, tz=Europe/Berlin]", BERLIN, pa.array([NOON, None], BERLIN).to_pylist()),
    ("time64[us]", pa.time64("ns"), [NOON.time(), None]),
    ("time64[us]", pa.time32("s"), [NOON.time(), None]),
    ("duration[us]", pa.duration("ns"), [datetime.timedelta(seconds=1), None]),
    ("decimal128(5, 2)", pa.decimal128(5, 2), [decimal.Decimal("1.50"), None]),
    (None, pa.list_(pa.int32()), [[1, 2], None]),
    (None, pa.list_(pa.float32(), 2), [[1.0, 2.0], [3.0, 4.0]]),
    (None, pa.list_(pa.list_(pa.float64())), [[[1.0], []], []]),
    (None, pa.large_list(pa.timestamp("ns")), [[NOON], None]),
    (None, pa.list_(pa.null()), [[], None]),
    (None, pa.struct({"b": pa.int64(), "a": pa.list_(pa.string())}), [{"b": 1, "a": ["x"]}, None]),
    (None, pa.list_(pa.struct({"b": pa.int64(), "a": pa.string()})), [[{"b": 1, "a": "x"}], []]),
]


@pytest.mark.each_value
@pytest.mark.parametrize("by_view", [False, True])
@pytest.mark.parametrize(("dtype", "kind", "values"), VALUES, ids=lambda v: str(v)[:40])
def test_types(load, photos, dtype, kind, values, by_view):
    table = {"sample_id": ["cat/1", "cat/2"], "x": pa.array(values, kind)}
    table |= {"view": ["a", "a"]} if by_view else {}
    ds = load(photos(["cat/1/a.png", "cat/2/a.png"], **{"metadata.parquet": parquet(**table)}))
    found = [row["x"] for row in ds]
    assert found == ([[value] for value in values] if by_view else values)
    feature = ds.features["x"].feature if by_view and dtype else ds.features["x"]
    assert dtype in (None, getattr(feature, "dtype", None))


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        ("1 -2", "int64", [1, -2]),
        ("1 2.5", "float64", [1.0, 2.5]),
        ("1 ", "int64", [1, None]),
        ("true False", "bool", [True, False]),
        ("a ", "string", ["a", None]),
        ("NA x", "string", ["NA", "x"]),
        ("2020-01-02 2020-01-03", "date32", [datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)]),
        ("2020-01-02T12:00:00 2020-01-02T12:00:00", "timestamp[us]", [NOON, NOON]),
        (" ", "null", [None, None]),
    ],
)
def test_types_of_a_csv(load, photos, cells, dtype, values):
    rows = "\n".join(
        f"{key},{cell}" for key, cell in zip(["cat/1", "cat/2"], cells.split(" "), strict=True)
    )
    paths = ["cat/1/a.png", "cat/2/a.png"]
    ds = load(photos(paths, **{TOP: f"sample_id,x\n{rows}\n"}))
    assert [row["x"] for row in ds] == values
    assert ds.features["x"].dtype == dtype


@pytest.mark.parametrize("name", [TOP, "metadata.jsonl"])
def test_a_type_is_that_of_all_rows(quick, photos, name):
    """Also where a first block of many rows would tell another one."""
    n = 120_000
    lines = {
        TOP: ["cat,%d,%s\n", "label,sample,x\n"],
        "metadata.jsonl": ['{"label": "cat", "sample": "%d", "x": %s}\n', ""],
    }
    line, head = lines[name]
    content = head + "".join(line % (i, i) for i in range(n)) + line % (n, "0.5")
    tree = photos([f"cat/{n}/a.png"], **{name: content})
    ds = quick(tree, on_missing_metadata="null")
    assert [row["x"] for row in ds] == [0.5]


def test_formats(build, photos):
    tree = photos(TREE[:3], **{TOP: POSES.replace("dog/1,a,3,dog/1/a.png\n", "")})
    ds = build(tree).select_columns(["angle", "sample_id"])
    assert ds.with_format("numpy")[0]["angle"].tolist() == [0, 1]
    torch = pytest.importorskip("torch")
    assert torch.equal(ds.with_format("torch")[0]["angle"], torch.tensor([0, 1]))


@pytest.mark.parametrize(("dtype", "kind", "values"), VALUES, ids=lambda v: str(v)[:40])
def test_types_survive_parquet(build, photos, tmp_path, dtype, kind, values):
    columns = {"x": pa.array(values, kind)}
    columns["y"] = pa.ListArray.from_arrays([0, 1, 2], columns["x"])
    table = parquet(sample_id=["cat/1", "cat/2"], view=["a", "a"], **columns)
    ds = build(photos(["cat/1/a.png", "cat/2/a.png"], **{"metadata.parquet": table}))
    ds.to_parquet(tmp_path / "0.parquet")
    again = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "0.parquet"),
        split="train",
        cache_dir=str(tmp_path / "again"),
    )
    assert again.features == ds.features
    assert again["x"][:] == ds["x"][:] == [[value] for value in values]
    assert again["y"][:] == ds["y"][:] == [[[value]] for value in values]


# --- built again, by several processes ------------------------------------------------------------


@pytest.mark.every_route
def test_two_processes(build, photos):
    tree = photos(TREE, **{TOP: POSES})
    one, two = build(tree), build(tree, num_proc=2, cache_dir=str(tree.parent / "two"))
    assert one.features == two.features
    for name in ("sample_id", "angle", "name"):
        assert one[name][:] == two[name][:]


def test_a_change_of_the_file_gives_fresh_rows(build, photos):
    tree = photos(TREE, **{TOP: KINDS[TOP]})
    build(tree)
    (tree / TOP).write_text(KINDS[TOP].replace("90", "91"))
    assert column(build(tree), "angle")["cat/1"] == 91
    assert "angle" not in build(tree, drop_metadata=True).features
    assert "angle" in build(tree).features


def test_an_open_cache_needs_no_look_into_the_file(photos, tmp_path):
    tree = photos(TREE, **{TOP: KINDS[TOP]})
    code = (
        "import sys, multiview_cifar as m\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and seen.append(str(args[0])))\n"
        f"m.load_dataset(data_dir={str(tree)!r}, cache_dir={str(tmp_path / 'cache')!r})\n"
        "print(any(path.endswith('metadata.csv') for path in seen))"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        ).stdout.split()
        for _ in range(2)
    ]
    assert done == [["True"], ["False"]]


# --- what does not fit ----------------------------------------------------------------------------


def test_without_each_other(load, photos, fails):
    tree = photos(TREE, **{TOP: "sample_id,x\ncat/1,1\ncat/0002,2\ndog/1,3\nelk/1,1\n"})
    with fails(
        "LayoutError",
        TOP,
        "1 sample (cat/2)",
        "2 rows",
        "(cat/0002, elk/1)",
        'on_missing_metadata="null"',
        "drop_metadata=True",
        path=TOP,
    ):
        list(load(tree))


def test_without_each_other_as_null(load, photos, caplog):
    tree = photos(TREE, **{TOP: "sample_id,x\ncat/1,1\ncat/0002,2\n"})
    ds = load(tree, on_missing_metadata="null")
    assert column(ds, "x") == {"cat/1": 1, "cat/2": None, "dog/1": None}
    assert "rows of metadata for no sample (1): cat/0002" in caplog.text


def test_views_without_each_other(load, photos, fails):
    tree = photos(TREE, **{TOP: POSES.replace("cat/1,b", "cat/1,c")})
    with fails("LayoutError", "1 view (cat/1/b)", "1 row for no view (cat/1/c)"):
        list(load(tree))


def test_views_without_each_other_as_null(load, photos, caplog):
    tree = photos(TREE, **{TOP: POSES.replace("cat/1,b", "cat/1,c")})
    ds = load(tree, on_missing_metadata="null")
    assert column(ds, "angle") == {"cat/1": [0, None], "cat/2": [2], "dog/1": [3]}
    assert "rows of metadata for no view (1): cat/1/c" in caplog.text


def test_a_sample_that_is_skipped_may_have_metadata(load, photos):
    ds = load(photos(TREE, **{TOP: POSES}), view_names=["a", "b"], on_missing_view="skip_sample")
    assert column(ds, "angle") == {"cat/1": [0, 1]}


WRONG = [
    (TOP, "sample_id,x\ncat/1,1\ncat/1,2\n", ["cat/1 twice", 'column "view"']),
    (TOP, "sample_id,view,x\ncat/1,a,1\ncat/1,a,2\n", ["cat/1/a twice"]),
    (TOP, "sample_id,images\ncat/1,1\n", ["'images'", "taken", "rename"]),
    (TOP, "sample_id,label\ncat/1,1\n", ["'label'", "taken"]),
    (TOP, "sample_id,view_names\ncat/1,1\n", ["'view_names'", "taken"]),
    (TOP, "sample_id,view_labels\ncat/1,1\n", ["'view_labels'", "taken"]),
    (TOP, ",sample_id\n0,cat/1\n", ["''", "taken"]),
    (TOP, "sample_id,x,x\ncat/1,1,2\n", ["two columns of one name", "'x'"]),
    (TOP, "angle,x\n1,1\n", ["no column 'label'", "'angle', 'x'", '"sample_id"']),
    (TOP, "label,x\ncat,1\n", ["no column 'sample'", '"label"']),
    (TOP, "sample_id;angle\ncat/1;1\n", ["'sample_id;angle'", "commas"]),
    (TOP, "sample_id,x\ncat/1,1\n,2\n", ["a row without 'sample_id'", "in every row"]),
    (TOP, "sample_id,x\ncat/1,1,2\n", ["Expected 2 columns, got 3"]),
    (TOP, "", ["cannot be read", "Empty", "whole csv file"]),
    (TOP, "sample_id,x\n", ["no row for 2 samples"]),
    (TOP, "sample_id,x\ncat/1,\xe4\n".encode("latin-1"), ["cannot be read", "UTF-8"]),
    (TOP, "sample_id,x\ncat/1,1\n".encode("utf-16"), ["cannot be read", "UTF-8"]),
    (TOP, b"sample_id,x\n\xe4,1\n", ["cannot be read", "UTF-8"]),
    ("metadata.jsonl", "", ["Empty JSON file"]),
    ("metadata.jsonl", "\n", ["no column 'label'"]),
    ("metadata.jsonl", '{"sample_id": "cat/1"}\n{"sample_id":\n', ["cannot be read", "row 1"]),
    ("metadata.jsonl", '[{"sample_id": "cat/1"}]', ["cannot be read", "array"]),
    ("metadata.jsonl", 'null\n{"sample_id": "cat/1"}\n', ["cannot be read", "is null"]),
    ("metadata.jsonl", " \n null", ["cannot be read", "is null"]),
    ("metadata.jsonl", "\ufeffnull", ["cannot be read", "is null"]),
    pytest.param(
        "metadata.jsonl", NESTED, ["200001 lists or objects in each other"], id="nested-deeply"
    ),
    ("metadata.jsonl", '{"x":' * 70 + "1" + "}" * 70, ["70 lists or objects in each other"]),
    ("metadata.jsonl", '{"sample_id": 1}', ["sample_id", "from string to number"]),
    ("metadata.jsonl", '{"sample_id": "cat/1", "x": 1}\n{"x": "a"}', ["/x", "number to string"]),
    ("metadata.parquet", b"", ["cannot be read", "whole parquet file"]),
    ("metadata.parquet", parquet(sample_id=["cat/1"] * 99)[:-20], ["cannot be read"]),
    (
        "metadata.parquet",
        parquet(sample_id=["cat/1"], x=pa.array([2**63], pa.uint64())),
        ["cannot be read"],
    ),
    (
        "metadata.parquet",
        parquet(sample_id=["cat/1"], x=pa.array([1], pa.timestamp("ns"))),
        ["would lose data"],
    ),
    (
        "metadata.parquet",
        parquet(sample_id=["cat/1"], x=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8()))),
        ["map<"],
    ),
]


@pytest.mark.parametrize(("name", "content", "says"), WRONG)
def test_a_wrong_file_is_named(quick, photos, fails, name, content, says):
    tree = photos(["cat/1/a.png", "dog/1/a.png"], **{name: content})
    with fails("LayoutError", name, *says, "drop_metadata=True", path=name):
        quick(tree)
    assert len(list(quick(tree, drop_metadata=True))) == 2


@pytest.mark.every_route
def test_a_wrong_file_on_every_route(load, photos, fails):
    with fails("LayoutError", "metadata.jsonl", "drop_metadata=True", path="metadata.jsonl"):
        list(load(photos(TREE, **{"metadata.jsonl": "{"})))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({TOP: "sample_id,x\ncat/1,1\ncat/2,2\n"}, ["cat/1", "test, train", 'column "split"']),
        ({TOP: "a", "metadata.jsonl": "a"}, ["metadata.csv and metadata.jsonl", "merge"]),
        (
            {"train/metadata.csv": "a", "train/metadata.jsonl": "a"},
            ["train/metadata.jsonl", "merge"],
        ),
        ({TOP: "a", "test/metadata.csv": "a"}, ["metadata.csv and test/metadata.csv", "merge"]),
        (
            {"train/metadata.csv": "sample_id,x\n", "test/metadata.csv": "sample_id,y\n"},
            ["train/metadata.csv", "test/metadata.csv", "'x', 'y'", "same columns"],
        ),
        (
            {
                "train/metadata.csv": "sample_id,x\ncat/1,1\n",
                "test/metadata.csv": "sample_id,x\ncat/1,a",
            },
            ["Field x", "int64", "string", "same type"],
        ),
        ({"train/metadata.csv": "sample_id,x\ncat/1,1\ncat/2,2\n"}, ["1 sample (test/cat/1)"]),
        ({TOP: "split,sample_id,x\nval,cat/1,1\n"}, ["1 row for no sample (val/cat/1)"]),
    ],
)
def test_wrong_in_a_tree_with_splits(quick, photos, fails, files, says):
    tree = photos(SPLITS, **files)
    with fails("LayoutError", *says, "drop_metadata=True"):
        quick(tree)
    assert len(list(quick(tree, drop_metadata=True))) == 2


def test_view_label_beside_view(quick, photos, fails):
    tree = photos(["cat/1/top/a.png"], **{TOP: "sample_id,view,x\ncat/1,a,1\n"})
    with fails("LayoutError", "no column 'view_label'", "'sample_id', 'view', 'x'"):
        quick(tree, layout="{label}/{sample}/{view_label}/{view}")


def test_an_image_column_is_taken(quick, photos, fails):
    tree = photos(["cat/1/a.png", "cat/1/m/a.png"], **{TOP: "sample_id,masks\ncat/1,1\n"})
    with fails("LayoutError", "'masks'", "taken", path=TOP):
        quick(tree, layout=MASKS)


def test_a_byte_order_mark(quick, photos):
    for name in (TOP, "metadata.jsonl"):
        tree = photos(TREE, **{name: b"\xef\xbb\xbf" + KINDS[name].encode()})
        assert column(quick(tree), "angle") == ANGLES
        (tree / name).unlink()


def test_configs_without_a_folder_take_no_metadata_options(fails):
    with fails("OptionError", "drop_metadata", "shapes", path="drop_metadata"):
        multiview_cifar.load_dataset("shapes", drop_metadata=True)


# --- any table ------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map("t".__add__)
number = st.integers(-(2**63), 2**63 - 1)
FLAT = {
    "int": number,
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "text": text,
    "bool": st.booleans(),
}
PART = st.fixed_dictionaries({"a": number, "b": st.lists(text, max_size=2)})
EVERY = {**FLAT, "many": st.lists(number, max_size=3), "part": PART}


def to_csv(rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def to_jsonl(rows):
    return "\n".join(map(json.dumps, rows)).encode()


def to_parquet(rows):
    return parquet(**{name: [row[name] for row in rows] for name in rows[0]})


@st.composite
def tables(draw, columns):
    """Rows for views of TREE, some or all of them, in any order; a cell may be empty."""
    chosen = draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, unique=True))
    cells = st.fixed_dictionaries({name: st.none() | columns[name] for name in chosen})
    views = draw(st.lists(st.sampled_from(TREE), min_size=1, unique=True))
    return [{"sample_id": path[:5], "view": path[6], **draw(cells)} for path in views]


@examples(8)
@pytest.mark.parametrize(
    ("write", "kind", "columns"),
    [
        (to_csv, "csv", FLAT),
        (to_jsonl, "jsonl", EVERY),
        (to_parquet, "parquet", EVERY),
    ],
)
@given(data=st.data())
def test_any_table_comes_back(quick, make_tree, write, kind, columns, data):
    rows = data.draw(tables(columns))
    tree = make_tree(*TREE)
    (tree / f"metadata.{kind}").write_bytes(write(rows))
    ds = quick(tree, on_missing_metadata="null").remove_columns("images")
    names = [name for name in rows[0] if name not in ("sample_id", "view")]
    found = {
        (row["sample_id"], view): [row[name][i] for name in names]
        for row in ds
        for i, view in enumerate(row["view_names"])
    }
    for row in rows:
        assert found.pop((row["sample_id"], row["view"])) == [row[name] for name in names]
    assert all(value is None for values in found.values() for value in values)


# --- labels that stand in the metadata ------------------------------------------------------------

PATIENTS = [f"P{n}/{view}.png" for n in (1, 2, 10) for view in "ab"]
NO_CLASS = "{sample}/{view}"


def labels(ds):
    names = dict(enumerate(ds.features["label"].names))
    return {row["sample_id"]: names.get(row["label"]) for row in ds}


@pytest.mark.every_route
def test_a_column_label_gives_the_labels(load, make_tree, write_metadata):
    tree = make_tree(*PATIENTS)
    write_metadata(tree, "sample,label,age\nP1,covid,7\nP10,normal,8\nP2,covid,9\n")
    ds = load(tree, layout=NO_CLASS)
    assert ds.features["label"] == datasets.ClassLabel(names=["covid", "normal"])
    assert [(row["sample_id"], row["label"], row["age"]) for row in ds] == [
        ("P1", 0, 7),
        ("P2", 0, 9),
        ("P10", 1, 8),
    ]


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("metadata.csv", "sample_id,grade\nP1,10\nP2,9\nP10,10\n", ["9", "10"]),
        ("metadata.csv", "sample_id,grade\nP1,010\nP2,9\nP10,010\n", ["9", "010"]),
        (
            "metadata.jsonl",
            '{"sample": "P1", "grade": 10}\n{"sample": "P2", "grade": 9}\n'
            '{"sample": "P10", "grade": 10}\n',
            ["9", "10"],
        ),
        (
            "metadata.jsonl",
            '{"sample": "P1", "grade": true}\n{"sample": "P2", "grade": false}\n'
            '{"sample": "P10", "grade": true}\n',
            ["false", "true"],
        ),
    ],
)
def test_label_column(stream, make_tree, write_metadata, name, text, names):
    tree = make_tree(*PATIENTS)
    write_metadata(tree, text, name)
    ds = stream(tree, layout=NO_CLASS, label_column="grade")
    assert ds.features["label"].names == names
    assert "grade" not in ds.features
    assert [*labels(ds).values()] == [names[1], names[0], names[1]]


def test_labels_go_by_class_names(stream, make_tree, write_metadata, fails, caplog):
    tree = make_tree(*PATIENTS)
    write_metadata(tree, "sample,label\nP1,n01\nP2,n02\nP10,n03\n")
    options = {"layout": NO_CLASS, "class_names": {"n02": "dog", "n01": "cat"}}
    with fails(
        "LayoutError",
        "class_names leaves out 1 of 3 classes: 'n03'.",
        "add it, or",
        'other_classes="skip"',
    ):
        list(stream(tree, **options))
    ds = stream(tree, **options, other_classes="skip")
    assert ds.features["label"].names == ["dog", "cat"]
    assert labels(ds) == {"P1": "cat", "P2": "dog"}
    assert "class_names leaves out (1): train/P10" in caplog.text
    ds = stream(tree, **options, on_missing_metadata="null")
    assert labels(ds) == {"P1": "cat", "P2": "dog", "P10": None}


def test_samples_without_a_label(load, make_tree, write_metadata, fails):
    tree = make_tree(*PATIENTS)
    write_metadata(tree, "sample,label\nP1,x\nP2,\nP10,x\n")
    with fails("LayoutError", "no label for 1 sample (P2)", 'on_missing_metadata="null"'):
        list(load(tree, layout=NO_CLASS))
    assert labels(load(tree, layout=NO_CLASS, on_missing_metadata="null"))["P2"] is None
    write_metadata(tree, "sample,label\nP1,x\n")
    wanted = {"P1": "x", "P2": None, "P10": None}
    assert labels(load(tree, layout=NO_CLASS, on_missing_metadata="null")) == wanted


def test_labels_of_views(stream, make_tree, write_metadata, fails):
    tree = make_tree("P1/a.png", "P1/b.png")
    write_metadata(tree, "sample,view,label,angle\nP1,a,x,0\nP1,b,,90\n")
    ds = stream(tree, layout=NO_CLASS)
    assert labels(ds) == {"P1": "x"}
    assert [row["angle"] for row in ds] == [[0, 90]]
    write_metadata(tree, "sample,view,label\nP1,a,y\nP1,b,x\n")
    with fails("LayoutError", "several labels for P1: x, y. Expected one"):
        list(stream(tree, layout=NO_CLASS))


@pytest.mark.every_route
def test_rows_without_any_label(load, make_tree, shown, write_metadata):
    tree = make_tree(*within("train", PATIENTS), *within("test", PATIENTS[:2]))
    splits = load(tree, split=None, layout="{split}/{sample}/{view}")
    assert "label" not in splits["train"].features
    assert [sample for sample, *_ in shown(splits["train"])] == ["P1", "P2", "P10"]
    assert shown(splits["test"]) == [("P1", "test/P1/a.png", "test/P1/b.png")]
    assert "label" not in next(iter(splits["test"]))
    write_metadata(tree / "test", "sample,label\nP1,x\n")
    write_metadata(tree / "train", "sample,label\nP1,x\nP2,y\nP10,x\n")
    splits = load(tree, split=None, layout="{split}/{sample}/{view}")
    assert labels(splits["test"]) == {"P1": "x"}
    splits = load(tree, split=None, layout="{split}/{sample}/{view}", drop_metadata=True)
    assert "label" not in splits["train"].features


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"label_column": "class", "layout": NO_CLASS}, "LayoutError", "no column 'class'"),
        ({"label_column": "label", "layout": "{label}/{view}_{sample}"}, "OptionError", "{*}"),
        ({"label_column": "label"}, "OptionError", "{*}"),
        ({"label_column": ""}, "OptionError", "the name of a column"),
        ({"label_column": "label", "drop_metadata": True}, "OptionError", "drop_metadata"),
        ({"layout": NO_CLASS, "label_column": "parts"}, "LayoutError", "cannot be read"),
    ],
)
def test_wrong_label_columns(stream, make_tree, write_metadata, fails, options, kind, says):
    tree = make_tree(*PATIENTS[:2])
    write_metadata(tree, '{"sample": "P1", "label": "x", "parts": ["a"]}\n', "metadata.jsonl")
    with fails(kind, "label_column" if kind == "OptionError" else "metadata", says):
        list(stream(tree, **options))


@pytest.mark.parametrize("how", [{}, {"other_classes": "skip"}])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no metadata file is read. Expected {label} in the layout, or label_column=..."),
        ("sample,diagnosis,age\nP1,covid,7\n", "(columns found: 'diagnosis', 'age')"),
        ("sample\nP1\n", "(columns found: none)"),
    ],
)
def test_class_names_want_labels(stream, make_tree, write_metadata, fails, how, text, says):
    tree = make_tree(*PATIENTS[:2])
    if text:
        write_metadata(tree, text)
    options = {"layout": NO_CLASS, "class_names": ["covid"], **how}
    no_labels = "class_names is given, but there are no labels"
    with fails("OptionError", no_labels, says, "{label}", "label_column=...", path="class_names"):
        list(stream(tree, **options))
    if text and "diagnosis" in text:
        assert labels(stream(tree, **options, label_column="diagnosis")) == {"P1": "covid"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sample,diagnosis,age\nP1,x,7\n", "one of 'diagnosis', 'age'"),
        ("sample,split,label\nP1,train,x\n", "one of 'label'"),
        ("sample\nP1\n", "a column of labels: add it"),
    ],
)
def test_a_label_column_that_is_not_there(stream, make_tree, write_metadata, fails, text, says):
    tree = make_tree(*PATIENTS[:2])
    write_metadata(tree, text)
    found = "metadata.csv has no column 'diag', which label_column names."
    with fails("LayoutError", found, f" Expected {says}."):
        list(stream(tree, layout=NO_CLASS, label_column="diag"))


def test_label_column_without_metadata(stream, make_tree, fails):
    with fails("OptionError", "no metadata file is read", path="label_column"):
        list(stream(make_tree(*PATIENTS), layout=NO_CLASS, label_column="diagnosis"))


# --- keys that are paths --------------------------------------------------------------------------


@pytest.mark.every_route
def test_file_name_is_of_a_view(load, make_tree, write_metadata):
    tree = make_tree("cat/1/0.png", "cat/1/1.png", "dog/1/0.png")
    write_metadata(tree, "file_name,angle\ncat/1/1.png,90\n./cat/1/0.png,0\ndog/1/0.png,5\n")
    assert [row["angle"] for row in load(tree)] == [[0, 90], [5]]


def test_file_names_are_of_a_sample(stream, make_tree, write_metadata, fails):
    tree = make_tree("cat/1/0.png", "cat/1/1.png", "dog/1/0.png")
    text = (
        '{"file_names": ["cat/1/0.png", "cat/1/1.png"], "age": 4}\n'
        '{"file_names": ["dog/1/0.png"], "age": 5}\n'
    )
    write_metadata(tree, text, "metadata.jsonl")
    assert [row["age"] for row in stream(tree)] == [4, 5]
    write_metadata(tree, text.replace("cat/1/1", "dog/1/0", 1), "metadata.jsonl")
    with fails("LayoutError", "several samples (cat/1/0.png, dog/1/0.png)"):
        list(stream(tree))


def test_file_name_with_splits_labels_and_masks(stream, make_tree, write_metadata, fails):
    paths = ["train/1_a.png", "train/1_b.png", "train/2_a.png", "train/1_a-map.png"]
    tree = make_tree(*paths)
    write_metadata(tree / "train", "file_name,label\n1_a.png,cat\n1_b.png,cat\n2_a.png,dog\n")
    options = {"layout": "{split}/{sample}_{view}", "view_names": ["a"]}
    ds = stream(tree, **options)
    assert labels(ds) == {"1": "cat", "2": "dog"}
    assert "split" not in ds.features
    layout = {"images": "{split}/{sample}_{view}", "maps": "{split}/{sample}_{view}-map"}
    write_metadata(tree / "train", "file_name,label\n1_a-map.png,cat\n")
    with fails("LayoutError", "1 row for no view (train/1_a-map.png)"):
        list(stream(tree, layout=layout, on_missing_view="null"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("metadata.csv", "file_name,a\ncat/1/0.png,1\ncat/1/9.png,2\n", "no view (cat/1/9)"),
        ("metadata.csv", "file_name,a\ncat/1/0.png,1\ncover.png,2\n", "no view (cover.png)"),
        ("metadata.csv", "file_name,a\n,1\n", "a row whose file_name is None"),
        ("metadata.csv", "file_names,a\ncat/1/0.png,1\n", '.parquet "file_names", a list'),
        ("metadata.jsonl", '{"file_names": [], "a": 1}\n', "a row whose file_names is []"),
        ("metadata.csv", "file_name,a\ncat/1/0.png,1\ncat/1/0.png,1\n", "cat/1/0 twice"),
        ("metadata.csv", "path,a\ncat/1/0.png,1\n", '"file_name" (path of a view)'),
    ],
)
def test_wrong_paths_in_metadata(stream, make_tree, write_metadata, fails, name, text, says):
    tree = make_tree("cat/1/0.png")
    write_metadata(tree, text, name)
    with fails("LayoutError", "metadata", says):
        list(stream(tree))
