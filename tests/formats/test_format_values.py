"""Metadata as JSON and back, and what a row has to be: every type, the very values."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import datasets
import pyarrow as pa
import pytest
from datasets import Value
from hypothesis import given
from hypothesis import strategies as st

import multiview_cifar
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.row_json import from_json, to_json
from multiview_cifar_tools.shards.rows import check_row, features_from
from multiview_cifar_tools.shards.schema import features_json
from sampling import examples

BERLIN = ZoneInfo("Europe/Berlin")
NAN, INFINITY = float("nan"), float("inf")
LIST = getattr(datasets, "List", datasets.Sequence)
# Of each type some values, and what their JSON is.
CASES = {
    "text": (Value("string"), ['é\n"\0', ""], ['é\n"\0', ""]),
    "large text": (Value("large_string"), ["a"], ["a"]),
    "numbers": (Value("int64"), [2**63 - 1, -(2**63), 0], [2**63 - 1, -(2**63), 0]),
    "large numbers": (Value("uint64"), [2**64 - 1], [2**64 - 1]),
    "flags": (Value("bool"), [True, False], [True, False]),
    "floats": (
        Value("float64"),
        [0.1, -0.0, 5e-324, NAN, INFINITY, -INFINITY],
        [0.1, -0.0, 5e-324, "NaN", "Infinity", "-Infinity"],
    ),
    "32 bits": (Value("float32"), [0.10000000149011612, NAN], [0.10000000149011612, "NaN"]),
    "16 bits": (Value("float16"), [1.5, NAN], [1.5, "NaN"]),
    "nothing": (Value("null"), [None], [None]),
    "bytes": (Value("binary"), [b"\0\xff?>", b""], ["AP8/Pg==", ""]),
    "large bytes": (Value("large_binary"), [b"a"], ["YQ=="]),
    "dates": (Value("date32"), [date(1, 2, 3)], ["0001-02-03"]),
    "dates in 64 bits": (Value("date64"), [date(2026, 11, 24)], ["2026-11-24"]),
    "times of day": (
        Value("time64[us]"),
        [time(23, 59, 59, 1), time(5)],
        ["23:59:59.000001", "05:00:00"],
    ),
    "times of day in seconds": (Value("time32[s]"), [time(1, 2, 3)], ["01:02:03"]),
    "moments": (
        Value("timestamp[us]"),
        [datetime(1, 1, 1, 0, 0, 0, 1), datetime(9999, 12, 31)],
        ["0001-01-01T00:00:00.000001", "9999-12-31T00:00:00"],
    ),
    "moments with a zone": (
        Value("timestamp[s, tz=Europe/Berlin]"),
        [datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1)],
        ["2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"],
    ),
    "durations": (
        Value("duration[us]"),
        [timedelta(days=-1, microseconds=1), timedelta(0)],
        ["PT-86399.999999S", "PT0S"],
    ),
    "decimals": (
        Value("decimal128(38, 2)"),
        [Decimal("-" + "9" * 36 + ".10")],
        ["-" + "9" * 36 + ".10"],
    ),
    "large decimals": (Value("decimal256(76, 0)"), [Decimal("9" * 76)], ["9" * 76]),
    "labels": (datasets.ClassLabel(names=["a", "b"]), [1, -1], [1, -1]),
    "lists": (
        LIST(LIST(Value("float32"))),
        [[[0.5, None, NAN], None, []]],
        [[[0.5, None, "NaN"], None, []]],
    ),
    "lists of one length": (LIST(Value("binary"), length=2), [[b"a", None]], [["YQ==", None]]),
    "large lists": (datasets.LargeList(Value("date32")), [[date(2026, 1, 2)]], [["2026-01-02"]]),
    "structs": (
        {"a": {"b": Value("binary")}, "c": Value("string")},
        [{"a": {"b": b"x"}, "c": None}, {"a": None, "c": "d"}],
        [{"a": {"b": "eA=="}, "c": None}, {"a": None, "c": "d"}],
    ),
    "lists of structs": (
        [{"at": Value("duration[s]")}],
        [[{"at": timedelta(1)}, {"at": None}]],
        [[{"at": "PT86400S"}, {"at": None}]],
    ),
    "structs of lists": (
        datasets.Sequence({"x": Value("float64")}),
        [{"x": [1.0, NAN]}],
        [{"x": [1.0, "NaN"]}],
    ),
    "arrays": (
        datasets.Array2D((2, 2), "float32"),
        [[[1.0, NAN], [0.5, 2.0]]],
        [[[1.0, "NaN"], [0.5, 2.0]]],
    ),
    "one image": (
        datasets.Image(decode=False),
        [{"bytes": b"\xff", "path": None}],
        [{"bytes": "/w==", "path": None}],
    ),
}


def list_of(feature):
    """The feature of lists; what `Sequence` makes of a struct is a struct of lists."""
    return [feature] if isinstance(feature, dict) else LIST(feature)


def with_column(feature):
    return datasets.Features({**FEATURES, "more": feature})


FEATURES = multiview_cifar.row_features(["images", "masks"], ["cat", "dog"], ["left", "right"])
ROW = {
    "images": [{"bytes": b"x", "path": None}, None],
    "masks": [None, None],
    "label": 1,
    "sample_id": "dog/1",
    "view_names": ["a", None],
    "view_labels": [1, None],
}


def there_and_back(row, features):
    """The row again, through JSON as every reader of it takes it: without Python's NaN."""
    text = to_json(row, features)
    json.loads(text, parse_constant=pytest.fail)
    return from_json(text, features)


