"""What stops before production: CI, packaging, a canary that does not get healthy."""

from __future__ import annotations

import json
import re

import pytest
from delivery_driver import Delivery, changed
from waiting import wait_for

from sandbox.github import TOKEN
from sandbox.world import World


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
        (
            "stages: [production]",
            r"stages: \[production\] is not allowed, but \[canary, production\]",
        ),
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
