"""docs/training.md: each section's code runs, where the README's photos/ and scans/ stand."""

import pytest

from doc_pages import run_blocks, sections

SECTIONS = sections("training.md")


@pytest.mark.parametrize("title", SECTIONS)
def test_the_code_of(title, make_tree, tmp_path, monkeypatch):
    folders = [f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")]
    make_tree(*(f"{folder}/0001/view_{i}.png" for folder in folders for i in range(2)))
    scans = [f"{name}/{i:04}" for name in ("healthy", "ill") for i in range(8)]
    make_tree(*(f"{scan}/front.png" for scan in scans), under="scans")
    patients = "".join(f"{scan},P{i // 2}\n" for i, scan in enumerate(scans))
    (tmp_path / "scans/metadata.csv").write_text(f"sample_id,patient\n{patients}")
    monkeypatch.chdir(tmp_path)
    run_blocks(SECTIONS[title])
