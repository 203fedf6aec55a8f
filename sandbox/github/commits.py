"""What a repository holds: commits that a test makes up, or those of a real git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple, Protocol

DEFAULT_BRANCH = "main"
SHOWN = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
# A tag that has an object of its own is shown as the commit it is at.
LISTED = "%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end) %(refname)"
POST_RECEIVE = """\
#!/bin/sh
# leaves what was pushed to the server that ran git
cat > "$PUSHED_REFS"
"""


class Person(NamedTuple):
    """Who wrote or made a commit, and when, in ISO 8601."""

    name: str
    email: str
    date: str


class Commit(NamedTuple):
    sha: str
    tree: str
    parents: list[str]
    message: str
    author: Person
    committer: Person


class Commits(Protocol):
    """The commits of one repository and the references to them, by full names: refs/heads/main."""

    def references(self, prefix: str) -> dict[str, str]:
        """The commit of every reference below a prefix that ends with a slash, by the rest."""

    def point(self, reference: str, commit: str) -> None:
        """Makes a reference point to a commit, or moves it there."""

    def knows(self, commit: str) -> bool: ...

    def history(self, commit: str) -> list[str]:
        """A commit and those before it, oldest first."""

    def describe(self, commit: str) -> Commit: ...

    def changes(self, commit: str) -> dict[str, list[str]]:
        """The paths that a commit added (A), deleted (D) and modified (M)."""


class Lines:
    """Commits that are nothing but their names: each branch is a line of them, oldest first.

    others: commits of forks, which the repository knows too.
    """

    def __init__(self, branches: dict[str, list[str]]) -> None:
        self.branches = branches
        self.others: list[str] = []
        self._tags: dict[str, str] = {}

    def references(self, prefix: str) -> dict[str, str]:
        heads = {f"refs/heads/{name}": line[-1] for name, line in self.branches.items()}
        return {
            name[len(prefix) :]: commit
            for name, commit in {**heads, **self._tags}.items()
            if name.startswith(prefix)
        }

    def point(self, reference: str, commit: str) -> None:
        self._tags[reference] = commit

    def knows(self, commit: str) -> bool:
        return commit in self.others or any(commit in line for line in self.branches.values())

    def history(self, commit: str) -> list[str]:
        line = next((line for line in self.branches.values() if commit in line), [commit])
        return line[: line.index(commit) + 1]

    def describe(self, commit: str) -> Commit:
        alice = Person("alice", "alice@acme.example", "2026-01-01T00:00:00Z")
        return Commit(commit, commit, self.history(commit)[-2:-1], "A commit", alice, alice)

    def changes(self, commit: str) -> dict[str, list[str]]:
        return {"A": [], "D": [], "M": []}


class GitCommits:
    """A bare git repository, which is made when there is none yet.

    A push leaves what it changed in the file that the environment variable PUSHED_REFS names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            return
        git("init", "--quiet", "--bare", "--initial-branch", DEFAULT_BRANCH, str(path))
        hook = path / "hooks" / "post-receive"
        hook.write_text(POST_RECEIVE)
        hook.chmod(0o755)

    def references(self, prefix: str) -> dict[str, str]:
        listed = self._git("for-each-ref", f"--format={LISTED}", prefix)
        pairs = (line.split(" ", 1) for line in listed.splitlines())
        return {name[len(prefix) :]: commit for commit, name in pairs}

    def point(self, reference: str, commit: str) -> None:
        self._git("update-ref", reference, commit)

    def knows(self, commit: str) -> bool:
        asked = ["git", "-C", str(self.path), "cat-file", "-e", f"{commit}^{{commit}}"]
        return subprocess.run(asked, stderr=subprocess.DEVNULL).returncode == 0

    def history(self, commit: str) -> list[str]:
        return self._git("rev-list", "--reverse", "--topo-order", commit, "--").split()

    def describe(self, commit: str) -> Commit:
        shown = self._git("show", "--no-patch", f"--format={SHOWN}", f"{commit}^{{commit}}")
        sha, tree, parents, *people, message = shown.split("\0", 9)
        return Commit(
            sha,
            tree,
            parents.split(),
            message.rstrip("\n"),
            Person(*people[:3]),
            Person(*people[3:]),
        )

    def changes(self, commit: str) -> dict[str, list[str]]:
        listed = self._git(
            "diff-tree",
            "--root",
            "--no-commit-id",
            "--name-status",
            "--no-renames",
            "-r",
            "-z",
            commit,
        ).split("\0")
        return {
            kind: [path for letter, path in zip(listed[::2], listed[1::2]) if letter == kind]
            for kind in "ADM"
        }

    def _git(self, *arguments: str) -> str:
        return git("-C", str(self.path), *arguments)


def git(*arguments: str) -> str:
    """What a git command printed; subprocess.CalledProcessError when it failed."""
    return subprocess.run(
        ["git", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ).stdout
