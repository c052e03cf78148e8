"""What may be shown of a URL and of a file system's options: in errors, logs, pages and names.

redact_url("https://me:key@host/photos.zip?sig=abc")       # "https://host/photos.zip"
redact(f"{url} answers 403", secret_values(url, options))  # for what a library says
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

HIDDEN = "***"
SECRET_OPTIONS = {"storage_options", "output_options"}  # may hold keys: nothing shows them
CHAINED = re.compile(r"::(?=[A-Za-z][\w+.-]*://)")  # as fsspec has it: "zip://a::https://host/b"
# The second half is of a password with a "/", "?" or "#", which makes the port no number.
USERINFO = re.compile(r"[^/?#]*@|(?!\[)[^/?#@]*:(?!\d*(?:[/?#]|$)).*@")
# To its end, without the quotes and full stops behind it.
URL = re.compile(r"""[A-Za-z][\w+.-]*://[^\s<>]+?(?=[.,;:)\]}'"]*(?:[\s<>]|$))""")


def redact_url(place: str) -> str:
    """A URL without its user, password and query; a path as it is."""
    return "::".join(map(_redact_link, CHAINED.split(place)))


def _redact_link(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    userinfo = USERINFO.match(rest)
    return scheme + mark + rest[userinfo.end() if userinfo else 0 :].partition("?")[0]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text in which each URL is as `redact_url` has it, and *** stands for each secret."""
    text = URL.sub(lambda match: redact_url(match[0]), text)
    for secret in sorted({*secrets} - {""}, key=len, reverse=True):
        # Whole words alone: an option "a" is no reason to spoil each "and".
        before, after = (r"(?<!\w)" * secret[0].isalnum(), r"(?!\w)" * secret[-1].isalnum())
        text = re.sub(before + re.escape(secret) + after, HIDDEN, text)
    return text


def redact_error(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """What the error of a library says, in one line, see `redact`."""
    return redact(" ".join(str(error).split()), secrets)


def redact_values(value: Any) -> Any:
    """A value of an option, where each URL in it is as `redact_url` has it."""
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, Mapping):
        return {name: redact_values(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(redact_values, value))
    return value


def secret_values(url: str = "", options: Mapping[str, Any] | None = None) -> set[str]:
    """All texts that may not be shown: what `redact_url` cuts, and each value of the options."""
    secrets = {*_option_texts(options or {})}
    for link in CHAINED.split(url) if "://" in url else ():
        rest = link.partition("://")[2]
        if userinfo := USERINFO.match(rest):
            secrets |= {userinfo[0], *userinfo[0][:-1].split(":", 1)}
        query = rest[userinfo.end() if userinfo else 0 :].partition("?")[2]
        secrets |= {query, *(value for _, value in parse_qsl(query))}
    return secrets | {*map(unquote, secrets)}


def _option_texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, (str, bytes)):
        yield value if isinstance(value, str) else repr(value)[2:-1]
    elif isinstance(value, Iterable):
        for each in value:
            yield from _option_texts(each)
