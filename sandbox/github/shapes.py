"""The JSON that several of GitHub's answers have in common."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from typing import Any, Dict, NamedTuple

Json = Dict[str, Any]

DOCUMENTATION = "https://docs.github.com/rest"
LINKS_OF_A_USER = (
    "followers_url",
    "following_url",
    "gists_url",
    "starred_url",
    "subscriptions_url",
    "organizations_url",
    "repos_url",
    "events_url",
    "received_events_url",
)


class Answer(Exception):
    """Ends a request with a status that is not success."""

    def __init__(
        self, status: int, message: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = dict(more, message=message, documentation_url=DOCUMENTATION)


def not_found() -> Answer:
    return Answer(404, "Not Found")


class Site(NamedTuple):
    """Where this GitHub is: `html` is what people open, `api` what programs call."""

    html: str
    api: str

    def user(self, login: str, kind: str = "User") -> Json:
        """A user, or an organisation when kind is `Organization`."""
        number = number_of(login)
        url = f"{self.api}/users/{login}"
        return dict(
            {name: f"{url}/{name[: -len('_url')]}" for name in LINKS_OF_A_USER},
            login=login,
            id=number,
            node_id=node_id(kind, number),
            avatar_url=f"{self.html}/{login}.png",
            gravatar_id="",
            url=url,
            html_url=f"{self.html}/{login}",
            type=kind,
            site_admin=False,
        )


def number_of(name: str) -> int:
    """The id of something that has none but its name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{len(kind):03}:{kind}{number}".encode()).decode()


def iso(seconds: float) -> str:
    """A moment, given in seconds since 1970, as GitHub writes it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def allow(body: Json, **fields: Any) -> None:
    """Refuses a body without its first field, or with one of another type or value."""
    first = next(iter(fields))
    if first not in body:
        raise Answer(422, "Validation Failed", errors=[{"code": "missing_field", "field": first}])
    for name, value in body.items():
        kind = fields.get(name)
        fits = kind and (
            value in kind
            if isinstance(kind, tuple) and isinstance(kind[0], str)
            else isinstance(value, kind)
        )
        if not fits:
            raise Answer(422, "Validation Failed", errors=[{"code": "invalid", "field": name}])
