"""Draw the figures that `read.py --save` wrote.

    python benchmarks/chart.py read.json docs/read.svg

On a white ground of its own, so that it reads the same in a light and in a dark page.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

FONTS = ["DejaVu Sans", "sans-serif"]  # the first, to measure by, is a wide one
OURS, LIMIT, OTHERS = "#2563eb", "#1f2937", "#b8c0cc"
TEXT, QUIET = "#1f2328", "#656d76"
TITLES = {
    "S": "5,000 samples of 4 views, 32x32 PNG",
    "M": "1,000 samples of 4 views, 224x224 JPEG",
}


def colour(name: str) -> str:
    if name.startswith("TorchBatches"):
        return OURS
    return LIMIT if name.startswith("memmap") else OTHERS


def panel(axes: plt.Axes, title: str, speeds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(each) for name, each in speeds.items()}
    names = sorted(medians, key=lambda name: medians[name])
    start = 10 ** (math.log10(medians[names[0]]) - 0.35)  # a log scale has no zero: any left edge
    axes.set_xscale("log")
    axes.set_xlim(start, medians[names[-1]] * 1.05)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_title(title, loc="left", x=0, fontsize=11, fontweight="bold", color=TEXT, pad=6)
    axes.axis("off")
    for at, name in enumerate(names):
        bold = "bold" if colour(name) == OURS else "normal"
        axes.barh(at, medians[name] - start, left=start, height=0.72, color=colour(name))
        label = {"va": "center", "fontsize": 9, "fontweight": bold}
        ink = OURS if bold == "bold" else TEXT
        place = {"textcoords": "offset points", "annotation_clip": False}
        axes.annotate(name, (start, at), (-6, 0), ha="right", color=ink, **label, **place)
        value = f"{medians[name]:,.0f}"
        axes.annotate(value, (medians[name], at), (4, 0), ha="left", color=ink, **label, **place)


def main(figures: str, picture: str) -> None:
    results = json.loads(Path(figures).read_text())
    # Letters stay text, a tenth of the size; the same figures give the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "read", "font.family": FONTS}
    bars = [len(speeds) for speeds in results["speeds"].values()]
    height = 1.5 + 0.23 * sum(bars) + 0.35 * len(bars)
    figure, panels = plt.subplots(
        len(bars), 1, figsize=(8.6, height), height_ratios=bars, facecolor="white", squeeze=False
    )
    figure.subplots_adjust(
        left=0.325, right=0.9, top=1 - 0.95 / height, bottom=0.3 / height, hspace=0.1
    )
    for axes, (tree, speeds) in zip(panels[:, 0], results["speeds"].items(), strict=True):
        panel(axes, TITLES[tree], speeds)
    inches = {"transform": figure.dpi_scale_trans, "va": "top"}
    title = "One shuffled epoch, samples a second (log scale)"
    figure.text(0.2, height - 0.15, title, fontsize=13, fontweight="bold", color=TEXT, **inches)
    legend = [(OURS, "this project", 0), (LIMIT, "NumPy's memmap", 1.3), (OTHERS, "others", 2.8)]
    for ink, words, at in legend:
        figure.text(0.2 + at, height - 0.42, "\u25a0", fontsize=11, color=ink, **inches)
        figure.text(0.36 + at, height - 0.44, words, fontsize=9, color=TEXT, **inches)
    versions = results["versions"]
    packages = "datasets torch webdataset mosaicml-streaming h5py ffcv visionlab-slipstream".split()
    note = (
        f"{results['machine']}; batches of {results['batch']}; median of {results['n']}; "
        + ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    )
    figure.text(0.2, 0.2, note, fontsize=6.5, color=QUIET, **inches)
    metadata = {"Date": None} if picture.endswith(".svg") else None
    figure.savefig(picture, dpi=150, metadata=metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
