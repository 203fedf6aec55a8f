"""Builds: CI of one commit, and whether a package came of it.

    builds = Builds(ledger)
    started = builds.start(commit, "acme/shop", "main", by="alice")
    builds.finish(commit, passed=True)

A commit has one build: started again, it keeps its number.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, NamedTuple

from delivery.clock import lasted, now, seconds_since
from delivery.errors import DeliveryError
from delivery.ledger import Ledger, retry
from delivery.names import check, plain
from delivery.records import Fields, MalformedRecord
from delivery.store import Entry


@dataclass(frozen=True)
class Build:
    """CI of one commit.

    :param status: `running`, `passed` or `failed`; `reason` says in one line why it failed.
    :param started_at: ISO 8601, UTC.
    :param seconds: how long each step of CI took, by name.
    :param ci: where a CI server builds it: {job, queue_id, number, url, starts}; empty without one.
    :param packaging_error: why no package came of it, in one line; empty unless packaging failed.
    """

    commit: str
    number: int
    status: str
    repository: str
    branch: str
    by: str
    started_at: str
    reason: str = ""
    finished_at: str = ""
    seconds: Mapping[str, Any] = field(default_factory=dict)
    ci: Mapping[str, Any] = field(default_factory=dict)
    packaging_error: str = ""

    @classmethod
    def parse(cls, commit: str, entry: Entry) -> Build:
        """:raises MalformedRecord: naming the key."""
        fields = Fields.of(entry)
        return cls(
            commit=commit,
            number=fields.integer("number"),
            status=fields.text("status"),
            repository=fields.name("repository", "repository"),
            branch=fields.name("branch", "branch"),
            by=fields.name("by", "user"),
            started_at=fields.time("started_at"),
            reason=fields.text("reason", ""),
            finished_at=fields.text("finished_at", ""),
            seconds=fields.object("seconds"),
            ci=fields.object("ci"),
            packaging_error=fields.text("packaging_error", ""),
        )

    def as_json(self) -> str:
        """Returns the record as it stands in Consul, without what is not known yet."""
        values = dataclasses.asdict(self)
        del values["commit"]
        return json.dumps({key: value for key, value in values.items() if value not in ("", {})})

    @property
    def failure(self) -> str:
        """Why no release came of the commit, in one line; empty unless something failed."""
        if self.status == "failed":
            return f"build {self.number} failed: {self.reason or 'no reason recorded'}"
        if self.packaging_error:
            return f"packaging build {self.number} failed: {self.packaging_error}"
        return ""


class Started(NamedTuple):
    """A commit's build; `new` is false when the commit had one already."""

    build: Build
    new: bool


