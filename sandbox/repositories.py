"""What a developer does with the sandbox's GitHub: makes repositories, commits and pushes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sandbox.fleet import SAMPLES
from sandbox.github import TOKEN

# So that a person in the work tree can `git commit` and `git push` without further words.
SETTINGS = {
    "user.name": "Dana Developer",
    "user.email": "dana@acme.example",
    "branch.main.remote": "origin",
    "branch.main.merge": "refs/heads/main",
}
VERSION_FILES = {
    "shop": ("pyproject.toml", r'(?m)^version = "[^"]*"$', 'version = "{}"'),
    "notes": ("package.json", r'"version": "[^"]*"', '"version": "{}"'),
}


class GitHubError(Exception):
    """What the sandbox's GitHub refused, in one line."""


class GitHub:
    """The REST calls of the sandbox's GitHub; repository is always `owner/name`."""

    def __init__(self, url: str):
        self.url = url

    def create_repository(self, repository: str) -> dict[str, Any]:
        owner, name = repository.split("/")
        return self._call("POST", f"orgs/{owner}/repos", {"name": name})

    def create_hook(self, repository: str, url: str, secret: str | None) -> dict[str, Any]:
        """Have pushes announced at a URL, signed with the secret; sends a ping there."""
        config = {"url": url, "content_type": "json"}
        if secret:
            config["secret"] = secret
        return self._call(
            "POST",
            f"repos/{repository}/hooks",
            {"name": "web", "active": True, "events": ["push"], "config": config},
        )

    def hooks(self, repository: str) -> list[dict[str, Any]]:
        return self._call("GET", f"repos/{repository}/hooks")

    def deliveries(self, repository: str, hook: int) -> list[dict[str, Any]]:
        """What was delivered through a hook, newest first."""
        return self._call("GET", f"repos/{repository}/hooks/{hook}/deliveries")

    def delivery(self, repository: str, hook: int, delivery: int) -> dict[str, Any]:
        """One delivery with the request's headers and payload, and the response."""
        return self._call("GET", f"repos/{repository}/hooks/{hook}/deliveries/{delivery}")

    def redeliver(self, repository: str, hook: int, delivery: int) -> None:
        self._call("POST", f"repos/{repository}/hooks/{hook}/deliveries/{delivery}/attempts", {})

    def statuses(self, repository: str, commit: str) -> dict[str, str]:
        """The newest state of each context of a commit."""
        combined = self._call("GET", f"repos/{repository}/commits/{commit}/status")
        return {each["context"]: each["state"] for each in combined["statuses"]}

    def deployments(self, repository: str) -> list[tuple[str, str, list[str]]]:
        """Commit, environment and all states of each deployment, oldest first."""
        found = self._call("GET", f"repos/{repository}/deployments?per_page=100")
        return [(each["sha"], each["environment"], self._states(each)) for each in found[::-1]]

    def _states(self, deployment: dict[str, Any]) -> list[str]:
        path = deployment["statuses_url"].partition("/api/v3/")[2]
        return [status["state"] for status in self._call("GET", path)[::-1]]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v3/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = json.loads(error.read() or b"{}").get("message", error.reason)
            raise GitHubError(f"{method} {path}: {error.code} {reason}") from None


class Checkout:
    """A developer's work tree of one application, with the repository as its `origin`."""

    def __init__(self, directory: Path, clone_url: str, sample: str = ""):
        """Start with an empty work tree in directory, which must not exist yet."""
        self.directory = directory
        self._sample = sample
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("remote", "add", "origin", clone_url)
        for key, value in SETTINGS.items():
            self.git("config", key, value)

    @classmethod
    def of_sample(cls, directory: Path, application: str, github_url: str) -> Checkout:
        """A work tree that holds a sample application, not yet committed."""
        checkout = cls(directory, f"{github_url}/acme/{application}.git", sample=application)
        shutil.copytree(
            SAMPLES / application,
            directory,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        return checkout

    def set_version(self, version: str) -> None:
        """Write a sample application's version where its language keeps it."""
        name, pattern, replacement = VERSION_FILES[self._sample]
        path = self.directory / name
        path.write_text(re.sub(pattern, replacement.format(version), path.read_text(), count=1))

    def break_health(self) -> None:
        """Change a sample application so that it starts but never becomes healthy."""
        for path in self.directory.glob("health.*"):
            path.write_text(path.read_text().replace('PROBLEM = ""', 'PROBLEM = "out of stock"'))

    def commit(self, message: str) -> str:
        """Commit everything; returns the commit's SHA-1."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, *arguments: str) -> None:
        """Push; without arguments, the commit checked out to main."""
        self.git("push", "--quiet", "origin", *(arguments or ("HEAD:refs/heads/main",)))

    def git(self, *arguments: str) -> str:
        """What a git command in the work tree printed; GitHubError with its reason if it failed."""
        return git(self.directory, *arguments)


def git(directory: Path, *arguments: str) -> str:
    """What a git command in a work tree, whoever owns it, printed.

    Raises GitHubError with its reason if it failed.
    """
    done = subprocess.run(
        ["git", "-c", f"safe.directory={directory}", "-C", str(directory), *arguments],
        text=True,
        capture_output=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise GitHubError(f"git {arguments[0]} failed: {reason}")
    return done.stdout
