"""How the results of plan, check, preview, stats and build show themselves.

plan("photos")    # a few lines in Python; the same lines and tables in a notebook
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

MAX_ROWS = 20  # of each table; the data frames hold all


class Report:
    """A result whose `repr` is short, however large the dataset is."""

    def summary(self) -> list[str]:
        """The result in a few lines of text."""
        raise NotImplementedError

    def tables(self) -> Iterable[pandas.DataFrame]:
        """The tables that a notebook shows below the summary."""
        return ()

    def picture(self) -> str:
        """What a notebook shows below the tables, as HTML."""
        return ""

    def __repr__(self) -> str:
        return "\n".join(self.summary())

    def _repr_html_(self) -> str:
        lines = "<br>".join(map(html.escape, self.summary()))
        options: dict[str, Any] = {"max_rows": MAX_ROWS, "index": False, "border": 0}  # escapes
        tables = [table.to_html(**options) for table in self.tables() if len(table)]
        return "\n".join([f"<p>{lines}</p>", *tables, self.picture()])
