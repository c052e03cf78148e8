"""The pictures of pages in docs/, which scripts/draw_pages.py draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import needs_browser
from conftest import REPOSITORY

pytest.importorskip("playwright")
NAMES = ("preview", "check", "diff", "contact_sheet", "shapes")


@needs_browser
def test_a_picture_of_each_page(tmp_path: Path) -> None:
    from draw_pages import draw_pages

    draw_pages(tmp_path)
    for name in NAMES:
        drawn, shown = (
            Image.open(path / f"{name}.png") for path in (tmp_path, REPOSITORY / "docs")
        )
        assert drawn.size == shown.size
        # Fonts are those of the machine: thumbnails are compared. A blank one differs by 6.
        small = [
            np.asarray(picture.convert("RGB").resize((32, 20)), int) for picture in (drawn, shown)
        ]
        difference = np.abs(small[0] - small[1]).mean()
        assert difference < 5, f"{name}.png: run python scripts/draw_pages.py docs"


def test_the_pictures_are_small() -> None:
    for name in NAMES:
        assert (REPOSITORY / f"docs/{name}.png").stat().st_size < 150_000
