"""CI without a CI server: a build host runs the scripts of the exact commit over SSH."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable

from delivery.ci import CiServer, Job, Verdict
from delivery.isolation import Isolation
from delivery.remote import Host, Ssh
from delivery.workspace import RefusedSource, Workspace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

STEPS = ("script/cisetup", "script/cibuild")
# Not run here, and yet no package can be made without it: better told now than after CI.
NEEDED_LATER = ("script/post-inst",)
CHECK_OUT = "check out"


class BuildHost(CiServer):
    """
    :param find_host: returns a build host to build on.
    :param timeout_s: seconds that all scripts together may take.
    :param isolation: what else they may use.
    """

    name = "build_host"

    def __init__(
        self, ssh: Ssh, find_host: Callable[[], Host], timeout_s: float, isolation: Isolation
    ) -> None:
        self.ssh = ssh
        self.find_host = find_host
        self.timeout_s = timeout_s
        self.isolation = isolation

    @classmethod
    def configured(cls, configuration: Configuration) -> BuildHost:
        """Makes one that takes any of the build hosts that Consul knows."""
        timeout_s = cls.section(configuration)["timeout_s"]
        return cls(
            configuration.build_ssh(),
            configuration.build_host,
            timeout_s,
            Isolation.configured(configuration),
        )

    def run(self, job: Job) -> Verdict:
        """Builds in a workspace of its own, which is removed whatever happens."""
        workspace = Workspace.create(self.ssh, self.find_host(), self.isolation)
        try:
            return self._run_in(workspace, job)
        finally:
            workspace.remove()

    def _run_in(self, workspace: Workspace, job: Job) -> Verdict:
        started = time.monotonic()
        workspace.check_out(job.url, job.commit, job.branch, job.path)
        seconds = {CHECK_OUT: round(time.monotonic() - started, 3)}
        try:
            workspace.require_scripts([*STEPS, *NEEDED_LATER])
        except RefusedSource as refused:
            return _failed(str(refused).split()[0], str(refused), seconds)
        environment = {"CICD_COMMIT": job.commit, "CICD_BRANCH": job.branch}
        left_s = self.timeout_s
        log = ""
        for step in STEPS:
            run = workspace.run_script(step, environment, left_s)
            seconds[step], log = run.seconds, run.log
            left_s = max(1, left_s - run.seconds)
            failure = run.failure(self.timeout_s)
            if failure:
                return _failed(step, failure, seconds, log)
        return Verdict("passed", None, "", seconds, log)


def _failed(step: str, reason: str, seconds: dict[str, float], log: str = "") -> Verdict:
    return Verdict("failed", step, reason, seconds, log)
