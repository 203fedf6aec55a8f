"""A wire to Consul that can lose the answers to transactions, or cut before they arrive."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator
from urllib.parse import urlsplit


class Wire(ThreadingHTTPServer):
    """Passes requests on; `lost_answers` is how many transactions to come lose their answer.

    `before_losing` is called when Consul has done such a transaction and its answer is lost.
    """

    daemon_threads = True

    def __init__(self, consul_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.consul = urlsplit(consul_url).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lost_answers = 0
        self.before_losing: Any = lambda: None
        self.transactions = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.consul, timeout=30)
        token = {"X-Consul-Token": self.headers.get("X-Consul-Token", "")}
        connection.request(self.command, self.path, body or None, token)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if self.path.startswith("/v1/txn"):
            self.server.transactions += 1
            if self.server.lost_answers:
                self.server.lost_answers -= 1
                self.server.before_losing()
                self.close_connection = True
                return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def losing_wire(consul_url: str) -> Iterator[Wire]:
    """Yields a wire to that Consul; it is gone after the block."""
    wire = Wire(consul_url)
    thread = threading.Thread(target=wire.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield wire
    finally:
        wire.shutdown()
        thread.join()
        wire.server_close()
