"""A push, with Jenkins as CI server: the pack's own sensors, rules and workflows, a real Consul."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import threading
import urllib.request

import pytest
import yaml
from consul_server import free_port, section
from jenkins_double import API_TOKEN, USER, running_jenkins
from waiting import wait_for

from delivery.application import Application
from delivery.ci.callback import HEADER

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEBHOOK_SECRET, CALLBACK_SECRET = "hunter2", "hunter3"
COMMIT = "1" * 40
TIMEOUT_S = 60


@pytest.fixture
def jenkins():
    with running_jenkins() as (double, url):
        double.url = url
        double.add_job("team/shop")
        yield double


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def shop(store, jenkins, port, tmp_path):
    """The application, with the pack being served by the embedded engine."""
    pytest.importorskip("orquesta", reason="orquesta is not installed: script/setup installs it")
    from packengine.engine import Engine
    from packengine.service import Service

    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "cicd_canary.yaml").write_text(
        yaml.safe_dump(
            {
                "consul": section(store),
                "github": {"webhook_secret": WEBHOOK_SECRET},
                "receiver": {"host": "127.0.0.1", "port": port},
                "ci": {
                    "jenkins": {
                        "url": jenkins.url,
                        "user": USER,
                        "api_token": API_TOKEN,
                        "job": "team/{app}",
                        "callback_secret": CALLBACK_SECRET,
                    }
                },
            }
        )
    )
    engine = Engine(
        packs=[ROOT], config_dir=str(configs), data_dir=str(tmp_path / "data"), api_port=0
    )
    service = Service(engine)
    ready = threading.Event()
    serving = threading.Thread(target=service.run, kwargs={"ready": ready.set})
    serving.start()
    assert ready.wait(TIMEOUT_S)
    application = Application(store, "shop")
    application.engine = engine
    yield application
    service.stop()
    serving.join(TIMEOUT_S)


def post(port, path, payload, headers):
    body = json.dumps(payload).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        body,
        dict({"Content-Type": "application/json"}, **headers(body)),
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def push(port):
    def signed(body):
        digest = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
        return {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": "d-1",
            "X-Hub-Signature-256": "sha256=" + digest,
        }

    payload = {
        "ref": "refs/heads/main",
        "after": COMMIT,
        "deleted": False,
        "repository": {"full_name": "acme/shop", "default_branch": "main"},
        "sender": {"login": "alice"},
    }

    def is_taken():
        with contextlib.suppress(OSError):  # the receiver does not listen yet
            return post(port, "/github", payload, signed) == 202

    wait_for(is_taken)


def executions(shop, action):
    return [each for each in shop.engine.executions() if each.action == f"cicd_canary.{action}"]


def test_a_push_is_built_by_jenkins_and_its_callback_starts_the_packaging(shop, jenkins, port):
    push(port)
    ended = wait_for(
        lambda: [each for each in executions(shop, "ci") if each.status == "succeeded"]
    )
    assert ended[0].result["output"]["status"] == "running"

    running = jenkins.build("team/shop", shop.builds.get(COMMIT).ci["number"])
    callback = {each["name"]: each["value"] for each in running.item["actions"][0]["parameters"]}[
        "CALLBACK"
    ]
    running.end("SUCCESS")
    post(
        port,
        "/jenkins",
        {"callback": callback, "number": running.number},
        lambda _: {HEADER: CALLBACK_SECRET},
    )

    wait_for(lambda: shop.builds.get(COMMIT).status == "passed")
    assert wait_for(lambda: executions(shop, "package"))
