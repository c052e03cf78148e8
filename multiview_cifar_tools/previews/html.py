"""The frame of every HTML page that the tools write: one file, no server, no network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from typing import Any

from multiview_cifar_tools.places import MARKS

# Nothing but what stands in the page itself may be loaded: the browser holds us to it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
STYLE = """\
:root { color-scheme: light dark;
  --text: light-dark(#1c1e21, #e6e6e6); --quiet: light-dark(#5a6068, #a0a6ad);
  --back: light-dark(#ffffff, #16181b); --panel: light-dark(#f3f4f6, #22252a);
  --line: light-dark(#d4d7dc, #3a3f46); --accent: light-dark(#1f5fbf, #7fb2ff); }
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
table { border-collapse: collapse; } .wide { overflow-x: auto; margin-bottom: 1rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; } .quiet { color: var(--quiet); }
"""
# Small pictures side by side, each with its name.
FIGURE_STYLE = """\
figure { display: inline-block; margin: 0 .4rem .4rem 0; max-width: 8rem; vertical-align: top; }
figure img { display: block; width: 6rem; height: 6rem; object-fit: contain;
  background: var(--panel); image-rendering: pixelated; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
"""


def html_page(title: str, body: str, style: str = "", script: str = "") -> str:
    """A whole page. `title` is text; `body`, `style` and `script` stand in it as they are."""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{MARKS[".html"].decode()}
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{STYLE}{style}</style>
</head>
<body>
{body}
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


def html_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a table; names and cells stand in it as they are."""
    yield f'<div class="wide"><table><tr>{"".join(f"<th>{name}</th>" for name in header)}</tr>'
    yield from (f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    yield "</table></div>"


def data_url(data: bytes, mime: str) -> str:
    """The URL that is a file itself (RFC 2397)."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def page_json(value: Any) -> bytes:
    r"""JSON that may stand in a <script>: no "<" is in it, so nothing ends it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").encode()


def json_element(name: str, data: bytes) -> bytes:
    """The element of the page that holds JSON, which the script reads when it needs it."""
    return b'<script type="application/json" id="%s">%s</script>\n' % (name.encode(), data)
