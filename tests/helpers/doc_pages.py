"""The pages of docs/: their sections, and the code in them, which the tests run."""

from __future__ import annotations

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def blocks(text):
    """(language, code, shown) of each block of Python or Bash, in order; `shown` is the block of
    text right below it, or "".
    """
    pattern = r"^```(python|bash)\n(.*?)^```(?:\n\n```text\n(.*?)^```)?"
    return re.findall(pattern, text, re.M | re.S)


def indented_lines(text, begins):
    """The indented lines of a page that begin so, which stand in no fence; without comments."""
    return re.findall(rf"^    ({re.escape(begins)}.*?)(?: +#.*)?$", text, re.M)


def sections(name):
    """{title: text} of a page, in its order; what stands above the first title is left out."""
    page = (DOCS / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.M | re.S))


def run_blocks(section, **names):
    """Run the Python of a section, block by block; the names that are there then."""
    for block in re.findall(r"^```python\n(.*?)^```", section, re.M | re.S):
        exec(block, names)
    return names


# Clients of the Hub import this module, see hub_server.py.
def run_tool(section, folder):
    """What a section of other_tools.md, run in this folder, has in the end: the colour of each
    view, the names of the classes, the number of cats, and the rows of each split.
    """
    os.chdir(folder)
    found = run_blocks(section)
    colours = [view.getpixel((1, 1)) for view in found["views"]]
    return colours, found["names"], len(found["cats"]), dict(found["counts"])
