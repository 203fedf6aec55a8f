"""Addresses of a git server, made of the pack's `github.git_url`."""

from __future__ import annotations

import re

from delivery import names
from delivery.errors import DeliveryError

GIT_URL = re.compile(
    r"(https?://|ssh://([a-z0-9_-]+@)?|file:///)"
    r"[A-Za-z0-9._~:/\[\]-]*[A-Za-z0-9_\]]"
)


def clone_url(git_url: str, repository: str) -> str:
    """Where to clone a repository from.

    :param git_url: the pack's `github.git_url`.
    :param repository: owner/name.
    """
    if not GIT_URL.fullmatch(git_url):
        raise DeliveryError(
            f"github.git_url: {git_url!r} is not the URL of a git server without credentials"
        )
    return f"{git_url}/{names.check('repository', repository)}.git"


def web_url(git_url: str) -> str:
    """Returns where the pages of a git server's repositories are; empty if it has none.

    :param git_url: the pack's `github.git_url`.
    """
    if git_url.startswith(("http://", "https://")):
        return git_url.rstrip("/")
    over_ssh = re.match(r"ssh://(?:[a-z0-9_-]+@)?([A-Za-z0-9.-]+)", git_url)
    return f"https://{over_ssh.group(1)}" if over_ssh else ""


def server_of(url: str) -> str:
    """Returns where a repository's submodules may be: on its server, by the same protocol; of local
    ones, beside its owner's.

    :param url: from `clone_url`.
    """
    over_network = re.match(r"(?!file:)[a-z]+://[^/]+", url)
    return over_network.group(0) if over_network else url.rsplit("/", 2)[0]
