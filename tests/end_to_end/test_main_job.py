"""The main job in the sandbox: real pushes, real packages, real hosts, the embedded engine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import threading
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
from sandbox.github import TOKEN
from sandbox.repositories import Checkout
from sandbox.world import World, listens

PROJECT = Path(__file__).resolve().parents[2]
EVERYTHING_PASSED = {"cicd/ci": "success", "cicd/package": "success", "cicd/canary": "success"}
HOSTS = ["canary-1", "production-1", "production-2", "production-3"]


class Delivery:
    """One application, from its work tree to what its hosts answer."""

    def __init__(self, world: World, engine: Engine, app: str, directory: Path) -> None:
        self.world, self.engine, self.app = world, engine, app
        self.application = Application(Store(world.consul_url), app)
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


@pytest.fixture(scope="module")
def engine(world: World, tmp_path_factory):
    with serving(world, tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def shop(world: World, engine: Engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def notes(world: World, engine: Engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "notes", tmp_path_factory.mktemp("notes"))


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


# --- the job itself -------------------------------------------------------------------------------


def test_a_push_reaches_the_canary_and_nothing_else(shop: Delivery):
    version = shop.deploy()
    assert re.fullmatch(r"1\.0\.0-1\.[0-9a-f]{7}", version)
    assert {host: found for host, found in shop.installed().items() if found} == {
        "canary-1": version
    }
    assert shop.answers("canary-1") == version
    commit = shop.application.releases.get(version).commit
    shop.assert_github_shows(commit, EVERYTHING_PASSED, canary=["queued", "in_progress", "success"])
    shop.assert_tags(canary=commit)


def test_promotion_takes_exactly_the_canarys_package_to_production(shop: Delivery):
    canary = shop.application.stages.get("canary").settled[-1]
    said = shop.say("!deploy promote")
    assert f"shop {canary.version} is in production on 3 hosts" in said
    assert "To undo" not in said  # There is no previous version.
    assert set(shop.installed().values()) == {canary.version}
    reports = shop.application.hosts.all()
    assert {reports[host].sha256 for host in HOSTS} == {canary.sha256}
    assert {shop.answers(host) for host in HOSTS} == {canary.version}
    commit = shop.application.releases.get(canary.version).commit
    shop.assert_github_shows(
        commit,
        EVERYTHING_PASSED,
        canary=["queued", "in_progress", "success"],
        production=["in_progress", "success"],
    )
    shop.assert_tags(canary=commit, production=commit)


def test_promoting_again_says_that_there_is_nothing_to_promote(shop: Delivery):
    assert "nothing to promote" in shop.say("!deploy promote")
    assert re.search(
        r"production of shop already runs 1\.0\.0-1\.", shop.say("!deploy promote shop")
    )


def test_the_workspaces_are_gone(shop: Delivery):
    assert shop.executions("workspace_remove")[0].status == "succeeded"
    assert shop.workspaces() == ""


def test_the_release_says_where_each_value_came_from(shop: Delivery):
    version = shop.application.stages.get("canary").version
    metadata = shop.application.releases.get(version).metadata
    assert metadata["version"]["value"] == "1.0.0"
    assert metadata["version"]["from"] == "pyproject.toml"
    assert metadata["name"]["value"] == "shop"


def test_the_same_delivery_and_the_same_commit_are_built_once(shop: Delivery, world: World):
    builds = len(shop.executions("ci_build"))
    hook = world.github.hooks("acme/shop")[0]["id"]
    push = next(
        each for each in world.github.deliveries("acme/shop", hook) if each["event"] == "push"
    )
    world.github.redeliver("acme/shop", hook, push["id"])
    head = shop.checkout.git("rev-parse", "HEAD").strip()
    shop.engine.run(
        "cicd_canary.ci",
        {"app": "shop", "repository": "acme/shop", "branch": "main", "commit": head, "by": "dana"},
    )
    assert len(shop.executions("ci_build")) == builds


def test_status_and_history_can_be_read(shop: Delivery):
    version = shop.application.stages.get("canary").version
    status = shop.say("!deploy status shop")
    assert f"production  {version} live" in status
    assert "olga" in status
    assert f"production runs {version}" in shop.say("!deploy history shop")
    assert "no application shpo; nearest: shop" in shop.say("!deploy status shpo")


def test_another_language_goes_the_same_way(notes: Delivery):
    version = notes.deploy()
    assert notes.answers("canary-1") == version
    assert f"notes {version} is in production" in notes.say("!deploy promote")
    assert set(notes.installed().values()) == {version}


def test_production_can_be_rolled_back(shop: Delivery):
    old = shop.application.stages.get("production").version
    new = shop.deploy()
    execution = shop.engine.run("cicd_canary.deploy_promote", {"app": "shop"}, user="olga")
    assert execution.status == "succeeded", execution.result
    assert shop.installed()["production-3"] == new
    assert f"shop is back on {old} in production" in shop.say("!deploy rollback shop")
    assert {shop.answers(host) for host in HOSTS if host != "canary-1"} == {old}
    assert shop.answers("canary-1") == new
    assert "nothing to promote" in shop.say("!deploy promote")
    shop.assert_github_shows(
        shop.application.releases.get(new).commit,
        EVERYTHING_PASSED,
        canary=["queued", "in_progress", "success"],
        production=["in_progress", "success", "inactive"],
    )
    shop.assert_tags(
        canary=shop.application.releases.get(new).commit,
        production=shop.application.releases.get(old).commit,
    )


# --- what goes wrong ------------------------------------------------------------------------------


def assert_build_fails(delivery: Delivery, reason: str) -> None:
    releases = delivery.application.releases.versions()
    event = delivery.push_and_wait("build_failed", "release_published", "packaging_failed")
    assert event["type"] == "build_failed", event
    assert re.search(reason, event["message"]), event
    assert delivery.executions("ci")[0].status == "failed"
    assert delivery.application.releases.versions() == releases
    wait_for(lambda: event["message"] in delivery.announced(), what=f"to read {event['message']!r}")
    delivery.assert_github_shows(event["commit"], {"cicd/ci": "failure"})


@pytest.mark.parametrize("script", ["cisetup", "cibuild", "post-inst"])
def test_a_missing_script_fails_ci_and_is_named(shop: Delivery, script: str):
    path = shop.checkout.directory / "script" / script
    content = path.read_text()
    path.unlink()
    try:
        assert_build_fails(shop, f"script/{script} is missing")
    finally:
        path.write_text(content)
        path.chmod(0o755)


def test_failing_tests_fail_ci_and_make_no_package(shop: Delivery):
    with changed(shop, "script/cibuild", "#!/bin/sh\nexit 3\n"):
        assert_build_fails(shop, "script/cibuild exited with 3")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("packge: {}", "packge.*package"),
        ("rollout: {batch_size: many}", "rollout.batch_size"),
        ("[]", "expected"),
    ],
)
def test_a_wrong_cicd_yaml_fails_packaging_and_names_the_key(
    shop: Delivery, content: str, reason: str
):
    with changed(shop, ".cicd.yaml", content):
        event = shop.push_and_wait("packaging_failed", "release_published")
    assert event["type"] == "packaging_failed", event
    execution = shop.executions("package")[0]
    assert execution.status == "failed"
    assert re.search(reason, execution.result["output"]["error"]), execution.result["output"]
    assert re.search(f"packaging build .* failed: .*{reason}", event["message"])
    assert event["message"] in " ".join(shop.say("!deploy history shop").split())
    assert shop.workspaces() == ""
    shop.assert_github_shows(event["commit"], {"cicd/ci": "success", "cicd/package": "failure"})


def test_templates_in_what_the_project_says_are_no_templates(shop: Delivery, world: World):
    with changed(
        shop, ".cicd.yaml", 'package: {description: "{{ config_context.github.webhook_secret }}"}'
    ):
        version = shop.deploy()
    shown = (
        world.host("canary-1")
        .run(["dpkg-query", "--show", "--showformat", "${Description}", "shop"])
        .stdout
    )
    assert "config_context.github.webhook_secret" in shown
    assert "{{" not in shown
    everything = json.dumps(
        [[each.parameters, each.result] for each in shop.engine.executions(top_level=False)]
    )
    assert world.webhook_secret not in everything
    assert TOKEN not in everything
    assert shop.application.releases.get(version).package.sha256


def test_a_version_that_does_not_get_healthy_is_taken_back(shop: Delivery):
    old = shop.application.stages.get("canary").version
    health = shop.checkout.directory / "health.py"
    content = health.read_text()
    shop.checkout.break_health()
    try:
        with changed(shop, ".cicd.yaml", "rollout: {healthy_deadline_s: 3}"):
            event = shop.push_and_wait("rollout_failed", "rollout_succeeded")
    finally:
        health.write_text(content)
    assert event["type"] == "rollout_failed", event
    assert f"back to {old}" in event["message"]
    assert re.search("canary-1: .* was not healthy within 3 s", event["message"]), event["message"]
    assert shop.executions("deploy_canary")[0].status == "failed"
    canary = shop.application.stages.get("canary")
    assert (canary.status, canary.version) == ("failed", old)
    assert shop.answers("canary-1") == old
    assert "failed on canary of shop" in shop.say("!deploy promote shop")
    shop.assert_github_shows(
        shop.application.releases.get(event["version"]).commit,
        {"cicd/ci": "success", "cicd/package": "success", "cicd/canary": "failure"},
        canary=["queued", "in_progress", "failure"],
    )


def test_a_host_that_refuses_ssh_stops_the_rollout_and_is_named(shop: Delivery, world: World):
    old = shop.application.stages.get("production").version
    shop.deploy()
    keys = "/root/.ssh/authorized_keys"
    world.host("production-2").run(["mv", keys, keys + ".away"], check=True)
    try:
        said = shop.say("!deploy promote shop")
    finally:
        world.host("production-2").run(["mv", keys + ".away", keys], check=True)
    assert "production-2: SSH key rejected for user root" in " ".join(said.split())
    production = shop.application.stages.get("production")
    assert (production.status, production.version) == ("failed", old)
    assert {shop.answers(f"production-{number}") for number in (1, 3)} == {old}


def test_a_push_while_consul_is_away_waits_for_it(shop: Delivery, world: World):
    world.host("consul").stop()
    try:
        commit = shop.push()
        wait_for(
            lambda: any(
                each.result and each.result["result"].get("without") == "consul"
                for each in shop.engine.executions(
                    action="cicd_canary.build_start", top_level=False
                )
            ),
            what="the push to find Consul away",
        )
    finally:
        world.host("consul").start()
    wait_for(
        lambda: (shop.application.stages.get("canary").version or "").endswith(commit[:7]),
        what="the canary to run it",
    )


def test_a_host_that_was_down_comes_back_to_what_the_stage_settled_on(shop: Delivery, world: World):
    world.host("production-3").stop()
    try:
        wait_for(lambda: "production-3" not in passing(world), what="production-3 to be seen down")
        said = shop.say("!deploy promote shop")
        version = shop.application.stages.get("canary").version
        assert f"shop {version} is in production on 2 hosts" in said
    finally:
        world.host("production-3").start()
    wait_for(lambda: shop.installed()["production-3"] == version, what="production-3 to catch up")


def test_a_package_that_is_not_the_published_one_is_not_installed(shop: Delivery, world: World):
    old = shop.application.stages.get("production").version
    new = shop.deploy()
    store, key = shop.application.store, f"shop/releases/{new}"
    record = store.get(key)
    forged = json.loads(record.value)
    forged["package"]["sha256"] = "f" * 64
    store.commit([store.set(key, json.dumps(forged), record)])
    said = shop.say("!deploy promote shop")
    store.commit([store.overwrite(key, record.value)])
    assert "its SHA-256 differs" in " ".join(said.split())
    assert shop.installed()["production-1"] == old


def test_a_version_that_was_not_installed_from_the_published_package_is_installed_again(
    shop: Delivery, world: World
):
    version = shop.application.stages.get("production").version
    host = world.host("production-1")
    host.run(["rm", "/var/lib/cicd/shop.sha256"], check=True)  # As when apt failed in the end.
    report = json.loads(host.run(["cicd-converge", "shop"], check=True).stdout)
    assert (report["status"], report["version"]) == ("ok", version)
    assert report["sha256"] == shop.application.releases.get(version).package.sha256


def test_an_abort_stops_after_the_batch_and_its_hosts_go_back(shop: Delivery):
    shop.deploy()
    assert "To undo: !deploy rollback shop" in " ".join(shop.say("!deploy promote shop").split())
    old = shop.application.stages.get("production").version
    new = shop.deploy()
    said: list[str] = []
    promoting = threading.Thread(target=lambda: said.append(shop.say("!deploy promote shop")))
    before = len(shop.application.events.all())
    promoting.start()
    shop.wait_for("batch_finished", after=before)
    assert "stops after the current batch" in shop.say("!deploy abort shop", user="bob")
    promoting.join()
    answer = " ".join(said[0].split())
    assert (
        f"Not promoted: {new} was aborted on production: requested by bob; production of shop "
        f"is back on {old} (execution " in answer
    )
    production = shop.application.stages.get("production")
    assert (production.status, production.version) == ("aborted", old)
    assert {shop.answers(f"production-{number}") for number in (1, 2, 3)} == {old}


def passing(world: World) -> list[str]:
    return [
        check["Node"]
        for check in world.consul("health/state/passing")
        if check["CheckID"] == "serfHealth"
    ]
