"""What builds and tests a commit: one interface, one file per tool (`delivery.tools`).

    server = TOOLS.create(configuration)
    verdict = server.run(job)             # passed, failed, or running on a server
    verdict = server.look(job, build.ci)  # what has become of it; starts nothing
    verdict.status, verdict.reason, verdict.seconds, verdict.log

`delivery.ci.builds` records the verdicts; `delivery.ci.callback` is how a server says that it is
done.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Iterable, Mapping, NamedTuple, Sequence

from delivery.errors import DeliveryError
from delivery.tools import Registry, Tool

if TYPE_CHECKING:
    from delivery.ci.callback import Callback
    from delivery.configuration import Configuration


class NoAnswer(DeliveryError):
    """The CI server did not answer, or said that it cannot serve now; it may soon."""


class Job(NamedTuple):
    """What is to be built: a commit of a branch, and where to clone it from.

    `callback` names this attempt at building the commit; see `callback_id`. `path` is the directory
    of the repository that holds the application and its scripts; empty where that is all of it.
    """

    app: str
    repository: str
    url: str
    branch: str
    commit: str
    callback: str
    path: str = ""


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


class CiServer(Tool, ABC):
    """Runs an application's `script/cisetup` and `script/cibuild`.

    - `polled`: its builds go on when `run` has returned, so the sensor asks `look` for them.
    """

    role = "ci"
    polled: ClassVar[bool] = False

    @classmethod
    def callbacks(cls, configuration: Configuration) -> Sequence[Callback]:
        """Returns the doors of the receiver through which it says that a build is done."""
        return ()

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
            "no result to read: the configured ci.tool has no server; rebuild "
            f"{job.commit[:7]} with cicd_canary.ci and again=true"
        )

    def examine(self, applications: Iterable[str]) -> str:
        """Returns in one line how the server is, for the doctor; nothing where there is no server.

        :param applications: names of those that it builds.
        :raises DeliveryError: for what is not as it should be.
        """
        return ""

    def stop(self, job: Job, record: Mapping[str, Any]) -> None:
        """Takes a job that runs from the server; fine when there is none any more."""


def callback_id(app: str, commit: str, started_at: str) -> str:
    """Names one attempt at building a commit, for the CI server to say which one is done.

    :param started_at: when it was recorded, ISO 8601.
    """
    return f"{app}-{commit}-{re.sub('[^0-9]', '', started_at)}"


TOOLS = Registry(CiServer, __name__)  # type: ignore[type-abstract]  # it makes none itself
