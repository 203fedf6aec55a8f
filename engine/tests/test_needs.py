"""What the suites need of a StackStorm is named when it is missing."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator

import needs
import pytest
from stackstorm import StackStorm

ADMINISTRATOR = {"username": "ada", "rbac": {"is_admin": True}}
KEY = "key"


class Double:
    """Answers to GET as a StackStorm's API does, and to every execution with `execution`."""

    def __init__(self, packs: str) -> None:
        self.authentication = True
        self.execution: dict[str, Any] = {"id": "1", "status": "succeeded", "result": {}}
        self.answers: dict[str, Any] = {
            "/v1/": {"version": "3.9.0"},
            "/v1/user": ADMINISTRATOR,
            "/v1/executions?limit=1": [],
            "/v1/packs/core": {},
            "/v1/packs/packs": {"path": f"{packs}/packs"},
        }
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if double.authentication and self.headers["St2-Api-Key"] != KEY:
                    self.answer(401, {"faultstring": "Unauthorized"})
                elif self.path.startswith("/v1/executions/"):
                    self.answer(200, double.execution)
                elif self.path in double.answers:
                    self.answer(200, double.answers[self.path])
                else:
                    self.answer(404, {"faultstring": "The resource could not be found."})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(201, double.execution)

            def answer(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.stackstorm = StackStorm(self.url, KEY)
        threading.Thread(target=self.server.serve_forever, args=(0.05,)).start()


@pytest.fixture
def double(tmp_path) -> Iterator[Double]:
    double = Double(str(tmp_path))
    yield double
    double.server.shutdown()
    double.server.server_close()


def test_a_fit_one_is_named(double: Double, tmp_path):
    assert needs.api(double.stackstorm, ["core"]) == f"StackStorm 3.9.0 at {double.url}, as ada"
    assert needs.packs_directory(double.stackstorm) == tmp_path
    needs.sudo(double.stackstorm)


def test_an_address_where_nothing_listens():
    with pytest.raises(needs.Unfit, match="nothing listens there; set ST2_API_URL"):
        needs.api(StackStorm("http://127.0.0.1:1/v1", KEY), [])


def test_an_address_of_something_else(double: Double):
    del double.answers["/v1/"]
    with pytest.raises(needs.Unfit, match="is no StackStorm's API"):
        needs.api(double.stackstorm, [])
    double.answers["/v1/"] = {}
    with pytest.raises(needs.Unfit, match="is no StackStorm's API"):
        needs.api(double.stackstorm, [])


def test_a_key_that_is_not_known(double: Double):
    with pytest.raises(needs.Unfit, match="refused ST2_API_KEY"):
        needs.api(StackStorm(double.url, "another"), [])


def test_authentication_that_is_off(double: Double):
    double.authentication = False
    with pytest.raises(needs.Unfit, match="authentication is off"):
        needs.api(double.stackstorm, [])


def test_a_key_that_is_not_an_administrators(double: Double):
    double.answers["/v1/user"] = {"username": "eve", "rbac": {"is_admin": False}}
    with pytest.raises(needs.Unfit, match="not an administrator's: eve"):
        needs.api(double.stackstorm, [])


def test_a_pack_that_is_not_installed(double: Double):
    with pytest.raises(needs.Unfit, match="the pack chatops is not installed"):
        needs.api(double.stackstorm, ["core", "chatops"])


def test_packs_on_another_machine(double: Double):
    double.answers["/v1/packs/packs"] = {"path": "/nowhere/packs/packs"}
    with pytest.raises(needs.Unfit, match="/nowhere/packs is not on this machine"):
        needs.packs_directory(double.stackstorm)


def test_an_action_runner_without_sudo(double: Double):
    result = {"stderr": "bash: line 1: sudo: command not found"}
    double.execution.update(status="failed", result=result)
    with pytest.raises(needs.Unfit, match="sudo or pkill .* sudo: command not found; .* install"):
        needs.sudo(double.stackstorm)


def test_no_action_runner(double: Double, monkeypatch):
    monkeypatch.setattr(needs, "ANSWER_S", 0.2)
    double.execution["status"] = "requested"
    with pytest.raises(needs.Unfit, match="no action runs"):
        needs.sudo(double.stackstorm)
