"""The doctor in the sandbox, where everything is fine until a test makes it otherwise."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from packengine import chat
from packengine.engine import Engine
from sandbox.world import World

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine(world: World, tmp_path_factory):
    with Engine(
        packs=[str(PROJECT)],
        config_dir=str(world.config_dir),
        data_dir=str(tmp_path_factory.mktemp("engine")),
    ) as engine:
        yield engine


def ask(engine: Engine) -> str:
    out = io.StringIO()
    chat.handle(engine, "olga", "!deploy doctor", out)
    return out.getvalue()


def test_a_fresh_sandbox_is_fine(engine: Engine):
    said = ask(engine)
    assert said.endswith("everything is fine\n"), said
    hosts = (
        "canary-1 (10.77.1.1), production-1 (10.77.2.1), production-2 (10.77.2.2), "
        "production-3 (10.77.2.3)"
    )
    for line in (
        "build (10.77.0.20): build host, with git",
        "build (10.77.0.20): repository by aptly, of cicd-repository",
        f"{hosts}: host of notes",
        f"{hosts}: host of shop",
    ):
        assert f"fine {line}" in " ".join(said.split())


def test_a_token_that_the_repositorys_user_can_read_is_named(engine: Engine, world: World):
    host = world.repository_host
    host.run(["chmod", "644", "/etc/consul.d/build.json"], check=True)
    try:
        said = " ".join(ask(engine).split())
    finally:
        host.run(["chmod", "600", "/etc/consul.d/build.json"], check=True)
    assert (
        "TO DO build (10.77.0.20): repository by aptly, of cicd-repository: cicd-repository can "
        "read the token in /etc/consul.d/build.json; run chmod 600 /etc/consul.d/build.json 1 to do"
    ) in said


def test_what_is_wrong_with_a_host_is_said_with_what_to_do(engine: Engine, world: World):
    host = world.host("production-2")
    host.run(["mv", "/etc/cicd/shop.conf", "/etc/cicd/shop.off"])
    try:
        said = " ".join(ask(engine).split())
    finally:
        host.run(["mv", "/etc/cicd/shop.off", "/etc/cicd/shop.conf"])
    assert (
        "TO DO production-2 (10.77.2.2): host of shop: /etc/cicd/shop.conf is missing; run "
        "cicd-host-setup --app shop 1 to do"
    ) in said