class Builds:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(
        self,
        commit: str,
        repository: str,
        branch: str,
        by: str,
        stale_after_s: float = 3600,
        again: bool = False,
    ) -> Started:
        """Records that CI of `commit` begins, unless the commit has a build already.

        A build left running for longer than `stale_after_s` counts as lost and is started anew,
        and so is a finished one with `again`; both keep their number.
        """
        check("repository", repository)
        check("branch", branch)
        check("user", by)

        def start() -> Started:
            return self._start(commit, repository, branch, by, stale_after_s, again)

        # Two pushes at once want the same number.
        return retry(start)

    def get(self, commit: str) -> Build:
        """Returns the build of `commit`.

        :raises DeliveryError: when there is none.
        """
        return self._read(commit)[0]

    def running(self) -> list[str]:
        """Returns the commits whose build has no verdict yet."""
        return [key[len("running/") :] for key in self._ledger.keys("running")]

    def record_ci(self, commit: str, ci: Mapping[str, Any]) -> None:
        """Keeps where a CI server builds the commit, so that any process can ask it."""

        def record() -> None:
            build, entry = self._read(commit)
            self._ledger.commit([self._write(dataclasses.replace(build, ci=ci), entry)])

        retry(record)

    def finish(
        self,
        commit: str,
        passed: bool,
        reason: str = "",
        seconds: Mapping[str, float] | None = None,
        ci: Mapping[str, Any] | None = None,
    ) -> bool:
        """Records CI's verdict. The same verdict again changes nothing.

        :param reason: why it failed, in one line.
        :param seconds: how long each step took, by name.
        :param ci: where a CI server built it.
        :returns: whether anything was written.
        """
        build, entry = self._read(commit)
        status = "passed" if passed else "failed"
        if build.status == status:
            return False
        finished = dataclasses.replace(
            build,
            status=status,
            reason=plain(reason),
            finished_at=now(),
            seconds=seconds or {},
            ci=ci or build.ci,
        )
        self._ledger.commit(
            [self._write(finished, entry), self._ledger.delete(f"running/{commit}")],
            self._event(
                finished,
                f"build_{status}",
                f"build {build.number} of {build.branch} ({commit[:7]}) {status} "
                f"{'in' if passed else 'after'} {lasted(build.started_at)}",
                plain(reason),
                repository=build.repository,
                branch=build.branch,
            ),
        )
        return True

    def packaging_failed(self, commit: str, reason: str) -> None:
        """Records that the commit passed CI and no package could be made of it.

        :param reason: why, in one line.
        """

        def record() -> None:
            build, entry = self._read(commit)
            failed = dataclasses.replace(build, packaging_error=plain(reason))
            self._ledger.commit(
                [self._write(failed, entry)],
                self._event(
                    failed,
                    "packaging_failed",
                    f"packaging build {build.number} ({commit[:7]}) failed",
                    failed.packaging_error,
                ),
            )

        retry(record)

    def packaging_succeeded(self, commit: str) -> None:
        """Records that a package came of the commit, should packaging have failed before."""

        def record() -> None:
            build, entry = self._read(commit)
            if build.packaging_error:
                self._ledger.commit(
                    [self._write(dataclasses.replace(build, packaging_error=""), entry)]
                )

        retry(record)

    def _start(
        self,
        commit: str,
        repository: str,
        branch: str,
        by: str,
        stale_after_s: float,
        again: bool,
    ) -> Started:
        entry = self._ledger.get(f"builds/{check('commit', commit)}")
        if entry:
            known = Build.parse(commit, entry)
            lost = known.status == "running" and seconds_since(known.started_at) > stale_after_s
            if not (again or lost):
                return Started(known, new=False)
            number, counting = known.number, []
        else:
            counter = self._ledger.get("build_number")
            number = _next_number(counter)
            counting = [self._ledger.set("build_number", str(number), counter)]
        build = Build(commit, number, "running", repository, branch, by, now())
        self._ledger.commit(
            [
                *counting,
                self._write(build, entry),
                self._ledger.overwrite(f"running/{commit}", ""),
            ],
            self._event(
                build,
                "build_started",
                f"build {number} of {branch} ({commit[:7]}) started",
                branch=branch,
            ),
        )
        return Started(build, new=True)

    def _read(self, commit: str) -> tuple[Build, Entry]:
        entry = self._ledger.get(f"builds/{check('commit', commit)}")
        if not entry:
            raise DeliveryError(
                f"{self._ledger.application} has no build of {commit[:7]}; push the commit, or "
                "run cicd_canary.ci"
            )
        return Build.parse(commit, entry), entry

    def _write(self, build: Build, entry: Entry | None) -> dict[str, Any]:
        return self._ledger.set(f"builds/{build.commit}", build.as_json(), entry)

    def _event(
        self, build: Build, kind: str, what: str, reason: str = "", **facts: Any
    ) -> dict[str, Any]:
        message = f"{self._ledger.application}: {what}" + (f": {reason}" if reason else "")
        return self._ledger.event(
            kind, commit=build.commit, build=build.number, by=build.by, message=message, **facts
        )


def _next_number(counter: Entry | None) -> int:
    """:raises MalformedRecord: when the counter does not hold a number."""
    if not counter:
        return 1
    if not re.fullmatch("[0-9]{1,9}", counter.value):
        raise MalformedRecord(
            f"{counter.key} in Consul is malformed; write the number of the last build"
        )
    return int(counter.value) + 1
