"""Finds values in trigger payloads by the part of JSONPath that rules use."""

from __future__ import annotations

import re
from typing import Any, Union

_STEP = re.compile(
    r"""
    (?: ^ | \. ) (?P<name> [A-Za-z_@][\w@-]* )
    | (?: ^ | \. ) (?P<quoted> '[^']*' | "[^"]*" )
    | \[ \s* (?P<key> '[^']*' | "[^"]*" ) \s* \]
    | \[ \s* (?P<index> -?\d+ ) \s* \]
    | (?P<all> \[ \s* \* \s* \] | (?: ^ | \. ) \* )
    """,
    re.VERBOSE,
)


# A text for a key, a number for an index, None for all.
Step = Union[str, int, None]


class PathError(ValueError):
    """A path uses a part of JSONPath the engine does not have."""


def parse(path: str) -> list[Step]:
    """Returns the steps of a path.

    :raises PathError: when it uses what the engine does not have.
    """
    steps: list[Step] = []
    position = 1 if path.startswith("$") else 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise PathError(f"the embedded engine does not have the JSONPath of {path}")
        name, quoted, key, index = match.group("name", "quoted", "key", "index")
        if name is not None:
            steps.append(name)
        elif quoted is not None or key is not None:
            steps.append((quoted or key)[1:-1])
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(None)
        position = match.end()
    return steps


def find_all(path: str, context: Any) -> list[Any]:
    """Returns the values at a path.

    :raises PathError: when it uses what the engine does not have.
    """
    values = [context]
    for step in parse(path):
        values = [found for value in values for found in _step(value, step)]
    return values


def find(path: str, context: Any) -> Any:
    """Returns the first value at a path, None when there is none.

    :raises PathError: when it uses what the engine does not have.
    """
    values = find_all(path, context)
    return values[0] if values else None


def _step(value: Any, step: Step) -> list[Any]:
    if step is None:
        if isinstance(value, dict):
            return list(value.values())
        return value if isinstance(value, list) else []
    if isinstance(step, int):
        inside = isinstance(value, list) and -len(value) <= step < len(value)
        return [value[step]] if inside else []
    return [value[step]] if isinstance(value, dict) and step in value else []
