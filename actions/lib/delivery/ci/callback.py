"""A CI server calls back: is it that server, and which build does it say is done?

A callback is a POST with the server's secret, of JSON such as
{"callback": what the job was given as `Job.callback`, "number": the build's}. It is a hint; the
result is read from the server. A server that says it in other words has a class of its own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Any, Mapping

from delivery.names import PATTERNS, shown
from delivery.webhook import Answer, Refused, parse_json

HEADER = "X-CICD-Secret"
CALLBACK = re.compile(rf"({PATTERNS['application']})-({PATTERNS['commit']})-[0-9]{{8,20}}")


class Callback:
    """One door of the receiver.

    :param path: where it is, such as `/jenkins`.
    :param secret: what the caller has to know; without one nothing is taken.
    :param setting: the name of the setting that holds the secret, such as
        `ci.jenkins.callback_secret`.
    :param body_limit_bytes: of a request, which may hold a log.
    :param previous_secret: is taken too, while the secret is being changed.
    """

    def __init__(
        self,
        path: str,
        secret: str | None,
        setting: str,
        body_limit_bytes: int = 1024 * 1024,
        previous_secret: str | None = None,
    ) -> None:
        self.path = path
        self.body_limit_bytes = body_limit_bytes
        self._secrets = [each.encode("utf-8") for each in (secret, previous_secret) if each]
        self._setting = setting

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judges one callback.

        :param headers: of the request, looked up without regard to case.
        :returns: status and message; `finished` is set when a build of ours is done.
        """
        try:
            self._verify(headers)
            return self.judge(parse_json(headers.get("Content-Type") or "", body))
        except Refused as refused:
            return refused.answer

    def judge(self, payload: Mapping[str, Any]) -> Answer:
        """Returns the answer to a caller that knows the secret.

        :raises Refused: when the payload is not what it should be.
        """
        return finished(payload.get("callback"), payload.get("number"))

    def _verify(self, headers: Mapping[str, str]) -> None:
        """Looks for the secret in the header of that name, or as password of the user info of the
        URL, which arrives as HTTP basic authentication."""
        if not self._secrets:
            raise Refused(
                403,
                f"callback rejected: {self._setting} is not set in the pack's configuration",
            )
        given = headers.get(HEADER) or _password(headers.get("Authorization") or "")
        encoded = given.encode("utf-8", "replace")
        if not any(hmac.compare_digest(each, encoded) for each in self._secrets):
            raise Refused(401, f"the secret in {HEADER} is missing or wrong")


def finished(callback: Any, number: Any) -> Answer:
    """Returns the answer to somebody who says that a build is done.

    :param callback: `Job.callback`, if it is one.
    :param number: of the build on the server, if it is one; None when nobody says.
    :raises Refused: when it is not.
    """
    if number is None:
        number = 0
    if type(number) is not int or not 0 <= number < 10**9:
        raise Refused(400, f"{shown(number)} is not a build number")
    found = CALLBACK.fullmatch(callback) if isinstance(callback, str) else None
    if not found:
        raise Refused(400, f"unknown callback {shown(callback)}")
    app, commit = found.groups()
    return Answer(
        202,
        f"accepted: {app} {commit[:7]}",
        finished={"app": app, "commit": commit, "number": number},
    )


def _password(authorization: str) -> str:
    """Returns the password of HTTP basic authentication, or nothing."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]
