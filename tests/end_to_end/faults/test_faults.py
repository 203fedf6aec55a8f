"""Production while hosts, SSH, Consul and the repository fail, and an abort."""

from __future__ import annotations

import json
import threading
import time

import pytest
from delivery_driver import Delivery
from waiting import wait_for

from demo.traffic import Traffic
from sandbox.world import World

LONGER_THAN_HAPROXY_KEPT_HOSTS_S = 65


@pytest.fixture(scope="module", autouse=True)
def in_production(shop: Delivery) -> None:
    """A version in production, for the next one to fail against."""
    shop.deploy()
    assert "is in production" in shop.say("!deploy promote shop")


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


def test_applications_do_not_notice_that_consul_is_away(shop: Delivery, world: World):
    with Traffic(world.balancer_url, "shop", per_second=20) as traffic:
        world.host("consul").stop()
        try:
            time.sleep(LONGER_THAN_HAPROXY_KEPT_HOSTS_S)
        finally:
            world.host("consul").start()
        wait_for(lambda: "canary-1" in passing(world), what="Consul to be back")
        time.sleep(2)  # HAProxy asks every second
    assert len(traffic.replies) > LONGER_THAN_HAPROXY_KEPT_HOSTS_S
    assert [each.problem for each in traffic.replies if each.problem] == []


def test_a_host_that_was_down_comes_back_to_what_the_stage_settled_on(shop: Delivery, world: World):
    world.host("production-3").stop()
    try:
        wait_for(lambda: "production-3" not in passing(world), what="production-3 to be seen down")
        said = shop.say("!deploy promote shop")
        version = shop.application.stages.get("canary").version
        assert f"shop {version} is in production on 2 hosts" in said
        assert "To undo: !deploy rollback shop" in " ".join(said.split())
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
        f"is back on {old}" in answer
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
