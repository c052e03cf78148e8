"""docs/idea.svg, the picture at the top of the README: a folder, its rows, a batch.

`python scripts/draw_idea.py docs/idea.svg` draws it anew, from data/shapes.zip.
"""

from __future__ import annotations

import base64
import sys
import zipfile
from pathlib import Path

SHAPES = Path(__file__).parents[1] / "data" / "shapes.zip"
SAMPLES = ("cone/0000", "torus/0001")
VIEWS = ("azimuth_000", "azimuth_090", "azimuth_180", "azimuth_270")
WIDTH, HEIGHT, TILE = 860, 300, 36
HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 font-family="system-ui, sans-serif" font-size="14">
<title>A folder of views becomes rows, and rows become batches</title>
<desc>Left: a folder train/cone/0000 with four images. Middle: one row of four images and the label
cone. Right: a batch of shape 64, 4, 3, 32, 32.</desc>
<style>text {{ fill: #1c1e21 }} .quiet {{ fill: #5a6068 }} .code {{ font-family: monospace }}
.panel {{ fill: #f3f4f6; stroke: #d4d7dc }} .line {{ stroke: #5a6068; stroke-width: 2 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6e6e6 }} .quiet {{ fill: #a0a6ad }}
.panel {{ fill: #22252a; stroke: #3a3f46 }} .line {{ stroke: #a0a6ad }} }}</style>
"""


def text(x: int, y: int, words: str, kind: str = "") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" class="{kind}" xml:space="preserve">{words}</text>\n'


def panel(x: int, width: int, title: str) -> str:
    """A box with a title above it."""
    box = f'<rect x="{x}" y="40" width="{width}" height="220" rx="8" class="panel"/>\n'
    return box + text(x, 28, title)


def arrow(x: int) -> str:
    """An arrow from one panel to the next."""
    return (
        f'<path d="M{x} 150h26m-8 -7l8 7l-8 7" fill="none" class="line"/>\n'  # a line and its head
    )


def image(x: int, y: int, data: bytes) -> str:
    """A picture, as wide as a tile."""
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" href="{url}"/>\n'


def draw() -> str:
    """The whole picture."""
    with zipfile.ZipFile(SHAPES) as archive:
        images = {
            (sample, view): archive.read(f"train/{sample}/{view}.png")
            for sample in SAMPLES
            for view in VIEWS
        }
    parts = [HEAD, panel(10, 230, "your folder")]
    tree = ["train/", "  cone/", "    0000/", *(f"      {view}.png" for view in VIEWS[:3])]
    tree += ["      ...", "  torus/", "    0001/ ..."]
    parts += [text(24, 66 + 21 * i, line, "code") for i, line in enumerate(tree)]
    parts += [arrow(248), panel(284, 270, "one row per sample")]
    for row, sample in enumerate(SAMPLES):
        top = 60 + 100 * row
        parts.append(text(300, top + 12, "images", "quiet"))
        parts += [
            image(300 + (TILE + 6) * i, top + 20, images[sample, v]) for i, v in enumerate(VIEWS)
        ]
        parts.append(text(482, top + 12, "label", "quiet"))
        parts.append(text(482, top + 44, sample.partition("/")[0]))
    parts += [arrow(562), panel(598, 250, "batches, at the speed of memory")]
    shapes = [
        ("PyTorch", "(64, 4, 3, 32, 32)"),
        ("NumPy, TensorFlow, JAX", "(64, 4, 32, 32, 3)"),
        ("label", "(64,)"),
    ]
    for i, (name, shape) in enumerate(shapes):
        parts += [text(614, 76 + 62 * i, name, "quiet"), text(614, 100 + 62 * i, shape, "code")]
    parts.append(text(10, 286, 'load_dataset(data_dir="photos")', "code"))
    parts.append(text(578, 286, "DataLoader(TorchBatches(ds), 64)", "code"))
    return "".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