def same(values, others):
    """Equal where NaN equals NaN, 0 differs from -0, and so do 1 and 1.0."""
    return repr(values) == repr(others)


@pytest.mark.parametrize("name", CASES)
def test_every_type(name):
    feature, values, spelled = CASES[name]
    features = with_column(feature)
    for value, text in [*zip(values, spelled, strict=True), (None, None)]:
        row = {**ROW, "more": value}
        assert same(json.loads(to_json(row, features))["more"], text)
        assert same(there_and_back(row, features)["more"], value)


@pytest.mark.parametrize("name", CASES)
def test_values_as_a_dataset_gives_them(name):
    """Rows come out of Arrow, and go back into it."""
    feature, values, _ = CASES[name]
    features = datasets.Features({"more": feature})
    column = pa.array([*values, None], features.arrow_schema.types[0])
    rows = pa.table({"more": column}).to_pylist()
    again = [there_and_back(row, features) for row in rows]
    assert same(again, rows)
    back = pa.array([row["more"] for row in again], column.type)
    assert back.equals(column) or "nan" in str(rows)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    "kind", ["timestamp[{}]", "timestamp[{}, tz=Asia/Kathmandu]", "duration[{}]"]
)
def test_moments_of_every_unit(kind, unit):
    """Down to the nanosecond, before and after 1970."""
    features = datasets.Features({"more": Value(kind.format(unit))})
    values = pa.array([1, -1, 1_700_000_000, None], features.arrow_schema.types[0])
    rows = pa.table({"more": values}).to_pylist()
    again = [there_and_back(row, features)["more"] for row in rows]
    assert pa.array(again, values.type).equals(values)


@pytest.mark.skipif(not hasattr(datasets, "Json"), reason="datasets has no Json")
def test_columns_of_json():
    features = with_column(LIST(datasets.Json()))
    row = {**ROW, "more": ['{"a": [1, null]}', None]}
    assert there_and_back(row, features)["more"] == row["more"]


def unfolded(moment):
    """Arrow has no `fold`."""
    return moment.replace(fold=0)


anything = st.recursive(
    st.sampled_from(
        [
            (Value("string"), st.text()),
            (Value("float64"), st.floats()),
            (Value("int32"), st.integers(-(2**31), 2**31 - 1)),
            (Value("binary"), st.binary()),
            (Value("timestamp[us]"), st.datetimes().map(unfolded)),
            (Value("date32"), st.dates()),
            (Value("time64[us]"), st.times().map(unfolded)),
            (
                Value("duration[us]"),
                st.timedeltas(timedelta(days=-100_000_000), timedelta(days=100_000_000)),
            ),
            (Value("decimal128(9, 3)"), st.decimals(-99999, 99999, places=3)),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(lambda it: (list_of(it[0]), st.lists(st.none() | it[1], max_size=3))),
        inner.map(lambda it: ({"a": it[0]}, st.fixed_dictionaries({"a": st.none() | it[1]}))),
    ),
    max_leaves=4,
)


@given(anything, st.data())
@examples(30)
def test_any_value(kind, data):
    feature, values = kind
    features, value = datasets.Features({"more": feature}), data.draw(values)
    assert same(there_and_back({"more": value}, features), {"more": value})


def test_columns():
    """No images, and none that are left out; on reading, whatever is there."""
    features = with_column(Value("int8"))
    row = {**ROW, "more": 3}
    assert there_and_back(row, features) == {
        "label": 1,
        "sample_id": "dog/1",
        "view_names": ["a", None],
        "view_labels": [1, None],
        "more": 3,
    }
    assert to_json(row, features, multiview_cifar.OWN_COLUMNS) == '{"more":3}'
    with_more = json.loads(to_json(row, features, more={"more": 4, "images": ["a.png", None]}))
    assert with_more == {**json.loads(to_json(row, features)), "images": ["a.png", None]}
    assert from_json('{"more": 3, "masks": 1, "unknown": 2}', features) == {"more": 3}
    assert from_json(b'{"label": 0}', features) == {"label": 0}


def test_values_that_no_column_has():
    with pytest.raises(TypeError, match="complex"):
        to_json({**ROW, "more": 1j}, with_column(Value("int8")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "'{' is not JSON"),
        ("", "'' is not JSON"),
        (b"\xff\xff\xff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "'[1]' is not a JSON object"),
    ],
)
def test_texts_that_are_no_json(text, found, fails):
    with fails("FormatError", found, "Expected"):
        from_json(text, FEATURES)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Value("int8"), 300),
        (Value("int8"), "a"),
        (Value("int8"), True),
        (Value("string"), 1),
        (Value("bool"), 1),
        (Value("float32"), "much"),
        (Value("binary"), "é"),
        (Value("binary"), 1),
        (Value("date32"), "24.11.2026"),
        (Value("timestamp[us]"), 5),
        (Value("duration[s]"), "1 day"),
        (Value("time64[us]"), "25:00"),
        (Value("decimal128(3, 1)"), "123456"),
        ({"a": Value("int8")}, 1),
        ({"a": Value("int8")}, {"b": 1}),
        (LIST(Value("string")), "text"),
        (LIST(Value("int8")), 1),
    ],
)
def test_values_of_another_type(kind, value, fails):
    with fails("FormatError", f"column 'more' is {value!r} (", "Expected a value of the type"):
        from_json(json.dumps({"more": value}), with_column(kind))


