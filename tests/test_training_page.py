"""docs/training.md: each section's code runs, where the README's photos/ and scans/ stand."""

import re

import pytest

from conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


@pytest.mark.parametrize("title", SECTIONS)
def test_the_code_of(title, make_tree, tmp_path, monkeypatch):
    folders = [f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")]
    make_tree(*(f"{folder}/0001/view_{i}.png" for folder in folders for i in range(2)))
    scans = [f"{name}/{i:04}" for name in ("healthy", "ill") for i in range(8)]
    make_tree(*(f"{scan}/front.png" for scan in scans), under="scans")
    patients = "".join(f"{scan},P{i // 2}\n" for i, scan in enumerate(scans))
    (tmp_path / "scans/metadata.csv").write_text(f"sample_id,patient\n{patients}")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.M | re.S):
        exec(block, names)
