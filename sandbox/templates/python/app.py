"""The web service of @NAME@: `python3 app.py PORT VERSION`."""
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = "Hello from @NAME@"


def answer(path, version):
    """Returns the status and the answer to a request for that path."""
    if path == "/":
        return 200, {
            "application": "@NAME@",
            "version": version,
            "host": socket.gethostname(),
            "greeting": GREETING,
        }
    if path == "/health":
        return 200, {"version": version}
    return 404, {"error": "no such page"}


class Handler(BaseHTTPRequestHandler):
    version = "unknown"

    def do_GET(self):
        status, said = answer(self.path, self.version)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port, Handler.version = int(sys.argv[1]), sys.argv[2]
    ThreadingHTTPServer(("", port), Handler).serve_forever()
