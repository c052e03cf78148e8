"""docs/command_line.md: below its mark stand the verbs, as the command line declares them.

`python scripts/write_command_line_page.py docs/command_line.md` writes them anew.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from multiview_cifar_tools.cli.commands import EXAMPLES, make_command
from multiview_cifar_tools.cli.config_options import read_config_options

MARK = "<!-- From here on: scripts/write_command_line_page.py -->\n"
OF_ALL_VERBS = {"debug", "verbose", "quiet", "help"}


def page(text: str) -> str:
    """The page, of which `text` is an earlier state."""
    sections = (section(name, verb) for name, verb in make_command().commands.items())
    return text.partition(MARK)[0] + MARK + "".join(sections)


def section(name: str, verb: Any) -> str:
    """A verb: what it does, its own arguments, examples."""
    others = OF_ALL_VERBS | {*read_config_options()}
    rows = [describe(each) for each in verb.params if each.name not in others]
    examples = [f"    {example}" for example in EXAMPLES[name]]
    table = ["| argument | meaning |", "|---|---|", *rows]
    return "\n".join([f"\n## {name}\n", unescape(verb.help), "", *table, "", *examples, ""])


def describe(argument: Any) -> str:
    """A row of the table."""
    value = f"`{argument.metavar}`" if argument.metavar else ""
    flags = [f"`{flag}`" for flag in argument.opts if flag.startswith("-")]
    shown = f"{', '.join(flags)} {value}".strip().replace("|", "\\|")
    meaning = unescape(argument.help).replace("|", "\\|")
    return f"| {shown} | {meaning} |"


def unescape(text: str) -> str:
    """Without the escapes of `rich`."""
    return re.sub(r"\\\[", "[", text)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(page(file.read_text(encoding="utf-8")), encoding="utf-8")
