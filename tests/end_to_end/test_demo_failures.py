"""What the demo says of requests that failed, and of a machine that is slow."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from demo import failures
from demo.traffic import Reply, _words
from sandbox import pace


def timestamp(seconds_ago):
    moment = datetime.fromtimestamp(time.time() - seconds_ago, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def step(name, began, ended, **result):
    return SimpleNamespace(
        task_name=name,
        action=f"cicd_canary.{name}",
        start_timestamp=timestamp(began),
        end_timestamp=timestamp(ended),
        result={"result": result},
    )


def batch():
    """The second of three batches, from half a minute ago on for ten seconds."""
    return step(
        "update_batch",
        30,
        20,
        remaining=1,
        batches=3,
        stage="production",
        failed_hosts={"production-2": "connection refused at http://127.0.0.1:8081/health"},
    )


def test_failed_requests_are_told_by_kind_with_the_step_that_ran():
    at = time.monotonic() - 25
    failed = [Reply(at, "", "", "status 503: No server is available", 0.2) for _ in range(3)]
    first, busy = failures.explained(failed, [batch(), step("settle", 19, 18)])
    assert first.startswith("3 x status 503: No server is available; at ")
    assert first.endswith(
        " UTC, after 0.2 s at most, while update_batch (batch 2 of 3 in production; production-2: "
        "connection refused at http://127.0.0.1:8081/health) ran"
    )
    assert busy.startswith("This machine has a load ")


def test_a_request_that_failed_between_two_steps_says_so():
    (line, _) = failures.explained([Reply(time.monotonic(), "", "", "reset", 0)], [batch()])
    assert line.endswith("while nothing was deployed")


def test_of_many_kinds_of_failures_five_are_told():
    failed = [Reply(time.monotonic(), "", "", str(number), 0) for number in range(9)]
    lines = list(failures.explained(failed, []))
    assert len(lines) == 7
    assert lines[5] == "and 4 other kinds"


def test_without_failures_there_is_nothing_to_say():
    assert list(failures.explained([], [batch()])) == []


def test_a_page_of_an_error_is_told_in_its_words():
    page = b"<html><body><h1>503 Service Unavailable</h1>\nNo server is\nready.</body></html>"
    assert _words(page) == "503 Service Unavailable No server is ready."
    assert _words(b"") == "no words"
    assert len(_words(b"x" * 10_000)) == 200


@pytest.mark.parametrize(("seconds", "slow"), [(3, False), (8.9, False), (9.1, True)])
def test_a_step_is_slow_when_it_takes_three_times_the_usual(seconds, slow):
    assert bool(pace.remark("consul", seconds)) == slow


def test_what_is_said_of_a_slow_step_has_what_was_measured(monkeypatch):
    monkeypatch.setattr(pace.os, "getloadavg", lambda: (12.34, 0, 0))
    monkeypatch.setattr(pace.os, "sched_getaffinity", lambda _: {0, 1})
    assert pace.remark("consul", 31) == "usually 3 s; load 12.3 on 2 cores"
    assert pace.patience(60) == pytest.approx(60 * 6.17)
    monkeypatch.setattr(pace.os, "getloadavg", lambda: (100.0, 0, 0))
    assert pace.patience(60) == 480
