"""What people are told of an execution that has ended: the answer, without its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from packengine import aliases, show
from packengine.execution import SUCCEEDED, Execution

if TYPE_CHECKING:
    from packengine.engine import Engine

# Where actions and workflows leave a text for people, and the reason of a failure.
_TEXTS = ("text", "message")
_ERROR = "error"


class Answer(NamedTuple):
    """A text for people; `is_error` when all it says is why something failed."""

    text: str
    is_error: bool


def answer(engine: Engine, shown: Execution) -> Answer | None:
    """Returns the words of an execution that has ended.

    They are those of chat, if the action has a chat command with a result format of its own;
    otherwise the result's `text` or `message`; otherwise the reason of the failure, in one line,
    or a workflow's output.

    :param shown: from Engine.masked.
    :returns: None when the result has no words.
    """
    said = _said(shown.result)
    text = _in_chat(engine, shown) or next((said[name] for name in _TEXTS if said.get(name)), None)
    if isinstance(text, str):
        failed = shown.status != SUCCEEDED
        return Answer(text.strip("\n"), failed and not any(said.get(name) for name in _TEXTS))
    reason = said.get(_ERROR)
    if isinstance(reason, str) and reason.strip() and shown.status != SUCCEEDED:
        return Answer(f"{shown.action} {shown.status}: {' '.join(reason.split())}", True)
    output = shown.result.get("output") if isinstance(shown.result, dict) else None
    if shown.runner == "orquesta" and shown.status == SUCCEEDED and output:
        said = {name: value for name, value in output.items() if value is not None}
        return Answer(show.as_yaml(said).rstrip(), False)
    return None


def described(engine: Engine, execution: Execution) -> dict[str, Any]:
    """Returns an execution as StackStorm's API describes one, secrets hidden."""
    shown = show.as_dict(engine, engine.masked(execution), tree=False)
    return dict(shown, runner={"name": execution.runner})


def _in_chat(engine: Engine, shown: Execution) -> str | None:
    for _, each in sorted(engine.registry.aliases.items()):
        if each.action_ref == shown.action and each.enabled:
            if not (each.metadata.get("result") or {}).get("format"):
                continue
            try:
                alias = aliases.Alias(dict(each.metadata, pack=each.pack))
                message = aliases.result_message(alias, described(engine, shown))
            except Exception:  # A template may raise anything; the result has its own words.
                return None
            return message.text if message and message.text.strip() else None
    return None


def _said(result: Any) -> dict[str, Any]:
    """Returns the part of a result in which an action or a workflow says something."""
    if not isinstance(result, dict):
        return {}
    for name in ("result", "output"):
        if isinstance(result.get(name), dict) and result[name]:
            return result[name]
    return result
