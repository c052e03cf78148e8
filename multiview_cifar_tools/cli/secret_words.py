"""What of the command line may not be shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.storage.redaction import SECRET_OPTIONS, secret_values


def secret_words(words: Sequence[str]) -> set[str]:
    """What stands behind the options of a file system, mistyped or not in quotes, up to the next
    option: errors may not repeat it.
    """
    secrets, is_secret = set[str](), False
    for word in words:
        name, _, value = word.partition("=")
        if word.startswith("--"):
            is_secret = re.match(r"--(st(?!r)|.*opt)", name) is not None
            word = value
        if is_secret:
            secrets |= {word, repr(word)[1:-1]}
    return secrets


def secrets_of(args: Arguments) -> set[str]:
    """What no line that is printed may hold, of the arguments of a verb."""
    secrets = set[str]()
    for name, value in vars(args).items():
        if name in SECRET_OPTIONS:
            secrets |= secret_values(options=value)
        elif isinstance(value, str):
            secrets |= secret_values(value)
    return secrets
