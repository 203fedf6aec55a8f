"""Pushes, promotes and asks, as developers and operators do, and sees what becomes of it."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import pytest
import requests
from stackstorm import Json, StackStorm, eventually, skip_module_without_stackstorm

from delivery.application import Application
from delivery.store import Store
from sandbox.fleet import MACHINE_ADDRESS, WEBHOOK_PORT
from sandbox.repositories import Checkout
from sandbox.world import World, listens

HOSTS = ["canary-1", "production-1", "production-2", "production-3"]
OLGA = "olga"
PACK = "cicd_canary"
TEMPLATE = "{{config_context.github.webhook_secret}}"


def skip_module_without_sandbox() -> None:
    """Skips the module that is being imported, as one, outside a world StackStorm reaches."""
    __tracebackhide__ = True  # the place of the skip is the module's
    skip_module_without_stackstorm()
    if not os.environ.get("CICD_SANDBOX"):
        pytest.skip(
            "no sandbox is in StackStorm's reach: start this with script/acceptance",
            allow_module_level=True,
        )


def log_files() -> list[Path]:
    """Those of StackStorm's logs that this process can read."""
    directory = Path(os.environ.get("ST2_LOG_DIR", "/var/log/st2"))
    return [path for path in directory.glob("*.log") if os.access(path, os.R_OK)]


def configure(stackstorm: StackStorm, values: dict[str, Any]) -> None:
    stackstorm.call("PUT", f"configs/{PACK}", values)


@contextlib.contextmanager
def started_again(stackstorm: StackStorm, pause_s: float = 0) -> Iterator[None]:
    """Stops the sensors while the block runs; after it they are at work."""
    stackstorm.enable_sensors(PACK, False)
    time.sleep(pause_s)
    eventually(lambda: not listens(MACHINE_ADDRESS, WEBHOOK_PORT), "the receiver to stop", 60)
    yield
    stackstorm.enable_sensors(PACK, True)
    eventually(
        lambda: listens(MACHINE_ADDRESS, WEBHOOK_PORT),
        "the receiver sensor to listen: is the sensor container running?",
        60,
    )


def post(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Posts to the receiver; returns the status and the text of its answer."""
    answer = requests.post(
        f"http://{MACHINE_ADDRESS}:{WEBHOOK_PORT}{path}",
        body,
        timeout=10,
        headers=dict(headers, **{"Content-Type": "application/json"}),
    )
    return answer.status_code, answer.text


class Delivery:
    """One application, from its work tree to what its hosts answer."""

    def __init__(self, world: World, stackstorm: StackStorm, app: str, directory: Path) -> None:
        self.world, self.stackstorm, self.app = world, stackstorm, app
        self.application = Application(Store(world.consul_url, world.consul_token), app)
        self.checkout = Checkout.of_sample(directory / app, app, world.github_url)
        self.number = 0
        self.commit = ""

    def push(self, subject: str = "") -> None:
        """Commits what was changed as the next version and pushes it."""
        self.number += 1
        self.checkout.set_version(f"{self.number}.0.0")
        self.commit = self.checkout.commit(subject or f"Version {self.number}")
        self.checkout.push("--force", "HEAD:refs/heads/main")

    def push_and_wait(self, *kinds: str, subject: str = "") -> Json:
        """Pushes, and returns the first event of one of these types about that commit."""
        self.push(subject)
        return eventually(
            lambda: next(
                (
                    event
                    for event in self.application.events.all()
                    if event["type"] in kinds and self._is_of_commit(event)
                ),
                None,
            ),
            f"one of {kinds}",
        )

    def _is_of_commit(self, event: Json) -> bool:
        return event.get("commit") == self.commit or event.get("version", "").endswith(
            "." + self.commit[:7]
        )

    def deploy(self, subject: str = "") -> str:
        """Brings the next version to the canary; returns it."""
        event = self.push_and_wait(
            "rollout_succeeded",
            "build_failed",
            "packaging_failed",
            "rollout_failed",
            subject=subject,
        )
        assert event["type"] == "rollout_succeeded", event
        return event["version"]

    def executions(self, action: str, since: str) -> list[Json]:
        return self.stackstorm.executions(f"cicd_canary.{action}", since)

    def answers(self, host: str) -> str:
        url = f"http://{self.world.addresses[host]}:{self.world.applications[self.app]}/"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["version"]

    def say(self, command: str) -> str:
        """Types a command in chat; returns what is said in the end."""
        started = self.stackstorm.hear(command, user=OLGA)["execution"]
        return self.stackstorm.said(self.stackstorm.wait(started["id"]))
