"""Replaces what must not be shown: secret parameters, results and settings."""

from __future__ import annotations

import copy
from typing import Any

from packengine import config, inquiries, schema
from packengine.execution import Execution
from packengine.packs import Registry
from packengine.resources import Action

# Shorter texts would also be found in places where they are no secret.
_SHORTEST_SECRET = 4


def masked(
    execution: Execution, registry: Registry, configurations: config.Configurations
) -> Execution:
    """Returns a copy of an execution that may be shown.

    :param registry: knows which parameters and results are secret.
    :param configurations: hold the secret settings, which are replaced wherever they stand.
    """
    shown = copy.deepcopy(execution)
    action = registry.actions.get(execution.action)
    if action is not None:
        shown.parameters = schema.mask(shown.parameters, action.parameter_schema())
        _mask_result(shown, action)
    secrets = _secret_settings(registry, configurations)
    if secrets:
        shown.parameters = _without(shown.parameters, secrets)
        shown.result = _without(shown.result, secrets)
    return shown


def _mask_result(shown: Execution, action: Action) -> None:
    key = action.runner.output_key
    if key and isinstance(shown.result, dict) and key in shown.result:
        output_schema = action.output_schema
        if output_schema and "type" not in output_schema:
            output_schema = {"type": "object", "properties": output_schema}
        shown.result[key] = schema.mask(shown.result[key], output_schema)
    if shown.runner == "inquirer":
        shown.result = inquiries.masked(shown.result)


def _secret_settings(registry: Registry, configurations: config.Configurations) -> list[str]:
    """Returns the secret texts of all configurations, longest first."""
    secrets: set[str] = set()
    for pack in registry.packs.values():
        if pack.config_schema:
            try:
                values = configurations.get(pack, None)
            except config.ConfigError:
                continue
            secrets |= config.secret_values(values, pack.config_schema)
    return sorted(
        (text for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True
    )


def _without(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, schema.MASK)
        return value
    if isinstance(value, dict):
        return {key: _without(child, secrets) for key, child in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    return value
