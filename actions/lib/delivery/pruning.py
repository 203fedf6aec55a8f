"""The end of old releases and builds: what is removed, and in which order.

    pruning = application.pruning
    pruning.retire(keep=20)         # records go, a mark stays for each package
    pruning.leaving()               # versions whose packages are to leave the repository
    pruning.left(versions)          # they have
    pruning.forget_builds(keep=50)

A release that anything needs, or can go back to, stays. Its record goes in one transaction, which
fails if a rollout has begun meanwhile, and leaves a mark below `removing/`: without a record
nothing can begin, and with the mark the package is known. If the process dies in between, the next
one goes on.
"""

from __future__ import annotations

import logging
from typing import Collection, Iterable, NamedTuple

from delivery.build_record import Build
from delivery.builds import PACKAGED_AFTER_S
from delivery.clock import now, seconds_since
from delivery.events import Events
from delivery.host_reports import HostReports
from delivery.ledger import Ledger, retry
from delivery.names import check, matches
from delivery.records import MalformedRecord, readable
from delivery.releases import NEWEST, REMOVING, Release, newest_first
from delivery.rollout.record import Rollout
from delivery.rollout.transitions import LOCK
from delivery.store import Entry, Operation

BUILDS_AT_ONCE = 30  # in a transaction
LOG = logging.getLogger(__name__)


class Old(NamedTuple):
    """A release that nothing needs; `guards` fail the transaction if something does meanwhile."""

    version: str
    entry: Entry
    guards: list[Operation]


