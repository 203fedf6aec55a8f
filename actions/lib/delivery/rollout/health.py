"""What a batch waits for: hosts that report the target, and that Consul finds healthy."""

from __future__ import annotations

import time
from typing import Callable, Collection

from delivery.discovery import Discovery
from delivery.host_reports import HostReport, HostReports
from delivery.releases import Rules, Target
from delivery.store import ConsulUnreachable

POLL_S = 0.2


class Health:
    """
    :param application: its name, which is also its service's in Consul.
    :param reports: what its hosts say.
    :param discovery: says what Consul finds.
    """

    def __init__(self, application: str, reports: HostReports, discovery: Discovery) -> None:
        self._application = application
        self._reports = reports
        self._discovery = discovery

    def wait(
        self,
        nodes: Collection[str],
        target: Target,
        rules: Rules,
        deployment: str,
        go_on: Callable[[], None],
    ) -> dict[str, str]:
        """Waits until all nodes are there, and have been for `min_healthy_s`.

        :param deployment: the rollout that they are to be there for.
        :param go_on: is asked all the time, and raises an error if there is no point in waiting.
        :returns: the nodes that were not there within `healthy_deadline_s`, and why; a host that
            is still installing gets the time that `cicd-converge` may take.
        """
        if not nodes:
            return {}
        deadline = time.monotonic() + rules.healthy_deadline_s
        patience = time.monotonic() + rules.converge_s
        healthy_since: float | None = None
        while True:
            go_on()
            pending = self._pending_or_away(nodes, target)
            moment = time.monotonic()
            if not pending:
                healthy_since = moment if healthy_since is None else healthy_since
                if moment - healthy_since >= rules.min_healthy_s:
                    return {}
            elif moment > deadline and (moment > patience or not self.at_work(pending, deployment)):
                return pending
            else:
                healthy_since = None
            time.sleep(POLL_S)

    def at_work(
        self, nodes: Collection[str], deployment: str, or_there_with: Target | None = None
    ) -> set[str]:
        """Returns which of the nodes are installing for this rollout. None of those that Consul has
        lost sight of, and none while Consul is away.

        :param or_there_with: those that it has brought this version count too.
        """
        if not nodes:
            return set()
        try:
            reports = self._reports.all()
            working = {
                node
                for node in nodes
                for report in [reports.get(node)]
                if report
                and report.deployment == deployment
                and (
                    report.is_installing
                    or (or_there_with and not _difference(report, or_there_with))
                )
            }
            return working & self._discovery.up(self._application) if working else set()
        except ConsulUnreachable:
            return set()

    def _pending_or_away(self, nodes: Collection[str], target: Target) -> dict[str, str]:
        """Returns the nodes that are not there; all of them while Consul cannot be asked."""
        try:
            return self.pending(nodes, target)
        except ConsulUnreachable as away:
            return dict.fromkeys(nodes, str(away))

    def pending(self, nodes: Collection[str], target: Target) -> dict[str, str]:
        """Returns the nodes that are not healthy with the target, and why."""
        reports = self._reports.all()
        pending = {
            node: why for node in nodes for why in [_difference(reports.get(node), target)] if why
        }
        return pending or self._discovery.failing(self._application, set(nodes))


def _difference(report: HostReport | None, target: Target) -> str:
    """Returns what a host reports in place of the target, or nothing."""
    if report and report.is_installing:
        return f"has been installing {report.desired or 'nothing'} since {report.at or 'long ago'}"
    if not report or report.version != target.version:
        return f"reports {(report and report.version) or 'no version'}"
    if report.sha256 != target.sha256:
        return f"reports {target.version} with another SHA-256"
    return ""
