"""Builds: CI of one commit, and whether a package came of it.

    builds = Builds(ledger)
    started = builds.start(commit, "acme/shop", "main", by="alice")
    builds.finish(commit, passed=True)

A commit has one build: started again, it keeps its number.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, NamedTuple

from delivery.build_record import Build, next_number
from delivery.clock import lasted, now, seconds_since
from delivery.errors import DeliveryError
from delivery.ledger import Ledger, retry
from delivery.names import check, matches, plain
from delivery.store import Entry, Operation

REPOSITORY = "repository"
ATTEMPTS_KEPT = 20  # commits of a branch, to find the last that passed
PACKAGED_AFTER_S = 3600  # what has no release by then has got lost


class NotPassed(DeliveryError):
    """No package is made of a commit that did not pass CI."""


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
        path: str = "",
        why: str = "",
        admit: Callable[[str], None] = lambda _: None,
    ) -> Started:
        """Records that CI of `commit` begins, unless the commit has a build already.

        The first build binds the application to its repository.

        A build left running for longer than `stale_after_s` counts as lost and is started anew,
        and so is a finished one with `again`; both keep their number.

        :param path: the application's directory in the repository; empty where that is all its own.
        :param why: why it is built, in one line, where not every push is.
        :param admit: is given the repository that the application is bound to, and raises an error
            if this one must not take its place.
        """
        wanted = self._wanted(commit, repository, branch, by, path, why)

        def start() -> Started:
            return self._start(wanted, stale_after_s, again, admit)

        # Two pushes at once want the same number.
        return retry(start)

    def bound_to(self) -> str | None:
        """Returns the repository that the application is bound to; None before its first build."""
        entry = self._ledger.get(REPOSITORY)
        return check("repository", entry.value) if entry else None

    def leave_out(
        self, commit: str, repository: str, branch: str, by: str, path: str, why: str
    ) -> Started:
        """Records that a commit is not built, unless the commit has a build already.

        :param why: what it does not change, in one line.
        """
        wanted = self._wanted(commit, repository, branch, by, path, why, "unaffected")

        def record() -> Started:
            known, entry = self._known(commit)
            if known and known.decides(branch):
                return Started(known, new=False)
            self._ledger.commit([self._write(wanted, entry)])
            return Started(wanted, new=True)

        return retry(record)

    def decided(self, commit: str, branch: str) -> bool:
        """Returns whether a push of the commit to the branch needs no decision any more: it has a
        build, or was found to change nothing there."""
        known, _ = self._known(commit)
        return known is not None and known.decides(branch)

    def last_passed(self, branch: str, path: str) -> Build | None:
        """Returns the newest build of a branch, of those kept for it, that passed and of which a
        release came or may still come; None if there is none.

        :param path: where the application is now; what was built elsewhere does not count.
        """
        released = {key.rpartition(".")[2] for key in self._ledger.keys("releases")}
        for commit in reversed(self._attempts(branch)[0]):
            known, _ = self._known(commit)
            if not known or known.status != "passed" or known.path != path:
                continue
            under_way = not known.packaging_error and (
                seconds_since(known.finished_at or known.started_at) < PACKAGED_AFTER_S
            )
            if commit[:7] in released or under_way:
                return known
        return None

    def get(self, commit: str) -> Build:
        """Returns the build of `commit`.

        :raises DeliveryError: when there is none.
        """
        return self._read(commit)[0]

    def passed(self, commit: str) -> Build:
        """Returns the build of `commit`, of which a package may be made.

        :raises NotPassed: when it did not pass; says what to do.
        """
        build = self.get(commit)
        if build.status == "passed":
            return build
        app = self._ledger.application
        again = f"run cicd_canary.ci app={app} repository={build.repository} "
        again += f"branch={build.branch} commit={commit} by={build.by} again=true"
        remedies = {
            "running": "wait for its verdict",
            "failed": f"push a fix, or {again}",
            "unaffected": f"to have it built, {again}",
        }
        what = build.failure or f"build {build.number} is running"
        if build.status == "unaffected":
            what = build.why
        raise NotPassed(
            f"{app} {commit[:7]} did not pass CI: {what}; {remedies.get(build.status, again)}"
        )

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
        """Records that no package could be made of a commit that passed CI; of another, nothing.

        :param reason: why, in one line.
        """

        def record() -> None:
            build, entry = self._read(commit)
            if build.status != "passed":
                return
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

    def forget_packaging_failure(self, commit: str) -> None:
        """Forgets why no package came of the commit, should packaging have failed before."""

        def record() -> None:
            build, entry = self._read(commit)
            if build.packaging_error:
                self._ledger.commit(
                    [self._write(dataclasses.replace(build, packaging_error=""), entry)]
                )

        retry(record)

    def _wanted(
        self,
        commit: str,
        repository: str,
        branch: str,
        by: str,
        path: str,
        why: str,
        status: str = "running",
    ) -> Build:
        """Returns a record of now, without a number yet."""
        return Build(
            check("commit", commit),
            0,
            status,
            check("repository", repository),
            check("branch", branch),
            check("user", by),
            now(),
            path=check("path", path) if path else "",
            why=plain(why),
        )

    def _start(
        self, wanted: Build, stale_after_s: float, again: bool, admit: Callable[[str], None]
    ) -> Started:
        operations = self._bind(wanted.repository, admit)
        known, entry = self._known(wanted.commit)
        if known and known.decides(wanted.branch):
            lost = known.status == "running" and seconds_since(known.started_at) > stale_after_s
            if not (again or lost):
                return Started(known, new=False)
        if known and known.number:
            number = known.number
        else:
            counter = self._ledger.get("build_number")
            number = next_number(counter)
            operations.append(self._ledger.set("build_number", str(number), counter))
            if wanted.path:
                operations.append(self._attempt(wanted))
        build = dataclasses.replace(wanted, number=number)
        because = f": {build.why}" if build.why else ""
        self._ledger.commit(
            [
                *operations,
                self._write(build, entry),
                self._ledger.overwrite(f"running/{build.commit}", ""),
            ],
            self._event(
                build,
                "build_started",
                f"build {number} of {build.branch} ({build.commit[:7]}) started{because}",
                branch=build.branch,
            ),
        )
        return Started(build, new=True)

    def _bind(self, repository: str, admit: Callable[[str], None]) -> list[Operation]:
        """Operations: the application comes from this repository, as from now on."""
        entry = self._ledger.get(REPOSITORY)
        if entry and entry.value == repository:
            return []
        if entry:
            admit(check("repository", entry.value))
        return [self._ledger.set(REPOSITORY, repository, entry)]

    def _attempts(self, branch: str) -> tuple[list[str], Entry | None]:
        """Returns the commits of a branch that builds were started of, newest last."""
        entry = self._ledger.get(f"attempts/{check('branch', branch)}")
        return [
            each for each in entry.value.split() if matches("commit", each)
        ] if entry else [], entry

    def _attempt(self, build: Build) -> Operation:
        commits, entry = self._attempts(build.branch)
        kept = [*commits, build.commit][-ATTEMPTS_KEPT:]
        return self._ledger.set(f"attempts/{build.branch}", " ".join(kept), entry)

    def _known(self, commit: str) -> tuple[Build | None, Entry | None]:
        entry = self._ledger.get(f"builds/{check('commit', commit)}")
        return (Build.parse(commit, entry), entry) if entry else (None, None)

    def _read(self, commit: str) -> tuple[Build, Entry]:
        known, entry = self._known(commit)
        if not (known and entry):
            raise DeliveryError(
                f"{self._ledger.application} has no build of {commit[:7]}; push the commit, or "
                "run cicd_canary.ci"
            )
        return known, entry

    def _write(self, build: Build, entry: Entry | None) -> dict[str, Any]:
        return self._ledger.set(f"builds/{build.commit}", build.as_json(), entry)

    def _event(
        self, build: Build, kind: str, what: str, reason: str = "", **facts: Any
    ) -> dict[str, Any]:
        message = f"{self._ledger.application}: {what}" + (f": {reason}" if reason else "")
        return self._ledger.event(
            kind, commit=build.commit, build=build.number, by=build.by, message=message, **facts
        )
