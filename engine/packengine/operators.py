"""The comparisons rules make, as StackStorm defines them."""

from __future__ import annotations

import datetime
import fnmatch
import re
from typing import Any, Callable

# Compares a value of the payload with a pattern of the rule. What cannot be compared raises.
Comparison = Callable[[Any, Any], bool]


def _text(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _on_text(compare: Comparison) -> Comparison:
    """Both sides as text; never true without a pattern, and an error on a missing key."""

    def operator(value: Any, pattern: Any) -> bool:
        return pattern is not None and compare(_text(value), _text(pattern))

    return operator


def _ignoring_case(compare: Comparison) -> Comparison:
    return lambda value, pattern: compare(value.lower(), pattern.lower())


def _equals(value: Any, pattern: Any) -> bool:
    return value == pattern


def _contains(value: Any, pattern: Any) -> bool:
    return pattern in value


def _starts_with(value: Any, pattern: Any) -> bool:
    return value.startswith(pattern)


def _ends_with(value: Any, pattern: Any) -> bool:
    return value.endswith(pattern)


def _inside(value: Any, pattern: Any) -> bool:
    # With a text as the pattern this is a substring test.
    return value in pattern


def _not(compare: Comparison) -> Comparison:
    return lambda value, pattern: not compare(value, pattern)


def _not_equal(value: Any, pattern: Any) -> bool:
    # The one negation that is true when there is no pattern to compare with.
    return _text(value) != _text(pattern)


def _age(value: str) -> float:
    from dateutil import parser

    moment = parser.parse(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return (datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds()


_equal = _on_text(_equals)
_less = _on_text(lambda value, pattern: value < pattern)
_greater = _on_text(lambda value, pattern: value > pattern)
_younger = _on_text(lambda value, pattern: _age(value) < float(pattern))
_older = _on_text(lambda value, pattern: _age(value) > float(pattern))
_member = _on_text(_inside)
_no_member = _on_text(_not(_inside))


def search(
    items: Any,
    patterns: dict[str, Any],
    condition: str | None,
    matches: Callable[[str, Any, Any], bool],
) -> bool:
    """Compares the items of a list with a criteria of their own.

    :param items: a list; an object counts as a list of one.
    :param patterns: key -> criterion.
    :param condition: any, all, all2any or any2any.
    :param matches: says whether (key, criterion, item) match.
    :raises ValueError: for another condition.
    """
    if condition not in ("any", "all", "all2any", "any2any"):
        raise ValueError(f'The condition "{condition}" is not one of any, all, all2any and any2any')
    over_items = any if condition in ("any", "any2any") else all
    over_patterns = any if condition in ("all2any", "any2any") else all
    if isinstance(items, dict):
        items = [items]
    return over_items(
        over_patterns(matches(key, criterion, item) for key, criterion in patterns.items())
        for item in items
    )


# By name; `search` alone takes more than a value and a pattern.
OPERATORS: dict[str, Callable[..., bool]] = {
    "equals": _equal,
    "eq": _equal,
    "nequals": _not_equal,
    "neq": _not_equal,
    "iequals": _on_text(_ignoring_case(_equals)),
    "ieq": _on_text(_ignoring_case(_equals)),
    "contains": _on_text(_contains),
    "icontains": _on_text(_ignoring_case(_contains)),
    "ncontains": _on_text(_not(_contains)),
    "incontains": _on_text(_not(_ignoring_case(_contains))),
    "startswith": _on_text(_starts_with),
    "istartswith": _on_text(_ignoring_case(_starts_with)),
    "endswith": _on_text(_ends_with),
    "iendswith": _on_text(_ignoring_case(_ends_with)),
    "lessthan": _less,
    "lt": _less,
    "greaterthan": _greater,
    "gt": _greater,
    "matchwildcard": _on_text(fnmatch.fnmatch),
    "matchregex": _on_text(
        lambda value, pattern: re.compile(pattern, re.DOTALL).match(value) is not None
    ),
    "regex": _on_text(lambda value, pattern: re.search(pattern, value) is not None),
    "iregex": _on_text(lambda value, pattern: re.search(pattern, value, re.IGNORECASE) is not None),
    "timediff_lt": _younger,
    "td_lt": _younger,
    "timediff_gt": _older,
    "td_gt": _older,
    "exists": lambda value, pattern: value is not None,
    "nexists": lambda value, pattern: value is None,
    "inside": _member,
    "in": _member,
    "ninside": _no_member,
    "nin": _no_member,
    "search": search,
}
