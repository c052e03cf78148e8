"""docs/other_tools.md: what each section finds in what was published, or written to a folder."""

import ast
import os
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from PIL import Image

import doc_pages
from conftest import colour_of
from doc_pages import DOCS, run_tool, sections
from multiview_cifar_tools import build_shards, export, load, open_engine, publish

SECTIONS = sections("other_tools.md")
HELPERS = os.path.dirname(doc_pages.__file__)
HUB = "hf://datasets/me/photos/data"
TOOLS = ["pandas", "Polars", "DuckDB", "PyArrow", "Lance"]
SAMPLES = ["train/cat/0001", "train/cat/0002", "train/dog/0001", "test/cat/0001", "test/dog/0001"]
VIEWS = {sample: [f"{sample}/view_{i}.png" for i in range(2)] for sample in SAMPLES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the samples are: photos/, published/, built/ and exported/."""
    root = tmp_path_factory.mktemp("tools")
    for sample, views in VIEWS.items():
        (root / "photos" / sample).mkdir(parents=True)
        for view in views:
            Image.new("RGB", (4, 4), colour_of(view)).save(root / "photos" / view)
    photos = str(root / "photos")
    publish(photos, "me/photos", dry_run=root / "published")
    with open_engine() as engine:
        build_shards(photos, root / "built", engine=engine, max_shard_size=1)
    export(load(photos), root / "exported", format="parquet")
    return root


@pytest.fixture
def published(hub, folder):
    """The Hub, which has what `publish` made."""
    root = folder / "published"
    paths = [path for path in root.rglob("*") if path.is_file()]
    hub.create("me/photos")
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    hub.write("me/photos", files, "Publish the dataset")
    return hub


def check(found):
    """The views are those of one sample, in their order; and all else is as it should be."""
    assert found[0] in [[*map(colour_of, views)] for views in VIEWS.values()]
    assert found[1:] == (["cat", "dog"], 3, {"train": 3, "test": 2})


def test_every_section_is_tested():
    assert {*SECTIONS} == {*TOOLS, "Ray Data", "FiftyOne"}  # the last one in test_fiftyone.py


def test_the_table_of_columns(make_tree, tmp_path):
    layout = {"images": "{view_label}/{label}/{sample}/{view}", "mask": "masks/{label}/{sample}"}
    tree = make_tree("left/cat/1/a.png", "right/cat/1/a.png", "masks/cat/1.png")
    publish(str(tree), "me/photos", dry_run=tmp_path / "files", layout=layout)
    schema = pq.read_schema(tmp_path / "files/data/train-00000.parquet")
    found = {field.name: str(field.type).replace("element: ", "") for field in schema}
    intro = (DOCS / "other_tools.md").read_text(encoding="utf-8").partition("## ")[0]
    rows = intro.partition("| column |")[2]
    table = dict(re.findall(r"^\| (.+?) \| `(.+?)` \|", rows, re.M))
    names = {"images": "`images` and other lists of images", "mask": "a column of single images"}
    assert {names.get(name, f"`{name}`"): kind for name, kind in found.items()} == table


@pytest.mark.parametrize("tool", TOOLS)
def test_what_was_published(tool, published, folder, tmp_path):
    section = SECTIONS[tool]
    if tool == "Polars":  # which has the address of the Hub built in
        section = section.replace(HUB, f"{folder}/published/data")
    check(published.run(run_tool, section, str(tmp_path)))


RAY = """
import ray, sys
from doc_pages import run_tool, sections
ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.2")  # see ray_cluster.py
print(run_tool(sections("other_tools.md")["Ray Data"], sys.argv[1]))
"""


@pytest.mark.serial
@pytest.mark.exhaustive
def test_what_was_published_on_ray(published, tmp_path):
    """Its processes take a minute or more to start."""
    environment = {**published.environment, "PYTHONPATH": HELPERS, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", RAY, str(tmp_path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    check(ast.literal_eval(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("place", ["built/data", "exported"])
@pytest.mark.parametrize("tool", TOOLS)
def test_shards_in_a_folder(tool, place, folder, hub, tmp_path):
    # In another process: Lance warns of each fork of one that has imported it.
    section = SECTIONS[tool].replace(HUB, f"{folder}/{place}")
    check(hub.run(run_tool, section, str(tmp_path)))
