"""README and docs/: all code runs, and what is shown is what is printed, raised and written."""

import ast
import re
import shlex
import shutil
import sys
from dataclasses import fields
from functools import partial

import datasets
import pytest
import yaml

import multiview_cifar
from conftest import HAS_SCRIPTS, HOME, REPOSITORY
from doc_pages import blocks, indented_lines
from draw_idea import draw
from exports import run_command
from multiview_cifar_tools.cli.commands import EXAMPLES, Arguments, parse
from multiview_cifar_tools.storage import cifar
from sampling import SMOKE
from write_command_line_page import page as command_line_page
from write_options_page import page as options_page

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in sorted(REPOSITORY.glob("docs/*.md"))}
PAGES = {"README.md": README, **DOCS}
# These have tests of their own, which check what their code finds.
OTHERS = {"training.md", "publishing.md", "other_tools.md", "elastic.md", "datasets.md"}
WITH_CODE = [name for name in PAGES if name not in OTHERS and blocks(PAGES[name])]
EPOCHS = 1 if SMOKE else 20  # of the training, which is the same on all datasets
NOT_OF_TESTS = "python3 -m venv"  # the README's two commands; .ci/run runs the second


@pytest.fixture
def inputs(make_tree, tmp_path, monkeypatch):
    """What the pages speak of, in the current folder: photos/ with a note in it, a view missing,
    and one in two splits; and a folder for each layout and each kind of metadata.
    """
    monkeypatch.chdir(tmp_path)
    samples = [f"train/{name}/000{i}" for name in ("cat", "dog") for i in range(1, 5)]
    samples += [f"test/{name}/000{i}" for name in ("cat", "dog") for i in range(1, 3)]
    paths = [f"{sample}/view_{i}.png" for sample in samples for i in range(2)]
    paths.remove("train/dog/0002/view_1.png")
    tree = make_tree(*paths, "train/cat/0001/notes.txt")
    shutil.copy(tree / "train/cat/0003/view_1.png", tree / "test/cat/0002/view_0.png")
    make_tree("cat/0001_front.png", "cat/0001_left.png", under="flat")
    make_tree("cat/0001.png", "cat/0002.png", under="single")
    make_tree("train/left/cat/0001/a.png", "train/right/cat/0001/a.png", under="rig")
    make_tree("cat/1/a.png", "cat/1/maps/a-map.png", under="masked")
    views = ["cat/0001/view_0.png", "cat/0001/view_1.png"]
    weighed, turned, patients = metadata_shown()
    (make_tree(*views, under="weighed") / "metadata.csv").write_text(weighed)
    (make_tree(*views, under="turned") / "metadata.csv").write_text(turned)
    (make_tree("P1/a.png", under="patients") / "metadata.csv").write_text(patients)
    return tree


def metadata_shown():
    """The three files that docs/metadata.md shows."""
    shown = re.findall(r"^(    sample[^\n]*\n(?:    [^\n]+\n)+)", DOCS["metadata.md"], re.M)
    return [re.sub("^    ", "", block, flags=re.M) for block in shown]


def as_shown(printed, folder):
    """With the folder, version and digests of the pages."""
    printed = re.sub(r"http://127.0.0.1:\d+", "https://huggingface.co", printed)
    printed = printed.replace(str(folder), "/home/me").replace("List(", "Sequence(")
    return re.sub("[0-9a-f]{12,}", "...", printed).strip()


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of(name, inputs, run, tmp_path, monkeypatch):
    shutil.copy(REPOSITORY / "multiview_cifar.py", tmp_path)
    names = {}
    for language, code, shown in blocks(PAGES[name]):
        if language == "python":
            if "trust_remote_code" not in code or HAS_SCRIPTS:
                exec(code.replace("range(20)", f"range({EPOCHS})"), names)
            continue
        for line in code.splitlines():
            if line.startswith(NOT_OF_TESTS) or "me/" in line:  # the Hub's: below
                continue
            assert line.startswith("multiview-cifar "), line
            if line.endswith(" export shapes photos"):
                shutil.rmtree(inputs)
            done = run(*shlex.split(line)[1:])
            assert "error:" not in done.stderr, done.stderr
            if shown:
                printed = done.stdout.replace(HOME, f"{tmp_path}/.cache/huggingface")
                assert as_shown(printed, tmp_path) == shown.strip(), done.stderr
    if name == "README.md":
        assert names["right"] >= 40 or SMOKE, "of 60, by the training loop"


@pytest.mark.parametrize(
    "line",
    [line for name in ("options.md", "cifar.md") for line in indented_lines(DOCS[name], "load_d")],
)
def test_an_indented_line(line, make_tree, make_folder, tmp_path, monkeypatch):
    """Of the CIFARs small ones, in the place of the downloads, whose sizes are known."""
    monkeypatch.chdir(tmp_path)
    make_tree(*(f"train/cat/1/view_{i}.png" for i in range(4)))
    folders = {name: str(make_folder(name, under=".")) for name in ("cifar10", "cifar100")}
    monkeypatch.setattr(cifar, "download", lambda name, _: folders[name])
    load = partial(multiview_cifar.load_dataset, verification_mode="no_checks")
    assert eval(line, {"load_dataset": load})["train"].num_rows > 0


