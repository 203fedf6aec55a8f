"""What Jenkins says when a build is done.

Two forms are taken: what a pipeline sends with curl, which is that of every callback, and what the
Notification plugin sends. The plugin can authenticate only by the user info of its URL, which is
then kept in Jenkins as a secret text.
"""

from __future__ import annotations

from typing import Any, Mapping

from delivery.ci.callback import Callback, finished
from delivery.names import shown
from delivery.webhook import Answer, Refused

PATH = "/jenkins"
DONE = ("COMPLETED", "FINALIZED")  # phases of a build, in the plugin's words


class JenkinsCallback(Callback):
    """
    :param jenkins: section `ci.jenkins` of the configuration; without `callback_secret` nothing is
        taken.
    """

    def __init__(self, jenkins: Mapping[str, Any]) -> None:
        super().__init__(
            PATH,
            jenkins.get("callback_secret"),
            "ci.jenkins.callback_secret",
            previous_secret=jenkins.get("previous_callback_secret"),
        )

    def judge(self, payload: Mapping[str, Any]) -> Answer:
        return _of_plugin(payload["build"]) if "build" in payload else super().judge(payload)


def _of_plugin(build: Any) -> Answer:
    if not isinstance(build, dict):
        raise Refused(400, "the field build is not an object")
    phase = build.get("phase")
    if phase not in DONE:
        return Answer(202, f"ignored: phase {shown(phase)}, only finished builds count")
    parameters = build.get("parameters")
    callback = parameters.get("CALLBACK") if isinstance(parameters, dict) else None
    if not callback:
        return Answer(202, "ignored: a build of another origin")
    return finished(callback, build.get("number"))
