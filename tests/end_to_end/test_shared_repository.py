"""Two applications and a library in one repository, from a push to production."""

from __future__ import annotations

import io
import shutil
from typing import Iterator

import pytest
from delivery_driver import serving
from waiting import wait_for, wait_to_equal

from delivery.application import Application
from delivery.errors import DeliveryError
from delivery.store import Store
from packengine import chat
from packengine.engine import Engine
from sandbox.fleet import SAMPLES
from sandbox.repositories import Checkout
from sandbox.world import World

APPS = ("shop", "notes")
REPOSITORY = "acme/tools"
LIBRARY = "libs/common/greeting.txt"
CONFIGURATION = f"""
applications:
  {REPOSITORY}:
    paths:
      services/shop: {{}}
      services/notes: {{}}
"""
OVER = ("rollout_succeeded", "build_failed", "packaging_failed", "rollout_failed")


class Tools:
    """The repository, and what becomes of its applications."""

    def __init__(self, world: World, engine: Engine, checkout: Checkout) -> None:
        self.world, self.engine, self.checkout = world, engine, checkout
        store = Store(world.consul_url, world.consul_token)
        self.apps = {name: Application(store, name) for name in APPS}

    def push(self, files: dict[str, str], message: str) -> str:
        """Changes files and pushes; returns the commit."""
        for path, content in files.items():
            file = self.checkout.directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        commit = self.checkout.commit(message)
        self.checkout.push()
        return commit

    def decision(self, app: str, commit: str) -> tuple[str, str]:
        """Returns status and reason of what was decided of a commit, once it is over."""

        def decided():
            try:
                build = self.apps[app].builds.get(commit)
            except DeliveryError:
                return None
            return (build.status, build.why) if build.status != "running" else None

        return wait_for(decided, what=f"a decision on {app}")

    def on_canary(self, app: str, commit: str) -> str:
        """Returns the version that a commit has brought to the canary."""

        def ended():
            events = self.apps[app].events.all()
            mine = [each for each in events if each.get("commit") == commit]
            versions = {each["version"] for each in mine if "version" in each}
            return next(
                (
                    each
                    for each in events
                    if each["type"] in OVER and (each in mine or each.get("version") in versions)
                ),
                None,
            )

        event = wait_for(ended, what=f"{app} on the canary")
        assert event["type"] == "rollout_succeeded", event
        return event["version"]

    def say(self, line: str) -> str:
        out = io.StringIO()
        chat.handle(self.engine, "olga", line, out)
        return out.getvalue()

    def status_of(self, app: str, commit: str) -> str | None:
        return self.world.github.statuses(REPOSITORY, commit).get(f"cicd/{app}/canary")


@pytest.fixture(scope="module")
def tools(world: World, tmp_path_factory) -> Iterator[Tools]:
    settings = world.config_dir / "cicd_canary.yaml"
    settings.write_text(settings.read_text() + CONFIGURATION)
    takes_it = f"sed -i 's|^REPOSITORY=.*|REPOSITORY={REPOSITORY}|' /etc/cicd/*.conf"
    for host in world.hosts_of("canary", "production"):
        host.run(["sh", "-c", takes_it], check=True)
    world.github.create_repository(REPOSITORY)
    world.github.create_hook(REPOSITORY, world.webhook_url, world.webhook_secret)
    directory = tmp_path_factory.mktemp("work") / "tools"
    checkout = Checkout(directory, f"{world.github_url}/{REPOSITORY}.git")
    for app in APPS:
        own = directory / "services" / app
        shutil.copytree(
            SAMPLES / app, own, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        with open(own / ".cicd.yaml", "a") as file:
            file.write("depends_on: [libs/common]\n")
        with open(own / "script/cibuild", "a") as file:
            file.write(f"test -s ../../{LIBRARY}\n")
    with serving(world, tmp_path_factory.mktemp("engine")) as engine:
        yield Tools(world, engine, checkout)


def test_a_push_brings_each_application_to_the_canary_and_production(tools: Tools):
    commit = tools.push({LIBRARY: "hello\n"}, "Everything")
    versions = {app: tools.on_canary(app, commit) for app in APPS}
    for app, version in versions.items():
        assert version.endswith(f"-1.{commit[:7]}")
        said = tools.say(f"!deploy promote {app}")
        assert f"{app} {version} is in production on 3 hosts" in said
        assert "Ships: 1 commit, for the first time\n  Everything (Dana Developer)" in said
        wait_to_equal(lambda app=app: tools.status_of(app, commit), "success")
    environments = {each for _, each, _ in tools.world.github.deployments(REPOSITORY)}
    assert environments == {f"{app}/{stage}" for app in APPS for stage in ("canary", "production")}


def test_a_change_of_one_is_built_and_promoted_alone(tools: Tools):
    first = tools.checkout.git("rev-parse", "HEAD").strip()
    commit = tools.push({"services/notes/README": "A notebook\n"}, "Notes: {{ x }} @everyone")
    version = tools.on_canary("notes", commit)
    since = f"changed since {first[:7]}"
    assert tools.decision("shop", commit) == (
        "unaffected",
        f"nothing below services/shop or libs/common {since}",
    )
    assert tools.decision("notes", commit) == ("passed", f"services/notes {since}")
    ships = "1 commit)\n    Notes: ? x ? @ everyone (Dana Developer)\n"
    assert ships in tools.say("!deploy status notes")
    assert "next:" not in tools.say("!deploy status shop")
    said = tools.say("!deploy promote")
    assert f"notes {version} is in production" in said
    assert f"/{REPOSITORY}/compare/{first[:12]}...{commit[:12]}" in said


def test_a_change_of_the_library_is_built_for_both(tools: Tools):
    commit = tools.push({LIBRARY: "good morning\n"}, "Greet")
    for app, number in (("shop", 2), ("notes", 3)):
        version = tools.on_canary(app, commit)
        assert version.endswith(f"-{number}.{commit[:7]}")
        assert tools.decision(app, commit)[1].startswith("libs/common changed since")
        assert "1 commit)\n    Greet (Dana Developer)" in tools.say(f"!deploy status {app}")
