"""Jenkins calls back: is it Jenkins, and which build does it say is done?

Two forms are taken: what the Notification plugin sends, and what a pipeline sends with curl,
{"callback": the parameter CALLBACK, "number": the build's}. Either is a hint; the result is read
from Jenkins. The plugin can authenticate only by the user info of its URL, which it sends as HTTP
basic authentication (the URL is then kept in Jenkins as a secret text), curl sends a header.
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
BODY_LIMIT_BYTES = 1024 * 1024  # the plugin can send the log along
CALLBACK = re.compile(rf"({PATTERNS['application']})-({PATTERNS['commit']})-[0-9]{{8,20}}")
DONE = ("COMPLETED", "FINALIZED")  # phases of a build, in the plugin's words


class JenkinsCallback:
    """
    :param secret: `ci.jenkins.callback_secret`; without one nothing is taken.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = (secret or "").encode("utf-8")

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judges one callback.

        :param headers: of the request, looked up without regard to case.
        :returns: status and message; `finished` is set when a build of ours is done.
        """
        try:
            self._verify(headers)
            payload = parse_json(headers.get("Content-Type") or "", body)
            return (
                _of_plugin(payload)
                if "build" in payload
                else _finished(payload.get("callback"), payload.get("number"))
            )
        except Refused as refused:
            return refused.answer

    def _verify(self, headers: Mapping[str, str]) -> None:
        if not self._secret:
            raise Refused(
                403,
                "callbacks are not taken: ci.jenkins.callback_secret is not set in "
                "the pack's configuration",
            )
        given = headers.get(HEADER) or _password(headers.get("Authorization") or "")
        if not hmac.compare_digest(self._secret, given.encode("utf-8", "replace")):
            raise Refused(401, f"the secret in {HEADER} is missing or wrong")


def _of_plugin(payload: dict[str, Any]) -> Answer:
    build = payload["build"]
    if not isinstance(build, dict):
        raise Refused(400, "the field build is not an object")
    phase = build.get("phase")
    if phase not in DONE:
        return Answer(202, f"ignored: phase {shown(phase)}, only the end of a build matters")
    parameters = build.get("parameters")
    callback = parameters.get("CALLBACK") if isinstance(parameters, dict) else None
    if not callback:
        return Answer(202, "ignored: a build that was not started from here")
    return _finished(callback, build.get("number"))


def _finished(callback: Any, number: Any) -> Answer:
    if number is None:
        number = 0
    if type(number) is not int or not 0 <= number < 10**9:
        raise Refused(400, f"{shown(number)} is not the number of a build")
    found = CALLBACK.fullmatch(callback) if isinstance(callback, str) else None
    if not found:
        raise Refused(400, f"the callback {shown(callback)} is not one that was given from here")
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
