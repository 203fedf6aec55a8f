"""One repository: its commits, and what was said of them."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from sandbox.github.commits import DEFAULT_BRANCH, Commits
from sandbox.github.shapes import Answer, Json, Site, iso, node_id

if TYPE_CHECKING:
    from sandbox.github.hooks import Hook


class Repository:
    """
    Statuses, deployments and the statuses of each deployment are what the API answers, oldest
    first; a status also has `sha`.
    """

    _numbers = itertools.count(1001)

    def __init__(
        self, site: Site, full_name: str, commits: Commits, default_branch: str = DEFAULT_BRANCH
    ) -> None:
        self.site = site
        self.full_name = full_name
        self.owner, self.name = full_name.split("/")
        self.url = f"{site.api}/repos/{full_name}"
        self.html_url = f"{site.html}/{full_name}"
        self.commits = commits
        self.default_branch = default_branch
        self.number = next(self._numbers)
        self.created = int(time.time())
        self.hooks: dict[int, Hook] = {}
        self.statuses: list[Json] = []
        self.deployments: list[Json] = []
        self.deployment_statuses: dict[int, list[Json]] = {}

    def branches(self) -> dict[str, str]:
        """The commit of each branch."""
        return self.commits.references("refs/heads/")

    def tags(self) -> dict[str, str]:
        """The commit of each tag."""
        return self.commits.references("refs/tags/")

    def resolve(self, reference: str) -> str:
        """The commit of a branch, a tag or itself."""
        commit = self.branches().get(reference) or self.tags().get(reference) or reference
        if not self.commits.knows(commit):
            raise Answer(422, f"No commit found for SHA: {reference}")
        return commit

    def as_json(self) -> Json:
        return {
            "id": self.number,
            "node_id": node_id("Repository", self.number),
            "name": self.name,
            "full_name": self.full_name,
            "private": True,
            "visibility": "private",
            "owner": self.site.user(self.owner, "Organization"),
            "html_url": self.html_url,
            "description": None,
            "fork": False,
            "url": self.url,
            "hooks_url": f"{self.url}/hooks",
            "deployments_url": f"{self.url}/deployments",
            "git_url": f"git://github/{self.full_name}.git",
            "ssh_url": f"git@github:{self.full_name}.git",
            "clone_url": f"{self.html_url}.git",
            "created_at": iso(self.created),
            "updated_at": iso(self.created),
            "pushed_at": iso(time.time()),
            "homepage": None,
            "size": 0,
            "language": None,
            "archived": False,
            "disabled": False,
            "default_branch": self.default_branch,
        }

    def commit_as_json(self, commit: str) -> Json:
        """A commit as the API answers it."""
        url = f"{self.url}/commits/{commit}"
        told = self.commits.describe(commit)
        return {
            "sha": commit,
            "node_id": node_id("Commit", int(commit[:6], 16)),
            "url": url,
            "html_url": f"{self.html_url}/commit/{commit}",
            "comments_url": f"{url}/comments",
            "author": self.site.user(told.author.name),
            "committer": self.site.user(told.committer.name),
            "commit": {
                "url": f"{self.url}/git/commits/{commit}",
                "message": told.message,
                "comment_count": 0,
                "author": told.author._asdict(),
                "committer": told.committer._asdict(),
                "tree": {"sha": told.tree, "url": f"{self.url}/git/trees/{told.tree}"},
            },
            "parents": [
                {"sha": parent, "url": f"{self.url}/commits/{parent}"} for parent in told.parents
            ],
        }
