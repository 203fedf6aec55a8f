"""How a version reaches the hosts of a stage: batches, the failure budget, the loop's decisions.

Each step is a function of what Consul says now, so that the process that runs it may die at any
line and another go on: `begin`, then `update_batch` until nothing remains, then `finish`; or
`revert`.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any, Sequence

from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.names import plain
from delivery.release import Application, Locked, Stage, Superseded, Target
from delivery.remote import Host, Result, Ssh

CONVERGE = "/usr/local/sbin/cicd-converge"
POLL_S = 0.2
CONVERGE_MARGIN_S = 300  # for download, drain, install and a possible way back
LOCK_POLL_S = 2


class RolloutFailed(DeliveryError):
    """More hosts failed than the budget allows."""


def plan_batches(nodes: Sequence[str], batch_size: int | str) -> list[list[str]]:
    """Cuts node names into batches.

    :param batch_size: hosts, or a share such as `25%`; rounded up, at least one.
    """
    size = batch_size
    if isinstance(batch_size, str):
        size = math.ceil(len(nodes) * int(batch_size.rstrip("%")) / 100)
    size = max(1, int(size))
    return [list(nodes[start : start + size]) for start in range(0, len(nodes), size)]


class Rollout:
    """The steps of a rollout of one application.

    :param application: where its state is kept.
    :param discovery: finds its hosts and their health.
    :param ssh: reaches them.
    """

    def __init__(self, application: Application, discovery: Discovery, ssh: Ssh) -> None:
        self.application = application
        self.discovery = discovery
        self.ssh = ssh

    def deploy(
        self, stage: str, version: str, by: str, wait_for_lock_s: int = 0, even_older: bool = False
    ) -> Stage:
        """Begins to bring a published release to a stage.

        :param wait_for_lock_s: how long another rollout of the application is waited for.
        :param even_older: also when the stage has got a newer release already.
        :raises Superseded: when it has, and `even_older` is not set.
        """
        release = self.application.release(version)
        self._wait_for_lock(wait_for_lock_s)
        if not even_older:
            self._refuse_older(stage, release)
        target = Target(version, release["package"]["sha256"])
        return self._begin(stage, target, release["settings"], by, "deploy")

    def promote(self, stage: str, source: str, by: str) -> Stage:
        """Begins to bring exactly what stage `source` is running to `stage`."""
        target = self.application.promotion(stage, source)
        settings = self.application.release(target.version)["settings"]
        return self._begin(stage, target, settings, by, "promote", source)

    def roll_back(self, stage: str, by: str) -> Stage:
        """Begins to bring a stage back to what it ran before."""
        target = self.application.rollback(stage)
        settings = self.application.release(target.version)["settings"]
        return self._begin(stage, target, settings, by, "rollback")

    def update_batch(self, stage: str, deployment: str) -> Stage:
        """Assigns the version to the next batch, tells its hosts, and waits until they are healthy.

        :returns: the rollout, with that batch completed.
        :raises RolloutFailed: when the failure budget is used up; names the hosts.
        :raises Aborted: when somebody has asked for the rollout to stop; the batch is not begun.
        """
        rollout = self.application.rollout(stage, deployment)
        self.application.refuse_if_aborted(rollout)
        state = rollout.state
        batch = state["batches"][state["completed"]]
        self.application.assign(rollout, batch)
        failed = self._bring(rollout, batch, state["target"])
        reason = ""
        if len(state["failed_hosts"]) + len(failed) > state["failure_budget"]:
            every = dict(state["failed_hosts"], **failed)
            reason = "; ".join(f"{node}: {plain(why)}" for node, why in sorted(every.items()))
        rollout = self.application.record_batch(rollout, failed, reason)
        if reason:
            raise RolloutFailed(f"{state['target']['version']} failed on {reason}")
        return rollout

    def finish(self, stage: str, deployment: str) -> Stage:
        """The stage settles on the version.

        :raises Aborted: when somebody has asked for the rollout to stop.
        """
        return self.application.finish_rollout(self.application.rollout(stage, deployment))

    def abort(self, by: str) -> Stage:
        """Stops the rollout that is under way; its hosts go back.

        Its own process does that after the current batch. If that process is gone, this one does.

        :returns: the rollout, no longer `rolling_out` if it was reverted here.
        """
        rollout = self.application.rollout_under_way()
        stage, deployment = rollout.name, rollout.state["deployment"]
        self.application.ask_to_abort(rollout, by)
        if not self.application.is_locked():
            self.revert(stage, deployment)
        return self.application.stage(stage)

    def revert(self, stage: str, deployment: str) -> dict[str, str]:
        """Fails the rollout: hosts that were told go back to what the stage had settled on.

        They go batch by batch, as they came: all at once would leave nobody to answer.

        :returns: the hosts that could not be brought back now, and why. They will come back by
            themselves, since the stage's version never moved.
        """
        rollout = self.application.rollout(stage, deployment)
        not_back: dict[str, str] = {}
        for batch in self.application.assigned_batches(rollout):
            self.application.unassign(rollout, batch)
            if rollout.state["previous"]:
                not_back.update(self._bring(rollout, batch, rollout.state["previous"]))
        self.application.fail_rollout(rollout)
        return not_back

    def _begin(
        self,
        stage: str,
        target: Target,
        settings: dict[str, Any],
        by: str,
        kind: str,
        source: str | None = None,
    ) -> Stage:
        hosts = self.discovery.stage_hosts(
            self.application.name, settings["role"], stage, settings["stages"]
        )
        rules = settings["rollout"]
        batches = plan_batches([host.node for host in hosts.up], rules["batch_size"])
        return self.application.begin_rollout(
            stage, target, batches, by, kind, rules["failure_budget"], source
        )

    def _wait_for_lock(self, wait_s: int) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self.application.refuse_if_locked()
            except Locked:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(LOCK_POLL_S)

    def _refuse_older(self, stage: str, release: dict[str, Any]) -> None:
        latest = self.application.stage(stage).state.get("target")
        if not latest or latest["version"] == release["version"]:
            return
        build = self.application.release(latest["version"])["build"]
        if build > release["build"]:
            raise Superseded(
                f"{release['version']} is older than {latest['version']}, which {stage} of "
                f"{self.application.name} has had already"
            )

    def _rules(self, version: str) -> dict[str, Any]:
        return self.application.release(version)["settings"]["rollout"]

    def _tell(
        self, rollout: Stage, nodes: Sequence[str], healthy_deadline_s: int
    ) -> dict[str, str]:
        """Runs cicd-converge on the hosts at once; returns what went wrong, by node."""
        addresses = {
            each.host.node: each.host for each in self.discovery.instances(self.application.name)
        }
        failed = {
            node: f"is no longer registered for {self.application.name} in Consul"
            for node in nodes
            if node not in addresses
        }
        hosts = [addresses[node] for node in nodes if node in addresses]
        # A host may need the deadline twice: for this version, and for the way back.
        timeout_s = 2 * healthy_deadline_s + CONVERGE_MARGIN_S
        results = self._run_keeping_lock(rollout, hosts, timeout_s)
        failed.update({result.host.node: _reason(result) for result in results if not result.ok})
        return failed

    def _run_keeping_lock(self, rollout: Stage, hosts: list[Host], timeout_s: int) -> list[Result]:
        """Runs cicd-converge while a thread renews the lock, which lasts a minute."""
        import threading

        done = threading.Event()

        def keep() -> None:
            while not done.wait(15):
                self.application.keep_lock(rollout)

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            return self.ssh.run_many(hosts, [CONVERGE, self.application.name], timeout_s=timeout_s)
        finally:
            done.set()
            keeper.join()

    def _bring(
        self, rollout: Stage, nodes: Sequence[str], target: dict[str, str]
    ) -> dict[str, str]:
        """Has hosts converge, and waits until they run the target; returns who failed, and why."""
        rules = self._rules(target["version"])
        failed = self._tell(rollout, nodes, rules["healthy_deadline_s"])
        failed.update(self._await_health(rollout, set(nodes) - set(failed), target, rules))
        return failed

    def _await_health(
        self, rollout: Stage, nodes: set[str], target: dict[str, str], rules: dict[str, Any]
    ) -> dict[str, str]:
        """Waits until the hosts report the target and Consul finds them healthy, for long enough.

        :returns: those that did not get there in time, and why.
        """
        began = time.monotonic()
        try:
            return self._poll_health(rollout, nodes, target, rules)
        finally:
            self.ssh.waited_s += time.monotonic() - began

    def _poll_health(
        self, rollout: Stage, nodes: set[str], target: dict[str, str], rules: dict[str, Any]
    ) -> dict[str, str]:
        deadline = time.monotonic() + rules["healthy_deadline_s"]
        healthy_since = None
        renewed = time.monotonic()
        while True:
            pending = self._not_there_yet(nodes, target)
            if pending:
                healthy_since = None
            else:
                healthy_since = healthy_since or time.monotonic()
                if time.monotonic() - healthy_since >= rules["min_healthy_s"]:
                    return {}
            if time.monotonic() > deadline + (0 if pending else rules["min_healthy_s"]):
                return pending
            if time.monotonic() - renewed > 15:
                self.application.keep_lock(rollout)
                renewed = time.monotonic()
            time.sleep(POLL_S)

    def _not_there_yet(self, nodes: set[str], target: dict[str, str]) -> dict[str, str]:
        if not nodes:
            return {}
        reports = self.application.hosts()
        pending = {}
        for node in nodes:
            report = reports.get(node, {})
            if report.get("version") != target["version"]:
                pending[node] = f"reports {report.get('version') or 'no version'}"
            elif report.get("sha256") != target["sha256"]:
                pending[node] = f"reports {target['version']} with another SHA-256"
        return pending or self.discovery.failing(self.application.name, nodes)


def _reason(result: Result) -> str:
    """Returns in one line why a host is not there: cicd-converge's own report, or SSH's word."""
    try:
        return plain(json.loads(result.text)["reason"])
    except (ValueError, KeyError, TypeError):
        return plain(result.reason)
