"""GitHub's webhook: is it from GitHub, and is it a push that starts a delivery?

Source of the protocol: "Webhook events and payloads" and "Validating webhook deliveries" in
GitHub's documentation. The signature is checked over the raw bytes before anything is parsed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any, Mapping, NamedTuple, Sequence

from delivery.errors import DeliveryError
from delivery.names import check, shown
from delivery.sources import Source, Sources

BODY_LIMIT_BYTES = 25 * 1024 * 1024  # GitHub's own limit for a payload
BRANCH_REF = "refs/heads/"


class Answer(NamedTuple):
    """What the webhook is answered; `pushes` has the deliveries that it starts, one for each
    application of the repository, `finished` is set when it says that a build is done
    (delivery.ci.callback)."""

    status: int
    message: str
    pushes: Sequence[dict[str, Any]] = ()
    finished: dict[str, Any] | None = None


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, message)


class GitHubWebhook:
    """
    :param secret: as entered at GitHub.
    :param sources: which applications the repositories hold.
    :param previous_secret: is taken too, while the secret is being changed.
    :raises DeliveryError: without a secret, since nothing could be verified.
    """

    def __init__(
        self, secret: str | None, sources: Sources, previous_secret: str | None = None
    ) -> None:
        if not secret:
            raise DeliveryError(
                "github.webhook_secret is not set in the pack's configuration, or names a key that "
                "the datastore does not have, so no webhook can be verified; set it to the secret "
                "of GitHub's webhook"
            )
        self._secrets = [each.encode("utf-8") for each in (secret, previous_secret) if each]
        self._sources = sources

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judges one delivery.

        :param headers: of the request, looked up without regard to case.
        :param body: the raw bytes.
        :returns: status and message for GitHub, and what there is to build.
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
        # Bytes, because compare_digest refuses text that is not ASCII.
        given = signature.encode("utf-8", "replace")
        for secret in self._secrets:
            expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
            if hmac.compare_digest(expected.encode(), given):
                return
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
        try:
            sources = self._sources.of(repository)
            built = [each for each in sources if each.is_built(branch, default_branch)]
            if not built:
                return _ignored(branch, sources, default_branch)
            pushes = [
                {
                    "repository": check("repository", repository),
                    "branch": check("branch", branch),
                    "commit": check("commit", commit),
                    "by": check("user", by),
                    "delivery": delivery,
                    "app": source.app,
                }
                for source in built
            ]
        except DeliveryError as error:
            raise Refused(422, str(error)) from None
        apps = ", ".join(source.app for source in built)
        return Answer(202, f"accepted: {apps} {commit[:7]} on {branch}", pushes)


def _ignored(branch: str, sources: Sequence[Source], default_branch: str) -> Answer:
    wanted = {each: None for source in sources for each in source.built(default_branch)}
    return Answer(
        202,
        f"ignored: branch {shown(branch)} is not configured to be built; built: "
        f"{', '.join(map(shown, wanted))}",
    )


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
