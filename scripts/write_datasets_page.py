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
# Public sets, each with the line that loads it

{count} sets whose samples are several images. Download one from its home and unpack it: the line
takes the folder as it is distributed. The names are those that public code and papers use; they,
the numbers and the licences were not compared with a download, so trust a set's own pages first. No
set comes along with this project, and its licence is its own: "not stated" means that none was
found.

`multiview-cifar plan FOLDER` knows them by the names of their files, and prints the line. Each line
is tested on a few files of the names shown here, where `{{a,b}}` stands for a and b. What a layout
means is in [Layouts](layouts.md). A set without classes in its names gives rows without the column
`label`.
"""
STEP_FIRST = """\
## Sets that need a step first

| set | why, and the step |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(count=len(KNOWN_SETS))]
    for kind, members in itertools.groupby(KNOWN_SETS, attrgetter("kind")):
        rows = "".join(map(table_row, members))
        header = "| set | rows, and views of each | files, as distributed | the line |\n"
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
