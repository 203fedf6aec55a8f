"""The record of a rollout, as it stands at `<app>/stages/<stage>/state`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Mapping, NamedTuple

from delivery.clock import lasted
from delivery.names import counted, plain
from delivery.records import Fields
from delivery.releases import Target
from delivery.store import Entry

SETTLED_KEPT = 20  # versions a stage remembers having settled on, for rollbacks
PROMOTABLE = ("live", "rolled_back")
UNUSABLE = {"failed": "failed", "aborted": "was aborted"}
STATUSES = ("rolling_out", *PROMOTABLE, *UNUSABLE)
DOING = {
    "deploy": "deploying {version} on {stage}",
    "promote": "promoting {version} to {stage}",
    "rollback": "rolling {stage} back to {version}",
}
DONE = {
    "deploy": "runs {version} (deployed by {by} in {time})",
    "promote": "runs {version} (promoted by {by} in {time})",
    "rollback": "is back on {version} (rolled back by {by} in {time})",
}


def state_key(stage: str) -> str:
    """Returns the key of a stage's record."""
    return f"stages/{stage}/state"


class Settled(NamedTuple):
    """A package a stage settled on: `at` is ISO 8601, UTC."""

    version: str
    sha256: str
    at: str
    by: str

    @property
    def target(self) -> Target:
        return Target(self.version, self.sha256)


@dataclass(frozen=True)
class Rollout:
    """The latest rollout of a stage.

    :param status: `rolling_out`, `live`, `rolled_back`, `failed` or `aborted`.
    :param kind: `deploy`, `promote` or `rollback`.
    :param previous: what the stage had settled on before; None if on nothing.
    :param settled: what the stage settled on, newest last; the last one is what it runs now.
    :param session: Consul's session that holds the application's lock for it.
    :param since: when it began or ended, ISO 8601, UTC.
    :param failure_budget: how many hosts may fail before it is stopped.
    :param batches: node names, in the order in which they are updated.
    :param completed: how many of the batches are done.
    :param failed_hosts: why each host failed, in one line, by node.
    :param rolled_back_from: versions left by rollbacks since the last promotion.
    :param reason: why it failed or was aborted; empty unless it did.
    :param entry: what it was read from; None before it is written.
    """

    stage: str
    status: str
    kind: str
    target: Target
    previous: Settled | None
    settled: list[Settled]
    deployment: str
    session: str
    by: str
    since: str
    failure_budget: int
    batches: list[list[str]]
    completed: int = 0
    failed_hosts: Mapping[str, str] = field(default_factory=dict)
    rolled_back_from: list[str] = field(default_factory=list)
    reason: str = ""
    entry: Entry | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, stage: str, entry: Entry) -> Rollout:
        """:raises MalformedRecord: naming the key."""
        fields = Fields.of(entry)
        target = fields.nested("target")
        previous = fields.nested("previous") if fields.values.get("previous") else None
        rollout = cls(
            stage=stage,
            status=fields.one_of("status", STATUSES),
            kind=fields.one_of("kind", DOING),
            target=Target(target.name("version", "version"), target.name("sha256", "sha256")),
            previous=_settled(previous) if previous else None,
            settled=[
                _settled(Fields(entry.key, each, "settled.")) for each in fields.each("settled")
            ],
            deployment=fields.name("deployment", "deployment"),
            session=fields.text("session"),
            by=fields.name("by", "user"),
            since=fields.time("since"),
            failure_budget=fields.integer("failure_budget"),
            batches=_batches(fields),
            completed=fields.integer("completed"),
            failed_hosts={
                str(node): plain(str(why)) for node, why in fields.object("failed_hosts").items()
            },
            rolled_back_from=fields.names("rolled_back_from", "version"),
            reason=fields.text("reason", ""),
            entry=entry,
        )
        if rollout.remaining < 0:
            fields.refuse("completed", f"at most {len(rollout.batches)}")
        if rollout.status in PROMOTABLE and not rollout.settled:
            fields.refuse("settled", "what the stage runs")
        return rollout

    def as_json(self) -> str:
        """Returns the record as it stands in Consul."""
        values: dict[str, Any] = {
            name: getattr(self, name)
            for name in (each.name for each in dataclasses.fields(self))
            if name not in ("stage", "entry")
        }
        values.update(
            target=self.target._asdict(),
            previous=self.previous._asdict() if self.previous else None,
            settled=[each._asdict() for each in self.settled],
        )
        return json.dumps(values)

    @property
    def hosts(self) -> list[str]:
        """Node names, in the order in which they are updated."""
        return [node for batch in self.batches for node in batch]

    @property
    def batch(self) -> list[str]:
        """Node names of the batch that comes next; there must be one."""
        return self.batches[self.completed]

    @property
    def remaining(self) -> int:
        """How many batches are not done yet."""
        return len(self.batches) - self.completed

    @property
    def is_proven(self) -> bool:
        """Whether at least one host has not failed."""
        return len(set(self.hosts) - set(self.failed_hosts)) > 0

    @property
    def doing(self) -> str:
        """What it does, such as `promoting 1.2.0 to production`."""
        return DOING[self.kind].format(version=self.target.version, stage=self.stage)

    @property
    def planned(self) -> str:
        """What it is about to do, such as `promoting 1.2.0 to production, 3 hosts in 2 batches`."""
        return f"{self.doing}, {counted(self.hosts, 'host')} in {counted(self.batches, 'batch')}"

    @property
    def outcome(self) -> str:
        """What it has done when it succeeds now: `runs 1.2.0 (promoted by olga in 14 s)`."""
        return DONE[self.kind].format(
            version=self.target.version, by=self.by, time=lasted(self.since)
        )

    def settle(self, at: str) -> Rollout:
        """Returns the record of a rollout that has succeeded: the stage has settled on its target.

        A rollback takes the newest of what the stage had settled on away.
        """
        if self.kind == "rollback":
            left = [self.previous.version] if self.previous else []
            return dataclasses.replace(
                self,
                status="rolled_back",
                since=at,
                settled=self.settled[:-1],
                rolled_back_from=[*self.rolled_back_from, *left],
                reason="",
            )
        settled = self.settled
        if not settled or settled[-1].version != self.target.version:
            settled = [*settled, Settled(*self.target, at=at, by=self.by)][-SETTLED_KEPT:]
        return dataclasses.replace(self, status="live", since=at, settled=settled, reason="")


def _settled(fields: Fields) -> Settled:
    return Settled(
        fields.name("version", "version"),
        fields.name("sha256", "sha256"),
        fields.text("at", ""),
        fields.text("by", ""),
    )


def _batches(fields: Fields) -> list[list[str]]:
    batches = fields.each("batches")
    return [Fields(fields.where, {"batches": batch}).names("batches", "node") for batch in batches]
