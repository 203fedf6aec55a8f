"""The record of a commit's build, as it stands at `<app>/builds/<commit>`."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Mapping

from delivery.names import plain
from delivery.records import Fields, MalformedRecord
from delivery.store import Entry


@dataclass(frozen=True)
class Build:
    """CI of one commit.

    :param number: 0 where nothing was built.
    :param status: `running`, `passed`, `failed`, or `unaffected` where the commit changes nothing
        of the application, so that nothing was built.
    :param reason: why it failed, in one line.
    :param started_at: ISO 8601, UTC.
    :param seconds: how long each step of CI took, by name.
    :param ci: where a CI server builds it: {job, queue_id, number, url, starts}; empty without one.
    :param path: the application's directory in the repository; empty where that is all its own.
    :param why: why it was built or was not, in one line; empty where every push is built.
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
    path: str = ""
    why: str = ""

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
            path=fields.name("path", "path") if fields.values.get("path") else "",
            why=plain(fields.text("why", "")),
        )

    def as_json(self) -> str:
        """Returns the record as it stands in Consul, without what is not known yet."""
        values = dataclasses.asdict(self)
        del values["commit"]
        return json.dumps({key: value for key, value in values.items() if value not in ("", {})})

    def decides(self, branch: str) -> bool:
        """Returns whether a push of the commit to this branch starts no other build: that it
        changes nothing on one branch says nothing of another."""
        return self.status != "unaffected" or self.branch == branch

    @property
    def origin(self) -> dict[str, str]:
        """What is checked out for it."""
        return {
            "repository": self.repository,
            "branch": self.branch,
            "commit": self.commit,
            "path": self.path,
        }

    @property
    def failure(self) -> str:
        """Why no release came of the commit, in one line; empty unless something failed."""
        if self.status == "failed":
            return f"build {self.number} failed: {self.reason or 'no reason recorded'}"
        if self.packaging_error:
            return f"packaging build {self.number} failed: {self.packaging_error}"
        return ""


def next_number(counter: Entry | None) -> int:
    """:raises MalformedRecord: when the counter does not hold a number."""
    if not counter:
        return 1
    if not re.fullmatch("[0-9]{1,9}", counter.value):
        raise MalformedRecord(
            f"{counter.key} in Consul is malformed; write the number of the last build"
        )
    return int(counter.value) + 1
