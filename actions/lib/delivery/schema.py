"""Whether the pack's configuration is what config.schema.yaml says, told by the name of a key.

StackStorm checks it only when configurations are registered, and takes any key at the top. This
knows the part of JSON schema that the file uses: properties, additionalProperties, items, type,
enum, pattern, minimum, maximum. The tools of each role (`delivery.tools`) and the settings of those
that the file does not describe it asks of their registry.

The defaults of all settings are the file's, and are filled in here.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from typing import Any, Iterator, Mapping

import yaml

from delivery import ci, packaging, repository
from delivery.errors import DeliveryError
from delivery.names import nearest, shown
from delivery.tools import Registry

FILE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "config.schema.yaml"
)

TYPES: dict[str, tuple[Any, str]] = {
    "string": (str, "text"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "array": (list, "a list"),
    "object": (Mapping, "a mapping"),
}


REGISTRIES = (ci.TOOLS, packaging.TOOLS, repository.TOOLS)


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration with the default of each setting that it leaves out.

    :raises DeliveryError: for a key or a value that is not in config.schema.yaml: names the key,
        what was expected, and the nearest key there is.
    """
    schema = _load()
    for registry in REGISTRIES:
        _add_parts_of_tools(schema[registry.role], values.get(registry.role), registry)
    _check_keys(values, {"properties": schema, "additionalProperties": False}, "", schema)
    filled = _with_defaults(values, schema)
    for registry in REGISTRIES:
        section = filled[registry.role]
        tool = registry.find(section["tool"])
        if tool.own_settings:
            section[tool.name] = _with_defaults(section.get(tool.name) or {}, tool.own_settings)
    return filled


def secrets(values: Mapping[str, Any]) -> list[str]:
    """Returns the texts of a configuration that config.schema.yaml, or a tool, calls secret."""
    schema = _load()
    for registry in REGISTRIES:
        _add_parts_of_tools(schema[registry.role], values.get(registry.role), registry)
    return list(_secrets(values, schema))


def _secrets(values: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[str]:
    for key, schema in properties.items():
        value = values.get(key)
        if schema.get("secret") and isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _secrets(value, schema.get("properties", {}))


def _load() -> dict[str, Any]:
    with open(FILE, encoding="utf-8") as file:
        # The parser written in C takes a tenth of the time, which every action would spend.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        schema: dict[str, Any] = yaml.load(file, Loader=loader)  # noqa: S506 - either is safe
    return schema


def _add_parts_of_tools(schema: dict[str, Any], section: Any, registry: Registry[Any]) -> None:
    """Has a section take, besides its own keys, a part for each tool that describes one."""
    schema["additionalProperties"] = False
    for key in section if isinstance(section, Mapping) else ():
        if key not in schema["properties"] and registry.knows(key):
            schema["properties"][key] = {
                "type": "object",
                "additionalProperties": False,
                "properties": registry.find(key).own_settings,
            }


def _with_defaults(
    values: Mapping[str, Any], properties: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns what is set of an object, and the defaults of what is not."""
    filled = {key: value for key, value in values.items() if value is not None}
    for key, schema in properties.items():
        if "properties" in schema:
            filled[key] = _with_defaults(filled.get(key, {}), schema["properties"])
        elif key not in filled and "default" in schema:
            filled[key] = copy.deepcopy(schema["default"])
    return filled


def _check_keys(
    values: Mapping[str, Any], schema: Mapping[str, Any], path: str, root: Mapping[str, Any]
) -> None:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for key, value in values.items():
        if key in known:
            _check_value(value, known[key], f"{path}{key}", root)
        elif others is False:
            raise DeliveryError(_unknown(str(key), path, known, root))
        elif isinstance(others, Mapping):
            _check_value(value, others, f"{path}{key}", root)


def _check_value(value: Any, schema: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> None:
    if value is None:
        return
    kind, words = TYPES[schema["type"]]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise _unexpected(path, value, schema, words)
    if "enum" in schema and value not in schema["enum"]:
        choices = [str(each) for each in schema["enum"]]
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
        hint = f"; nearest: {near[0]}" if near else ""
        raise _unexpected(path, value, schema, f"one of {', '.join(choices)}", hint)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise _unexpected(path, value, schema, schema["pattern"])
    if _is_outside(value, schema):
        raise _unexpected(path, value, schema, _range(schema))
    if kind is Mapping:
        _check_keys(value, schema, f"{path}.", root)
    for number, item in enumerate(value if kind is list else ()):
        _check_item(item, schema["items"], f"{path}[{number}]", root)


def _check_item(item: Any, schema: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> None:
    """A key without a value is as good as left out; an item without one is not."""
    if item is None:
        raise _unexpected(path, item, schema, TYPES[schema["type"]][1])
    _check_value(item, schema, path, root)


def _is_outside(value: Any, schema: Mapping[str, Any]) -> bool:
    return ("minimum" in schema and value < schema["minimum"]) or (
        "maximum" in schema and value > schema["maximum"]
    )


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    return f"{least} or more" if most is None else f"from {least} to {most}"


def _unexpected(
    path: str, value: Any, schema: Mapping[str, Any], expected: str, hint: str = ""
) -> DeliveryError:
    got = "something else" if schema.get("secret") else shown(value)
    return DeliveryError(
        f"{path} in the pack's configuration: expected {expected}, got {got}{hint}"
    )


def _unknown(key: str, path: str, known: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """The message for an unknown key: with the same key where it belongs, or the nearest."""
    elsewhere = [place for place, name in _all_keys(root) if name == key]
    near = elsewhere or [f"{path}{name}" for name in nearest(key, known)]
    return (
        f"{path}{shown(key)[1:-1]} in the pack's configuration: unknown key; "
        f"nearest: {', '.join(near)}"
    )


def _all_keys(
    properties: Mapping[str, dict[str, Any]], path: str = ""
) -> Iterator[tuple[str, str]]:
    for name, schema in properties.items():
        yield f"{path}{name}", name
        yield from _all_keys(schema.get("properties", {}), f"{path}{name}.")