class Pruning:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def old_releases(self, keep: int) -> list[str]:
        """Returns the versions that `retire` would remove now, the newest first."""
        return [each.version for each in self._old(keep)]

    def retire(self, keep: int) -> list[str]:
        """Replaces the record of each old release, and its evidence, by a mark.

        :param keep: how many of the newest stay in any case.
        :returns: their versions.
        :raises MalformedRecord: when what a stage runs cannot be read: nothing is removed then.
        """
        retired: list[str] = []

        def retire() -> None:
            for old in self._old(keep):
                self._ledger.commit(
                    [
                        *old.guards,
                        self._ledger.delete(f"releases/{old.version}", old.entry),
                        self._ledger.delete(f"evidence/{old.version}"),
                        self._ledger.set(f"{REMOVING}/{old.version}", now(), None),
                    ]
                )
                retired.append(old.version)

        retry(retire)
        return retired

    def leaving(self) -> list[str]:
        """Returns the versions whose packages are to leave the repository."""
        marks = (key[len(REMOVING) + 1 :] for key in self._ledger.keys(REMOVING))
        return [version for version in marks if matches("version", version)]

    def left(self, versions: Iterable[str]) -> None:
        """Forgets the marks of packages that are gone."""
        for version in versions:
            self._ledger.commit([self._ledger.delete(f"{REMOVING}/{check('version', version)}")])

    def old_builds(self, keep: int, without: Collection[str] = ()) -> list[str]:
        """Returns the commits whose builds `forget_builds` would remove now, the newest first.

        :param without: versions of releases, as if they were gone.
        """
        return [commit for commit, _ in self._old_builds(keep, without)]

    def forget_builds(self, keep: int) -> list[str]:
        """Removes the records of old builds that have ended and of which no release is kept.

        :param keep: how many of the newest stay in any case.
        :returns: their commits.
        """
        forgotten: list[str] = []

        def forget() -> None:
            old = self._old_builds(keep)
            for start in range(0, len(old), BUILDS_AT_ONCE):
                some = old[start : start + BUILDS_AT_ONCE]
                self._ledger.commit(
                    [self._ledger.delete(f"builds/{each}", entry) for each, entry in some]
                )
                forgotten.extend(commit for commit, _ in some)

        retry(forget)
        if forgotten:
            retry(self._correct_attempts)
        return forgotten

    # --- releases ---------------------------------------------------------------------------------

    def _old(self, keep: int) -> list[Old]:
        """Returns the releases that nothing needs. What they rely on is read before what they are,
        so that anything that changes in between fails the transaction."""
        lock = self._ledger.get(LOCK)
        # Whatever begins takes the lock.
        guards = [self._ledger.unchanged(LOCK, lock) if lock else self._ledger.absent(LOCK)]
        stages = self._ledger.get_below("stages")
        in_use = self._unseen("version") | self._on_hosts()
        for key, entry in stages.items():
            stage, _, what = key.partition("/")
            if what == "state":
                guards.append(self._ledger.unchanged(f"stages/{key}", entry))
                in_use |= _named_by(Rollout.parse(stage, entry))
            elif what == "version" or what.startswith("assigned/"):
                in_use.add(entry.value)
        newest = self._ledger.get(NEWEST)
        if newest:
            in_use.add(newest.value)
        versions = [key[len("releases/") :] for key in self._ledger.keys("releases")]
        old = (each for each in newest_first(versions)[keep:] if each not in in_use)
        return [found for version in old for found in self._unneeded(version, guards)]

    def _unneeded(self, version: str, guards: list[Operation]) -> Iterable[Old]:
        """Yields the release unless it is young, or its package may be on its way once more."""
        entry = self._ledger.get(f"releases/{version}")
        try:
            release = Release.parse(entry) if entry else None
        except MalformedRecord as malformed:
            LOG.error("Kept: %s", malformed)
            return
        if not entry or not release or seconds_since(release.created_at) < PACKAGED_AFTER_S:
            return
        key = f"builds/{release.commit}"
        record = self._ledger.get(key)
        if record and _is_under_way(Build.parse(release.commit, record)):
            return
        build = self._ledger.unchanged(key, record) if record else self._ledger.absent(key)
        yield Old(version, entry, [*guards, build])

    def _on_hosts(self) -> set[str]:
        """Returns what hosts have, and what they are bringing themselves to."""
        reports = HostReports(self._ledger).all().values()
        return {each.version or "" for each in reports} | {each.desired for each in reports}

    def _unseen(self, fact: str) -> set[str]:
        """Returns what events name that were not handed over yet: a workflow will ask for it."""
        seen = self._ledger.seen()
        if all(each <= seen for each in self._ledger.event_ids()):
            return set()
        events = Events(self._ledger).all()
        return {str(each[fact]) for each in events if each["id"] > seen and fact in each}

    # --- builds -----------------------------------------------------------------------------------

    def _old_builds(self, keep: int, without: Collection[str] = ()) -> list[tuple[str, Entry]]:
        found = self._ledger.get_below("builds")
        running = {key[len("running/") :] for key in self._ledger.keys("running")}
        in_use = running | self._unseen("commit")
        releases = (key[len("releases/") :] for key in self._ledger.keys("releases"))
        released = {_build_of(version) for version in releases if version not in without}
        known = list(readable(Build.parse, found.items()))
        known.sort(key=lambda each: (each.started_at, each.number), reverse=True)
        return [
            (each.commit, found[each.commit])
            for each in known[keep:]
            if each.commit not in in_use
            and f"{each.number}.{each.commit[:7]}" not in released
            and not _is_under_way(each)
        ]

    def _correct_attempts(self) -> None:
        """Drops from the last builds of each branch those that are no more."""
        attempts = self._ledger.get_below("attempts")
        known = {key[len("builds/") :] for key in self._ledger.keys("builds")}
        for branch, entry in attempts.items():
            commits = entry.value.split()
            kept = [each for each in commits if each in known]
            key = f"attempts/{branch}"
            if not kept:
                self._ledger.commit([self._ledger.delete(key, entry)])
            elif kept != commits:
                self._ledger.commit([self._ledger.set(key, " ".join(kept), entry)])


def _named_by(rollout: Rollout) -> set[str]:
    """Returns the versions that a stage runs, ran, or that its commands can name."""
    settled = {each.version for each in rollout.settled}
    previous = {rollout.previous.version} if rollout.previous else set()
    return settled | previous | {rollout.target.version, *rollout.rolled_back_from}


def _is_under_way(build: Build) -> bool:
    """Returns whether a build runs, or a package of it may still be made."""
    if build.status == "running":
        return True
    ended_at = build.finished_at or build.started_at
    return build.status == "passed" and seconds_since(ended_at) < PACKAGED_AFTER_S


def _build_of(release: str) -> str:
    """Returns number and short commit of the build that a release came of."""
    return release.rpartition("-")[2]
