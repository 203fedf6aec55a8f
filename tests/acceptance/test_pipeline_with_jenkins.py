"""Jenkins builds: jobs are made, builds triggered, and found done with a callback and without.

Jenkins is the double of tests/jenkins_double.py, so what ends a build here is the test; the step of
the job that calls back is run as Jenkins' agent runs it.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from typing import Any, Iterator

import pytest
from driver import (
    TEMPLATE,
    Delivery,
    configure,
    post,
    skip_module_without_sandbox,
    started_again,
)
from jenkins_double import Build, Jenkins, running_jenkins
from stackstorm import StackStorm, eventually, now

from delivery.ci.jenkins_job import CALL_BACK
from delivery.errors import DeliveryError
from sandbox.fleet import MACHINE_ADDRESS, WEBHOOK_PORT
from sandbox.world import World

skip_module_without_sandbox()

JOB = "team/notes"
WITHIN_A_MINUTE_S = 75  # and the seconds that StackStorm takes for the rule and its action


@pytest.fixture(scope="module")
def jenkins(stackstorm: StackStorm, configured: dict[str, Any]) -> Iterator[Jenkins]:
    """The Jenkins that the pack is configured for while this module runs."""
    with running_jenkins() as (double, url):
        double.folders.add("team")
        values = copy.deepcopy(configured)
        values["ci"]["tool"] = "jenkins"
        values["ci"]["jenkins"]["url"] = url
        with started_again(stackstorm):
            configure(stackstorm, values)
        yield double
    with started_again(stackstorm):
        configure(stackstorm, configured)


@pytest.fixture(scope="module")
def notes(world: World, stackstorm: StackStorm, jenkins: Jenkins, tmp_path_factory) -> Delivery:
    return Delivery(world, stackstorm, "notes", tmp_path_factory.mktemp("notes"))


def started_build(notes: Delivery, jenkins: Jenkins) -> Build:
    """Pushes; returns the build that this has started in Jenkins."""
    notes.push()

    def triggered() -> Build | None:
        try:
            record = notes.application.builds.get(notes.commit)
        except DeliveryError:
            return None
        return jenkins.jobs[JOB].builds.get(record.ci.get("number"))

    return eventually(triggered, "the build to be triggered")


def is_on_the_canary(notes: Delivery) -> bool:
    return (notes.application.stages.get("canary").version or "").endswith(notes.commit[:7])


def test_the_job_is_made_and_left_alone_when_it_is_right(stackstorm: StackStorm, jenkins: Jenkins):
    outcomes = [
        stackstorm.run("cicd_canary.jenkins_job_ensure", {"app": "notes"})["result"]["result"][
            "outcome"
        ]
        for _ in range(2)
    ]
    assert outcomes == ["created", "unchanged"]
    assert "script/cibuild" in jenkins.jobs[JOB].config


def test_a_callback_starts_the_packaging(
    notes: Delivery, jenkins: Jenkins, configured: dict[str, Any], phase
):
    build = started_build(notes, jenkins)
    given = {each["name"]: each["value"] for each in build.item["actions"][0]["parameters"]}
    assert (given["REPOSITORY"], given["COMMIT"]) == ("acme/notes", notes.commit)
    build.end("SUCCESS")
    with phase("callback of Jenkins to live on the canary"):
        subprocess.run(
            ["sh", "-xe", "-c", CALL_BACK],
            check=True,
            env=dict(
                os.environ,
                CALLBACK=given["CALLBACK"],
                BUILD_NUMBER=str(build.number),
                SECRET=configured["ci"]["jenkins"]["callback_secret"],
                no_proxy="*",
                CALLBACK_TO=f"http://{MACHINE_ADDRESS}:{WEBHOOK_PORT}/jenkins",
            ),
        )
        eventually(lambda: is_on_the_canary(notes), "the canary to run it")


def test_a_lost_callback_is_found_within_a_minute(notes: Delivery, jenkins: Jenkins):
    build = started_build(notes, jenkins)
    build.end("SUCCESS")
    eventually(
        lambda: notes.application.builds.get(notes.commit).status == "passed",
        "the sensor to find the build",
        WITHIN_A_MINUTE_S,
    )
    eventually(lambda: is_on_the_canary(notes), "the canary to run it")


def test_a_build_that_was_aborted_ends_red_and_makes_no_package(
    notes: Delivery, jenkins: Jenkins, stackstorm: StackStorm
):
    since = now()
    started_build(notes, jenkins).end("ABORTED")
    eventually(
        lambda: notes.application.builds.get(notes.commit).status == "failed",
        "the sensor to find the build",
        WITHIN_A_MINUTE_S,
    )
    event = eventually(
        lambda: next(
            (
                each
                for each in notes.application.events.all()
                if each["type"] == "build_failed" and each["commit"] == notes.commit
            ),
            None,
        ),
        "the event",
    )
    assert "aborted" in event["message"].lower()
    assert stackstorm.executions("cicd_canary.package", since) == []


def test_nothing_was_sent_to_jenkins_that_it_refused(jenkins: Jenkins):
    assert [
        status for method, _, status in jenkins.requests if method == "POST" and status >= 400
    ] == []


@pytest.mark.parametrize(
    "callback", [TEMPLATE, f"{TEMPLATE}-{'1' * 40}-20260101", f"shop-{'1' * 40}-<%ctx()%>"]
)
def test_a_callback_that_is_a_template_starts_nothing(
    stackstorm: StackStorm,
    jenkins: Jenkins,
    configured: dict[str, Any],
    began: str,
    callback: str,
):
    status, said = post(
        "/jenkins",
        json.dumps({"callback": callback, "number": 1}).encode(),
        {"X-CICD-Secret": configured["ci"]["jenkins"]["callback_secret"]},
    )
    assert status == 400
    assert "{{" not in said
    finished = stackstorm.everything(
        "triggerinstances", trigger="cicd_canary.build_finished", timestamp_gt=began
    )
    assert all(each["payload"]["commit"] != "1" * 40 for each in finished)
