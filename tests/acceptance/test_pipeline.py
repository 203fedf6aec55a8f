"""The main job on a running StackStorm: its sensor container, its rules engine, its runners."""

from __future__ import annotations

import re

import pytest
from driver import HOSTS, OLGA, Delivery, skip_module_without_sandbox
from stackstorm import ApiError, StackStorm, eventually, now

from sandbox.world import World

skip_module_without_sandbox()


# --- the job itself -------------------------------------------------------------------------------


def test_a_push_reaches_the_canary_through_sensors_and_rules(shop: Delivery, phase):
    since = now()
    with phase("push to live on the canary"):
        version = shop.deploy()
    assert re.fullmatch(r"1\.0\.0-1\.[0-9a-f]{7}", version)
    assert shop.answers("canary-1") == version
    for action in ("ci", "package", "deploy_canary"):
        executions = shop.executions(action, since)
        assert [each["status"] for each in executions] == ["succeeded"], action
        assert executions[0]["rule"]["ref"].startswith("cicd_canary."), action


def test_the_results_say_what_was_made(shop: Delivery, began: str):
    release = shop.application.releases.get(shop.application.stages.get("canary").version)
    built = shop.executions("package", began)[0]["result"]["output"]
    assert (built["version"], built["sha256"], built["error"]) == (
        release.version,
        release.package.sha256,
        None,
    )
    deployed = shop.executions("deploy_canary", began)[0]["result"]["output"]
    assert (deployed["version"], deployed["error"]) == (release.version, None)


def test_the_push_is_one_trigger_and_every_event_another(shop: Delivery, began: str):
    stackstorm = shop.stackstorm
    pushes = [
        each
        for each in stackstorm.everything(
            "triggerinstances", trigger="cicd_canary.push", timestamp_gt=began
        )
        if each["payload"]["commit"] == shop.commit
    ]
    assert [each["status"] for each in pushes] == ["processed"]

    def triggered() -> list[str]:
        return sorted(
            each["payload"]["id"]
            for each in stackstorm.everything(
                "triggerinstances", trigger="cicd_canary.event", timestamp_gt=began
            )
            if each["payload"]["application"] == shop.app
        )

    recorded = sorted(event["id"] for event in shop.application.events.all())
    eventually(lambda: triggered() == recorded, f"the triggers {recorded}", 20)


def test_one_trace_ties_together_what_a_push_set_off(shop: Delivery, began: str):
    tag = f"{shop.app}-{shop.commit[:12]}"
    traces = shop.stackstorm.get("traces", trace_tag=tag)
    traced = {each["object_id"] for trace in traces for each in trace["action_executions"]}
    for action in ("ci", "package", "deploy_canary"):
        assert {each["id"] for each in shop.executions(action, began)} <= traced, action


def test_what_people_want_to_know_is_announced(shop: Delivery, began: str):
    def announced() -> list[str]:
        return [
            each["parameters"]["message"]
            for each in shop.stackstorm.executions("chatops.post_message", began)
        ]

    version = shop.application.stages.get("canary").version
    eventually(
        lambda: any(
            each.startswith(f"shop: canary runs {version} (deployed by ")
            and each.endswith(" s)\nTo promote: !deploy promote shop")
            for each in announced()
        ),
        "the announcement",
        20,
    )


def test_the_same_delivery_and_the_same_commit_are_built_once(shop: Delivery, world: World):
    since = now()
    hook = world.github.hooks("acme/shop")[0]["id"]
    push = next(
        each for each in world.github.deliveries("acme/shop", hook) if each["event"] == "push"
    )
    world.github.redeliver("acme/shop", hook, push["id"])
    execution = shop.stackstorm.run(
        "cicd_canary.ci",
        {
            "app": "shop",
            "repository": "acme/shop",
            "branch": "main",
            "commit": shop.commit,
            "by": "dana",
        },
    )
    assert execution["result"]["output"]["status"] == "passed"
    assert shop.executions("ci_build", since) == []


def test_promotion_through_the_api_takes_the_canarys_package_to_production(shop: Delivery, phase):
    with phase("promotion of three hosts through the API"):
        execution = shop.stackstorm.run("cicd_canary.deploy_promote", {"app": "shop"})
    assert execution["status"] == "succeeded", execution["result"]
    canary, production = (shop.application.stages.get(name) for name in ("canary", "production"))
    assert production.settled[-1].sha256 == canary.settled[-1].sha256
    assert {shop.answers(host) for host in HOSTS} == {canary.version}
    assert production.rollout.by == execution["context"]["user"]


def test_promotion_by_chat_says_what_it_does_and_what_came_of_it(shop: Delivery, phase):
    version = shop.deploy(subject="{{ 1 / 0 }} and <% ctx().nosuch %> for <!channel>")
    shown = "? 1 / 0 ? and ? ctx().nosuch ? for < !channel>"
    assert shown in shop.say("deploy status shop")
    with phase("promotion of three hosts by chat"):
        heard = shop.stackstorm.hear("deploy promote shop", user=OLGA)
        execution = shop.stackstorm.wait(heard["execution"]["id"])
    assert not heard.get("message"), "nothing was checked yet"
    said = shop.stackstorm.said(execution)
    assert f"shop {version} is in production on 3 hosts" in said
    assert shown in said
    assert shop.application.stages.get("production").rollout.by == OLGA
    assert {shop.answers(host) for host in HOSTS} == {version}


