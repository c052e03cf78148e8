"""docs/datasets.md: public sets whose samples are several images, and the line that loads each.

`python scripts/write_datasets_page.py docs/datasets.md` writes it anew from
multiview_cifar_tools/planning/known_sets.py.
"""

from __future__ import annotations

import argparse
import itertools
from operator import attrgetter
from typing import Any

from multiview_cifar_tools.planning.known_sets import KNOWN_SETS, NOT_BY_A_LINE, KnownSet

MAX_FILES = 4  # of a set that are shown
INTRODUCTION = """\
# Public datasets

Here are {count} datasets whose samples are several images, each with the line that loads it.
Download a dataset from its home page and unpack it: the line takes the folder as it is distributed.

- `multiview-cifar plan FOLDER` recognises them by the names of their files, and prints the line.
- Names, numbers and licences come from public code and papers, and were not compared with a
  download. The pages of a dataset are the better source.
- None of them is part of this project, and each has its own licence. "Not stated" means that none
  was found.
- Each line is tested on a few files with the names shown here, where `{{a,b}}` stands for a and b.
- If the names contain no classes, the rows have no column `label`. [Layouts](layouts.md) explains
  the templates.
"""
STEP_FIRST = """\
## Datasets that need a step first

| dataset | why, and what to do |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(count=len(KNOWN_SETS))]
    for kind, members in itertools.groupby(KNOWN_SETS, attrgetter("kind")):
        rows = "".join(map(table_row, members))
        header = "| dataset | rows, and views of each | files, as distributed | the line |\n"
        parts.append(f"## {kind}\n\n{header}|---|---|---|---|\n{rows}")
    others = [f"| [{name}]({home}) | {why} |\n" for name, home, why in NOT_BY_A_LINE]
    parts.append(STEP_FIRST + "".join(others))
    return "\n".join(parts)


def table_row(known: KnownSet) -> str:
    """A set's line of its table."""
    licence = known.licence or "not stated"
    note = f"<br>{known.note}" if known.note else ""
    files = [*known.files[:MAX_FILES], *["..."] * (len(known.files) > MAX_FILES)]
    cells = [
        f"[{known.name}]({known.home})<br>licence: {licence}",
        f"rows: {known.rows}<br>views: {known.views}{note}",
        "<br>".join(f"`{file}`" for file in files),
        f"`{short_line(known)}`",
    ]
    return f"| {' | '.join(cells)} |\n"


def short_line(known: KnownSet) -> str:
    """The call that loads a set from where it was unpacked."""
    arguments: dict[str, Any] = {"data_dir": known.folder, **known.options}
    return f"load_dataset({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Write docs/datasets.md anew.")
    parser.add_argument("path")
    with open(parser.parse_args().path, "w", encoding="utf-8") as file:
        file.write(page())


if __name__ == "__main__":
    main()
