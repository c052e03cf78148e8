"""The card: what it says is true of the files beside it, and the author has nothing to correct."""

import re
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard
from PIL import Image

import multiview_cifar
from multiview_cifar_tools import publish
from multiview_cifar_tools.errors import PublishError

ETH80 = Path(__file__).parents[3] / "shared" / "data" / "eth80"
LAYOUT = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}
NAMES = dict(zip("12345678", "apple car cow cup dog horse pear tomato".split(), strict=True))
PAPER = "@article{me,\n  title = {Ten {S}olids},\n}"
TREE = [f"{s}/{c}/{i}/{v}.png" for s in ("train", "test") for c in "ab" for i in "12" for v in "lr"]


@pytest.fixture
def leave(tmp_path):
    """leave(data, **arguments): the folder of a dry run."""

    def run(data, folder="files", **arguments):
        return Path(publish(data, "me/photos", dry_run=tmp_path / folder, **arguments))

    return run


@pytest.fixture
def paper(tmp_path):
    (tmp_path / "paper.bib").write_text(f"\n{PAPER}\n\n")
    return tmp_path / "paper.bib"


def front_matter(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def text_of(folder):
    return DatasetCard.load(folder / "README.md").text


def check_sizes(folder):
    """That the card has the sizes of all Parquet files that stand beside it."""
    info, files = front_matter(folder)["dataset_info"], sorted((folder / "data").iterdir())
    assert info["download_size"] == sum(file.stat().st_size for file in files)
    held = dict.fromkeys((split["name"] for split in info["splits"]), 0)
    for file in files:
        footer = pq.read_metadata(file)
        groups = [footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)]
        held[file.name.partition("-")[0]] += sum(groups)
    assert {split["name"]: split["num_bytes"] for split in info["splits"]} == held
    assert info["dataset_size"] == sum(held.values())


def test_sizes_are_those_of_the_files(make_tree, leave, tmp_path):
    tree = make_tree(*TREE)
    folder = leave(str(tree), max_shard_size=400)
    assert len([*(folder / "data").iterdir()]) > 2
    check_sizes(folder)
    built = multiview_cifar.load_dataset(data_dir=tree, cache_dir=str(tmp_path / "cache"))
    of_rows = leave(built, "of rows", max_shard_size=400)
    assert (of_rows / "README.md").read_bytes() == (folder / "README.md").read_bytes()


def test_shards_of_an_earlier_dry_run_do_not_stay(make_tree, leave):
    tree = make_tree(*TREE)
    leave(str(tree), max_shard_size=400)
    folder = leave(str(tree))
    assert [file.name for file in sorted((folder / "data").iterdir())] == [
        "test-00000.parquet",
        "train-00000.parquet",
    ]
    check_sizes(folder)


def append_twice(part, tree, cache, built):
    for folder in (part, tree):
        if built:
            folder = multiview_cifar.load_dataset(data_dir=folder, cache_dir=cache)
        publish(folder, "me/photos", append=True)


@pytest.mark.parametrize("built", [True, False])
def test_sizes_of_shards_that_stay_are_counted(built, hub, make_tree, tmp_path):
    part = make_tree(*(p for p in TREE if p.startswith(("train/a", "train/b/1"))), under="part")
    hub.run(append_twice, str(part), str(make_tree(*TREE)), str(tmp_path / "cache"), built)
    now, before, _ = hub.commits("me/photos")
    stays = "data/train-00000.parquet"
    assert now.tree[stays] == before.tree[stays]
    for path, data in hub.files("me/photos").items():
        (tmp_path / "hub" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / path).write_bytes(data)
    assert len([*(tmp_path / "hub/data").iterdir()]) == 3
    check_sizes(tmp_path / "hub")


def test_what_the_author_gave(make_tree, leave, paper):
    """It is there, and stays where it is not given again."""
    tree = make_tree(*TREE)
    for arguments in ({"license": "cc-by-4.0", "citation": paper}, {}):
        folder = leave(str(tree), **arguments)
        assert front_matter(folder)["license"] == "cc-by-4.0"
        assert text_of(folder).count(f"## Citation\n\n```bibtex\n{PAPER}\n```\n") == 1


def test_what_the_author_did_not_give_is_not_made_up(make_tree, leave):
    folder = leave(str(make_tree(*TREE)))
    assert "license" not in front_matter(folder)
    assert "Citation" not in text_of(folder)


def test_what_the_author_wrote_in_the_folder_stays(make_tree, leave):
    tree = make_tree(*TREE)
    readme = leave(str(tree)) / "README.md"
    readme.write_text(
        readme.read_text().replace("# photos", "# Mine\n\nTaken in May.") + "\nBye.\n"
    )
    changed = readme.read_text()
    leave(str(tree))
    assert readme.read_text() == changed


