"""The command that brings a version on to the next stage; only the application knows its stages."""

from __future__ import annotations

from typing import Sequence


def promote_command(app: str, stage: str, stages: Sequence[str]) -> str:
    """Returns the chat command that promotes what a stage runs; empty for the last stage.

    :param stages: the application's, in order.
    """
    if stage not in stages[:-1]:
        return ""
    following = stages[stages.index(stage) + 1]
    to = "" if following == stages[-1] else f" to {following}"
    return f"!deploy promote {app}{to}"
