"""The newest commits of a release, as they are kept with it: bounded, and only ever text.

    commits = read_log(workspace.log(commit))
    commits[0].commit, commits[0].subject, commits[0].author

Anybody who pushes writes these texts, so they are cleaned (`names.plain`) where they come in.
"""

from __future__ import annotations

from typing import Collection, NamedTuple, Sequence

from delivery.names import cut, plain
from delivery.records import Fields

KEPT = 50  # commits of a release
SUBJECT_LIMIT = 100  # characters
AUTHOR_LIMIT = 60


class Commit(NamedTuple):
    """A commit; `commit` is its 40 hexadecimal digits, `subject` its message's first line."""

    commit: str
    subject: str
    author: str

    @classmethod
    def cleaned(cls, commit: str, subject: str, author: str) -> Commit:
        """Returns a commit of what somebody wrote."""
        return cls(commit, text(subject, SUBJECT_LIMIT), text(author, AUTHOR_LIMIT))

    @classmethod
    def parse(cls, where: str, values: object) -> Commit:
        """:raises MalformedRecord: naming the key."""
        fields = Fields(where, values, "commits.")
        return cls.cleaned(
            fields.name("commit", "commit"), fields.text("subject"), fields.text("author")
        )

    def __str__(self) -> str:
        return f"{self.subject or self.commit[:7]} ({self.author or 'unknown'})"


class Ancestry(NamedTuple):
    """Other commits that a commit comes after in git's history, and those that it comes before."""

    after: Sequence[str]
    before: Sequence[str]


UNKNOWN = Ancestry((), ())


def read_ancestry(said: str, asked: Collection[str]) -> Ancestry:
    """Returns what a build host has said of commits.

    :param said: lines such as `after 0123abc...`.
    :param asked: the commits; what it says of others does not count.
    """
    lines = [line.split(" ") for line in said.splitlines()]
    known = [line for line in lines if len(line) == 2 and line[1] in asked]
    after = [commit for where, commit in known if where == "after"]
    return Ancestry(after, [commit for where, commit in known if where == "before"])


def read_log(log: bytes) -> Sequence[Commit]:
    """Returns the commits of a log, newest first.

    :param log: of each commit three lines: its id, its author, its subject.
    """
    lines = [line.decode("utf-8", "replace") for line in log.split(b"\n")]
    return [
        Commit.cleaned(commit, subject, author)
        for commit, author, subject in zip(lines[::3], lines[1::3], lines[2::3])
    ]


def text(written: str, limit: int) -> str:
    """Returns text of anybody's as a line of at most `limit` characters that is nothing else."""
    return cut(plain(written), limit)
