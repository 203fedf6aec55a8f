"""Listens for webhooks on this machine: POST /api/v1/webhooks/<url>, as StackStorm's API does."""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import threading
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from packengine.engine import Engine

WEBHOOK = "core.st2.webhook"
# With and without the "/api" that StackStorm's web server puts in front of its API.
PREFIX = re.compile("(/api)?/v1/webhooks/")
MAX_BODY_BYTES = 25 * 1024 * 1024
TRACE_TAG_HEADER = "St2-Trace-Tag"
_HIDDEN_HEADERS = ("X-Auth-Token", "St2-Api-Key", "Cookie")

LOG = logging.getLogger(__name__)


class RequestError(Exception):
    """The request is refused.

    :param status: of HTTP.
    :param words: say why.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status, words)
        self.status = status
        self.words = words


class WebhookServer:
    """Serves the webhooks of rules.

    Listens on 127.0.0.1 only, where every program of every user is. So a request must carry a key,
    in the header St2-Api-Key or, as with StackStorm, in the query st2-api-key. Requests made by web
    pages (with an Origin) are refused.

    :param engine: takes the triggers; its data directory has the key, see `api_key`.
    :param port: TCP port, 0 for any free one; `port` of this object is the one taken.
    :raises OSError: when the port is taken.
    """

    def __init__(self, engine: Engine, port: int) -> None:
        handler = type("Handler", (_Handler,), {"engine": engine, "key": api_key(engine.data_dir)})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def key_file(data_dir: str) -> str:
    """Returns the name of the file with the key that webhooks are asked for."""
    return os.path.join(data_dir, "api-key")


def api_key(data_dir: str) -> str:
    """Returns that key: ENGINE_API_KEY of the environment, or one made at the first start."""
    key = os.environ.get("ENGINE_API_KEY")
    if key:
        return key
    path = key_file(data_dir)
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            kept = file.read().strip()
        if kept:
            return kept
    made = secrets.token_urlsafe(32)
    descriptor, new = tempfile.mkstemp(dir=data_dir, prefix=".api-key")  # nobody else may read it
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(made + "\n")
    os.replace(new, path)  # whole, or not at all
    return made


class _Handler(BaseHTTPRequestHandler):
    engine: Engine
    key: str
    timeout = 30
    protocol_version = "HTTP/1.1"
    server_version = "embedded-engine"
    sys_version = ""

    def do_POST(self) -> None:
        try:
            body = self._accept()
        except RequestError as error:
            self.close_connection = True
            self._answer(error.status, {"faultstring": error.words})
        else:
            self._answer(202, body)

    def _accept(self) -> Any:
        address = urllib.parse.urlsplit(self.path)
        self._authenticate(urllib.parse.parse_qs(address.query))
        path = address.path
        prefix = PREFIX.match(path)
        if prefix is None:
            raise RequestError(404, "Not Found")
        url = urllib.parse.unquote(path[prefix.end() :]).strip("/")
        body = self._body()
        headers = {
            name.title(): value
            for name, value in self.headers.items()
            if name.title() not in _HIDDEN_HEADERS
        }
        trace_tag = headers.pop(TRACE_TAG_HEADER, None) or f"webhook-{url}-{uuid.uuid4().hex}"
        if url == "st2":
            self._dispatch_any(body, trace_tag)
        else:
            self._dispatch_hook(url, headers, body, trace_tag)
        return body

    def _authenticate(self, query: dict[str, list[str]]) -> None:
        if self.headers.get("Origin"):
            raise RequestError(403, "Requests of web pages are refused")
        given = self.headers.get("St2-Api-Key") or query.get("st2-api-key", [""])[0]
        if not hmac.compare_digest(self.key.encode(), given.encode()):
            raise RequestError(401, "Unauthorized - the St2-Api-Key header is wrong or missing")

    def _body(self) -> Any:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise RequestError(411, "Content-Length is missing") from None
        if length > MAX_BODY_BYTES:
            raise RequestError(413, f"The body is larger than {MAX_BODY_BYTES} bytes")
        raw = self.rfile.read(length)
        kind = self.headers.get_content_type()
        if kind == "application/x-www-form-urlencoded":
            return urllib.parse.parse_qs(raw.decode("utf-8", "replace"))
        if kind != "application/json":
            raise RequestError(400, f'Unsupported Content-Type: "{kind}"')
        try:
            return json.loads(raw)
        except ValueError as error:
            raise RequestError(400, f"Failed to parse request body: {error}") from None

    def _dispatch_any(self, body: Any, trace_tag: str) -> None:
        if not isinstance(body, dict):
            raise RequestError(400, "Webhook body needs to be an object")
        if not body.get("trigger"):
            raise RequestError(400, "Trigger not specified.")
        self._dispatch(body["trigger"], body.get("payload"), trace_tag, {})

    def _dispatch_hook(self, url: str, headers: dict[str, str], body: Any, trace_tag: str) -> None:
        parameters = [
            rule.trigger_parameters
            for rule in self.engine.registry.rules.values()
            if rule.trigger == WEBHOOK and rule.trigger_parameters["url"].strip("/") == url
        ]
        if not parameters:
            raise RequestError(404, f"Webhook {url} not registered with st2")
        payload = {
            "headers": headers,
            "headers_lower": {name.lower(): value for name, value in headers.items()},
            "body": body,
        }
        # Rules of one URL share a trigger; URLs that differ by slashes only do not.
        for position, distinct in enumerate(parameters):
            if distinct not in parameters[:position]:
                self._dispatch(WEBHOOK, payload, trace_tag, distinct)

    def _dispatch(
        self, trigger: str, payload: Any, trace_tag: str, parameters: dict[str, Any]
    ) -> None:
        try:
            self.engine.dispatch(trigger, payload, trace_tag, parameters)
        except ValueError as error:
            raise RequestError(400, str(error)) from None

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        line = re.sub(r"(st2-api-key=)[^&\s]*", r"\1...", format % arguments)
        LOG.info("%s %s", self.address_string(), line)
