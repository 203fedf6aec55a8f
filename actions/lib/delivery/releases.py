"""Releases: published packages. A release is written once and never changes.

    releases = Releases(ledger)
    releases.publish(release)
    releases.get("1.2.0-7.0123abc").target

The newest release is pointed at, so that nobody reads them all.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from delivery.clock import now
from delivery.commits import UNKNOWN, Ancestry, Commit
from delivery.errors import DeliveryError
from delivery.ledger import Ledger, retry
from delivery.names import check, matches, nearest
from delivery.records import Fields, MalformedRecord, readable
from delivery.settings import is_batch_size
from delivery.store import Entry, Operation

NEWEST = "newest_release"
REMOVING = "removing"  # below it a mark for each package that is to leave the repository
CONVERGE_MARGIN_S = 300  # for download, drain, install and a possible way back


Compare = Callable[[str], Ancestry]


class Target(NamedTuple):
    """Exactly which package hosts are to run."""

    version: str
    sha256: str


class File(NamedTuple):
    """The package's file in the APT repository."""

    file: str
    sha256: str
    size_bytes: int


class Rules(NamedTuple):
    """How the release reaches hosts: section `rollout` of its settings."""

    batch_size: int | str
    failure_budget: int
    healthy_deadline_s: int
    min_healthy_s: int

    @property
    def converge_s(self) -> int:
        """How long a host may take at most. It may need the deadline twice: for this version, and
        for the way back."""
        return 2 * self.healthy_deadline_s + CONVERGE_MARGIN_S


@dataclass(frozen=True)
class Release:
    """A published package.

    :param build: number of the build that it came of.
    :param settings: the application's `.cicd.yaml`, defaults filled in.
    :param metadata: what the project's files say, {field: {value, source}}.
    :param created_at: ISO 8601, UTC; filled in when it is published.
    :param commits: its newest ones, newest first, itself included; none in a release of before
        they were kept.
    :param after: commits of releases that git found in the history of this one's commit.
    :param before: those in whose history it found this one's.
    """

    version: str
    commit: str
    branch: str
    repository: str
    build: int
    by: str
    package: File
    settings: Mapping[str, Any]
    metadata: Mapping[str, Any]
    created_at: str = ""
    commits: Sequence[Commit] = ()
    after: Sequence[str] = ()
    before: Sequence[str] = ()

    @classmethod
    def parse(cls, entry: Entry) -> Release:
        """:raises MalformedRecord: naming the key."""
        fields = Fields.of(entry)
        package = fields.nested("package")
        release = cls(
            version=fields.name("version", "version"),
            commit=fields.name("commit", "commit"),
            branch=fields.name("branch", "branch"),
            repository=fields.name("repository", "repository"),
            build=fields.integer("build"),
            by=fields.name("by", "user"),
            package=File(
                package.text("file"),
                package.name("sha256", "sha256"),
                package.integer("size_bytes"),
            ),
            settings=fields.object("settings"),
            metadata=fields.object("metadata"),
            created_at=fields.time("created_at"),
            commits=[Commit.parse(entry.key, each) for each in fields.each("commits")],
            after=fields.names("after", "commit"),
            before=fields.names("before", "commit"),
        )
        _check_settings(fields.nested("settings"))
        return release

    def as_json(self) -> str:
        """Returns the record as it stands in Consul."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        values.update(
            package=self.package._asdict(), commits=[each._asdict() for each in self.commits]
        )
        return json.dumps(values)

    @property
    def target(self) -> Target:
        """What hosts are told to run."""
        return Target(self.version, self.package.sha256)

    def is_newer_than(self, other: Release) -> bool:
        """Returns whether this is the newer one: its commit has the other's in its history, as git
        said when one of them was published, or as the kept commits say; where neither does, its
        build has the higher number. A push may come late, and the build of an older commit then
        has the higher one. Of the kept commits those that changed the application count."""
        if other.commit in self.after or self.commit in other.before:
            return True
        if other.commit in self.before or self.commit in other.after:
            return False
        ours, others = self._last_change, other._last_change
        if ours != others:
            if any(each.commit == others for each in self.commits):
                return True
            if any(each.commit == ours for each in other.commits):
                return False
        return self.build > other.build

    @property
    def _last_change(self) -> str:
        return self.commits[0].commit if self.commits else self.commit

    @property
    def stages(self) -> list[str]:
        """Names of the application's stages, in order."""
        return list(self.settings["stages"])

    @property
    def role(self) -> str:
        """What the tags of its hosts say beside the stage."""
        return str(self.settings["role"])

    @property
    def rules(self) -> Rules:
        """How the release reaches hosts."""
        rollout = self.settings["rollout"]
        return Rules(*(rollout[name] for name in Rules._fields))


def package_version(version: str, build: int, commit: str) -> str:
    """Returns `<version>-<build number>.<short commit>`: it sorts, and names its commit."""
    return check("version", f"{version}-{build}.{commit[:7]}")


def newest_first(versions: Iterable[str]) -> list[str]:
    """Returns versions of packages by the number of their build, the highest first."""

    def build(version: str) -> int:
        number = version.rpartition("-")[2].partition(".")[0]
        return int(number) if number.isdigit() else 0

    return sorted(versions, key=build, reverse=True)


