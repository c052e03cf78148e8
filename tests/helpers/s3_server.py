"""S3 on loopback for the tests: moto's server, and before it a gate that fails and counts.

    with s3_server.serve() as s3:
        s3.put("photos/cat/1/a.png", data)             # into the bucket "bucket"
        load_dataset(data_dir="s3://bucket/photos", storage_options=s3.options)
        s3.fail(503, times=2, where="a.png")           # the next two requests for such a path

Every request passes the gate: it is a real HTTP conversation.
"""

import contextlib
import http.client
import http.server
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

BUCKET = "bucket"


@dataclass
class Fault:
    """What becomes of the next requests for a path."""

    status: int  # 0: the connection is closed without an answer
    times: int
    where: str


@dataclass
class S3:
    """A client's view of the server."""

    endpoint: str
    server: str  # moto's own "host:port", past the gate
    log: list[str] = field(default_factory=list)  # "GET /bucket/photos/a.png"
    faults: list[Fault] = field(default_factory=list)
    after: dict[str, object] = field(default_factory=dict)  # what to call once such a path was had

    @property
    def options(self):
        """For `storage_options`."""
        return {
            "key": "test",
            "secret": "test",
            "client_kwargs": {"endpoint_url": self.endpoint, "region_name": "us-east-1"},
        }

    def request(self, method, path, data=None):
        with contextlib.closing(http.client.HTTPConnection(self.server)) as client:
            headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/"}
            client.request(method, urllib.parse.quote(path), body=data, headers=headers)
            answer = client.getresponse()
            answer.read()
            return answer.status

    def put(self, name, data):
        assert self.request("PUT", f"/{BUCKET}/{name}", data) == 200

    def put_tree(self, folder, under):
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{under}/{file.relative_to(folder)}", file.read_bytes())

    def delete(self, name):
        assert self.request("DELETE", f"/{BUCKET}/{name}") == 204

    def fail(self, status, times, where):
        self.faults.append(Fault(status, times, where))


class Gate(http.server.BaseHTTPRequestHandler):
    """Hands requests on to moto, as they are."""

    protocol_version = "HTTP/1.1"
    s3: S3

    def log_message(self, *args):
        pass

    def handle_any(self):
        s3, path = self.s3, urllib.parse.unquote(self.path)
        s3.log.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for fault in s3.faults:
            if fault.times and fault.where in path:
                fault.times -= 1
                self.close_connection = True
                if fault.status:
                    self.send_response(fault.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                return
        status, headers, data = self.pass_on(body)
        for where in [where for where in s3.after if where in path and self.command == "GET"]:
            s3.after.pop(where)()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        length = dict((k.lower(), v) for k, v in headers).get("content-length", len(data))
        self.send_header("Content-Length", length if self.command == "HEAD" else len(data))
        self.end_headers()
        self.wfile.write(data)

    def pass_on(self, body):
        with contextlib.closing(http.client.HTTPConnection(self.s3.server)) as client:
            client.request(self.command, self.path, body=body, headers=dict(self.headers))
            answer = client.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that went away


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def serve():
    """A server with an empty bucket, for as long as the context."""
    port = free_port()
    moto = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    gate = Server(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=gate.serve_forever, daemon=True)
    try:
        s3 = S3(f"http://127.0.0.1:{gate.server_port}", f"127.0.0.1:{port}")
        gate.RequestHandlerClass = type("GateOf", (Gate,), {"s3": s3})
        thread.start()
        for _ in range(600):
            with contextlib.suppress(OSError):
                assert s3.request("PUT", f"/{BUCKET}") == 200
                break
            time.sleep(0.1)
        yield s3
    finally:
        gate.shutdown()
        gate.server_close()
        moto.terminate()
        moto.wait()
