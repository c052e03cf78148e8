"""Layouts of plans."""

from __future__ import annotations

WHOLE = [f"{c}/{s}/{v}.png" for c in ("cat", "dog") for s in "12" for v in ("left", "right")]


def within(split, paths):
    return [f"{split}/{path}" for path in paths]
