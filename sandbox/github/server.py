"""Serves a GitHub over HTTP: the REST calls, and git's own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator

from sandbox.github.commits import GitCommits
from sandbox.github.repository import Repository
from sandbox.github.rest import NAME, GitHub
from sandbox.github.shapes import Answer, Json, Site, not_found

DEFAULT_PUSHER = "dana"  # The login of who commits in sandbox/repositories.py.
STOP_WITHIN_S = 0.05


class Handler(BaseHTTPRequestHandler):
    """One HTTP request: a REST call below the API's address, or one of git's."""

    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self._read_body()
        url = urllib.parse.urlsplit(self.path)
        prefix = urllib.parse.urlsplit(self.server.github.url).path
        in_git = re.fullmatch(rf"/({NAME}/{NAME})\.git/([A-Za-z/-]+)", url.path)
        try:
            if in_git:
                self._run_git(in_git.group(1), in_git.group(2), url.query, body)
            elif url.path.startswith(f"{prefix}/"):
                status, answer = self.server.github.answer(
                    self.command,
                    urllib.parse.unquote(url.path[len(prefix) :]),
                    dict(urllib.parse.parse_qsl(url.query)),
                    _parsed(body),
                    self.headers.get("Authorization", ""),
                )
                self._send_json(status, answer)
            else:
                raise not_found()
        except Answer as refusal:
            self._send_json(refusal.status, refusal.body, refusal.headers)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        """GitHub keeps its own list of requests."""

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return body

    def _run_git(self, full_name: str, service: str, query: str, body: bytes) -> None:
        repository = self.server.github.repositories.get(full_name)
        if not repository or not isinstance(repository.commits, GitCommits):
            raise not_found()
        pusher = self._pusher()
        if service == "pushed" and self.client_address[0] == "127.0.0.1":  # by pack.py
            self._send_json(200, {})
            self._announce(repository, body.decode("utf-8", "replace").splitlines(), pusher)
            return
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as pushed:
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": "/root",
                "GIT_PROJECT_ROOT": str(repository.commits.path),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": f"/{service}",
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": pusher or DEFAULT_PUSHER,
                "REMOTE_ADDR": self.client_address[0],
                "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PUSHED_REFS": pushed.name,
            }
            answer = subprocess.run(
                ["git", "http-backend"],
                input=body,
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            lines = pushed.read().splitlines()
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, headers, content)
        self._announce(repository, lines, pusher)

    def _announce(self, repository: Repository, lines: list[str], pusher: str | None) -> None:
        """Tell of a push: each line names the commits before and after, and the reference."""
        for line in lines:
            before, after, ref = line.split(" ", 2)
            login = pusher or _login_of_committer(repository, after)
            self.server.github.pushed(repository, before, after, ref, login)

    def _pusher(self) -> str | None:
        """The login that the push carries, None when it carries none."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            login = base64.b64decode(value).decode("utf-8", "replace").partition(":")[0]
            if re.fullmatch(NAME, login):
                return login
        return None

    def _send_json(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self._send(status, {**kind, **(headers or {})}, json.dumps(answer).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _login_of_committer(repository: Repository, commit: str) -> str:
    """The first name of who made a commit, as a login: `dana` of Dana Developer."""
    if not repository.commits.knows(commit):  # a branch was deleted
        return DEFAULT_PUSHER
    name = repository.commits.describe(commit).committer.name.lower()
    return next(iter(re.findall(NAME, name)), DEFAULT_PUSHER)


class Server(ThreadingHTTPServer):
    """Listens once it is made; an empty address is any of the machine's, port 0 a free one.

    github: what it answers for; set before it serves.
    """

    daemon_threads = True
    github: GitHub

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), Handler)


@contextlib.contextmanager
def running_github(prefix: str = "/api/v3") -> Iterator[GitHub]:
    """A GitHub of made-up commits on a free port of this machine.

    :param prefix: what comes before the paths of the API; on GitHub Enterprise Server /api/v3.
    """
    with Server("127.0.0.1", 0) as server:
        html = f"http://127.0.0.1:{server.server_port}"
        server.github = GitHub(Site(html, html + prefix))
        threading.Thread(target=server.serve_forever, args=(STOP_WITHIN_S,), daemon=True).start()
        try:
            yield server.github
        finally:
            server.shutdown()


def _parsed(body: bytes) -> Json:
    try:
        parsed: Json = json.loads(body or b"{}")
    except ValueError:
        raise Answer(400, "Problems parsing JSON") from None
    return parsed
