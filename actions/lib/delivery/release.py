"""Builds, releases, stages and events: the truth about an application, kept in Consul's KV.

    shop = Application(store, "shop")
    build = shop.start_build(commit, "acme/shop", "main", by="alice")
    shop.finish_build(commit, passed=True)
    shop.publish(release)
    rollout = shop.begin_rollout("canary", target, batches, ...)
    shop.assign(rollout, nodes); shop.record_batch(rollout, ...); shop.finish_rollout(rollout)

Every change is one Consul transaction that also writes the event which tells of it. A change that
somebody else made in between is a `LostRace`, never overwritten. docs/architecture.md has the keys.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from datetime import datetime, timedelta, timezone
from typing import (
    Any,
    Callable,
    Iterable,
    Iterator,
    NamedTuple,
    Sequence,
)

from delivery.errors import DeliveryError
from delivery.names import check, nearest, plain
from delivery.store import OPERATIONS_PER_TRANSACTION, Entry, LostRace, Operation, Store

EVENTS_KEPT = 200  # per application
SETTLED_KEPT = 20  # versions a stage remembers having settled on, for rollbacks
REASON_LENGTH = 300  # of a freeze, in characters
LOCK_TTL_S = 60  # a rollout whose process is gone loses its lock after this long
WRITE_ATTEMPTS = 5  # of a transaction that lost only the race for an event's number

PROMOTABLE = ("live", "rolled_back")
UNUSABLE = {"failed": "failed", "aborted": "was aborted"}


class Locked(DeliveryError):
    """Another rollout of the same application is under way."""


class Frozen(DeliveryError):
    """Nothing is promoted for now; the message says who froze it, why and until when."""


class Aborted(DeliveryError):
    """Somebody wants the rollout to stop and its hosts to go back."""


class Superseded(DeliveryError):
    """A newer release has reached the stage already."""


class Build(NamedTuple):
    """CI of one commit. `new` is false when the commit has a build already."""

    number: int
    commit: str
    status: str
    new: bool


class Target(NamedTuple):
    """Exactly which package hosts are to run."""

    version: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        return {"version": self.version, "sha256": self.sha256}


class Stage(NamedTuple):
    """A stage as Consul has it. `state` is empty before the first rollout."""

    name: str
    version: str | None
    state: dict[str, Any]
    entry: Entry | None

    @property
    def status(self) -> str:
        return self.state.get("status", "empty")

    @property
    def settled(self) -> list[dict[str, str]]:
        """What the stage settled on, newest last; the last one is what it runs now."""
        return self.state.get("settled", [])


def now(later_s: int = 0) -> str:
    """Returns the time, or that so many seconds later, in ISO 8601, UTC, to the second."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=later_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(timestamp: str) -> float:
    then = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds()


def package_version(version: str, build: int, commit: str) -> str:
    """Returns `<version>-<build number>.<short commit>`: it sorts, and names its commit."""
    return check("version", f"{version}-{build}.{commit[:7]}")


def frozen_in_words(freeze: dict[str, Any]) -> str:
    """Returns `frozen by olga until 2026-01-01 18:00 UTC: the sale is on`."""
    until = f" until {freeze['until'][:16].replace('T', ' ')} UTC" if freeze["until"] else ""
    why = f": {freeze['reason']}" if freeze["reason"] else ""
    return f"frozen by {freeze['by']}{until}{why}"


def applications(store: Store) -> list[str]:
    """Returns the names of all applications that have ever been built."""
    return store.folders()


def unseen_events(store: Store, keys: Iterable[str]) -> Iterator[tuple[Application, dict]]:
    """Yields what was not `mark_seen` yet, oldest first, one application after the other.

    :param keys: all keys of the store, sorted, as `Store.wait_for_keys` returns them.
    """
    for name, ids in _events_by_application(keys):
        application = Application(store, name)
        seen = application.seen()
        for event_id in ids:
            event = application.event(event_id) if event_id > seen else None
            if event:
                yield application, event


