"""Draw the pictures of docs/ that show the pages of `preview`, `check` and `diff`, and `shapes`.

    python scripts/draw_pages.py docs      # needs Chromium, and pip install playwright

The pages are those of the example `shapes`, with faults for `check` and changes for `diff`. Fonts
are those of the machine, so other machines give other bytes.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageEnhance
import PIL.ImageFont
from datasets import Dataset
from playwright.sync_api import Browser, sync_playwright

from multiview_cifar_tools import check, contact_sheet, diff, load, preview

SHAPES = Path(__file__).parents[1] / "data" / "shapes.zip"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def draw_preview() -> str:
    """`shapes` as it is."""
    preview(load("shapes"), "shapes.html")
    return Path("shapes.html").read_text(encoding="utf-8")


def draw_check() -> str:
    """A file that is cut off, a view in two splits, a view that is there twice, and a grey one."""
    write_shapes("photos")
    train, test = Path("photos/train"), Path("photos/test")
    damaged = train / "cone/0003/azimuth_090.png"
    damaged.write_bytes(damaged.read_bytes()[:400])
    shutil.copy(train / "torus/0005/azimuth_000.png", test / "torus/0002/azimuth_000.png")
    shutil.copy(train / "cube/0007/azimuth_000.png", train / "cube/0007/azimuth_180.png")
    grey = train / "sphere/0002/azimuth_270.png"
    PIL.Image.open(grey).convert("L").save(grey)
    return check("photos").to_html()


def draw_diff() -> str:
    """A view that is darker, a sample in another class, one that is new, and one that is gone."""
    write_shapes("before")
    write_shapes("after")
    view = Path("after/train/cone/0003/azimuth_090.png")
    PIL.ImageEnhance.Brightness(PIL.Image.open(view).convert("RGB")).enhance(0.5).save(view)
    shutil.move("after/train/cube/0007", "after/train/prism/0030")
    shutil.copytree("after/test/torus/0005", "after/train/torus/0030")
    shutil.rmtree("after/train/sphere/0002")
    return diff("before", "after").to_html()


PAGES = {"preview": draw_preview, "check": draw_check, "diff": draw_diff}


def write_shapes(folder: str) -> None:
    """The files of `shapes`."""
    with zipfile.ZipFile(SHAPES) as archive:
        archive.extractall(folder)


def take_picture(browser: Browser, page: str, file: Path) -> None:
    """Write the top of a page as a PNG."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.set_content(page)
    tab.wait_for_function("[...document.images].every(image => image.complete)")
    picture = PIL.Image.open(BytesIO(tab.screenshot()))
    tab.close()
    picture.convert("RGB").save(file, optimize=True)


def draw_shapes(rows: Dataset) -> PIL.Image.Image:
    """One sample of each class, in two columns: the same as `contact_sheet`, in less space."""
    names = rows.features["label"].names
    picture = PIL.Image.new("RGB", (750, 355), "white")
    draw, font = PIL.ImageDraw.Draw(picture), PIL.ImageFont.load_default(15)
    for i, name in enumerate(names):
        column, row = divmod(i, 5)
        x, y = 12 + 378 * column, 6 + 70 * row
        draw.text((x, y + 24), name, "#1c1e21", font)
        for j, view in enumerate(rows[[*rows["label"]].index(i)]["images"]):
            picture.paste(view.resize((64, 64), PIL.Image.Resampling.NEAREST), (x + 92 + 66 * j, y))
    return picture


def draw_pages(folder: Path) -> None:
    """Write a PNG of each page, and two of samples of each class."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"error: found none of the browsers {', '.join(BROWSERS)}. Install one.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for name, draw in PAGES.items():
            with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
                page = draw().replace(str(Path.cwd()), "/home/me")
            take_picture(browser, page, folder / f"{name}.png")
        browser.close()
    shapes = load("shapes")
    contact_sheet(shapes, samples_per_class=1).save(folder / "contact_sheet.png", optimize=True)
    draw_shapes(shapes["train"]).save(folder / "shapes.png", optimize=True)


if __name__ == "__main__":
    draw_pages(Path(sys.argv[1]).resolve())
