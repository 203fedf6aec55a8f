"""Semantic versions, for StackStorm's filters."""

from __future__ import annotations

import operator
import re
from typing import Any, Callable

_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


def _parse(value: object) -> re.Match[str]:
    match = _VERSION.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value} is not valid SemVer string")
    return match


def _numbers(value: object) -> list[int]:
    return [int(number) for number in _parse(value).groups()[:3]]


def _order(value: object) -> tuple[list[int], int, list[tuple[int, int, str]]]:
    """Returns what versions sort by; a version comes after its pre-releases (semver.org, 11)."""
    before = _parse(value).group(4)
    if before is None:
        return _numbers(value), 1, []
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split(".")]
    return _numbers(value), 0, parts


def version_compare(value: object, pattern: object) -> int:
    """Returns -1, 0 or 1: whether `value` is less than, equal to or more than `pattern`.

    :raises ValueError: when either is no semantic version.
    """
    left, right = _order(value), _order(pattern)
    return (left > right) - (left < right)


def version_more_than(value: object, pattern: object) -> bool:
    return version_compare(value, pattern) == 1


def version_less_than(value: object, pattern: object) -> bool:
    return version_compare(value, pattern) == -1


def version_equal(value: object, pattern: object) -> bool:
    return version_compare(value, pattern) == 0


def version_match(value: object, pattern: str) -> bool:
    """Returns whether a version fulfils a comparison such as ``>=1.2.0``.

    :raises ValueError: when either is no semantic version.
    """
    match = re.fullmatch(r"(<=|>=|==|!=|<|>)?(.+)", pattern)
    if match is None:
        raise ValueError(f"{pattern} is not valid SemVer string")
    return _COMPARISONS[match.group(1) or "=="](version_compare(value, match.group(2)), 0)


def version_bump_major(value: object) -> str:
    return f"{_numbers(value)[0] + 1}.0.0"


def version_bump_minor(value: object) -> str:
    major, minor, _ = _numbers(value)
    return f"{major}.{minor + 1}.0"


def version_bump_patch(value: object) -> str:
    major, minor, patch = _numbers(value)
    return f"{major}.{minor}.{patch + 1}"


def version_strip_patch(value: object) -> str:
    major, minor, _ = _numbers(value)
    return f"{major}.{minor}"


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        version_compare,
        version_more_than,
        version_less_than,
        version_equal,
        version_match,
        version_bump_major,
        version_bump_minor,
        version_bump_patch,
        version_strip_patch,
    )
}
