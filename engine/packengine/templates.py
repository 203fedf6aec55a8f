"""Jinja templates as StackStorm renders them: a strict, sandboxed environment and its filters."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Callable

import jinja2
import jinja2.sandbox
import yaml

from packengine import payload, versions
from packengine.datastore import SYSTEM_SCOPE, USER_SCOPE, Datastore, KeyNotFound

# What the use_none filter leaves in a rendered text, and casting turns back into None.
NONE_MARKER = "%*****__%NONE%__*****%"


def is_template(value: object) -> bool:
    """Returns whether a value is text holding a Jinja expression or block."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def from_json_string(value: object) -> Any:
    return json.loads(str(value))


def from_yaml_string(value: object) -> Any:
    return yaml.safe_load(str(value))


def json_escape(value: Any) -> str:
    return json.dumps(value).strip('"')


def jsonpath_query(value: Any, query: str) -> list[Any] | None:
    return payload.find_all(query, _plain(value)) or None


def to_complex(value: Any) -> str:
    return json.dumps(value)


def to_json_string(
    value: Any,
    indent: int | None = None,
    sort_keys: bool = False,
    separators: tuple[str, str] = (",", ": "),
) -> str:
    return json.dumps(_plain(value), indent=indent, sort_keys=sort_keys, separators=separators)


def _plain(value: Any) -> Any:
    # YAQL hands its own unchanging kinds of dicts and lists to functions.
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def to_yaml_string(value: Any, indent: int | None = None, allow_unicode: bool = True) -> str:
    return yaml.safe_dump(
        _plain(value), indent=indent, allow_unicode=allow_unicode, default_flow_style=False
    )


def use_none(value: Any) -> Any:
    return NONE_MARKER if value is None else value


def regex_match(value: object, pattern: str, ignorecase: bool = False) -> bool:
    return bool(re.match(pattern, str(value), _flags(ignorecase)))


def regex_replace(value: object, pattern: str, replacement: str, ignorecase: bool = False) -> str:
    return re.sub(pattern, replacement, str(value), flags=_flags(ignorecase))


def regex_search(value: object, pattern: str, ignorecase: bool = False) -> bool:
    return bool(re.search(pattern, str(value), _flags(ignorecase)))


def regex_substring(
    value: object, pattern: str, result_index: int = 0, ignorecase: bool = False
) -> Any:
    return re.findall(pattern, str(value), _flags(ignorecase))[result_index]


def _flags(ignorecase: bool) -> int:
    return re.IGNORECASE if ignorecase else 0


def to_human_time_from_seconds(seconds: object) -> str:
    """Returns a duration as StackStorm writes it: 65 gives ``1m5s``.

    :raises TypeError: when `seconds` is no number.
    """
    if not isinstance(seconds, (int, float)):
        raise TypeError("to_human_time_from_seconds needs a number of seconds")
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds}\u03bcs"
    moment = datetime.datetime(1, 1, 1) + datetime.timedelta(seconds=round(seconds))
    parts = [moment.year - 1, moment.day - 1, moment.hour, moment.minute, moment.second]
    while parts and not parts[0]:
        parts.pop(0)
    units = ["y", "d", "h", "m", "s"][-len(parts) :] if parts else []
    return "".join("{}{}".format(*pair) for pair in zip(parts, units)) or "0s"


# StackStorm's filters that are also functions of workflow expressions.
SHARED_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **versions.FUNCTIONS,
    "basename": os.path.basename,
    "dirname": os.path.dirname,
    "from_json_string": from_json_string,
    "from_yaml_string": from_yaml_string,
    "json_escape": json_escape,
    "jsonpath_query": jsonpath_query,
    "regex_match": regex_match,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "regex_substring": regex_substring,
    "to_human_time_from_seconds": to_human_time_from_seconds,
    "to_json_string": to_json_string,
    "to_yaml_string": to_yaml_string,
    "use_none": use_none,
}

# Older names the same functions have in workflow expressions only.
WORKFLOW_FUNCTIONS: dict[str, Callable[..., Any]] = dict(
    SHARED_FUNCTIONS,
    json_dump=to_json_string,
    json_parse=from_json_string,
    yaml_dump=to_yaml_string,
    yaml_parse=from_yaml_string,
)


@lru_cache(maxsize=None)
def environment() -> jinja2.sandbox.SandboxedEnvironment:
    """Returns the environment of parameters, rules and configuration."""
    result = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    result.filters.update(SHARED_FUNCTIONS)
    result.filters.update(to_complex=to_complex, decrypt_kv=decrypt_kv)
    result.tests["in"] = lambda item, container: item in container
    return result


@lru_cache(maxsize=512)
def _compiled(text: str) -> jinja2.Template:
    return environment().from_string(text)


def render(text: str, context: Mapping[str, Any]) -> str:
    """Returns a template rendered to text.

    :raises jinja2.TemplateError: when the template is wrong; a filter may raise anything.
    """
    return _compiled(text).render(context)


def render_values(values: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a mapping with each value rendered, as rules and alias replies are.

    Lists and objects are rendered as JSON text and read back; a value that no template changed
    keeps its type.
    """
    scope = dict({"__context": context}, **context)
    rendered = {}
    for name, value in values.items():
        structured = isinstance(value, (dict, list))
        text = json.dumps(value) if structured else str(value)
        result = render(text, scope)
        if result == text:
            rendered[name] = value
        else:
            rendered[name] = json.loads(result) if structured else result
    return rendered


class KeyLookup:
    """``st2kv.system`` in a template: each attribute asks the datastore for one more part of a key.

    A key that does not exist renders as an empty text, as in StackStorm.

    :param datastore: keeps the keys.
    :param scope: SYSTEM_SCOPE or USER_SCOPE.
    :param user: whose keys, for the user scope.
    :param key: the part of the key that is known so far.
    """

    def __init__(
        self, datastore: Datastore, scope: str, user: str | None = None, key: str = ""
    ) -> None:
        self._datastore = datastore
        self._scope = scope
        self._user = user
        self._key = key

    def __getattr__(self, name: str) -> KeyLookup:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> KeyLookup:
        key = f"{self._key}.{name}" if self._key else name
        return KeyLookup(self._datastore, self._scope, self._user, key)

    def __str__(self) -> str:
        name = f"{self._user}:{self._key}" if self._scope == USER_SCOPE else self._key
        try:
            return self._datastore.get(name, scope=self._scope)
        except KeyNotFound:
            return ""

    def __int__(self) -> int:
        return int(float(str(self)))

    def __float__(self) -> float:
        return float(str(self))

    def unsealed(self) -> str:
        """Returns the plain text of a secret key.

        :raises ValueError: when there is no such key, or it is not secret.
        """
        seal = str(self)
        if not seal:
            raise ValueError(
                f'Referenced datastore item "{self._scope}.{self._key}" doesn\'t exist or it '
                "contains an empty string"
            )
        return self._datastore.unseal(seal)


def decrypt_kv(value: object) -> str:
    if not isinstance(value, KeyLookup):
        raise ValueError("decrypt_kv is for st2kv keys, as in {{ st2kv.system.name | decrypt_kv }}")
    return value.unsealed()


def datastore_context(datastore: Datastore, user: str | None) -> dict[str, KeyLookup]:
    """Returns what templates see as ``st2kv``."""
    return {
        "system": KeyLookup(datastore, SYSTEM_SCOPE),
        "user": KeyLookup(datastore, USER_SCOPE, user),
    }