@pytest.mark.parametrize(
    ("data", "says"),
    [(None, "cannot be read"), (b"\xff", "cannot be read"), (b" \n", "empty"), (b"```", "marks")],
)
def test_citations_that_cannot_be_shown(data, says, make_tree, leave, tmp_path):
    if data is not None:
        (tmp_path / "paper.bib").write_bytes(data)
    with pytest.raises(PublishError, match=says) as error:
        leave(str(make_tree("cat/1/a.png")), citation=tmp_path / "paper.bib")
    assert error.value.path == str(tmp_path / "paper.bib")
    assert not (tmp_path / "files").exists()


def test_a_readme_that_is_no_text(make_tree, leave, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(PublishError, match=r"README\.md is not text in UTF-8"):
        leave(str(make_tree("cat/1/a.png")))


def test_image_sizes_are_height_x_width(make_tree, leave):
    tree = make_tree("cat/1/a.png")
    Image.new("RGB", (48, 40)).save(tree / "cat/1/a.png")
    lines = text_of(leave(str(tree))).splitlines()
    at = lines.index("| image size (height x width) | mode | images |")
    assert lines[at + 2] == "| 40 x 48 | RGB | 1 |"


def test_names_of_classes_do_not_break_the_table(make_tree, leave):
    folder = leave(str(make_tree("a|b/1/x.png", "<i>/1/x.png", "[c](d)_*/1/x.png")))
    lines = text_of(folder).splitlines()
    for cell in (r"a\|b", r"\<i\>", r"\[c\](d)\_\*"):
        assert f"| {cell} | 1 |" in lines


def loads(folder, code):
    """Run a card's lines of Python as a user of the published dataset does."""
    publish(datasets.Dataset.from_parquet(f"{folder}/data/test-*.parquet"), "me/photos")
    names = {}
    exec(code, names)
    return names["ds"].num_rows


def test_its_lines_of_python_run(hub, make_tree, leave):
    folder = leave(str(make_tree(*TREE)))
    blocks = re.findall(r"^```python\n(.*?)^```", text_of(folder), re.M | re.S)
    assert [block.splitlines()[0] for block in blocks] == [
        "from datasets import load_dataset",
        "from multiview_cifar_tools import load",
    ]
    for block in blocks:
        assert hub.run(loads, str(folder), block) == 4


@pytest.mark.skipif(not ETH80.is_dir(), reason=f"{ETH80} is absent")
def test_eth80_as_it_is_uploaded(leave, tmp_path):
    """Nothing in the folder of a dry run has to be corrected by hand."""
    folder = leave(ETH80, layout=LAYOUT, class_names=NAMES, image_size=(64, 64))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} >= {
        "README.md",
        "views.png",
        "data/train-00000.parquet",
    }
    card, text = front_matter(folder), text_of(folder)
    assert card["size_categories"] == ["n<1K"]
    assert card["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}
    ]
    check_sizes(folder)
    assert "| apple | 3 |" in text and "| all | 24 |" in text
    assert not re.search(r"TODO|unknown|needed|/work|/tmp|your|\{\}|\bNone\b", text, re.I)
    assert str(ETH80) not in text and str(tmp_path) not in text
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        with Image.open(folder / picture) as image:
            assert min(image.size) > 100
    ds = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), split="train")
    assert ds.num_rows == 24
    assert ds.features["label"].names == [*NAMES.values()]


OTHER_CONFIG = {"config_name": "raw", "data_files": "raw/*.zip"}
OTHER_INFO = {"config_name": "raw", "features": [{"name": "file", "dtype": "string"}]}


@pytest.mark.parametrize("info", [None, OTHER_INFO])
def test_other_configs_of_the_author_stay(info, make_tree, leave, tmp_path):
    tree = make_tree(*TREE)
    folder = leave(str(tree))
    own = front_matter(folder)
    added = {**own, "configs": [OTHER_CONFIG, *own["configs"]], "viewer": False}
    if info:
        added["dataset_info"] = [info, {"config_name": "default", **own["dataset_info"]}]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(added)}---\n# Mine\n")
    card = front_matter(leave(str(tree)))
    assert card["configs"] == [*own["configs"], OTHER_CONFIG]
    assert card["viewer"] is False
    default = {"config_name": "default", **own["dataset_info"]}
    assert card["dataset_info"] == ([default, info] if info else own["dataset_info"])
    ds = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), split="train")
    assert ds.num_rows == 4


@pytest.mark.parametrize(
    ("yaml_text", "tags"),
    [
        ("tags: solid", ["solid"]),
        ("tags:", []),
        ("tags: [1, solid]\nconfigs: raw\ndataset_info: [raw]", ["1", "solid"]),
    ],
)
def test_yaml_that_is_written_otherwise(yaml_text, tags, make_tree, leave, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/README.md").write_text(f"---\n{yaml_text}\n---\n# Mine\n")
    card = front_matter(leave(str(make_tree("cat/1/a.png"))))
    assert card["tags"] == [*tags, "multi-view", "multiview-cifar"]
    assert [config["config_name"] for config in card["configs"]] == ["default"]
