"""What builds and tests a commit: one interface, one file per tool.

    server = create(configuration)
    verdict = server.run(job)                        # passed, failed, or running on a server
    verdict = server.look(job, build.get("ci", {}))  # what has become of it; starts nothing
    verdict.status, verdict.reason, verdict.seconds, verdict.log

`delivery.ci.builds` is what records the verdicts; `delivery.ci.callback` is how a server says that
it is done.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from delivery.errors import DeliveryError

if TYPE_CHECKING:
    from delivery.configuration import Configuration


class NoAnswer(DeliveryError):
    """The CI server did not answer, or said that it cannot serve now; it may soon."""


class Job(NamedTuple):
    """What is to be built: a commit of a branch, and where to clone it from.

    `callback` names this attempt at building the commit; see `callback_id`.
    """

    app: str
    repository: str
    url: str
    branch: str
    commit: str
    callback: str


class Verdict(NamedTuple):
    """What CI says of a commit.

    `status` is passed or failed; of a server that builds by itself also running, or lost when the
    server knows nothing of the job (any more). `failed_step` and `reason` (one line) are set when
    it did not pass; `seconds` has how long each step took, by name; `log` is the end of what the
    last script printed; `record` is where a server builds it: {job, queue_id, number, url}.
    """

    status: str
    failed_step: str | None = None
    reason: str = ""
    seconds: Mapping[str, float] = {}
    log: str = ""
    record: Mapping[str, Any] = {}

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class CiServer(ABC):
    """Runs an application's `script/cisetup` and `script/cibuild`."""

    @abstractmethod
    def run(self, job: Job) -> Verdict:
        """Builds a commit, or has a server begin to.

        :raises NoAnswer: when the server is away.
        :raises DeliveryError: when it could not be found out whether the commit passes.
        """

    def look(self, job: Job, record: Mapping[str, Any], number: int = 0) -> Verdict:
        """Asks the server what has become of a job; starts nothing.

        :param record: of an earlier verdict, or empty.
        :param number: of the build on the server, as somebody said; 0 if nobody did.
        :raises NoAnswer: when the server is away.
        """
        raise DeliveryError(
            "the configured ci.tool builds while cicd_canary.ci_build runs, there is nothing to "
            f"look up: build {job.commit[:7]} with cicd_canary.ci and again=true"
        )

    def stop(self, job: Job, record: Mapping[str, Any]) -> None:
        """Takes a job that runs from the server; fine when there is none any more."""


def callback_id(app: str, commit: str, started_at: str) -> str:
    """Names one attempt at building a commit, for the CI server to say which one is done.

    :param started_at: when it was recorded, ISO 8601.
    """
    return f"{app}-{commit}-{re.sub('[^0-9]', '', started_at)}"


def create(configuration: Configuration) -> CiServer:
    """Makes what `ci.tool` names; Jenkins unless said otherwise."""
    if configuration.section("ci").get("tool") == "build_host":
        from delivery.ci.build_host import BuildHost

        return BuildHost.configured(configuration)
    from delivery.ci.jenkins import Jenkins

    return Jenkins.configured(configuration)


def timeout_s(configuration: Configuration) -> float:
    """Returns the seconds after which a build has failed."""
    return configuration.section("ci").get("timeout_s", 1800)
