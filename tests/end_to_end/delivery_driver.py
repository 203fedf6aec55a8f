"""A delivery in the sandbox, driven as a developer and an operator would."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import pytest
from waiting import wait_for, wait_to_equal

from delivery.application import Application
from delivery.store import Store
from packengine import chat
from packengine.engine import Engine
from sandbox.fleet import WEBHOOK_PORT, WORLD_ADDRESS
from sandbox.repositories import Checkout
from sandbox.world import World, listens

PROJECT = Path(__file__).resolve().parents[2]
EVERYTHING_PASSED = {"cicd/ci": "success", "cicd/package": "success", "cicd/canary": "success"}
HOSTS = ["canary-1", "production-1", "production-2", "production-3"]


class Delivery:
    """One application, from its work tree to what its hosts answer."""

    def __init__(self, world: World, engine: Engine, app: str, directory: Path) -> None:
        self.world, self.engine, self.app = world, engine, app
        self.application = Application(Store(world.consul_url, world.consul_token), app)
        self.checkout = Checkout.of_sample(directory / app, app, world.github_url)
        self.number = 0

    def push(self) -> str:
        """Commits what was changed as the next version and pushes it; returns the commit."""
        self.number += 1
        self.checkout.set_version(f"{self.number}.0.0")
        commit = self.checkout.commit(f"Version {self.number}")
        self.checkout.push("--force", "HEAD:refs/heads/main")
        return commit

    def push_and_wait(self, *kinds: str) -> dict[str, Any]:
        """Pushes, and returns the first later event of one of these types."""
        before = len(self.application.events.all())
        self.push()
        return self.wait_for(*kinds, after=before)

    def wait_for(self, *kinds: str, after: int = 0) -> dict[str, Any]:
        """Returns the first event of one of these types, but for the oldest so many."""
        return wait_for(
            lambda: next(
                (each for each in self.application.events.all()[after:] if each["type"] in kinds),
                None,
            ),
            what=f"an event of {kinds}",
        )

    def deploy(self) -> str:
        """Brings the next version to the canary; returns it."""
        event = self.push_and_wait(
            "rollout_succeeded", "build_failed", "packaging_failed", "rollout_failed"
        )
        assert event["type"] == "rollout_succeeded", event
        return event["version"]

    def say(self, line: str, user: str = "olga") -> str:
        """Types a line in chat; returns all that is answered."""
        out = io.StringIO()
        chat.handle(self.engine, user, line, out)
        return out.getvalue()

    def installed(self) -> dict[str, str]:
        return {
            name: self.world.host(name)
            .run(["dpkg-query", "--show", "--showformat", "${Version}", self.app])
            .stdout
            for name in HOSTS
        }

    def answers(self, host: str) -> str:
        url = f"http://{self.world.addresses[host]}:{self.world.applications[self.app]}/"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["version"]

    def executions(self, action: str) -> list[Any]:
        """Returns the executions of an action, newest first, once they have all ended."""

        def ended() -> list[Any] | None:
            found = self.engine.executions(action=f"cicd_canary.{action}", top_level=False)
            return found if all(each.is_completed for each in found) else None

        return wait_for(ended, what=f"{action} to end")

    def announced(self) -> list[str]:
        """Returns what rules have posted to the channel; an event is announced after it is told."""
        return [
            each.parameters["message"]
            for each in self.engine.executions(action="chatops.post_message", top_level=False)
        ]

    def assert_github_shows(
        self, commit: str, statuses: dict[str, str], **environments: list[str]
    ) -> None:
        """Waits until GitHub has been told this of a commit; an event is reported after it is told.

        :param environments: the states that the deployment to each environment may have gone
            through, oldest first. The last has to be there; a report that comes late leaves out
            those before.
        """

        def shown() -> tuple[dict[str, str], dict[str, list[str]]]:
            states = {
                environment: states
                for sha, environment, states in github.deployments(repository)
                if sha == commit
            }
            return github.statuses(repository, commit), {key: states[key][-1:] for key in states}

        github, repository = self.world.github, f"acme/{self.app}"
        wanted = statuses, {name: states[-1:] for name, states in environments.items()}
        wait_to_equal(shown, wanted)
        for sha, environment, states in github.deployments(repository):
            if sha == commit:
                possible = iter(environments[environment])
                assert all(state in possible for state in states), states

    def assert_tags(self, **commits: str) -> None:
        """Waits until the repository on GitHub has these tags, and no others.

        :param commits: the commit that each stage has deployed.
        """

        def there() -> dict[str, str]:
            listed = self.checkout.git("ls-remote", "--tags", "origin").split()
            return dict(zip(listed[1::2], listed[::2]))

        wait_to_equal(
            there, {f"refs/tags/deployed/{stage}": commit for stage, commit in commits.items()}
        )

    def workspaces(self) -> str:
        """Returns what lies in the workspaces on the build host."""
        return (
            self.world.host("build")
            .run(["find", "/var/tmp/cicd-canary", "-mindepth", "1", "-maxdepth", "2", "-ls"])
            .stdout
        )


@contextlib.contextmanager
def serving(world: World, data_dir: Path, pack: Path = PROJECT) -> Iterator[Engine]:
    """The embedded engine serving a pack, and another on the same data for what people type."""
    environment = dict(
        os.environ,
        ENGINE_CONFIG_DIR=str(world.config_dir),
        ENGINE_DATA_DIR=str(data_dir),
        ENGINE_PACKS=str(pack),
    )
    with open(data_dir / "log", "w") as log:
        server = subprocess.Popen(
            [str(PROJECT / "script/engine"), "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        try:
            wait_for(lambda: server.poll() is not None or listens(WORLD_ADDRESS, WEBHOOK_PORT))
            assert server.poll() is None
        except AssertionError:
            pytest.fail((data_dir / "log").read_text(), pytrace=False)
        with Engine(
            packs=[str(pack)], config_dir=str(world.config_dir), data_dir=str(data_dir)
        ) as engine:
            yield engine
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def changed(delivery: Delivery, path: str, content: str):
    """A file of the application is another while the block runs."""
    file = delivery.checkout.directory / path
    before = file.read_text() if file.exists() else None
    file.write_text(content)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
