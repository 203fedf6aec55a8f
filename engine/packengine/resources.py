"""What packs are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from packengine import schema
from packengine.problems import Problem
from packengine.runner_types import RunnerType


@dataclass
class Pack:
    """A pack.

    :param config_schema: name -> schema of each key of its configuration.
    :param config_problem: why ``config.schema.yaml`` cannot be used; no action may run without it.
    """

    ref: str
    path: str
    metadata: dict[str, Any]
    config_schema: dict[str, Any]
    config_problem: Problem | None = None


@dataclass
class Action:
    """An action.

    :param path: its metadata file.
    :param entry_point: its script or workflow; empty when it names none.
    :param parameters: name -> schema, without those its runner brings.
    """

    ref: str
    pack: str
    name: str
    path: str
    runner: RunnerType
    entry_point: str
    description: str = ""
    enabled: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)
    output_schema: dict[str, Any] = field(default_factory=dict)
    notify: dict[str, Any] = field(default_factory=dict)

    @property
    def is_workflow(self) -> bool:
        return self.runner.name == "orquesta"

    def all_parameters(self) -> dict[str, dict[str, Any]]:
        """Returns name -> schema, the runner's parameters merged with the action's."""
        merged = {name: dict(details) for name, details in self.runner.parameters.items()}
        for name, details in self.parameters.items():
            merged.setdefault(name, {}).update(details)
        return merged

    def parameter_schema(self) -> dict[str, Any]:
        """Returns the JSON schema of all parameters, the runner's merged with the action's."""
        return {
            "type": "object",
            "properties": {
                name: details or schema.ANY_TYPE for name, details in self.all_parameters().items()
            },
            "additionalProperties": False,
        }


@dataclass
class TriggerType:
    """A kind of event.

    :param path: the file that describes it; empty for StackStorm's own.
    """

    ref: str
    pack: str
    name: str
    path: str = ""
    description: str = ""
    payload_schema: dict[str, Any] = field(default_factory=dict)
    parameters_schema: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sensor:
    """A sensor.

    :param poll_interval: seconds between two polls of a polling sensor.
    :param trigger_types: refs of the trigger types it describes.
    """

    ref: str
    pack: str
    class_name: str
    path: str
    entry_point: str
    description: str = ""
    enabled: bool = True
    poll_interval: float | None = None
    trigger_types: list[str] = field(default_factory=list)


@dataclass
class Rule:
    """A rule.

    :param trigger: ref of the trigger type it looks at.
    :param parameters: what the action is run with; values may be templates.
    """

    ref: str
    pack: str
    name: str
    path: str
    trigger: str
    trigger_parameters: dict[str, Any]
    criteria: dict[str, Any]
    action: str
    parameters: dict[str, Any]
    description: str = ""
    enabled: bool = False
    backstop: bool = False


@dataclass
class Policy:
    """A policy of one action, ``resource_ref``."""

    ref: str
    pack: str
    name: str
    path: str
    resource_ref: str
    policy_type: str
    parameters: dict[str, Any]
    enabled: bool = True


@dataclass
class Alias:
    """A chat command; ``metadata`` is the file's content."""

    ref: str
    pack: str
    name: str
    path: str
    action_ref: str
    metadata: dict[str, Any]
    description: str = ""
    enabled: bool = True


@dataclass(eq=False)
class Content:
    """What packs hold, by ref.

    :param refused: (kind, ref) -> why that one cannot be used; kinds are ``Action``, ``Rule`` ...
    :param problems: everything that is wrong with the packs, file by file.
    """

    packs: dict[str, Pack] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    triggers: dict[str, TriggerType] = field(default_factory=dict)
    sensors: dict[str, Sensor] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    refused: dict[tuple[str, str], Problem] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
