"""A small pack in which nothing is wrong, and a way to spoil it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

GONE = object()
FLOW = "actions/workflows/greet_all.yaml"

ACTION = """
from st2common.runners.base_action import Action


class Greet(Action):
    def run(self, who, times=1, style="x"):
        return {"text": f"{style} {who}" * times}
"""

SENSOR = """
from st2reactor.sensor.base import Sensor


class Door(Sensor):
    def setup(self):
        pass

    def run(self):
        pass

    def cleanup(self):
        pass

    add_trigger = update_trigger = remove_trigger = lambda self, trigger: None
"""

FILES: dict[str, Any] = {
    "pack.yaml": {
        "ref": "tiny",
        "name": "tiny",
        "description": "A pack.",
        "version": "0.1.0",
        "author": "Nobody",
        "email": "nobody@example.org",
    },
    "config.schema.yaml": {
        "token": {"type": "string", "secret": True},
        "server": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"port": {"type": "integer", "default": 1}},
        },
        "tries": {"type": "integer", "default": 3},
    },
    "tiny.yaml.example": {"token": "x", "server": {"port": 1}},
    "actions/greet.yaml": {
        "name": "greet",
        "runner_type": "python-script",
        "entry_point": "greet.py",
        "parameters": {
            "who": {"type": "string", "required": True},
            "times": {"type": "integer", "default": 1},
            "style": {"type": "string", "default": "x", "immutable": True},
        },
        "output_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
    "actions/greet_all.yaml": {
        "name": "greet_all",
        "runner_type": "orquesta",
        "entry_point": "workflows/greet_all.yaml",
        "parameters": {"who": {"type": "string", "required": True}},
        "output_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
    "actions/greet.py": ACTION,
    FLOW: {
        "version": 1.0,
        "input": ["who"],
        "vars": [{"text": None}],
        "output": [{"text": "<% ctx(text) %>"}],
        "tasks": {
            "greet": {
                "action": "tiny.greet",
                "input": {"who": "<% ctx(who) %>"},
                "next": [
                    {
                        "when": "<% succeeded() %>",
                        "publish": [{"text": "<% result().result.text %>"}],
                    },
                    {"when": "<% failed() %>", "do": "apologise"},
                ],
            },
            "apologise": {
                "action": "core.echo",
                "input": {"message": "sorry"},
                "next": [{"do": "fail"}],
            },
        },
    },
    "sensors/door.yaml": {
        "class_name": "Door",
        "entry_point": "door.py",
        "trigger_types": [
            {
                "name": "saw",
                "payload_schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"who": {"type": "string"}},
                },
            }
        ],
    },
    "sensors/door.py": SENSOR,
    "rules/saw.yaml": {
        "name": "saw",
        "enabled": True,
        "trigger": {"type": "tiny.saw"},
        "criteria": {"trigger.who": {"type": "equals", "pattern": "ada"}},
        "action": {"ref": "tiny.greet", "parameters": {"who": "{{ trigger.who }}"}},
    },
    "rules/hourly.yaml": {
        "name": "hourly",
        "enabled": False,
        "trigger": {"type": "core.st2.IntervalTimer", "parameters": {"unit": "hours", "delta": 1}},
        "criteria": {},
        "action": {"ref": "tiny.greet", "parameters": {"who": "all"}},
    },
    "aliases/greet.yaml": {
        "name": "tiny_greet",
        "action_ref": "tiny.greet",
        "formats": [{"display": "greet <who>", "representation": ["greet {{ who }}"]}],
        "ack": {"format": "Greeting {{ execution.parameters.who }}"},
    },
    "policies/greet.yaml": {
        "name": "tiny_greet",
        "resource_ref": "tiny.greet",
        "policy_type": "action.concurrency.attr",
        "parameters": {"threshold": 1, "action": "delay", "attributes": ["who"]},
    },
}


def changed(file: str, *keys_and_value: Any) -> dict[str, Any]:
    """Returns the files with one value changed; GONE takes it away."""
    files = copy.deepcopy(FILES)
    *keys, value = (file, *keys_and_value)
    place: Any = files
    for key in keys[:-1]:
        place = place[key]
    if value is GONE:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return files


def write(path: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path
