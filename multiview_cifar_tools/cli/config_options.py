"""The options of the dataset, read out of the source of the config: to import the class would
import `datasets` and pandas, which takes seconds, and the help has to come at once.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

CONFIG = "MultiviewCifarConfig"


class ConfigOption(NamedTuple):
    """A field of the config.

    Attributes:
        hint: Its type.
        default: Its default value.
        help: Its text under "Args:" in the docstring of the class.
    """

    hint: Any
    default: Any
    help: str


@cache
def read_config_options() -> dict[str, ConfigOption]:
    """The options by name, in their order."""
    node = _find_config()
    help_texts = _read_help(ast.get_docstring(node) or "")
    names = {"Any": Any, "Literal": Literal}
    return {
        field.target.id: ConfigOption(
            eval(ast.unparse(field.annotation), names),
            ast.literal_eval(field.value),
            help_texts.get(field.target.id, ""),
        )
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value
    }


def _find_config() -> ast.ClassDef:
    """The class in the source of the script, which is found but not imported."""
    spec = importlib.util.find_spec("multiview_cifar")
    assert spec is not None
    tree = ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return next(node for node in classes if node.name == CONFIG)


def _read_help(docstring: str) -> dict[str, str]:
    """The text of each name under "Args:"."""
    arguments = inspect.cleandoc(docstring).partition("\nArgs:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", arguments, re.M)
    return {name: " ".join(words.split()) for name, words in entries}