def running_builds(store: Store) -> Iterator[tuple[Application, dict[str, Any]]]:
    """Yields every build that has no verdict yet, with its application."""
    for key in store.keys():
        name, _, commit = key.partition("/running/")
        if commit:
            application = Application(store, name)
            yield application, application.build(commit)


def known_application(store: Store, name: str) -> Application:
    """Returns the application, or fails with the nearest names Consul knows."""
    known = applications(store)
    if name in known:
        return Application(store, name)
    check("application", name)
    hint = f"nearest: {', '.join(nearest(name, known))}" if known else "none has been built yet"
    raise DeliveryError(f"no application {name} is known ({hint})")


class Application:
    """One application's part of the KV.

    :raises DeliveryError: when `name` is not an application's name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = check("application", name)

    # --- builds ---------------------------------------------------------------------------------

    def start_build(
        self,
        commit: str,
        repository: str,
        branch: str,
        by: str,
        stale_after_s: float = 3600,
        again: bool = False,
    ) -> Build:
        """Records that CI of `commit` begins, unless it has a build already.

        A build that was left running longer than `stale_after_s` counts as lost and is started
        anew, and so is a finished one if `again` is set; both keep their number.

        :returns: the build; with `new` false nothing was written.
        """
        check("repository", repository)
        check("branch", branch)
        check("user", by)
        for _ in range(WRITE_ATTEMPTS - 1):
            try:
                return self._start_build(commit, repository, branch, by, stale_after_s, again)
            except LostRace:
                continue  # two pushes at once wanted the same number
        return self._start_build(commit, repository, branch, by, stale_after_s, again)

    def _start_build(
        self, commit: str, repository: str, branch: str, by: str, stale_after_s: float, again: bool
    ) -> Build:
        key = f"builds/{check('commit', commit)}"
        record = self._get(key)
        if record:
            build = record.json()
            lost = (
                build["status"] == "running" and seconds_since(build["started_at"]) > stale_after_s
            )
            if not (again or lost):
                return Build(build["number"], commit, build["status"], new=False)
            number, counting = build["number"], []
        else:
            counter = self._get("build_number")
            number = int(counter.value) + 1 if counter else 1
            counting = [self._set("build_number", str(number), counter)]
        value = {
            "status": "running",
            "number": number,
            "repository": repository,
            "branch": branch,
            "by": by,
            "started_at": now(),
        }
        self._commit(
            [
                *counting,
                self._set(key, json.dumps(value), record),
                self.store.overwrite(f"{self.name}/running/{commit}", ""),
            ],
            self._event(
                "build_started",
                commit=commit,
                build=number,
                by=by,
                branch=branch,
                message=f"{self.name}: build {number} of {branch} ({commit[:7]}) started",
            ),
        )
        return Build(number, commit, "running", new=True)

    def build(self, commit: str) -> dict[str, Any]:
        """Returns the record of the build of `commit`."""
        record = self._get(f"builds/{check('commit', commit)}")
        if not record:
            raise DeliveryError(f"{self.name} has no build of {commit[:7]}")
        return dict(record.json(), commit=commit)

    def record_ci(self, commit: str, ci: dict[str, Any]) -> None:
        """Keeps where a CI server builds the commit, so that anybody can ask it for the result."""
        for _ in range(WRITE_ATTEMPTS):
            record = self._get(f"builds/{check('commit', commit)}")
            try:
                self.store.commit(
                    [self._set(f"builds/{commit}", json.dumps(dict(record.json(), ci=ci)), record)]
                )
                return
            except LostRace:
                continue
        raise LostRace(
            f"the build of {commit[:7]} of {self.name} changes too fast to record; run it again"
        )

    def finish_build(
        self, commit: str, passed: bool, reason: str = "", details: dict[str, Any] | None = None
    ) -> bool:
        """Records CI's verdict. The same verdict again changes nothing.

        :param reason: why it failed, one line.
        :param details: seconds of each step and the like, kept in the record.
        :returns: whether anything was written.
        """
        record = self._get(f"builds/{check('commit', commit)}")
        if not record:
            raise DeliveryError(f"{self.name} has no build of {commit[:7]}")
        build = record.json()
        status = "passed" if passed else "failed"
        if build["status"] == status:
            return False
        build.update(status=status, reason=plain(reason), finished_at=now(), **(details or {}))
        text = f"{self.name}: build {build['number']} of {build['branch']} ({commit[:7]}) {status}"
        self._commit(
            [
                self._set(f"builds/{commit}", json.dumps(build), record),
                self.store.delete(f"{self.name}/running/{commit}"),
            ],
            self._event(
                f"build_{status}",
                commit=commit,
                build=build["number"],
                by=build["by"],
                repository=build["repository"],
                branch=build["branch"],
                message=text + (f": {plain(reason)}" if reason else ""),
            ),
        )
        return True

    # --- releases -------------------------------------------------------------------------------

    def publish(self, release: dict[str, Any]) -> bool:
        """Writes the release record, once.

        :param release: version, commit, branch, repository, build, by,
            package {file, sha256, size_bytes}, settings, metadata.
        :returns: whether it was written; false when the same release is there already.
        :raises DeliveryError: when another package was published under the same version.
        """
        version = check("version", release["version"])
        sha256 = check("sha256", release["package"]["sha256"])
        existing = self._get(f"releases/{version}")
        if existing:
            published = existing.json()["package"]["sha256"]
            if published == sha256:
                return False
            raise DeliveryError(
                f"{self.name} {version} is published already with another package "
                f"({published[:12]}, now {sha256[:12]}): push a new commit"
            )
        record = dict(release, created_at=now())
        self._commit(
            [self._set(f"releases/{version}", json.dumps(record), None)],
            self._event(
                "release_published",
                version=version,
                commit=release["commit"],
                build=release["build"],
                by=release["by"],
                message=f"{self.name} {version} is published",
            ),
        )
        return True

    def release(self, version: str) -> dict[str, Any]:
        """Returns the record of a release."""
        entry = self._get(f"releases/{check('version', version)}")
        if not entry:
            known = nearest(version, self.releases())
            hint = f" (nearest: {', '.join(known)})" if known else ""
            raise DeliveryError(f"{self.name} has no release {version}{hint}")
        return entry.json()

    def newest_version(self) -> str:
        """Returns the version of the newest release."""
        return self._newest_release()["version"]

    def releases(self) -> dict[str, dict[str, Any]]:
        """Returns every release record by version."""
        found = self.store.get_below(f"{self.name}/releases")
        return {version: entry.json() for version, entry in found.items()}

    def packaging_failed(self, commit: str) -> None:
        """Records that the commit's build passed and its package could not be made."""
        build = self.build(commit)
        text = f"{self.name}: packaging build {build['number']} ({commit[:7]}) failed"
        self._commit(
            [],
            self._event(
                "packaging_failed",
                commit=commit,
                build=build["number"],
                by=build["by"],
                message=text,
            ),
        )

    # --- stages ---------------------------------------------------------------------------------

    def stage(self, name: str) -> Stage:
        """Returns the stage as it is now."""
        version = self._get(f"stages/{check('stage', name)}/version")
        entry = self._get(f"stages/{name}/state")
        return Stage(name, version.value if version else None, entry.json() if entry else {}, entry)

    def stages(self) -> list[str]:
        """Returns the names of this application's stages in order, from its newest release."""
        return self._newest_release()["settings"]["stages"]

    def stage_before(self, stage: str) -> str:
        """Returns the name of the stage that a promotion to `stage` takes its version from."""
        stages = self.stages()
        if stage not in stages[1:]:
            raise DeliveryError(
                f"nothing is promoted to {stage} of {self.name}: its stages are {', '.join(stages)}"
            )
        return stages[stages.index(stage) - 1]

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Returns what each host last reported, by node name."""
        found = self.store.get_below(f"{self.name}/hosts")
        return {node: entry.json() for node, entry in found.items()}

    def promotion(self, stage: str, source: str) -> Target:
        """Returns what promoting from stage `source` to `stage` would take there.

        :raises DeliveryError: when there is nothing that may be promoted; says why.
        """
        canary, here = self.stage(source), self.stage(stage)
        if canary.status == "empty":
            raise DeliveryError(f"{self.name} has no {source} yet: push a commit to get one")
        if canary.status == "rolling_out":
            raise DeliveryError(
                f"{canary.state['target']['version']} is still being rolled out to the {source} "
                f"of {self.name}: wait for it to be live"
            )
        if canary.status not in PROMOTABLE:
            raise DeliveryError(
                f"the {source} of {self.name} {UNUSABLE[canary.status]} with "
                f"{canary.state['target']['version']} ({canary.state.get('reason', 'no reason')}):"
                f" push a fix, or try it again with !deploy canary {self.name}"
            )
        if canary.version == here.version:
            raise DeliveryError(f"{stage} of {self.name} already runs {here.version}")
        running = canary.settled[-1]
        return Target(running["version"], running["sha256"])

    def is_live(self, stage: str, version: str) -> bool:
        """Returns whether the stage has settled on this version, in the latest rollout."""
        current = self.stage(stage)
        return current.status in PROMOTABLE and current.version == version

    def was_rolled_back(self, stage: str, version: str) -> bool:
        """Returns whether the stage's latest rollbacks took it away from `version`."""
        return version in self.stage(stage).state.get("rolled_back_from", [])

    def rollback(self, stage: str) -> Target:
        """Returns what the stage ran before what it runs now.

        :raises DeliveryError: when it has not settled on two versions.
        """
        settled = self.stage(stage).settled
        if len(settled) < 2:
            raise DeliveryError(f"{stage} of {self.name} has no earlier version to go back to")
        return Target(settled[-2]["version"], settled[-2]["sha256"])

    # --- freeze ---------------------------------------------------------------------------------

    def freeze(self, by: str, reason: str = "", for_s: int | None = None) -> dict[str, Any]:
        """Nothing is promoted from now on. Another freeze replaces the one before.

        :param reason: in people's own words.
        :param for_s: seconds until it ends by itself; None: until `unfreeze`.
        :returns: {reason, by, at, until}; `until` is None when it does not end by itself.
        """
        freeze = {
            "reason": plain(reason)[:REASON_LENGTH],
            "by": check("user", by),
            "at": now(),
            "until": None if for_s is None else now(for_s),
        }
        self._commit(
            [self._set("freeze", json.dumps(freeze), self._get("freeze"))],
            self._event("frozen", by=by, message=f"{self.name}: {frozen_in_words(freeze)}"),
        )
        return freeze

    def unfreeze(self, by: str) -> bool:
        """Ends the freeze; returns whether there was one."""
        entry = self._get("freeze")
        if not entry:
            return False
        self._commit(
            [
                self.store.unchanged(f"{self.name}/freeze", entry),
                self.store.delete(f"{self.name}/freeze"),
            ],
            self._event(
                "unfrozen", by=check("user", by), message=f"{self.name}: no longer frozen, {by}"
            ),
        )
        return True

    def frozen(self) -> dict[str, Any] | None:
        """Returns the freeze that holds now, or None."""
        entry = self._get("freeze")
        return entry.json() if entry and _still_holds(entry.json()) else None

    def _not_frozen(self) -> Operation:
        """An operation: fail the transaction if the application has been frozen meanwhile.

        :raises Frozen: when it is frozen now.
        """
        entry = self._get("freeze")
        if not entry:
            return self.store.absent(f"{self.name}/freeze")
        if _still_holds(entry.json()):
            raise Frozen(
                f"{self.name} is {frozen_in_words(entry.json())}; to end that: "
                f"!deploy unfreeze {self.name}"
            )
        return self.store.unchanged(f"{self.name}/freeze", entry)

    # --- rollouts -------------------------------------------------------------------------------

    def begin_rollout(
        self,
        stage: str,
        target: Target,
        batches: Sequence[Sequence[str]],
        by: str,
        kind: str,
        failure_budget: int = 0,
        source: str | None = None,
    ) -> Stage:
        """Takes the application's lock and records the plan of a rollout.

        A rollout that was left unfinished by a process that is gone (its lock has lapsed) is
        taken over. What it had assigned stays until the batch of each host comes: deleting it at
        once would send all those hosts back at the same time.

        :param batches: node names, in the order in which they are updated.
        :param kind: `deploy`, `promote` or `rollback`.
        :param failure_budget: how many hosts may fail before the rollout is stopped.
        :param source: the stage whose version this is; it must not change meanwhile.
        :raises Frozen: when it is a promotion, and the application is frozen.
        :raises Locked: when another rollout holds the lock; the message names it.
        :raises LostRace: when the stage or its source changed meanwhile.
        """
        guards = [self._not_frozen()] if kind == "promote" else []
        before = self.stage(stage)
        deployment = f"{stage}-{now().lower().replace(':', '')}-{secrets.token_hex(2)}"
        session = self.store.open_session(f"{self.name} {deployment}", LOCK_TTL_S)
        doing = {
            "deploy": f"deploying {target.version} on {stage}",
            "promote": f"promoting {target.version} to {stage}",
            "rollback": f"rolling {stage} back to {target.version}",
        }[kind]
        state = {
            "status": "rolling_out",
            "kind": kind,
            "target": target.as_dict(),
            "previous": before.settled[-1] if before.settled else None,
            "settled": before.settled,
            "deployment": deployment,
            "session": session,
            "by": check("user", by),
            "since": now(),
            "failure_budget": failure_budget,
            "batches": [[check("node", node) for node in batch] for batch in batches],
            "completed": 0,
            "failed_hosts": {},
        }
        if kind == "rollback":
            state["rolled_back_from"] = before.state.get("rolled_back_from", [])
        if source:
            guards.append(
                self.store.unchanged(
                    f"{self.name}/stages/{source}/state", self._source_entry(source, target)
                )
            )
        holder = f"{doing}, by {by} since {state['since']}"
        try:
            self._commit(
                [
                    *guards,
                    self.store.lock(f"{self.name}/lock", holder, session),
                    self._set(f"stages/{stage}/state", json.dumps(state), before.entry),
                    self.store.delete(self._abort_key(stage)),
                ],
                self._event(
                    "rollout_started",
                    stage=stage,
                    version=target.version,
                    by=by,
                    deployment=deployment,
                    message=f"{self.name}: {doing}, {by}",
                ),
            )
        except LostRace:
            self.store.close_session(session)
            self.refuse_if_locked()
            raise
        except DeliveryError:
            self.store.close_session(session)
            raise
        return self.stage(stage)

    def refuse_if_locked(self) -> None:
        """:raises Locked: when a rollout of this application is under way; names it."""
        holder = self.store.lock_holder(f"{self.name}/lock")
        if holder:
            raise Locked(f"{self.name} is locked: {holder}")

    def rollout(self, stage: str, deployment: str) -> Stage:
        """Returns the rollout under way, with its lock renewed, or retaken if it had lapsed.

        :raises DeliveryError: when that rollout is over, or another one took its place.
        """
        current = self.stage(stage)
        if current.state.get("deployment") != deployment:
            raise DeliveryError(
                f"the rollout {deployment} of {self.name} is over: another took its place"
            )
        if current.status != "rolling_out":
            raise DeliveryError(f"the rollout {deployment} of {self.name} is {current.status}")
        if self.store.renew_session(current.state["session"]):
            return current
        return self._retake_lock(current)

    def keep_lock(self, rollout: Stage) -> None:
        """Renews the lock of a rollout; to be called every few seconds while waiting."""
        self.store.renew_session(rollout.state["session"])

    def rollout_under_way(self) -> Stage:
        """Returns the stage that is being rolled out.

        :raises DeliveryError: when none is.
        """
        for name in self.stages():
            stage = self.stage(name)
            if stage.status == "rolling_out":
                return stage
        raise DeliveryError(f"{self.name} has no rollout under way: there is nothing to abort")

    def is_locked(self) -> bool:
        """Returns whether a rollout holds the lock; one whose process is gone has lost it."""
        return self.store.lock_holder(f"{self.name}/lock") is not None

    def ask_to_abort(self, rollout: Stage, by: str) -> None:
        """Leaves word that the rollout is to stop; its next step sees it."""
        wish = {"deployment": rollout.state["deployment"], "by": check("user", by), "at": now()}
        version = rollout.state["target"]["version"]
        self._commit(
            [self.store.overwrite(self._abort_key(rollout.name), json.dumps(wish))],
            self._event(
                "abort_asked",
                stage=rollout.name,
                version=version,
                by=by,
                deployment=wish["deployment"],
                message=f"{self.name}: {by} aborts {version} on {rollout.name}",
            ),
        )

    def refuse_if_aborted(self, rollout: Stage) -> None:
        """:raises Aborted: when somebody has asked for the rollout to stop; names who."""
        by = self._aborted_by(rollout)
        if by:
            raise Aborted(
                f"{rollout.state['target']['version']} on {rollout.name} of {self.name} "
                f"is aborted by {by}"
            )

    def _aborted_by(self, rollout: Stage) -> str | None:
        entry = self.store.get(self._abort_key(rollout.name))
        wish = entry.json() if entry else {}
        return wish["by"] if wish.get("deployment") == rollout.state["deployment"] else None

    def _abort_key(self, stage: str) -> str:
        return f"{self.name}/stages/{stage}/abort"

    def assign(self, rollout: Stage, nodes: Sequence[str]) -> None:
        """Tells these hosts, and no others, to run the rollout's version."""
        version = rollout.state["target"]["version"]
        self._for_each(rollout, nodes, lambda key: self.store.overwrite(key, version))

    def unassign(self, rollout: Stage, nodes: Sequence[str]) -> None:
        """These hosts, and no others, are wanted back on what the stage had settled on."""
        self._for_each(rollout, nodes, self.store.delete)

    def assigned_batches(self, rollout: Stage) -> list[list[str]]:
        """Returns the hosts that are assigned a version, in the plan's batches, the last one first.

        Hosts that are not in the plan (a rollout that was taken over had assigned them) come at
        the end, one by one.
        """
        assigned = set(self.store.get_below(f"{self.name}/stages/{rollout.name}/assigned"))
        batches = [
            [node for node in batch if node in assigned]
            for batch in reversed(rollout.state["batches"])
        ]
        others = sorted(assigned.difference(*batches))
        return [batch for batch in batches if batch] + [[node] for node in others]

    def _for_each(
        self, rollout: Stage, nodes: Sequence[str], operation: Callable[[str], Operation]
    ) -> None:
        """Applies an operation to the assignment of each node, while the lock is held."""
        size = OPERATIONS_PER_TRANSACTION - 1
        for start in range(0, len(nodes), size):
            self.store.commit(
                [self._holds_lock(rollout)]
                + [
                    operation(f"{self.name}/stages/{rollout.name}/assigned/{check('node', node)}")
                    for node in nodes[start : start + size]
                ]
            )

    def record_batch(self, rollout: Stage, failed_hosts: dict[str, str], reason: str = "") -> Stage:
        """Records that a batch is done.

        :param failed_hosts: reason in one line by node, of this batch.
        :param reason: why the rollout must stop here, or empty.
        """
        state = dict(rollout.state)
        batch = state["batches"][state["completed"]]
        state["failed_hosts"] = dict(
            state["failed_hosts"], **{node: plain(why) for node, why in failed_hosts.items()}
        )
        state["completed"] += 1
        if reason:
            state["reason"] = plain(reason)
        done = f"batch {state['completed']} of {len(state['batches'])}"
        self._commit(
            [
                self._holds_lock(rollout),
                self._set(f"stages/{rollout.name}/state", json.dumps(state), rollout.entry),
            ],
            self._event(
                "batch_finished",
                stage=rollout.name,
                by=state["by"],
                version=state["target"]["version"],
                deployment=state["deployment"],
                message=f"{self.name}: {rollout.name} {done}: {', '.join(batch)}",
            ),
        )
        return self.stage(rollout.name)

    def finish_rollout(self, rollout: Stage) -> Stage:
        """The stage settles on the rollout's version: hosts have proven it.

        This is where the advertised version moves, and the assignments go.

        :raises Aborted: when somebody has asked for the rollout to stop.
        """
        self.refuse_if_aborted(rollout)
        state = dict(rollout.state)
        target, version = state["target"], state["target"]["version"]
        state["settled"] = _settle(rollout.settled, state)
        rolled_back = state["kind"] == "rollback"
        runs = "is back on" if rolled_back else "runs"
        state.update(status="rolled_back" if rolled_back else "live", since=now())
        state.pop("reason", None)
        if rolled_back and state["previous"]:
            state["rolled_back_from"].append(state["previous"]["version"])
        self._commit(
            [
                self._holds_lock(rollout),
                self.store.absent(self._abort_key(rollout.name)),
                self.store.overwrite(f"{self.name}/stages/{rollout.name}/version", version),
                self.store.delete_below(f"{self.name}/stages/{rollout.name}/assigned"),
                self._set(f"stages/{rollout.name}/state", json.dumps(state), rollout.entry),
            ],
            self._event(
                "rollout_succeeded",
                stage=rollout.name,
                version=target["version"],
                by=state["by"],
                deployment=state["deployment"],
                message=f"{self.name}: {rollout.name} {runs} {version}",
            ),
        )
        self.store.close_session(state["session"])
        return self.stage(rollout.name)

    def fail_rollout(self, rollout: Stage) -> Stage:
        """The rollout has failed, or is aborted if somebody asked for that and no host failed.

        Whatever is still assigned goes, so every host is wanted back on `previous`.
        """
        state = dict(rollout.state)
        aborted_by = None if "reason" in state else self._aborted_by(rollout)
        state.update(status="aborted" if aborted_by else "failed", since=now())
        state.setdefault(
            "reason", f"{aborted_by} asked for it" if aborted_by else "the rollout was stopped"
        )
        version = state["target"]["version"]
        back = state["previous"]["version"] if state["previous"] else "nothing"
        self._commit(
            [
                self._holds_lock(rollout),
                self.store.delete_below(f"{self.name}/stages/{rollout.name}/assigned"),
                self.store.delete(self._abort_key(rollout.name)),
                self._set(f"stages/{rollout.name}/state", json.dumps(state), rollout.entry),
            ],
            self._event(
                "rollout_failed",
                stage=rollout.name,
                version=version,
                by=state["by"],
                deployment=state["deployment"],
                message=f"{self.name}: {version} {UNUSABLE[state['status']]} on "
                f"{rollout.name}, back to {back}: {state['reason']}",
            ),
        )
        self.store.close_session(state["session"])
        return self.stage(rollout.name)

    # --- events ---------------------------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        """Returns what happened, oldest first; each with its `id`."""
        found = self.store.get_below(f"{self.name}/events")
        return [dict(found[key].json(), id=key) for key in sorted(found)]

    def seen(self) -> str:
        """Returns the id of the last event that was handed over."""
        entry = self._get("events_seen")
        return entry.value if entry else ""

    def mark_seen(self, event: dict[str, Any]) -> None:
        """Records that this event, and those before it, were handed over."""
        self.store.commit([self.store.overwrite(f"{self.name}/events_seen", event["id"])])

    def event(self, event_id: str) -> dict[str, Any] | None:
        entry = self._get(f"events/{event_id}")
        return dict(entry.json(), id=event_id) if entry else None

    def _event(self, kind: str, **facts: Any) -> dict[str, Any]:
        event = dict(facts, type=kind, application=self.name, at=now())
        if "commit" in facts:
            event["trace_tag"] = f"{self.name}-{facts['commit'][:12]}"
        if os.environ.get("ST2_ACTION_EXECUTION_ID"):
            # So that what is told of the event can link to what did it.
            event["execution"] = os.environ["ST2_ACTION_EXECUTION_ID"]
        return event

    def _commit(self, operations: list[Operation], event: dict[str, Any]) -> None:
        """Applies the operations and the event that tells of them, all or nothing.

        Events are numbered; when only the number was taken meanwhile, the next one is tried.
        """
        for _ in range(WRITE_ATTEMPTS):
            ids = [key.rsplit("/", 1)[1] for key in self.store.keys(f"{self.name}/events")]
            event_id = f"{int(ids[-1]) + 1 if ids else 1:010d}"
            outdated = [
                self.store.delete(f"{self.name}/events/{old}")
                for old in ids[: max(0, len(ids) + 1 - EVENTS_KEPT)][:8]
            ]
            numbered = self._set(f"events/{event_id}", json.dumps(event), None)
            try:
                self.store.commit([*operations, numbered, *outdated])
                return
            except LostRace:
                if not self._get(f"events/{event_id}"):
                    raise
        raise LostRace(f"{self.name} changes too fast to record {event['type']}; run it again")

    def _newest_release(self) -> dict[str, Any]:
        releases = self.releases().values()
        if not releases:
            raise DeliveryError(f"{self.name} has no release yet: push a commit")
        return max(releases, key=lambda release: release["build"])

    # --- keys -----------------------------------------------------------------------------------

    def _get(self, key: str) -> Entry | None:
        return self.store.get(f"{self.name}/{key}")

    def _set(self, key: str, value: str, expected: Entry | None) -> Operation:
        return self.store.set(f"{self.name}/{key}", value, expected)

    def _holds_lock(self, rollout: Stage) -> Operation:
        return self.store.holds(f"{self.name}/lock", rollout.state["session"])

    def _source_entry(self, source: str, target: Target) -> Entry:
        stage = self.stage(source)
        if (
            not stage.entry
            or not stage.settled
            or stage.settled[-1]["version"] != target.version
            or stage.status not in PROMOTABLE
        ):
            raise LostRace(f"the {source} of {self.name} has changed meanwhile; look again")
        return stage.entry

    def _retake_lock(self, rollout: Stage) -> Stage:
        state = dict(rollout.state)
        session = self.store.open_session(f"{self.name} {state['deployment']}", LOCK_TTL_S)
        state["session"] = session
        holder = f"{state['kind']} of {state['target']['version']} on {rollout.name}, resumed"
        try:
            self.store.commit(
                [
                    self.store.lock(f"{self.name}/lock", holder, session),
                    self._set(f"stages/{rollout.name}/state", json.dumps(state), rollout.entry),
                ]
            )
        except DeliveryError:
            self.store.close_session(session)
            self.refuse_if_locked()
            raise
        return self.stage(rollout.name)


def _events_by_application(keys: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    events = (key.split("/") for key in keys if key.count("/") == 2 and "/events/" in key)
    for name, group in itertools.groupby(events, key=lambda parts: parts[0]):
        yield name, [parts[2] for parts in group]


def _still_holds(freeze: dict[str, Any]) -> bool:
    return freeze["until"] is None or seconds_since(freeze["until"]) < 0


def _settle(settled: list[dict[str, str]], state: dict[str, Any]) -> list[dict[str, str]]:
    """Returns what a stage has settled on after a rollout; a rollback takes the newest away."""
    target = dict(state["target"], at=now(), by=state["by"])
    if state["kind"] == "rollback":
        return settled[:-1]
    if settled and settled[-1]["version"] == target["version"]:
        return settled
    return ([*settled, target])[-SETTLED_KEPT:]
