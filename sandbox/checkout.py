"""A work tree on the machine whose `git push` reaches the GitHub of a running world.

The world's network is its own, so the remote is no URL: it has git start its programs over there,
with `script/sandbox git`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from sandbox import repositories
from sandbox.fleet import PROJECT

BRANCH = "main"
OF_THE_WORLD = "/acme/"  # how the remote's address begins


class CheckoutError(Exception):
    """What git could not do, in one line."""


def prepare(directory: Path, name: str) -> str:
    """Have a directory's `git push` reach acme/name.

    Makes it a repository with all its files committed if it is none. One that has a remote of its
    own keeps it: the fleet's is then called sandbox.
    Returns the command that pushes. Raises CheckoutError with git's reason.
    """
    if not (directory / ".git").exists():
        git(directory, "init", "--quiet", "--initial-branch", BRANCH)
    if not git(directory, "config", "--default", "", "user.email").strip():
        for key in ("user.name", "user.email"):
            git(directory, "config", key, repositories.SETTINGS[key])
    if not git(directory, "rev-list", "--all", "--max-count=1"):
        git(directory, "add", "--all")
        git(directory, "commit", "--quiet", "--message", "First version")
    branch = git(directory, "branch", "--show-current").strip()
    if not branch:
        raise CheckoutError(f"{directory} is on no branch; run git switch -c {BRANCH} there")
    url = git(directory, "config", "--default", OF_THE_WORLD, "remote.origin.url")
    remote = "origin" if url.startswith(OF_THE_WORLD) else "sandbox"
    program = f"{shlex.quote(str(PROJECT / 'script/sandbox'))} git"
    settings = {
        "url": f"{OF_THE_WORLD}{name}.git",
        "fetch": f"+refs/heads/*:refs/remotes/{remote}/*",
        "receivepack": f"{program} receive-pack",
        "uploadpack": f"{program} upload-pack",
    }
    for key, value in settings.items():
        git(directory, "config", f"remote.{remote}.{key}", value)
    if remote == "origin" and branch == BRANCH:
        git(directory, "config", f"branch.{BRANCH}.remote", remote)
        git(directory, "config", f"branch.{BRANCH}.merge", f"refs/heads/{BRANCH}")
        return "git push"
    return f"git push {remote} HEAD:{BRANCH}"


def git(directory: Path, *arguments: str) -> str:
    try:
        return repositories.git(directory, *arguments)
    except repositories.GitHubError as error:
        raise CheckoutError(f"{directory}: {error}") from None
