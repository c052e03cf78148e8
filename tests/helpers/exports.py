"""What an export wrote, and the command that loads it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path

import datasets

from array_rows import ROWS
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.loading import SplitRows


# Clients of the Hub import this module; one that imports conftest.py would lose their token.
def run_command(folder, arguments):
    """What a command prints."""
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(arguments) == 0
    return printed.getvalue()


def rows_of(splits):
    """(identity, label, view names, the views' bytes) of each row of each split."""
    raw = datasets.Sequence(datasets.Image(decode=False))
    return {
        split: [
            (row["sample_id"], row["label"], row["view_names"], [v["bytes"] for v in row["images"]])
            for row in ds.cast_column("images", raw)
        ]
        for split, ds in splits.items()
    }


def contents(rows):
    raw = datasets.Sequence(datasets.Image(decode=False))
    for name, feature in rows.features.items():
        if isinstance(getattr(feature, "feature", None), datasets.Image):
            rows = rows.cast_column(name, raw)
    return list(rows)


def rows_object(rows, features, print_="1"):
    """The rows as a source that is neither built nor streamed by `datasets`."""
    return SplitRows(features, len(rows), print_, lambda start=0: iter(rows[start:]))


def digests(folder):
    """The SHA-256 of each file of a folder, by its path there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


PLAIN, LABELLED = ROWS["equal"][0], ROWS["views without names"][0]


def flip(path, at):
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)
