"""docs/publishing.md: what it shows runs, and is what is printed, raised and written.

An old script repository becomes Parquet under `datasets` 3.6.0, which alone runs scripts. What it
writes is kept here (WRITTEN), and compared there; the newest version loads a repository of that.
"""

import json
import re
import shlex
import sys
import types
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import multiview_cifar
from doc_pages import sections
from exports import rows_of, run_command
from multiview_cifar_tools.planning.large_rows import LargeRows, bound_jpeg

HAS_SCRIPTS = datasets.__version__.startswith("3.")
REPOSITORY = Path(__file__).parents[2]
SECTIONS = sections("publishing.md")
OLD = "me/multiview_cifar"
LOAD, TRIM, MERGE = re.findall(
    r"^```python\n(.*?)^```", SECTIONS["Old script repositories"], re.M | re.S
)
SOLIDS = "capsule cone cube cylinder octahedron prism pyramid sphere tetrahedron torus".split()

# Of `datasets` 3.6.0's convert_to_parquet: the files beside README.md, the card, and the schema.
WRITTEN = {
    "files": ["shapes/test-00000-of-00001.parquet", "shapes/train-00000-of-00001.parquet"],
    "configs": [
        {
            "config_name": "shapes",
            "data_files": [
                {"split": "train", "path": "shapes/train-*"},
                {"split": "test", "path": "shapes/test-*"},
            ],
            "default": True,
        }
    ],
    "features": [
        {"name": "images", "sequence": "image"},
        {
            "name": "label",
            "dtype": {"class_label": {"names": {str(i): name for i, name in enumerate(SOLIDS)}}},
        },
        {"name": "sample_id", "dtype": "string"},
        {"name": "view_names", "sequence": "string"},
    ],
    "schema": {
        "images": {"feature": {"_type": "Image"}, "_type": "Sequence"},
        "label": {"names": SOLIDS, "_type": "ClassLabel"},
        "sample_id": {"dtype": "string", "_type": "Value"},
        "view_names": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
    },
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return multiview_cifar.load_dataset("shapes", cache_dir=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def old(hub):
    """A copy of this repository on the Hub: the script, what `shapes` needs, and the card."""
    names = ["multiview_cifar.py", "data/shapes.zip", "dataset_infos.json", "README.md"]
    hub.create(OLD)
    hub.write(OLD, {name: (REPOSITORY / name).read_bytes() for name in names})


# --- what runs in clients -------------------------------------------------------------------------


def run_code(*blocks):
    names = {}
    for block in blocks:
        exec(block, names)


def run_datasets_cli(arguments):
    import datasets.hub
    from datasets.commands.datasets_cli import main

    datasets.hub.time = types.SimpleNamespace(sleep=lambda seconds: None)  # it waits for the Hub
    sys.argv = ["datasets-cli", *arguments]
    main()


def load(*name, **options):
    ds = datasets.load_dataset(OLD, *name, **options)
    return rows_of(ds), ds["train"].features["label"].names


# --- publishing -----------------------------------------------------------------------------------


def test_the_dry_run(make_tree, hub, tmp_path):
    (command,) = re.findall(r"^```bash\n(.*?)\n```", SECTIONS["Look at it first"], re.M | re.S)
    make_tree("cat/0001/a.png", "dog/0001/a.png")
    (tmp_path / "paper.bib").write_text("@misc{me}")
    hub.run(run_command, str(tmp_path), shlex.split(command)[1:])
    for name in ("data/train-00000.parquet", "README.md", "views.png", "croissant.json"):
        assert (tmp_path / "files" / name).is_file()
    assert not hub.requests


def test_the_warning_is_the_one_that_is_printed():
    (shown,) = re.findall(r"^```text\n(.*?)\n```", SECTIONS["The viewer"], re.M | re.S)
    rows = LargeRows()
    for i in (1, 2):
        rows.add_row(f"train/cat/{i}", [786_900] * 4)
    assert rows.describe(3, 4, bound_jpeg(4, [(512, 512, "RGB")])) == shown


def test_folders_on_the_hub_are_published(hub, make_tree):
    """The remedy of owners whose images lie on the Hub."""
    section = SECTIONS["Old script repositories"]
    command = re.search(r"`multiview-cifar (publish hf://.*?)`", section)[1]
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    images = {f"photos/{p.relative_to(tree)}": p.read_bytes() for p in tree.rglob("*.png")}
    hub.create("me/raw")
    hub.write("me/raw", images)
    hub.run(run_command, str(tree), shlex.split(command))
    table = pq.read_table(pa.BufferReader(hub.files("me/photos")["data/train-00000.parquet"]))
    held = [view["bytes"] for row in table["images"].to_pylist() for view in row]
    assert sorted(held) == sorted(images.values())


# --- old script repositories ----------------------------------------------------------------------


@pytest.mark.skipif(HAS_SCRIPTS, reason="datasets 3 runs scripts")
@pytest.mark.parametrize("options", ["", ", trust_remote_code=True"])
def test_what_users_of_a_script_meet(hub, old, options):
    (shown,) = re.findall(r"^```text\n(.*?)\n```", SECTIONS["Old script repositories"], re.M | re.S)
    with pytest.raises(RuntimeError, match=f"\n{re.escape(shown)}\n"):
        hub.run(run_code, LOAD.replace('")', f'"{options})'))


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later run no scripts")
def test_a_script_becomes_parquet(hub, old, shapes):
    section = SECTIONS["Old script repositories"]
    (command,) = re.findall(r"^```bash\ndatasets-cli (.*?)\n```", section, re.M)
    hub.run(run_code, TRIM)
    before = hub.files(OLD)
    hub.run(run_datasets_cli, shlex.split(command))
    assert hub.files(OLD) == before
    assert hub.files(OLD, "script") == before
    hub.run(run_code, TRIM.splitlines()[1], MERGE)
    files = hub.files(OLD)
    assert sorted(files) == [".gitattributes", "README.md", *WRITTEN["files"]]
    card = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert card["configs"] == WRITTEN["configs"]
    assert card["dataset_info"]["features"] == WRITTEN["features"]
    assert (
        files["README.md"].decode().partition("\n---\n")[2]
        == (before["README.md"].decode().partition("\n---\n")[2])
    )
    for path in WRITTEN["files"]:
        schema = pq.read_schema(pa.BufferReader(files[path]))
        assert json.loads(schema.metadata[b"huggingface"])["info"]["features"] == WRITTEN["schema"]
    assert hub.run(load) == (rows_of(shapes), SOLIDS)


def test_what_it_becomes_loads(hub, shapes, tmp_path):
    """A repository of what `datasets` 3.6.0 writes, on every version."""
    few = {split: ds.select(np.arange(3)) for split, ds in shapes.items()}
    files = {}
    for path, split in zip(WRITTEN["files"], ("test", "train"), strict=True):
        metadata = {"huggingface": json.dumps({"info": {"features": WRITTEN["schema"]}})}
        sink = pa.BufferOutputStream()
        ds = few[split].flatten_indices()
        pq.write_table(ds.data.table.replace_schema_metadata(metadata), sink)
        files[path] = sink.getvalue().to_pybytes()
    info = {
        "config_name": "shapes",
        "features": WRITTEN["features"],
        "splits": [{"name": name, "num_bytes": 1.0, "num_examples": 3} for name in few],
        "download_size": 1,
        "dataset_size": 1.0,
    }
    card = yaml.safe_dump({"dataset_info": info, "configs": WRITTEN["configs"]})
    hub.create(OLD)
    hub.write(OLD, {**files, "README.md": f"---\n{card}---\n# Solids\n".encode()})
    for name in ([], ["shapes"]):
        assert hub.run(load, *name) == (rows_of(few), SOLIDS)
    command = re.search(
        r"`multiview-cifar (publish me/multiview_cifar .*?)`", SECTIONS["Old script repositories"]
    )[1]
    hub.run(run_command, str(tmp_path), shlex.split(command))
    table = pq.read_table(pa.BufferReader(hub.files("me/solids")["data/train-00000.parquet"]))
    assert table["sample_id"].to_pylist() == few["train"]["sample_id"][:]
