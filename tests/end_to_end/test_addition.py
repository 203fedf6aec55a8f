"""An application is added to a running world, from a template and from a directory."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from waiting import wait_for

from sandbox.fleet import BUILD
from sandbox.world import World

PROJECT = Path(__file__).resolve().parents[2]
SANDBOX = str(PROJECT / "script/sandbox")
HOSTS = {"canary-1", "production-1", "production-2", "production-3"}


def add(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SANDBOX, "add", *arguments], text=True, capture_output=True)


def registered(world: World, name: str) -> set[str]:
    return {entry["Node"] for entry in world.consul(f"catalog/service/{name}")}


@pytest.fixture(scope="module")
def forum(world: World, tmp_path_factory) -> Path:
    """The checkout of an application that was added while one of the hosts was stopped."""
    directory = tmp_path_factory.mktemp("forum") / "forum"
    world.host("production-3").stop()
    began = time.monotonic()
    done = add("forum", "--template", "python", "--directory", str(directory))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    for expected in ("port 8083", f"Checkout: {directory}", "git push", "!deploy status forum"):
        assert expected in done.stdout
    assert "No engine receives pushes in this fleet" in done.stdout
    return directory


def test_every_host_is_the_applications_also_one_that_was_stopped(world: World, forum: Path):
    wait_for(lambda: registered(world, "forum") == HOSTS - {"production-3"})

    world.host("production-3").start()

    wait_for(lambda: registered(world, "forum") == HOSTS)
    for name in (*HOSTS, "github"):
        found = world.host(name).run(["getent", "hosts", "forum"]).stdout.split()
        assert found[0] == world.addresses["lb"]


def test_it_is_still_there_after_a_hosts_restart(world: World, forum: Path):
    host = world.host("production-1")
    host.stop()
    host.start()
    assert host.run(["cat", "/etc/cicd/forum.conf"]).stdout.count(":8083/health") == 1
    wait_for(lambda: registered(world, "forum") == HOSTS)


def test_hosts_still_know_where_packages_come_from(world: World, forum: Path):
    for host in world.hosts_of("canary"):
        assert host.run(["getent", "hosts", "repository"]).stdout.split()[0] == BUILD


def test_the_balancer_has_it_besides_the_others(world: World, forum: Path):
    with urllib.request.urlopen("http://lb:8404/;csv", timeout=5) as answer:
        backends = answer.read().decode()
    for name in ("shop", "forum", "forum_canary"):
        assert f"\n{name},BACKEND," in backends


def test_git_push_reaches_github_and_is_told_to_the_webhook(world: World, forum: Path):
    subprocess.run(["git", "push", "--quiet"], cwd=forum, check=True)

    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=forum, text=True).strip()
    hook = world.github.hooks("acme/forum")[0]["id"]
    event = wait_for(
        lambda: next(
            (
                each
                for each in world.github.deliveries("acme/forum", hook)
                if each["event"] == "push"
            ),
            None,
        )
    )
    told = world.github.delivery("acme/forum", hook, event["id"])["request"]
    assert told["payload"]["after"] == commit
    assert told["headers"]["X-Hub-Signature-256"]
    fetched = subprocess.check_output(["git", "ls-remote", "origin"], cwd=forum, text=True)
    assert f"{commit}\trefs/heads/main" in fetched


def test_a_name_in_use_is_refused_and_nothing_made(world: World, forum: Path, tmp_path):
    done = add("forum", "--template", "python", "--directory", str(tmp_path / "other"))
    assert done.returncode == 1
    assert done.stderr.startswith("sandbox: forum is in use; applications: shop notes forum")
    assert not list(tmp_path.iterdir())


def test_what_failed_halfway_can_be_repeated(world: World, tmp_path):
    directory = tmp_path / "wiki"
    canary = world.host("canary-1")
    canary.run(["mv", "/usr/bin/consul", "/usr/bin/consul.away"], check=True)
    try:
        failed = add("wiki", "--template", "static", "--directory", str(directory))
    finally:
        canary.run(["mv", "/usr/bin/consul.away", "/usr/bin/consul"], check=True)
    assert failed.returncode == 1
    assert "canary-1: consul" in failed.stderr
    assert not list(tmp_path.iterdir())

    done = add("wiki", "--template", "static", "--directory", str(directory))

    assert done.returncode == 0, done.stderr
    assert json.loads(Path(world.directory, "world.json").read_text())["applications"]["wiki"]


def test_a_directory_with_a_remote_of_its_own_keeps_it(world: World, tmp_path):
    for script in ("cisetup", "cibuild", "post-inst"):
        path = tmp_path / "script" / script
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    subprocess.run(["git", "init", "--quiet", "-b", "trunk"], cwd=tmp_path, check=True)
    own = ["git", "remote", "add", "origin", "https://git.example/mine.git"]
    subprocess.run(own, cwd=tmp_path, check=True)

    done = add("mine", "--directory", str(tmp_path), "--port", "9000", "--health", "/up")

    assert done.returncode == 0, done.stderr
    assert "git push sandbox HEAD:main" in done.stdout
    remotes = subprocess.check_output(["git", "remote", "-v"], cwd=tmp_path, text=True)
    assert "https://git.example/mine.git" in remotes
    subprocess.run(["git", "push", "-q", "sandbox", "HEAD:main"], cwd=tmp_path, check=True)
    backend = world.host("lb").run(["cat", "/etc/haproxy/applications/mine.cfg"]).stdout
    assert "option httpchk GET /up" in backend
