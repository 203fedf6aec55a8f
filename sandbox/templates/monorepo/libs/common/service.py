"""What the services of @NAME@ have in common. Whoever changes it has both of them built."""
import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(path, application, version):
    """Returns the status and the answer to a request for that path."""
    if path == "/":
        return 200, {"application": application, "version": version, "host": socket.gethostname()}
    if path == "/health":
        return 200, {"version": version}
    return 404, {"error": "no such page"}


def serve(port, version, respond):
    """Serves until the process is ended.

    respond: returns status and answer, given a path and the version.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, said = respond(self.path, version)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer(("", port), Handler).serve_forever()
