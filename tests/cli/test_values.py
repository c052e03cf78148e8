"""Values as people type them, and how the errors show them."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiview_cifar_tools.cli.commands import parse
from multiview_cifar_tools.cli.values import format_value
from multiview_cifar_tools.cli.wording import reword
from sampling import COMMON

TYPED = [
    ("--image-size", "32", (32, 32)),
    ("--image-size", "32x48", (32, 48)),
    ("--image-size", "32,48", (32, 48)),
    ("--image-size", "(32, 48)", (32, 48)),
    ("--image-size", "[32, 48]", (32, 48)),
    ("--value-range", "-160,240", (-160, 240)),
    ("--value-range", "(0, 0.5)", (0, 0.5)),
    ("--view-names", "front,left", ["front", "left"]),
    ("--view-names", "front", ["front"]),
    ("--view-names", '["a, b", "c=d"]', ["a, b", "c=d"]),
    ("--view-names", "0,1", ["0", "1"]),
    ("--class-names", "cat,dog", ["cat", "dog"]),
    ("--class-names", "n01=cat,n02=dog", {"n01": "cat", "n02": "dog"}),
    ("--class-names", '{"n01": "cat"}', {"n01": "cat"}),
    ("--class-names", "{'n01': 'cat'}", {"n01": "cat"}),
    ("--split-ratios", "train=0.8,test=0.2", {"train": 0.8, "test": 0.2}),
    ("--split-ratios", '{"train": 0.8, "test": 0.2}', {"train": 0.8, "test": 0.2}),
    ("--split-names", "Real World=real,Art=art", {"Real World": "real", "Art": "art"}),
    ("--layout", "{label}/{sample}_{view}", "{label}/{sample}_{view}"),
    ("--layout", "k={label}/{sample}", "k={label}/{sample}"),
    ("--layout", '{"images": "{label}/{sample}"}', {"images": "{label}/{sample}"}),
    ("--label-column", "2024", "2024"),
    ("--split-by", "[a]", "[a]"),
    ("--num-views", "4", 4),
    ("--on-error", "skip_view", "skip_view"),
    ("--storage-options", '{"anon": true}', {"anon": True}),
]


@pytest.mark.parametrize(("option", "text", "value"), TYPED)
def test_a_value_as_it_is_typed(option, text, value):
    args = parse(["build", "photos", option, text])
    found = vars(args)[option[2:].replace("-", "_")]
    assert found == value
    assert type(found) is type(value)


def test_an_option_that_is_not_given_is_left_to_the_config():
    args = parse(["build", "photos", "--seed", "0", "--drop-metadata"])
    assert (args.seed, args.drop_metadata) == (0, True)
    assert not hasattr(args, "view_sampling")


WRONG = [
    ("--image-size", "32x"),
    ("--image-size", "32x32x3"),
    ("--image-size", "(32, 3.5)"),
    ("--image-size", "-1"),
    ("--image-size", "0"),
    ("--value-range", "240,-160"),
    ("--image-size", "[true, 32]"),
    ("--value-range", "5"),
    ("--value-range", "a,b"),
    ("--view-names", "front,,left"),
    ("--view-names", "[1, 2]"),
    ("--view-names", '{"a": "b"}'),
    ("--class-names", "[["),
    ("--split-names", "train,test"),
    ("--split-ratios", "0.8,0.2"),
    ("--split-ratios", "train=most"),
    ("--num-views", "4.0"),
    ("--num-proc", "0"),
    ("--image-size", "[" * 100_000),
    ("--image-size", "9" * 5000),
]


@pytest.mark.parametrize(("option", "text"), WRONG)
def test_a_wrong_value(option, text, run):
    done = run("build", "photos", option, text)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"Invalid value for '{option}'" in line
    assert "Expected" in line
    assert "Expected such as" not in line


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
VALUES = {
    "--view-names": st.lists(NAMES, min_size=1, max_size=3),
    "--split-names": st.dictionaries(NAMES, NAMES, min_size=1, max_size=3),
    "--image-size": st.tuples(st.integers(1, 999), st.integers(1, 999)),
    "--label-column": NAMES,
}


@settings(COMMON, max_examples=60)
@given(st.sampled_from(sorted(VALUES)).flatmap(lambda o: st.tuples(st.just(o), VALUES[o])))
def test_a_value_that_is_shown_can_be_typed(case):
    option, value = case
    [word] = shlex.split(format_value(value))
    args = parse(["build", "photos", f"{option}={word}"])
    assert vars(args)[option[2:].replace("-", "_")] == value


REWORDED = [
    ("image_size=(0, 3) is not right.", "--image-size 0x3 is not right."),
    ('pass on_error="skip_view".', "pass --on-error skip_view."),
    ('or pass layout="{label}/{sample}", then', "or pass --layout '{label}/{sample}', then"),
    ("pass num_views=4, or view_names=['a', 'b'].", "pass --num-views 4, or --view-names a,b."),
    ("with image_size=(height, width) it", "with --image-size (height, width) it"),
    ("say with layout=... what", "say with --layout ... what"),
    ("storage_options={...} where", "--storage-options {...} where"),
    ("build with num_views=N; no", "build with --num-views N; no"),
    ("drop_metadata=True ignores it", "--drop-metadata ignores it"),
    ("a larger share in split_ratios, or", "a larger share in --split-ratios, or"),
    ('split_ratios={"train": 0.8, "test": 0.2} makes', "--split-ratios train=0.8,test=0.2 makes"),
    ("group='x y' is not a column", "--group 'x y' is not a column"),
    (
        'pass on_missing_view="skip_sample" or "null".',
        "pass --on-missing-view skip_sample or null.",
    ),
    ("split_ratios={'train': 7.0, 'test': 0.5} is", "--split-ratios train=7,test=0.5 is"),
    # what stays
    ("ds = load_dataset(data_dir='a', num_views=4)", None),
    ("the layout leaves a mode out", None),
    ("photos/view_names/1.png and 'view_names'", None),
    ("my_image_size=3", None),
]


@pytest.mark.parametrize(("text", "expected"), REWORDED)
def test_errors_name_the_form_of_the_command_line(text, expected):
    assert reword(text, ["group"]) == (expected or text)
