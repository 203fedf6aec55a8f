"""A build on Jenkins from its start to its verdict, with a real Consul and a double of Jenkins."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from jenkins_double import API_TOKEN, USER, running_jenkins

from delivery.application import Application, running_builds
from delivery.ci import NoAnswer, builds
from delivery.ci import jenkins as jenkins_module
from delivery.ci.jenkins import Jenkins
from delivery.configuration import Configuration
from delivery.errors import DeliveryError

COMMIT = "1" * 40
NAME = "shop"
TIMEOUT_S = 1800


@pytest.fixture
def jenkins(monkeypatch):
    monkeypatch.setattr(jenkins_module, "QUEUE_WAIT_S", 0)
    with running_jenkins() as (double, url):
        double.url = url
        double.add_job(NAME)
        yield double


@pytest.fixture
def server(jenkins):
    return Jenkins.configured(
        Configuration(
            {"ci": {"jenkins": {"url": jenkins.url, "user": USER, "api_token": API_TOKEN}}}
        )
    )


@pytest.fixture
def shop(store):
    application = Application(store, NAME)
    application.builds.start(COMMIT, "acme/shop", "main", "alice")
    return application


def job(shop):
    return builds.job_of(Configuration({}), shop, shop.builds.get(COMMIT))


def begin(server, shop):
    return builds.begin(server, shop, job(shop))


def finish(server, shop, **options):
    return builds.finish(server, shop, job(shop), TIMEOUT_S, **options)


def has_news(server, shop):
    return builds.has_news(server, job(shop), shop.builds.get(COMMIT), TIMEOUT_S)


def events(shop):
    return [event["type"] for event in shop.events.all()]


def let_time_pass(shop, seconds):
    """Makes the build as old as that."""
    record = shop.store.get(f"shop/builds/{COMMIT}")
    then = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    build = dict(json.loads(record.value), started_at=then.strftime("%Y-%m-%dT%H:%M:%SZ"))
    shop.store.commit([shop.store.set(f"shop/builds/{COMMIT}", json.dumps(build), record)])


# --- from start to verdict ----------------------------------------------------------------------


def test_a_build_that_has_begun_is_recorded_with_where_it_runs(jenkins, server, shop):
    assert begin(server, shop).status == "running"

    build = shop.builds.get(COMMIT)
    assert build.status == "running"
    assert build.ci == {
        "job": NAME,
        "queue_id": 1,
        "number": 1,
        "starts": 1,
        "url": f"{jenkins.url}/job/shop/1/",
    }


def test_a_build_that_passed_is_recorded_and_starts_the_packaging_by_its_event(
    jenkins, server, shop
):
    begin(server, shop)
    jenkins.build(NAME).end("SUCCESS")
    assert finish(server, shop).passed

    build = shop.builds.get(COMMIT)
    assert (build.status, build.seconds) == ("passed", {"jenkins": 1.5})
    assert build.ci["url"] == f"{jenkins.url}/job/shop/1/"
    assert events(shop) == ["build_started", "build_passed"]


def test_a_build_that_failed_is_recorded_with_its_reason(jenkins, server, shop):
    begin(server, shop)
    jenkins.build(NAME).end("UNSTABLE")
    finish(server, shop)

    assert shop.builds.get(COMMIT).reason.startswith("build 1 of shop is unstable")
    assert events(shop) == ["build_started", "build_failed"]


def test_a_verdict_is_recorded_once_however_often_it_is_heard_of(jenkins, server, shop):
    begin(server, shop)
    jenkins.build(NAME).end("SUCCESS")
    for _ in range(3):
        assert finish(server, shop, number=1).passed
    assert events(shop).count("build_passed") == 1


def test_a_verdict_stays_when_the_build_is_deleted_afterwards(jenkins, server, shop):
    begin(server, shop)
    jenkins.build(NAME).end("SUCCESS")
    finish(server, shop)
    jenkins.delete_build(NAME)
    assert finish(server, shop).passed


def test_a_build_that_goes_on_is_left_alone(jenkins, server, shop):
    begin(server, shop)
    assert finish(server, shop).status == "running"
    assert events(shop) == ["build_started"]


def test_a_build_that_calls_back_a_moment_early_is_waited_for(jenkins, server, shop, monkeypatch):
    begin(server, shop)
    monkeypatch.setattr(builds.time, "sleep", lambda _: jenkins.build(NAME).end("SUCCESS"))
    assert finish(server, shop, patience_s=5).passed


def test_a_commit_that_is_built_again_does_not_get_the_old_result(jenkins, server, shop):
    begin(server, shop)
    jenkins.build(NAME).end("FAILURE")
    let_time_pass(shop, 10)
    begin(server, shop)
    assert finish(server, shop, number=1).status == "running"

    jenkins.build(NAME, 2).end("SUCCESS")
    assert finish(server, shop, number=1).passed


def test_two_that_hear_of_it_at_once_record_it_once(jenkins, server, shop, monkeypatch):
    begin(server, shop)
    jenkins.build(NAME).end("SUCCESS")
    commit = shop.store.commit

    def somebody_else_first(operations):
        monkeypatch.setattr(shop.store, "commit", commit)
        assert finish(server, shop).passed
        commit(operations)

    monkeypatch.setattr(shop.store, "commit", somebody_else_first)
    assert finish(server, shop).passed
    assert events(shop).count("build_passed") == 1


# --- what Jenkins loses -------------------------------------------------------------------------


def test_a_build_that_a_crash_took_from_the_queue_is_started_again(jenkins, server, shop):
    jenkins.executors = False
    begin(server, shop)
    jenkins.crash()
    assert has_news(server, shop)
    assert finish(server, shop).status == "running"

    assert shop.builds.get(COMMIT).ci["starts"] == 2
    jenkins.take_from_queue()
    jenkins.build(NAME).end("SUCCESS")
    assert finish(server, shop).passed


def test_a_build_that_is_lost_again_and_again_has_failed(jenkins, server, shop):
    jenkins.executors = False
    begin(server, shop)
    for _ in range(builds.STARTS):
        jenkins.crash()
        verdict = finish(server, shop)

    assert verdict.status == "failed"
    assert shop.builds.get(COMMIT).reason == "the CI server lost the build 3 times before it ran"
    assert len(jenkins.posts()) == builds.STARTS


def test_a_build_whose_start_was_not_recorded_is_found_and_not_started_twice(jenkins, server, shop):
    server.run(job(shop))
    assert not shop.builds.get(COMMIT).ci

    jenkins.build(NAME).end("SUCCESS")
    assert finish(server, shop).passed
    assert len(jenkins.jobs[NAME].builds) == 1


def test_a_build_that_nobody_has_started_is_started_by_whoever_looks(jenkins, server, shop):
    let_time_pass(shop, builds.STARTING_S + 1)
    assert has_news(server, shop)
    assert finish(server, shop).status == "running"
    assert len(jenkins.jobs[NAME].builds) == 1


def test_a_build_that_is_just_being_started_is_no_news(jenkins, server, shop):
    assert not has_news(server, shop)
    assert jenkins.requests == []


# --- a Jenkins that is away ---------------------------------------------------------------------


def test_a_build_goes_on_running_while_jenkins_is_away_and_is_started_when_it_is_back(
    jenkins, server, shop
):
    jenkins.starting = True
    verdict = begin(server, shop)
    assert verdict.status == "running"
    assert "failed to start shop (503)" in verdict.reason

    with pytest.raises(NoAnswer):
        finish(server, shop)
    jenkins.starting = False
    assert finish(server, shop).status == "running"
    assert len(jenkins.jobs[NAME].builds) == 1


def test_a_build_has_failed_when_jenkins_stays_away_until_its_time_is_up(jenkins, server, shop):
    begin(server, shop)
    jenkins.starting = True
    let_time_pass(shop, TIMEOUT_S + 1)
    assert has_news(server, shop)
    finish(server, shop)

    assert shop.builds.get(COMMIT).reason.startswith(
        "no verdict within 1800 s: Jenkins at http://127.0.0.1"
    )


def test_a_build_that_takes_too_long_is_aborted_and_has_failed(jenkins, server, shop):
    record = begin(server, shop).record
    let_time_pass(shop, TIMEOUT_S + 1)
    shop.builds.record_ci(COMMIT, record)
    # The callback id is made of the time of the start, which the line above has moved.
    jenkins.build(NAME).item["actions"][0]["parameters"][3]["value"] = job(shop).callback
    finish(server, shop)

    assert shop.builds.get(COMMIT).reason == "no verdict within 1800 s"
    assert jenkins.build(NAME).result == "ABORTED"


def test_a_start_that_can_never_succeed_fails_the_build(jenkins, server, shop):
    del jenkins.jobs[NAME]
    with pytest.raises(DeliveryError):
        begin(server, shop)
    assert shop.builds.get(COMMIT).status == "failed"
    assert events(shop) == ["build_started", "build_failed"]


# --- which builds run ---------------------------------------------------------------------------


def test_running_builds_are_those_without_a_verdict(store, shop):
    notes = Application(store, "notes")
    notes.builds.start(COMMIT, "acme/notes", "main", "alice")
    shop.builds.finish(COMMIT, passed=True)
    assert [(application.name, build.commit) for application, build in running_builds(store)] == [
        ("notes", COMMIT)
    ]


def test_a_build_that_is_started_again_runs_again(store, shop):
    shop.builds.finish(COMMIT, passed=False)
    shop.builds.start(COMMIT, "acme/shop", "main", "alice", again=True)
    assert len(list(running_builds(store))) == 1
