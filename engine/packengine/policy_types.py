"""The policy types the engine has, and the schema of each one's parameters."""

from __future__ import annotations

from typing import Any

from packengine.schema import Schema

_ACTION_ON_LIMIT: Schema = {"enum": ["delay", "cancel"], "default": "delay"}


def _parameters(**properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


POLICY_TYPES: dict[str, Schema] = {
    "action.concurrency": _parameters(
        threshold={"type": "integer", "minimum": 0, "required": True},
        action=_ACTION_ON_LIMIT,
    ),
    "action.concurrency.attr": _parameters(
        threshold={"type": "integer", "minimum": 0, "required": True},
        action=_ACTION_ON_LIMIT,
        attributes={"type": "array", "items": {"type": "string"}, "minItems": 1, "required": True},
    ),
    "action.retry": _parameters(
        retry_on={"enum": ["failure", "timeout"], "required": True},
        max_retry_count={"type": "integer", "minimum": 0, "maximum": 5, "required": True},
        delay={"type": "number", "default": 0, "minimum": 0, "maximum": 120},
    ),
}
