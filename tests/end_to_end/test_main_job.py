"""The main job in the sandbox: real pushes, real packages, real hosts, the embedded engine."""

from __future__ import annotations

import re

from delivery_driver import EVERYTHING_PASSED, HOSTS, Delivery

from sandbox.world import World


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
