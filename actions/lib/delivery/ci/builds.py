"""A build from its start to its verdict, as Consul keeps it.

    server, job = ci.create(configuration), builds.job_of(configuration, application, build)
    verdict = builds.begin(server, application, job)
    verdict = builds.finish(server, application, job, timeout_s)   # of a server that is done

A server builds by itself and may restart, lose its queue or not answer at all. Whoever hears of a
build (its callback, or the sensor that asks) calls `finish`, which reads the result from the
server; it may be called at any time and as often as one likes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from delivery.application import Application
from delivery.build_record import Build
from delivery.ci import CiServer, Job, NoAnswer, Verdict, callback_id
from delivery.clock import seconds_since
from delivery.errors import DeliveryError
from delivery.store import LostRace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

STARTS = 3  # of a build that the server keeps losing before it ran
STARTING_S = 60  # a build without a trace on the server may only just be handed over
LOOK_AGAIN_S = 1


def job_of(configuration: Configuration, application: Application, build: Build) -> Job:
    """Returns what a build is to make: which commit, from where."""
    return Job(
        application.name,
        build.repository,
        configuration.clone_url(build.repository),
        build.branch,
        build.commit,
        callback_id(application.name, build.commit, build.started_at),
        build.path,
    )


def begin(server: CiServer, application: Application, job: Job, starts: int = 1) -> Verdict:
    """Has a commit built, and records the verdict, or where it is being built.

    A server that is away is asked again by the sensor, so the build goes on as running.

    :param starts: how often the build has been handed to the server, with this time.
    :raises DeliveryError: when there can be no verdict; the build is recorded as failed.
    """
    try:
        verdict = server.run(job)
    except NoAnswer as error:
        return Verdict("running", reason=f"{error}; retrying until the build times out")
    except DeliveryError as error:
        application.builds.finish(job.commit, passed=False, reason=str(error))
        raise
    except Exception as error:
        # The tool's file may be anybody's: whatever it raises is the verdict's reason.
        reason = f"{type(server).__name__}: {type(error).__name__}: {error}"
        application.builds.finish(job.commit, passed=False, reason=reason)
        raise
    if verdict.status == "running":
        application.builds.record_ci(job.commit, dict(verdict.record, starts=starts))
    else:
        _record(application, job, verdict)
    return verdict


def finish(
    server: CiServer,
    application: Application,
    job: Job,
    timeout_s: float,
    number: int = 0,
    patience_s: float = 0,
) -> Verdict:
    """Records what has become of a build on a server, if anything has.

    :param timeout_s: seconds after which the build has failed, counted from its start.
    :param number: of the build on the server, as the callback said; 0 if it did not.
    :param patience_s: seconds to wait for a build that is said to be done and is not quite yet.
    :returns: the verdict; running when the build goes on.
    """
    deadline = time.monotonic() + patience_s
    while True:
        build = application.builds.get(job.commit)
        if build.status != "running":
            return Verdict(build.status, None, build.reason, record=build.ci)
        verdict = _judge(server, job, build, timeout_s, number)
        if verdict.status != "running" or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_AGAIN_S)
    if verdict.status == "lost":
        return _start_again(server, application, job, build.ci)
    if verdict.status == "running":
        return verdict
    try:
        _record(application, job, verdict)
    except LostRace:
        if application.builds.get(job.commit).status == "running":
            raise
    return verdict


def has_news(server: CiServer, job: Job, build: Build, timeout_s: float) -> bool:
    """Returns whether `finish` has something to do for a build that runs."""
    age_s = seconds_since(build.started_at)
    if age_s > timeout_s:
        return True
    if not build.ci and age_s < STARTING_S:
        return False
    return server.look(job, build.ci).status != "running"


def _judge(server: CiServer, job: Job, build: Build, timeout_s: float, number: int) -> Verdict:
    """Returns what the server says of a build, or that its time is up."""
    overdue = seconds_since(build.started_at) > timeout_s
    record = build.ci
    late = f"no verdict within {timeout_s:g} s"
    try:
        verdict = server.look(job, record, number)
        if verdict.status in ("passed", "failed") or not overdue:
            return verdict
        server.stop(job, dict(record, **verdict.record))
    except DeliveryError as error:
        if not overdue:
            raise
        return Verdict("failed", reason=f"{late}: {error}", record=record)
    return Verdict("failed", reason=late, record=dict(record, **verdict.record))


def _start_again(
    server: CiServer, application: Application, job: Job, record: Mapping[str, Any]
) -> Verdict:
    starts = record.get("starts", 0)
    if starts < STARTS:
        return begin(server, application, job, starts + 1)
    verdict = Verdict(
        "failed",
        record=record,
        reason=(f"the CI server lost the build {starts} times before it ran"),
    )
    _record(application, job, verdict)
    return verdict


def _record(application: Application, job: Job, verdict: Verdict) -> None:
    application.builds.finish(
        job.commit, verdict.passed, verdict.reason, dict(verdict.seconds), dict(verdict.record)
    )
