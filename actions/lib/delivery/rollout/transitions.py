"""The transitions of a rollout: each is one transaction, made only by the holder of the lock.

    rollout = rollouts.begin(Rollout-to-be)          # takes the application's lock
    rollouts.assign(rollout, nodes)
    rollout = rollouts.record_batch(rollout, failed_hosts={})
    rollouts.settle(rollout)                         # or rollouts.fail(rollout)

The lock is a session of Consul's that each step renews. A rollout whose process is gone loses it,
and the next rollout takes over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from typing import Callable, Mapping, Sequence

from delivery.clock import lasted, now, with_ages
from delivery.errors import DeliveryError
from delivery.freeze import Freezes
from delivery.ledger import Event, Ledger
from delivery.names import check, plain
from delivery.releases import Target
from delivery.rollout.abort import Aborts
from delivery.rollout.lock import LOCK_TTL_S
from delivery.rollout.plan import Order
from delivery.rollout.record import PROMOTABLE, UNUSABLE, Rollout, state_key
from delivery.stages import Stage, Stages
from delivery.store import (
    OPERATIONS_PER_TRANSACTION,
    ConsulUnreachable,
    Entry,
    LostRace,
    Operation,
)

LOCK = "lock"


class Locked(DeliveryError):
    """Another rollout of the same application is under way."""


class Rollouts:
    """
    :param ledger: of the application.
    :param stages: its stages.
    :param freezes: its freezes; they hold promotions up.
    """

    def __init__(self, ledger: Ledger, stages: Stages, freezes: Freezes) -> None:
        self._ledger = ledger
        self._stages = stages
        self._freezes = freezes
        self.aborts = Aborts(ledger)
        self._name = ledger.application

    # --- the lock ---------------------------------------------------------------------------------

    def is_locked(self) -> bool:
        """Returns whether a rollout holds the lock; one whose process is gone has lost it."""
        return self._ledger.lock_holder(LOCK) is not None

    def refuse_if_locked(self) -> None:
        """:raises Locked: when a rollout of this application is under way; names it."""
        holder = self._ledger.lock_holder(LOCK)
        if holder:
            raise Locked(
                f"{self._name} is locked: {with_ages(plain(holder))}; wait for its end, or stop "
                f"it: !deploy abort {self._name}"
            )

    def keep_lock(self, rollout: Rollout) -> bool:
        """Renews the lock of a rollout; returns whether it still had it."""
        return self._ledger.sessions.renew(rollout.session)

    # --- from the beginning to the end ------------------------------------------------------------

    def begin(self, order: Order) -> Rollout:
        """Takes the application's lock and records the plan of a rollout.

        A rollout left unfinished by a process that is gone (its lock has lapsed) is taken over.
        What it had assigned stays until the batch of each host comes: deleting it at once would
        send all those hosts back at the same time.

        :raises Frozen: when it is a promotion, and the application is frozen.
        :raises Locked: when another rollout holds the lock; the message names it.
        :raises LostRace: when the stage or its source changed meanwhile, or the release is gone.
        """
        guards = [self._stages.releases.guard(order.target.version)]
        if order.kind == "promote":
            guards.append(self._freezes.guard())
        before = self._stages.get(order.stage)
        if order.source:
            source = self._source(order.source, order.target)
            guards.append(self._ledger.unchanged(state_key(order.source), source))
        planned = self._planned(order, before)
        session = self._ledger.sessions.open(f"{self._name} {planned.deployment}", LOCK_TTL_S)
        rollout = dataclasses.replace(planned, session=session)
        ships = f": {order.ships}" if order.ships else ""
        self._take_lock(
            rollout,
            f"{rollout.doing}, by {rollout.by} since {rollout.since}",
            [*guards, self.aborts.forget(order.stage)],
            self._event(rollout, "rollout_started", f"{rollout.planned}, by {rollout.by}{ships}"),
        )
        return self._read(order.stage)

    def resume(self, stage: str, deployment: str) -> Rollout:
        """Returns the rollout under way, with its lock renewed, or retaken if it had lapsed.

        :raises DeliveryError: when that rollout is over, or another one took its place.
        """
        rollout = self._stages.get(stage).rollout
        if not rollout or rollout.deployment != deployment:
            raise DeliveryError(
                f"the rollout {deployment} of {self._name} is over: another one replaced it"
            )
        if rollout.status != "rolling_out":
            raise DeliveryError(
                f"the rollout {deployment} of {self._name} is over: {rollout.status}"
            )
        if self._ledger.sessions.renew(rollout.session):
            return rollout
        session = self._ledger.sessions.open(f"{self._name} {deployment}", LOCK_TTL_S)
        self._take_lock(
            dataclasses.replace(rollout, session=session), f"{rollout.doing}, resumed", []
        )
        return self._read(stage)

    def assign(self, rollout: Rollout, nodes: Sequence[str]) -> None:
        """Tells these hosts, and no others, to run the rollout's version."""
        self._for_each(
            rollout, nodes, lambda key: self._ledger.overwrite(key, rollout.target.version)
        )

    def unassign(self, rollout: Rollout, nodes: Sequence[str]) -> None:
        """Tells these hosts, and no others, to go back to what the stage had settled on."""
        self._for_each(rollout, nodes, self._ledger.delete)

    def assigned_batches(self, rollout: Rollout) -> list[list[str]]:
        """Returns the hosts that are assigned a version, in the plan's batches, the last one first.

        Hosts outside the plan, assigned by a rollout that was taken over, come last, one by one.
        """
        assigned = set(self._ledger.get_below(_assigned(rollout.stage)))
        batches = [
            [node for node in batch if node in assigned] for batch in reversed(rollout.batches)
        ]
        others = sorted(assigned.difference(*batches))
        return [batch for batch in batches if batch] + [[node] for node in others]

    def record_batch(
        self, rollout: Rollout, failed_hosts: Mapping[str, str], reason: str = ""
    ) -> Rollout:
        """Records that a batch is done.

        :param failed_hosts: of this batch, why each failed, in one line, by node.
        :param reason: why the rollout must stop here, or empty.
        """
        why = {node: plain(each) for node, each in failed_hosts.items()}
        done = dataclasses.replace(
            rollout,
            failed_hosts={**rollout.failed_hosts, **why},
            completed=rollout.completed + 1,
            reason=plain(reason) or rollout.reason,
        )
        batch = f"batch {done.completed} of {len(done.batches)}: {', '.join(rollout.batch)}"
        self._commit(done, [], self._event(done, "batch_finished", f"{done.stage} {batch}"))
        return self._read(rollout.stage)

    def settle(self, rollout: Rollout) -> Stage:
        """The stage settles on the rollout's version: hosts have proven it.

        This is where the advertised version moves, and the assignments go.

        :raises Aborted: when somebody has asked for the rollout to stop.
        :raises DeliveryError: when batches remain, or no host has proven the version.
        """
        self.aborts.refuse_if_asked(rollout)
        if rollout.remaining or not rollout.is_proven:
            raise DeliveryError(
                f"{rollout.target.version} cannot be settled on {rollout.stage} of {self._name}: "
                f"{rollout.remaining} batches remain, {len(rollout.failed_hosts)} of "
                f"{len(rollout.hosts)} hosts failed"
            )
        settled = rollout.settle(now())
        version, stage = rollout.target.version, rollout.stage
        self._commit(
            settled,
            [
                self.aborts.none(stage),
                self._ledger.overwrite(f"stages/{stage}/version", version),
                self._ledger.delete_below(_assigned(stage)),
            ],
            self._event(settled, "rollout_succeeded", f"{stage} {rollout.outcome}"),
        )
        self._let_go(rollout)
        return self._stages.get(stage)

    def fail(self, rollout: Rollout) -> Stage:
        """The rollout has failed, or is aborted if somebody asked for that and no host failed.

        Whatever is still assigned goes, so every host goes back to `previous`.
        """
        by = None if rollout.reason else self.aborts.asked_by(rollout)
        over = dataclasses.replace(
            rollout,
            status="aborted" if by else "failed",
            since=now(),
            reason=rollout.reason or (f"requested by {by}" if by else "the rollout was stopped"),
        )
        back = rollout.previous.version if rollout.previous else "nothing"
        self._commit(
            over,
            [
                self._ledger.delete_below(_assigned(rollout.stage)),
                self.aborts.forget(rollout.stage),
            ],
            self._event(
                over,
                "rollout_failed",
                f"{over.target.version} {UNUSABLE[over.status]} on {over.stage} after "
                f"{lasted(rollout.since)}, back to {back}: "
                f"{over.reason}",
            ),
        )
        self._let_go(rollout)
        return self._stages.get(rollout.stage)

    def under_way(self) -> Rollout:
        """Returns the rollout that is under way.

        :raises DeliveryError: when none is.
        """
        for name in self._stages.names():
            rollout = self._stages.get(name).rollout
            if rollout and rollout.status == "rolling_out":
                return rollout
        raise DeliveryError(f"{self._name} has no rollout in progress; nothing to abort")

    # --- transactions -----------------------------------------------------------------------------

    def _planned(self, order: Order, before: Stage) -> Rollout:
        """Returns the record of a rollout that has not taken the lock yet."""
        since = now()
        latest = before.rollout
        return Rollout(
            stage=order.stage,
            status="rolling_out",
            kind=order.kind,
            target=order.target,
            previous=before.settled[-1] if before.settled else None,
            settled=before.settled,
            deployment=f"{order.stage}-{since.lower().replace(':', '')}-{secrets.token_hex(2)}",
            session="",
            by=check("user", order.by),
            since=since,
            failure_budget=order.failure_budget,
            batches=[[check("node", node) for node in batch] for batch in order.batches],
            rolled_back_from=(
                latest.rolled_back_from if latest and order.kind == "rollback" else []
            ),
            entry=latest.entry if latest else None,
        )

    def _take_lock(
        self,
        rollout: Rollout,
        holder: str,
        operations: list[Operation],
        event: Event | None = None,
    ) -> None:
        """Takes the lock for the rollout's session and writes the record; ends the session if not.

        :raises Locked: when another rollout holds it.
        """
        lock = self._ledger.lock(LOCK, holder, rollout.session)
        try:
            self._ledger.commit([*operations, lock, self._write(rollout)], event)
        except DeliveryError as error:
            self._let_go(rollout)
            if isinstance(error, LostRace):
                self.refuse_if_locked()
            raise

    def _commit(self, rollout: Rollout, operations: list[Operation], event: Event) -> None:
        """Writes a record and more, while the rollout holds the lock."""
        self._ledger.commit([self._holds_lock(rollout), *operations, self._write(rollout)], event)

    def _let_go(self, rollout: Rollout) -> None:
        """Ends the session that holds the lock; while Consul is away it ends by itself."""
        with contextlib.suppress(ConsulUnreachable):
            self._ledger.sessions.close(rollout.session)

    def _for_each(
        self, rollout: Rollout, nodes: Sequence[str], operation: Callable[[str], Operation]
    ) -> None:
        """Applies an operation to the assignment of each node, while the lock is held."""
        size = OPERATIONS_PER_TRANSACTION - 1
        for start in range(0, len(nodes), size):
            self._ledger.commit(
                [self._holds_lock(rollout)]
                + [
                    operation(f"{_assigned(rollout.stage)}/{check('node', node)}")
                    for node in nodes[start : start + size]
                ]
            )

    def _source(self, source: str, target: Target) -> Entry:
        """Returns the record of the source's rollout, which has to have settled on the target."""
        stage = self._stages.get(source)
        if (
            stage.rollout
            and stage.rollout.entry
            and stage.status in PROMOTABLE
            and stage.settled[-1].target == target
        ):
            return stage.rollout.entry
        raise LostRace(f"the {source} of {self._name} has changed; check its status and retry")

    def _read(self, stage: str) -> Rollout:
        rollout = self._stages.get(stage).rollout
        if not rollout:
            raise DeliveryError(f"the rollout of {stage} of {self._name} is missing in Consul")
        return rollout

    def _write(self, rollout: Rollout) -> Operation:
        return self._ledger.set(state_key(rollout.stage), rollout.as_json(), rollout.entry)

    def _holds_lock(self, rollout: Rollout) -> Operation:
        return self._ledger.holds(LOCK, rollout.session)

    def _event(self, rollout: Rollout, kind: str, what: str) -> Event:
        return self._ledger.event(
            kind,
            stage=rollout.stage,
            version=rollout.target.version,
            by=rollout.by,
            deployment=rollout.deployment,
            message=f"{self._name}: {what}",
        )


def _assigned(stage: str) -> str:
    return f"stages/{stage}/assigned"