# --- features -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_features_come_back(name):
    features = with_column(CASES[name][0])
    info = json.loads(json.dumps(features_json(features)))
    assert features_from(info).arrow_schema == features.arrow_schema
    assert features_json(features_from(info)) == info


@pytest.mark.parametrize(
    "info",
    [
        None,
        [],
        "text",
        {"a": {"_type": "None such"}},
        {"a": 1},
        {"a": {"_type": "Value", "dtype": "int7"}},
    ],
)
def test_features_that_are_none(info, fails):
    with fails("FormatError", "are not features of a dataset", "Expected"):
        features_from(info)


@pytest.mark.parametrize("column", ["images", "sample_id", "view_names"])
def test_features_of_other_rows(column, fails):
    info = features_json(FEATURES)
    del info[column]
    with fails("FormatError", "name the columns", "Expected images, sample_id and view_names"):
        features_from(info)


def test_features_without_a_label_and_with_another_one(fails):
    info = features_json(FEATURES)
    info["label"] = {"_type": "Value", "dtype": "int64"}
    with fails("FormatError", "name the columns", "a label only as a ClassLabel"):
        features_from(info)
    del info["label"]
    assert "label" not in features_from(info)


# --- rows -----------------------------------------------------------------------------------------

FAULTS = {
    "no column": ({"masks": ...}, "has no column 'masks'"),
    "no name": ({"sample_id": ""}, "sample_id is ''"),
    "a name that is none": ({"sample_id": 1}, "sample_id is 1"),
    "an unknown label": ({"label": -1}, "the label is -1"),
    "a label too many": ({"label": 2}, "the label is 2"),
    "a flag for a label": ({"label": True}, "the label is True"),
    "a name too many": ({"view_names": ["a", "b", "c"]}, "view_names is ['a', 'b', 'c'], where"),
    "a mask too few": ({"masks": [None]}, "masks is [None], where images are 2 views"),
    "no view labels": ({"view_labels": None}, "view_labels is None, where images are 2 views"),
    "no images": ({"images": None}, "images is None, where images are None"),
    "numbers for names": ({"view_names": [1, None]}, "view_names has 1"),
    "a view label too many": ({"view_labels": [2, 0]}, "view_labels has 2. Expected 0 to 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_rows_that_are_not_right(name, fails):
    change, found = FAULTS[name]
    row = {name: value for name, value in {**ROW, **change}.items() if value is not ...}
    with fails(
        "FormatError",
        f"a.tar, row 3: {found}" if "column" not in found else found,
        "Expected",
        path="a.tar",
    ):
        check_row(row, FEATURES, "a.tar, row 3", "a.tar")


def test_rows_that_are_right():
    check_row(ROW, FEATURES, "here")
    check_row(
        {**ROW, "images": [], "masks": [], "view_names": [], "view_labels": []}, FEATURES, "here"
    )
    without = multiview_cifar.row_features(["images"], ["cat", "dog"], None)
    check_row({name: ROW[name] for name in without}, without, "here")
    with pytest.raises(FormatError):
        check_row({}, without, "here")
