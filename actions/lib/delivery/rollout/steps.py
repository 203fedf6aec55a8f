"""The steps of a rollout, as the workflow calls them.

Each decides by what Consul says now, so its process may die at any line and another go on:
`deploy`, `promote` or `roll_back`, then `update_batch` until nothing remains, then `finish`; or
`revert`.
"""

from __future__ import annotations

import json
import time
from typing import Collection, Sequence

from delivery.application import Application
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.host_reports import causes
from delivery.ledger import retry
from delivery.names import plain
from delivery.policy import Policy
from delivery.releases import Release, Rules, Target
from delivery.remote import Result, Ssh
from delivery.rollout.health import Health
from delivery.rollout.lock import HeldLock
from delivery.rollout.plan import Order, plan
from delivery.rollout.record import PROMOTABLE, UNUSABLE, Rollout
from delivery.rollout.transitions import Locked
from delivery.stages import Stage

CONVERGE = "/usr/local/sbin/cicd-converge"
LOCK_POLL_S = 2


class RolloutFailed(DeliveryError):
    """More hosts failed than the budget allows."""


class Superseded(DeliveryError):
    """A newer release has reached the stage already."""


class Steps:
    """
    :param application: where the rollout's record is kept.
    :param discovery: finds its hosts and their health.
    :param ssh: reaches them.
    :param policy: what the application may ask for.
    """

    def __init__(
        self, application: Application, discovery: Discovery, ssh: Ssh, policy: Policy
    ) -> None:
        self._application = application
        self._rollouts = application.rollouts
        self._discovery = discovery
        self._ssh = ssh
        self._policy = policy
        self._health = Health(application.name, application.hosts, discovery)

    def deploy(
        self, stage: str, version: str, by: str, wait_for_lock_s: int = 0, even_older: bool = False
    ) -> Rollout:
        """Begins to bring a published release to a stage.

        :param wait_for_lock_s: how long to wait for another rollout of the application, seconds.
        :param even_older: also when the stage has got a newer release already.
        :raises Superseded: when it has, and `even_older` is not set.
        """
        release = self._application.releases.get(version)
        self._wait_for_lock(wait_for_lock_s)
        if not even_older:
            self._refuse_older(stage, release)
        return self._begin("deploy", stage, release.target, by)

    def promote(self, stage: str, source: str, by: str, ships: str = "") -> Rollout:
        """Begins to bring exactly what stage `source` is running to `stage`.

        :param ships: what comes with it, in a few words for people.
        """
        target = self._application.stages.promotion(stage, source)
        return self._begin("promote", stage, target, by, source, ships)

    def roll_back(self, stage: str, by: str) -> Rollout:
        """Begins to bring a stage back to what it ran before."""
        return self._begin("rollback", stage, self._application.stages.rollback(stage), by)

    def update_batch(self, stage: str, deployment: str) -> Rollout:
        """Assigns the version to the next batch, tells its hosts, and waits until they are healthy.

        :returns: the rollout, with that batch completed.
        :raises RolloutFailed: when the failure budget is used up; names the hosts.
        :raises Aborted: when somebody has asked for the rollout to stop; the batch is not begun.
        """
        rollout = self._rollouts.resume(stage, deployment)
        self._rollouts.aborts.refuse_if_asked(rollout)
        if not rollout.remaining:
            return rollout  # the process that recorded the last batch did not live to say so
        self._rollouts.assign(rollout, rollout.batch)
        failed = self._bring(rollout, rollout.batch, rollout.target)
        every = {**rollout.failed_hosts, **failed}
        reason = ""
        if len(every) > rollout.failure_budget or len(every) == len(rollout.hosts):
            reason = causes(every)
        rollout = self._rollouts.record_batch(rollout, failed, reason)
        if reason:
            raise RolloutFailed(f"{rollout.target.version} failed on {reason}")
        return rollout

    def finish(self, stage: str, deployment: str) -> Stage:
        """The stage settles on the version.

        :raises Aborted: when somebody has asked for the rollout to stop.
        """
        if self._ended_as(stage, deployment, PROMOTABLE):
            return self._application.stages.get(stage)
        return self._rollouts.settle(self._rollouts.resume(stage, deployment))

    def abort(self, by: str) -> Stage:
        """Stops the rollout that is under way; its hosts go back.

        Its own process does that after the current batch. If that process is gone, this one does.

        :returns: the stage, no longer `rolling_out` if the rollout was reverted here.
        """

        def ask() -> Rollout:
            rollout = self._rollouts.under_way()
            self._rollouts.aborts.ask(rollout, by)
            return rollout

        rollout = retry(ask)
        if not self._rollouts.is_locked():
            self.revert(rollout.stage, rollout.deployment)
        return self._application.stages.get(rollout.stage)

    def revert(self, stage: str, deployment: str) -> dict[str, str]:
        """Fails the rollout: hosts that were told go back to what the stage had settled on.

        They go batch by batch, as they came: all at once would leave none to answer.

        :returns: the hosts that could not be brought back now, and why. They will come back by
            themselves, since the stage's version never moved.
        """
        if self._ended_as(stage, deployment, UNUSABLE):
            return {}
        rollout = self._rollouts.resume(stage, deployment)
        not_back: dict[str, str] = {}
        for batch in self._rollouts.assigned_batches(rollout):
            self._rollouts.unassign(rollout, batch)
            not_back.update(self._bring_back(rollout, batch))
        self._rollouts.fail(rollout)
        return not_back

    def _ended_as(self, stage: str, deployment: str, statuses: Collection[str]) -> bool:
        """Returns whether a step that is repeated had done its work already."""
        rollout = self._application.stages.get(stage).rollout
        return (
            rollout is not None and rollout.deployment == deployment and rollout.status in statuses
        )

    def _begin(
        self,
        kind: str,
        stage: str,
        target: Target,
        by: str,
        source: str | None = None,
        ships: str = "",
    ) -> Rollout:
        release = self._application.releases.get(target.version)
        if kind != "rollback":
            self._policy.require_order(release, stage, source)
        batches = plan(self._discovery, self._application.name, release, stage, self._policy)
        budget = self._policy.limited(release.rules).failure_budget
        return self._rollouts.begin(Order(kind, stage, target, batches, by, budget, source, ships))

    def _wait_for_lock(self, wait_s: int) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._rollouts.refuse_if_locked()
            except Locked:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(LOCK_POLL_S)

    def _refuse_older(self, stage: str, release: Release) -> None:
        latest = self._application.stages.get(stage).rollout
        if not latest or latest.target.version == release.version:
            return
        if self._application.releases.get(latest.target.version).is_newer_than(release):
            raise Superseded(
                f"{release.version} is older than {latest.target.version}, which {stage} of "
                f"{self._application.name} already had"
            )

    def _bring(self, rollout: Rollout, nodes: Sequence[str], target: Target) -> dict[str, str]:
        """Has hosts converge, and waits until they run the target; returns who failed, and why."""
        rules = self._rules(target)
        with self._holding_lock(rollout) as held:
            failed, cut_off = self._tell(rollout, nodes, rules)
            for node in self._health.at_work(cut_off, rollout.deployment, or_there_with=target):
                del failed[node]  # only its connection was lost: its report says how it goes
            told = set(nodes) - set(failed)
            began = time.monotonic()
            failed.update(self._health.wait(told, target, rules, rollout.deployment, held.require))
            self._ssh.waited_s += time.monotonic() - began
            held.require()
        return failed

    def _bring_back(self, rollout: Rollout, nodes: Sequence[str]) -> dict[str, str]:
        """Has hosts go back to what was before the rollout, which may be nothing at all."""
        if rollout.previous:
            return self._bring(rollout, nodes, rollout.previous.target)
        with self._holding_lock(rollout) as held:
            not_back, _ = self._tell(rollout, nodes, self._rules(rollout.target))
            held.require()
        return not_back

    def _rules(self, target: Target) -> Rules:
        """Returns how a release reaches hosts, as far as that is allowed now."""
        return self._policy.limited(self._application.releases.get(target.version).rules)

    def _tell(
        self, rollout: Rollout, nodes: Sequence[str], rules: Rules
    ) -> tuple[dict[str, str], set[str]]:
        """Runs cicd-converge on the hosts at once.

        :returns: what went wrong, by node; and the nodes of them that may be at work nevertheless,
            because only the connection failed.

        A host does not take the order of a rollout that another one has replaced meanwhile.
        """
        name = self._application.name
        hosts = {each.host.node: each.host for each in self._discovery.instances(name)}
        failed = {
            node: f"is no longer registered for {name} in Consul"
            for node in nodes
            if node not in hosts
        }
        registered = [hosts[node] for node in nodes if node in hosts]
        order = [CONVERGE, name, rollout.deployment]
        results = self._ssh.run_many(registered, order, timeout_s=rules.converge_s)
        failed.update({result.host.node: _reason(result) for result in results if not result.ok})
        cut_off = {each.host.node for each in results if each.exit_status is None}
        return failed, cut_off

    def _holding_lock(self, rollout: Rollout) -> HeldLock:
        return HeldLock(lambda: self._rollouts.keep_lock(rollout))


def _reason(result: Result) -> str:
    """Returns in one line why a host is not there: cicd-converge's own report, or SSH's word."""
    try:
        return plain(json.loads(result.text)["reason"])
    except (ValueError, KeyError, TypeError):
        return plain(result.reason)
