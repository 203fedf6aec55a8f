"""The shop's web service: `python3 shop.py PORT VERSION`."""
import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import basket
import health


class Handler(BaseHTTPRequestHandler):
    """Each answer closes its connection, so no request can arrive on one about to be closed."""

    version = "unknown"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            self._send(200, {"application": "shop", "version": self.version,
                             "host": socket.gethostname()})
        elif url.path == "/health":
            problem = health.problem()
            self._send(503 if problem else 200, {"problem": problem})
        elif url.path == "/total":
            self._send_total(url.query)
        else:
            self._send(404, {"error": "no such page"})

    def _send_total(self, query: str) -> None:
        try:
            wanted = {thing: int(count) for thing, count in parse_qsl(query)}
            self._send(200, {"cents": basket.total_cents(wanted)})
        except (KeyError, ValueError) as error:
            self._send(400, {"error": f"not in the shop: {error}"})

    def _send(self, status: int, answer: dict) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are the load balancer's to log."""


class Server(ThreadingHTTPServer):
    """Waits for the requests under way before it ends."""

    daemon_threads = False
    request_queue_size = 128


def serve(port: int, version: str) -> None:
    """Serve until SIGTERM, and then until the requests under way have been answered."""
    Handler.version = version
    with Server(("", port), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