def test_a_promotion_without_a_name_says_when_there_is_none(shop: Delivery):
    heard = shop.stackstorm.hear("deploy promote", user=OLGA)
    execution = shop.stackstorm.wait(heard["execution"]["id"])
    assert execution["status"] == "failed"
    assert "nothing to promote" in shop.stackstorm.said(execution)


def test_status_and_history_by_chat_can_be_read(shop: Delivery):
    version = shop.application.stages.get("production").version
    status = shop.say("deploy status shop")
    assert re.search(rf"production\s+{re.escape(version)} live", status)
    assert OLGA in status
    assert f"production runs {version}" in shop.say("deploy history shop")
    assert "no application shpo; nearest: shop" in shop.say("deploy status shpo")


def test_rollback_by_chat_brings_back_what_was_there(shop: Delivery, phase):
    old = shop.application.stages.get("production").settled[-2].version
    with phase("rollback of three hosts by chat"):
        said = shop.say("deploy rollback shop")
    assert f"shop is back on {old} in production" in said
    assert shop.application.stages.get("production").status == "rolled_back"
    assert {shop.answers(host) for host in HOSTS if host != "canary-1"} == {old}


# --- what goes wrong ------------------------------------------------------------------------------


def test_failing_tests_end_red_and_are_announced(shop: Delivery):
    since = now()
    script = shop.checkout.directory / "script" / "cibuild"
    content = script.read_text()
    script.write_text("#!/bin/sh\nexit 3\n")
    event = shop.push_and_wait("build_failed", "release_published", "packaging_failed")
    script.write_text(content)
    assert event["type"] == "build_failed"
    assert "script/cibuild exited with 3" in event["message"]
    assert [each["status"] for each in shop.executions("ci", since)] == ["failed"]
    assert shop.executions("package", since) == []


def test_a_version_that_does_not_get_healthy_is_taken_back_and_ends_red(shop: Delivery, phase):
    since, old = now(), shop.application.stages.get("canary").version
    settings, health = (shop.checkout.directory / name for name in (".cicd.yaml", "health.py"))
    before = settings.read_text(), health.read_text()
    settings.write_text("rollout: {healthy_deadline_s: 3}\n")
    shop.checkout.break_health()
    with phase("push that is taken back from the canary"):
        event = shop.push_and_wait("rollout_failed", "rollout_succeeded")
    settings.write_text(before[0])
    health.write_text(before[1])
    assert event["type"] == "rollout_failed"
    assert f"back to {old}" in event["message"]
    assert [each["status"] for each in shop.executions("deploy_canary", since)] == ["failed"]
    assert shop.answers("canary-1") == old


def test_consul_keeps_what_happens_while_the_events_sensor_is_away(shop: Delivery):
    """The hand-over from CI to packaging waits in Consul."""
    sensor = next(
        each
        for each in shop.stackstorm.content("sensortypes", "cicd_canary")
        if each["name"] == "Events"
    )
    shop.stackstorm.call("PUT", f"sensortypes/{sensor['id']}", dict(sensor, enabled=False))
    try:
        shop.push_and_wait("build_passed")
    finally:
        shop.stackstorm.call("PUT", f"sensortypes/{sensor['id']}", dict(sensor, enabled=True))
    eventually(
        lambda: (shop.application.stages.get("canary").version or "").endswith(shop.commit[:7]),
        "the canary to run it",
    )


def test_a_push_while_consul_is_away_waits_for_it(shop: Delivery, world: World):
    since = now()
    world.host("consul").stop()
    try:
        shop.push()
        eventually(
            lambda: any(
                ((each.get("result") or {}).get("result") or {}).get("without") == "consul"
                for each in shop.executions("build_start", since)
            ),
            "the push to find Consul away",
            60,
        )
        assert "did not answer" in shop.say("deploy status shop")
    finally:
        world.host("consul").start()
    eventually(
        lambda: (shop.application.stages.get("canary").version or "").endswith(shop.commit[:7]),
        "the canary to run it",
    )
    assert len(list(shop.executions("ci_build", since))) == 1


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("deploy_status", {"app": "shop_"}),
        ("deploy_status", {"app": "shop\n"}),
        ("deploy_promote", {"app": "../shop"}),
        ("deploy_rollback", {"app": "shop", "stage": "; rm -rf /"}),
        (
            "ci",
            {
                "app": "shop",
                "repository": "acme/shop",
                "branch": "main",
                "commit": "HEAD",
                "by": "dana",
            },
        ),
        ("deploy_promote", {"app": "shop", "version": "1.0.0"}),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_at_the_door(
    stackstorm: StackStorm, action: str, parameters: dict[str, str]
):
    with pytest.raises(ApiError) as refused:
        stackstorm.start(f"cicd_canary.{action}", parameters)
    assert refused.value.status == 400
