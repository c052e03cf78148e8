"""The README: its code runs, its tables and its card say what the code says."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields

import datasets
import pytest
import yaml

import multiview_cifar
from conftest import HAS_SCRIPTS, HOME, REPOSITORY
from exports import run_command
from multiview_cifar_tools.cli.commands import EXAMPLES

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


BLOCK = r"^```bash\n(multiview-cifar [^\n]*)\n```\n\n```text\n(.*?)^```"
SHOWN = dict(re.findall(BLOCK, README, re.M | re.S))
ON_HUB = [command for command in SHOWN if "me/photos" in command]
LOCAL = [command for command in SHOWN if command not in ON_HUB]


@pytest.fixture
def shown_photos(make_tree, tmp_path, monkeypatch):
    """A tree as the README tells of: a note in it, a view missing, and one in two splits."""
    monkeypatch.chdir(tmp_path)
    samples = [f"train/{name}/000{i}" for name in ("cat", "dog") for i in range(1, 5)]
    samples += [f"test/{name}/000{i}" for name in ("cat", "dog") for i in range(1, 3)]
    paths = [f"{sample}/view_{i}.png" for sample in samples for i in range(2)]
    paths.remove("train/dog/0002/view_1.png")
    tree = make_tree(*paths, "train/cat/0001/notes.txt")
    shutil.copy(tree / "train/cat/0003/view_1.png", tree / "test/cat/0002/view_0.png")
    return tree


def as_shown(printed, folder):
    """With the folder, version and digests of the README."""
    printed = re.sub(r"http://127.0.0.1:\d+", "https://huggingface.co", printed)
    printed = printed.replace(str(folder), "/home/me").replace("List(", "Sequence(")
    return re.sub("[0-9a-f]{12,}", "...", printed).strip()


@pytest.mark.parametrize("command", LOCAL)
def test_what_a_command_prints(command, shown_photos, run, tmp_path):
    done = run(*shlex.split(command)[1:])
    printed = done.stdout.replace(HOME, f"{tmp_path}/.cache/huggingface")
    assert as_shown(printed, tmp_path) == SHOWN[command].strip(), done.stderr


def test_what_commands_with_the_hub_print(hub, shown_photos, tmp_path):
    publish, diff, export = ON_HUB
    for command in (publish, diff):
        printed = hub.run(run_command, str(tmp_path), shlex.split(command)[1:])
        assert as_shown(printed, tmp_path) == SHOWN[command].strip()
    shown_photos.rename(tmp_path / "before")
    printed = hub.run(run_command, str(tmp_path), shlex.split(export)[1:])
    assert as_shown(printed, tmp_path) == SHOWN[export].strip()
    assert len([*shown_photos.rglob("*.png")]) == 23


def test_every_name_that_is_shown_is_public():
    for text in (README, *(page.read_text("utf-8") for page in REPOSITORY.glob("docs/*.md"))):
        imports = re.findall(r"from (multiview_cifar\S*) import ([\w, ]+)", text)
        names = {(module, name) for module, line in imports for name in line.split(", ")}
        names |= {*re.findall(r"\b(multiview_cifar(?:_tools)?)\.(?!py\b|json\b)(\w+)", text)}
        for module, name in names:
            assert name in sys.modules[module].__all__, (module, name)


def test_the_walks_of_contributing_lead_through_functions_that_are_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| `([\w/]+\.py)` \| ([\w` ]+) \|", text, re.M)
    assert len(steps) > 20
    for file, names in steps:
        nodes = [*ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8")))]
        functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert {*names.replace("`", "").split()} <= functions, file


def test_every_package_of_contributing_is_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| package |")[2].partition("\n\n")[0]
    shown = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    modules = {path.stem for path in (REPOSITORY / "multiview_cifar_tools").glob("[!_]*")}
    assert shown == (modules - {"py"}) | {"multiview_cifar"}


def test_every_verb_is_shown():
    """With its output, or with a picture of what it makes."""
    commands = re.findall(r"^multiview-cifar (\w+)", README, re.M)
    assert {*commands} >= {*EXAMPLES}


def test_the_commands_are_those_of_the_project():
    commands = re.findall(r"^<!-- (\w+) -->\n```bash\n(.*?)\n```", README, re.M | re.S)
    assert [name for name, _ in commands] == ["first", "test"]
    assert "python -m multiview_cifar_tools build shapes" in commands[0][1]
    assert "<!-- test -->" in (REPOSITORY / ".ci" / "run").read_text()
