"""How many processes build: as many as were asked for, where they are not slower than one."""

import pytest

SMALL = [f"train/cat/{sample}/{view}.png" for sample in range(4) for view in "ab"]


@pytest.fixture(autouse=True)
def every_process_pays():
    """As elsewhere in the tests, but here it is the rule itself that counts."""


def test_few_small_files_are_built_in_one_process_and_the_log_says_so(make_tree, build, caplog):
    ds = build(make_tree(*SMALL), num_proc=2)
    assert len(ds) == 4 and len(ds.cache_files) == 1
    (line,) = [r.getMessage() for r in caplog.records if "num_proc" in r.getMessage()]
    assert "'train' is built in one process" in line and "num_proc=2" in line


def test_one_process_is_not_worth_a_line(make_tree, build, caplog):
    build(make_tree(*SMALL), num_proc=1)
    assert "process" not in caplog.text


def test_a_conversion_of_large_images_gets_its_processes(make_tree, build, caplog):
    options = {"image_size": (512, 512), "encoding": "flat_png"}
    ds = build(make_tree(*SMALL), num_proc=2, **options)
    assert len(ds) == 4 and len(ds.cache_files) == 2
    assert "num_proc" not in caplog.text