class Releases:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def publish(
        self,
        release: Release,
        warning: str = "",
        together: Sequence[Operation] = (),
        compare: Compare = lambda _: UNKNOWN,
    ) -> bool:
        """Writes a release, once.

        :param warning: what people should know of it, for its announcement.
        :param together: what is written in the same transaction.
        :param compare: is given the newest release's commit, and says where it is in git's history.
        :returns: whether it was written; false when the same release is there already.
        :raises DeliveryError: when another package was published under the same version.
        """
        check("version", release.version)
        check("sha256", release.package.sha256)
        return retry(lambda: self._publish(release, warning, together, compare))

    def get(self, version: str) -> Release:
        """Returns a release.

        :raises DeliveryError: when there is none of this version; names the nearest.
        """
        entry = self._ledger.get(f"releases/{check('version', version)}")
        if entry:
            return Release.parse(entry)
        known = nearest(version, self.versions())
        hint = f"; nearest: {', '.join(known)}" if known else ""
        raise DeliveryError(f"{self._ledger.application} has no release {version}{hint}")

    def guard(self, version: str) -> Operation:
        """An operation: fail the transaction unless the release is there.

        :raises DeliveryError: when it is not there now.
        """
        entry = self._ledger.get(f"releases/{check('version', version)}")
        if not entry:
            raise DeliveryError(f"{self._ledger.application} {version} is no release any more")
        return self._ledger.unchanged(f"releases/{version}", entry)

    def find(self, beginning: str) -> Release:
        """Returns the only release whose version begins so, or is of this commit.

        :param beginning: up to a part's end: 2.0.0 is not the beginning of 2.0.01; or a commit.
        :raises DeliveryError: when there is none, or more than one; lists them, newest first.
        """
        versions = self.versions()
        found = [each for each in versions if _begins(each, beginning)]
        if beginning in found or not found:
            return self.get(beginning)
        if len(found) > 1:
            listed = ", ".join(newest_first(found)[:5])
            raise DeliveryError(
                f"{beginning} is the beginning of {len(found)} releases of "
                f"{self._ledger.application}, the newest first: {listed}; type one in full"
            )
        return self.get(found[0])

    def versions(self) -> list[str]:
        """Returns the versions of all releases."""
        return [key[len("releases/") :] for key in self._ledger.keys("releases")]

    def newest(self) -> Release:
        """Returns the newest release (`Release.is_newer_than`).

        :raises DeliveryError: when nothing has been published yet.
        """
        newest = self._newest(self._ledger.get(NEWEST))
        if not newest:
            raise DeliveryError(f"{self._ledger.application} has no release yet; push a commit")
        return newest

    def _publish(
        self, release: Release, warning: str, together: Sequence[Operation], compare: Compare
    ) -> bool:
        key = f"releases/{release.version}"
        existing = self._ledger.get(key)
        if existing:
            published = Release.parse(existing).package.sha256
            if published == release.package.sha256:
                return False
            raise DeliveryError(
                f"{self._ledger.application} {release.version} is already published with another "
                f"package ({published[:12]}, now {release.package.sha256[:12]}); push a new commit"
            )
        if self._ledger.get(f"{REMOVING}/{release.version}"):
            raise DeliveryError(
                f"{self._ledger.application} {release.version} was removed as an old release, and "
                "its package is about to leave the repository; push a new commit"
            )
        pointer = self._ledger.get(NEWEST)
        newest = self._newest_or_none(pointer)
        after, before = compare(newest.commit if newest else "")
        record = dataclasses.replace(release, created_at=now(), after=after, before=before)
        points_at = newest if newest and newest.is_newer_than(record) else record
        self._ledger.commit(
            [
                self._ledger.set(key, record.as_json(), None),
                self._ledger.absent(f"{REMOVING}/{release.version}"),
                self._ledger.set(NEWEST, points_at.version, pointer),
                *together,
            ],
            self._ledger.event(
                "release_published",
                version=release.version,
                commit=release.commit,
                build=release.build,
                by=release.by,
                message=f"{self._ledger.application} {release.version} is published",
                **({"warning": warning} if warning else {}),
            ),
        )
        return True

    def _newest_or_none(self, pointer: Entry | None) -> Release | None:
        """Returns the newest release; None where what is published now takes its place."""
        try:
            return self._newest(pointer)
        except MalformedRecord:
            return None

    def _newest(self, pointer: Entry | None) -> Release | None:
        """Returns the release pointed at; the newest that can be read if the pointer leads nowhere,
        or is missing as in a store of version 0.1.0.

        :raises MalformedRecord: when the one pointed at is malformed and there is no other.
        """
        malformed: MalformedRecord | None = None
        if pointer and matches("version", pointer.value):
            entry = self._ledger.get(f"releases/{pointer.value}")
            try:
                if entry:
                    return Release.parse(entry)
            except MalformedRecord as error:
                malformed = error
        found = self._ledger.get_below("releases").items()
        known = list(readable(lambda _, entry: Release.parse(entry), found))
        if malformed and not known:
            raise malformed
        return max(known, key=lambda each: each.build) if known else None


def _begins(version: str, beginning: str) -> bool:
    end_of_a_part = version[len(beginning) : len(beginning) + 1] in ("", ".", "-", "+", "~")
    is_beginning = version.startswith(beginning) and end_of_a_part
    return is_beginning or version.rpartition(".")[2] == beginning[:7]


def _check_settings(settings: Fields) -> None:
    """:raises MalformedRecord: when a rollout could not be planned with these settings."""
    settings.name("role", "role")
    if not settings.names("stages", "stage"):
        settings.refuse("stages", "at least one stage")
    rollout = settings.nested("rollout")
    for name in ("failure_budget", "healthy_deadline_s", "min_healthy_s"):
        rollout.integer(name)
    if not is_batch_size(rollout.values.get("batch_size")):
        rollout.refuse("batch_size", "a number of hosts or a share")
