"""Bare git repositories for tests, with commits made of files in memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Sequence

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2024-05-06T07:08:09Z",
    "GIT_COMMITTER_DATE": "2024-05-06T07:08:09Z",
}


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file://{path}"
        subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True, env=ENVIRONMENT)

    def git(self, *arguments: str, stdin: str = "") -> str:
        return subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            check=True,
            env={**ENVIRONMENT, "GIT_INDEX_FILE": str(self.path / "test-index")},
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ).stdout.strip()

    def commit(
        self,
        files: dict[str, str],
        executable: Sequence[str] = (),
        links: dict[str, str] | None = None,
        branch: str = "main",
    ) -> str:
        """Commits files on top of a branch; returns the commit's id."""
        for path, content in files.items():
            self._add(path, content, "100755" if path in executable else "100644")
        for path, target in (links or {}).items():
            self._add(path, target, "120000")
        tree = self.git("write-tree")
        reference = f"refs/heads/{branch}"
        parent = self.git("for-each-ref", "--format=%(objectname)", reference)
        commit = self.git("commit-tree", tree, "-m", "change", *(["-p", parent] if parent else []))
        self.git("update-ref", reference, commit)
        return commit

    def committed_at(self, commit: str) -> int:
        return int(self.git("show", "-s", "--format=%ct", commit))

    def _add(self, path: str, content: str, mode: str) -> None:
        blob = self.git("hash-object", "-w", "--stdin", stdin=content)
        self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
