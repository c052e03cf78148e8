"""The README: its code runs, its tables and its card say what the code says."""

import ast
import re
import subprocess
import sys
from dataclasses import fields

import datasets
import pytest
import yaml

import multiview_cifar
from conftest import HAS_SCRIPTS, REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)


@pytest.fixture
def photos(make_tree, tmp_path, monkeypatch):
    """The README's tree, in the current folder."""
    monkeypatch.chdir(tmp_path)
    folders = [f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")]
    return make_tree(*(f"{folder}/0001/view_{i}.png" for folder in folders for i in range(2)))


def test_the_first_lines(photos, capsys):
    exec(CODE[0], {})
    assert capsys.readouterr().out.rstrip().endswith("cat")


@pytest.mark.parametrize(
    ("call", "paths"),
    [
        (0, ["cat/0001_front.png", "cat/0001_left.png"]),
        (1, ["cat/0001.png", "cat/0002.png"]),
        (2, ["train/left/cat/0001/a.png", "train/right/cat/0001/a.png"]),
        (3, ["cat/1/a.png", "cat/1/b.png", "cat/1/maps/a-map.png", "cat/1/maps/b-map.png"]),
    ],
)
def test_each_layout(call, paths, make_tree, tmp_path, monkeypatch):
    make_tree(*paths)
    monkeypatch.chdir(tmp_path)
    (block,) = (code for code in CODE if "{sample}_{view}" in code)
    line = ast.get_source_segment(block, ast.parse(block).body[call])
    splits = eval(line, {"load_dataset": multiview_cifar.load_dataset})
    assert sum(len(row["images"]) for row in splits["train"]) == 2


def test_the_batches(photos):
    (section,) = re.findall(r"^## Batches.*?(?=^## )", README, re.M | re.S)
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    code = "\n".join([*blocks, "print(tuple(batch['images'].shape))"])
    # In a process of its own: its workers are forked. The folder is the current one.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(2, 2, 3, 32, 32)"


def test_every_option_stands_in_the_table_with_its_default():
    section = README.partition("## The options")[2].partition("## ")[0]
    table = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.M))
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    own = [f for f in fields(multiview_cifar.MultiviewCifarConfig) if f.name not in inherited]
    assert table == {f.name: repr(f.default).replace("'", '"') for f in own}


def test_every_column_stands_in_the_table(photos):
    section = README.partition("## The row")[2].partition("## ")[0]
    table = re.findall(r"^\| `(\w+)` \|", section, re.M)
    columns = list(multiview_cifar.load_dataset(data_dir=str(photos))["train"].features)
    assert [name for name in table if name != "view_labels"] == columns


def test_the_error_shown_is_the_one_raised(make_tree):
    shown = re.search(r"LayoutError: (.*?)\n\n", README, re.S)[1]
    with pytest.raises(multiview_cifar.LayoutError) as error:
        multiview_cifar.load_dataset(data_dir=str(make_tree("cat/1.png")))
    assert str(error.value) == " ".join(shown.split())


def test_the_card():
    card = yaml.safe_load(README.split("---\n")[1])
    assert card["license"] == "apache-2.0"
    assert card["task_categories"] == ["image-classification"]
    # Split sizes in the card would hold for every folder that the script is ever pointed at.
    assert not {"configs", "dataset_info"} & set(card)


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later run no scripts")
def test_a_script_beside_this_card(photos, tmp_path):
    for name in ("README.md", "multiview_cifar.py", "dataset_infos.json"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    call = re.search(r'`(datasets\.load_dataset\("\./multiview_cifar\.py".*?)` \|', README)[1]
    assert list(eval(call, {"datasets": datasets})) == ["train", "test"]


def test_the_commands_are_those_of_the_project():
    commands = re.findall(r"^<!-- (\w+) -->\n```bash\n(.*?)\n```", README, re.M | re.S)
    assert [name for name, _ in commands] == ["first", "test"]
    assert "python -m multiview_cifar_tools build shapes" in commands[0][1]
    assert "<!-- test -->" in (REPOSITORY / ".ci" / "run").read_text()