@pytest.mark.parametrize(
    "line", [*indented_lines(DOCS["cluster.md"], "multiview-cifar ")], ids=["build", "publish"]
)
def test_an_indented_command(line):
    """It can be read; what it does with a cluster or a store is tested with these."""
    assert isinstance(parse(shlex.split(line)[1:]), Arguments)


def test_the_commands_with_the_hub(hub, inputs, tmp_path):
    """From a folder to the Hub and back; and rows of one image each, of somebody else."""
    image = {"bytes": (inputs / "train/cat/0001/view_0.png").read_bytes()}
    pictures = {"image": [image] * 4, "object_id": [0, 0, 1, 1], "angle": [0, 90, 0, 90]}
    stereo = {"left": [image] * 2, "right": [image] * 2}
    for name, columns in (("me/pictures", pictures), ("me/stereo", stereo)):
        rows = datasets.Dataset.from_dict(columns)
        for column in {"image", "left", "right"} & {*columns}:
            rows = rows.cast_column(column, datasets.Image())
        rows.to_parquet(file := tmp_path / "rows.parquet")
        hub.create(name)
        hub.write(name, {"data/train-00000.parquet": file.read_bytes()}, "rows")
    commands = {
        line: shown
        for name in ("publishing.md", "README.md", "formats.md")
        for _, code, shown in blocks(PAGES[name])
        for line in code.splitlines()
        if re.match("multiview-cifar .*me/", line)
        # Some are of files and branches that are not there.
        and not re.search("--dry-run|@v1|fields.json", line)
    }
    assert len(commands) > 4
    for command, shown in commands.items():
        if "export me/photos photos" in command:
            inputs.rename(tmp_path / "before")
        printed = hub.run(run_command, str(tmp_path), shlex.split(command)[1:])
        assert not shown or as_shown(printed, tmp_path) == shown.strip()
    assert len([*inputs.rglob("*.png")]) == 23


def test_the_options_page_is_current_and_has_every_option():
    made = "run python scripts/write_options_page.py docs/options.md"
    assert DOCS["options.md"] == options_page(), made
    table = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", DOCS["options.md"], re.M))
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    own = [f for f in fields(multiview_cifar.MultiviewCifarConfig) if f.name not in inherited]
    assert table == {f.name: repr(f.default).replace("'", '"') for f in own}


def test_the_page_of_the_command_line_is_current():
    made = "run python scripts/write_command_line_page.py docs/command_line.md"
    assert DOCS["command_line.md"] == command_line_page(DOCS["command_line.md"]), made


def test_every_option_stands_in_the_readme():
    section = README.partition("## Options")[2].partition("## ")[0]
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    own = {f.name for f in fields(multiview_cifar.MultiviewCifarConfig)} - inherited
    assert own <= {*re.findall(r"`(\w+)`", section)}


def test_the_picture_is_current():
    made = "run python scripts/draw_idea.py docs/idea.svg"
    assert (REPOSITORY / "docs/idea.svg").read_text("utf-8") == draw(), made


def test_every_column_stands_in_the_table(inputs):
    section = DOCS["layouts.md"].partition("## The row")[2].partition("## ")[0]
    table = re.findall(r"^\| `(\w+)` \|", section, re.M)
    columns = list(multiview_cifar.load_dataset(data_dir=str(inputs))["train"].features)
    assert [name for name in table if name != "view_labels"] == columns


def test_the_error_shown_is_the_one_raised(make_tree, tmp_path):
    shown = re.search(r"LayoutError: (.*?)\n\n", DOCS["layouts.md"], re.S)[1]
    with pytest.raises(multiview_cifar.LayoutError) as error:
        multiview_cifar.load_dataset(data_dir=str(make_tree("cat/1.png")))
    assert str(error.value).replace(f"{tmp_path}/", "") == " ".join(shown.split())


def test_the_card():
    card = yaml.safe_load(README.split("---\n")[1])
    assert card["license"] == "apache-2.0"
    assert card["task_categories"] == ["image-classification"]
    # Split sizes in the card would hold for every folder that the script is ever pointed at.
    assert not {"configs", "dataset_info"} & set(card)


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later run no scripts")
def test_a_script_beside_this_card(inputs, tmp_path):
    for name in ("README.md", "multiview_cifar.py", "dataset_infos.json"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    text = DOCS["limits.md"]
    call = re.search(r'`(datasets\.load_dataset\("\./multiview_cifar\.py".*?)` \|', text)[1]
    assert list(eval(call, {"datasets": datasets})) == ["train", "test"]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 250


def test_links_lead_to_pages_and_headings_that_are_there():
    for name, text in PAGES.items():
        folder = REPOSITORY / ("." if name == "README.md" else "docs")
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
            path, _, heading = target.partition("#")
            assert (folder / path).exists(), (name, target)
            if heading:
                page = (folder / path).read_text("utf-8") if path else text
                titles = re.findall(r"^#+ (.+)$", page, re.M)
                slugs = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
                assert heading in slugs, (name, target)


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
    commands = re.findall(r"^multiview-cifar (\w+)", "\n".join(PAGES.values()), re.M)
    assert {*commands} >= {*EXAMPLES}


def test_the_commands_are_those_of_the_project():
    commands = re.findall(r"^<!-- (\w+) -->\n```bash\n(.*?)\n```", README, re.M | re.S)
    assert [name for name, _ in commands] == ["first", "test"]
    assert "python -m multiview_cifar_tools build shapes" in commands[0][1]
    assert "<!-- test -->" in (REPOSITORY / ".ci" / "run").read_text()
