"""The command that brings a version on to the next stage; only the application knows its stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    from delivery.application import Application
    from delivery.releases import Release


def next_promotion(application: Application, stage: str, release: Release) -> str:
    """Returns the chat command that promotes a release which a stage runs; empty for the last
    stage, and where the next one runs it already."""
    following = _after(stage, release.stages)
    if following and application.stages.get(following).version == release.version:
        return ""
    return promote_command(application.name, stage, release.stages)


def promote_command(app: str, stage: str, stages: Sequence[str]) -> str:
    """Returns the chat command that promotes what a stage runs; empty for the last stage.

    :param stages: the application's, in order.
    """
    following = _after(stage, stages)
    if not following:
        return ""
    to = "" if following == stages[-1] else f" to {following}"
    return f"!deploy promote {app}{to}"


def _after(stage: str, stages: Sequence[str]) -> str:
    return stages[stages.index(stage) + 1] if stage in stages[:-1] else ""
