"""The trigger types StackStorm itself has and the engine too: name -> (payload, parameters)."""

from __future__ import annotations

from typing import Any

from packengine.schema import Schema

_UNITS = ["weeks", "days", "hours", "minutes", "seconds"]

_TIMER_PAYLOAD: Schema = {
    "type": "object",
    "properties": {"executed_at": {"type": "string"}, "schedule": {"type": "object"}},
}


def _parameters(**properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


SYSTEM_TRIGGERS: dict[str, tuple[Schema, Schema]] = {
    "st2.webhook": (
        {
            "type": "object",
            "properties": {
                "headers": {"type": "object"},
                "body": {"anyOf": [{"type": "array"}, {"type": "object"}]},
            },
        },
        _parameters(url={"type": "string", "required": True}),
    ),
    "st2.IntervalTimer": (
        _TIMER_PAYLOAD,
        _parameters(
            timezone={"type": "string"},
            unit={"enum": _UNITS, "required": True},
            delta={"type": "integer", "required": True},
        ),
    ),
    "st2.DateTimer": (
        _TIMER_PAYLOAD,
        _parameters(timezone={"type": "string"}, date={"type": "string", "required": True}),
    ),
    "st2.generic.actiontrigger": ({}, {}),
    "st2.generic.inquiry": (
        {
            "type": "object",
            "properties": {
                "id": {"type": "string", "required": True},
                "route": {"type": "string", "required": True},
            },
            "additionalProperties": False,
        },
        {},
    ),
}
