"""GitHub's webhook: is it from GitHub, and is it a push that starts a delivery?

Source of the protocol: "Webhook events and payloads" and "Validating webhook deliveries" in
GitHub's documentation. The signature is checked over the raw bytes before anything is parsed.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import json
import re
from typing import Any, Mapping, NamedTuple

from delivery.errors import DeliveryError
from delivery.names import PATTERNS, check, shown

BODY_LIMIT_BYTES = 25 * 1024 * 1024  # GitHub's own limit for a payload
BRANCH_REF = "refs/heads/"


class Answer(NamedTuple):
    """What the webhook is answered; `push` is set when it starts a delivery, `finished` when it
    says that a build is done (delivery.ci.callback)."""

    status: int
    message: str
    push: dict[str, Any] | None = None
    finished: dict[str, Any] | None = None


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, message)


class GitHubWebhook:
    """
    :param secret: as entered at GitHub.
    :param applications: by owner/name, {name, branches}; both optional (config.schema.yaml).
    :raises DeliveryError: without a secret, since nothing could be verified.
    """

    def __init__(self, secret: str | None, applications: Mapping[str, Any]) -> None:
        if not secret:
            raise DeliveryError(
                "github.webhook_secret is not set in the pack's configuration, so no webhook can "
                "be verified; set it to the secret of GitHub's webhook"
            )
        self._secret = secret.encode("utf-8")
        self._applications = applications

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judges one delivery.

        :param headers: of the request, looked up without regard to case.
        :param body: the raw bytes.
        :returns: status and message for GitHub, and the push if there is one to build.
        """
        try:
            self._verify(headers.get("X-Hub-Signature-256") or "", body)
            delivery = headers.get("X-GitHub-Delivery") or ""
            if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", delivery):
                raise Refused(400, "the header X-GitHub-Delivery is missing or malformed")
            event = headers.get("X-GitHub-Event") or ""
            if event == "ping":
                return Answer(200, "pong")
            if event != "push":
                return Answer(202, f"ignored: event {shown(event)}, only push starts a delivery")
            return self._push(parse_json(headers.get("Content-Type") or "", body), delivery)
        except Refused as refused:
            return refused.answer

    def _verify(self, signature: str, body: bytes) -> None:
        expected = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        # Bytes, because compare_digest refuses text that is not ASCII.
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise Refused(401, "the signature in X-Hub-Signature-256 is missing or wrong")

    def _push(self, payload: dict[str, Any], delivery: str) -> Answer:
        ref = _field(payload, "ref", str)
        repository = _field(payload, "repository.full_name", str)
        default_branch = _field(payload, "repository.default_branch", str)
        deleted = _field(payload, "deleted", bool)
        commit = _field(payload, "after", str)
        by = _field(payload, "sender.login", str)
        if not ref.startswith(BRANCH_REF):
            return Answer(202, f"ignored: {shown(ref)} is not a branch")
        if deleted:
            return Answer(202, f"ignored: {shown(ref)} was deleted")
        branch = ref[len(BRANCH_REF) :]
        settings = self._applications.get(repository) or {}
        if not is_built(branch, settings, default_branch):
            wanted = built_branches(settings, default_branch)
            return Answer(
                202,
                f"ignored: branch {shown(branch)} is not configured to be built; built: "
                f"{', '.join(map(shown, wanted))}",
            )
        try:
            push = {
                "repository": check("repository", repository),
                "branch": check("branch", branch),
                "commit": check("commit", commit),
                "by": check("user", by),
                "delivery": delivery,
                "app": application_of(repository, settings),
            }
        except DeliveryError as error:
            raise Refused(422, str(error)) from None
        return Answer(202, f"accepted: {push['app']} {commit[:7]} on {branch}", push)


def built_branches(settings: Mapping[str, Any], default_branch: str) -> list[str]:
    """Returns patterns of the branches that are built.

    :param settings: of the repository, in section applications of the configuration.
    """
    return settings.get("branches") or [default_branch]


def is_built(branch: str, settings: Mapping[str, Any], default_branch: str) -> bool:
    """Returns whether pushes to this branch are built."""
    return any(
        fnmatch.fnmatchcase(branch, pattern) for pattern in built_branches(settings, default_branch)
    )


def application_of(repository: str, settings: Mapping[str, Any]) -> str:
    """Returns the application's name: configured, or else the repository's own.

    :raises DeliveryError: when neither can be one.
    """
    name = settings.get("name") or repository.split("/", 1)[1]
    if not re.fullmatch(PATTERNS["application"], name):
        raise DeliveryError(
            f"{name} is not a valid Debian package name ({PATTERNS['application']}); set another "
            f'in the pack\'s configuration, applications: {{"{repository}": {{"name": "..."}}}}'
        )
    return name


def parse_json(content_type: str, body: bytes) -> dict[str, Any]:
    """
    :raises Refused: when the body is not a JSON object, and said to be JSON.
    """
    if not content_type.startswith("application/json"):
        raise Refused(415, "set the webhook's content type to application/json")
    try:
        payload = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(payload, dict):
        raise Refused(400, "the body is not a JSON object")
    return payload


def _field(payload: dict[str, Any], path: str, kind: type) -> Any:
    value: Any = payload
    seen: list[str] = []
    for name in path.split("."):
        seen.append(name)
        if not isinstance(value, dict) or name not in value:
            raise Refused(400, f"the field {'.'.join(seen)} is missing")
        value = value[name]
    if not isinstance(value, kind):
        expected = {str: "text", bool: "true or false"}[kind]
        raise Refused(400, f"the field {path} is {type(value).__name__}, expected {expected}")
    return value
