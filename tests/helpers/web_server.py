"""A folder behind http://127.0.0.1."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A folder, with ETags and ranges where the class says so, of files that the path or the query
    names.
    """

    ranges, etags, by_query = True, True, False

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(None)

    def answer(self, body):
        try:
            name = self.path.partition("?")[2] if self.by_query else self.path
            with open(self.translate_path(name), "rb") as file:
                data = file.read()
        except OSError:
            self.send_error(404)
            return
        size, status = len(data), 200
        span = self.headers.get("Range", "")
        if self.ranges and span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            last = min(int(last or size - 1), size - 1)
            data, status = data[int(first) : last + 1], 206
        self.send_response(status)
        if self.etags:
            self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Content-Length", str(len(data)))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data if body is None else body)


@contextlib.contextmanager
def serve(folder, **attributes):
    """The address of a server of this folder; attributes are those of Ranges."""
    handler = functools.partial(type("Handler", (Ranges,), attributes), directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
