"""A reader: one file of an ecosystem, what it is parsed with, and which of its fields say what.

READERS = (Reader("package.json", json_object, {"version": ("version",), "licence": ("license",)}),)

Nothing here runs anything of the repository: its code may do anything, and the description of a
project is no reason to let it. What is data is parsed by the library of its format. What is a
program (a gemspec, mix.exs, build.gradle) is read as text: fields that are set to a plain literal
are found, others are not there.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from delivery import names
from delivery.settings import RELATIONS

LITERAL = r"""(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')"""
# What comes behind a literal that is only a part of what a field is set to.
CONTINUED = r"(?![ \t]*(?:[+%<]|\.(?!freeze|dup)))"
# A key of many parts takes TOML's parsers the square of their number.
KEY_LIMIT = 20
LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]+|"(?:[^"\\\n]|\\.){0,100}"|'[^'\n]{0,100}')[ \t]*\.[ \t]*)"""
    rf"{{{KEY_LIMIT}}}"
)
INTERPOLATED = re.compile(r"#\{|\$[{A-Za-z_]")


class Reader(NamedTuple):
    """How a file is read.

    :ivar path: below `package.root` or the application's directory. Its last part may have a `*`
        for any name, and be below `**` for any directories; of several files the one named after
        the application is read, else the first one.
    :ivar parse: takes the file's bytes and returns its fields, possibly nested.
    :ivar fields: by key of ours, the file's fields in order, with dots between levels; the first
        that has a value says it.
    """

    path: str
    parse: Callable[[bytes], Mapping[str, Any]]
    fields: Mapping[str, Sequence[str]]

    def read(self, raw: bytes) -> dict[str, Any]:
        """Returns what the file says, by key of ours: text, or a list for relations.

        :raises ValueError: when the file is malformed, on one line.
        """
        try:
            return self._found(self.parse(raw))
        except UnicodeDecodeError:
            raise ValueError("not UTF-8; save it as UTF-8") from None
        except RecursionError:
            raise ValueError("nested too deeply; simplify it") from None

    def _found(self, document: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, fields in self.fields.items():
            for field in fields:
                value = _as_told(key, _at(document, field))
                if value:
                    found[key] = _checked(field, key, value)
                    break
        return found


def text_of(raw: bytes) -> str:
    """Returns the text of a file of data.

    :raises UnicodeDecodeError: when it is not UTF-8.
    """
    return raw.decode("utf-8-sig")


def program(raw: bytes) -> str:
    """Returns the text of a file that is a program in some language, in whatever encoding."""
    return raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def literal(pattern: str, text: str) -> str | None:
    """Returns the text that a program sets something to, if that is a plain literal.

    :param pattern: what is to the left of the literal at the start of a line.
    """
    for found in re.finditer(rf"^[ \t]*(?:{pattern}){LITERAL}{CONTINUED}", text, re.MULTILINE):
        double, single = found.groups()[-2:]
        if double is None or not INTERPOLATED.search(double):
            return re.sub(r"\\(.)", r"\1", single if double is None else double)
    return None


def literals(pattern: str, text: str) -> list[str]:
    """Returns the texts in a list that a program sets something to."""
    found = re.search(rf"^[ \t]*(?:{pattern})\[([^\]]{{0,2000}})\]", text, re.MULTILINE)
    parts = re.findall(LITERAL, found.group(1)) if found else []
    return [double or single for double, single in parts]


def json_object(raw: bytes) -> dict[str, Any]:
    document = json.loads(text_of(raw))
    if not isinstance(document, dict):
        raise ValueError("expected an object")
    return document


def toml(raw: bytes) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    text = text_of(raw)
    if LONG_KEY.search(text):
        raise ValueError(f"a key has more than {KEY_LIMIT} parts; simplify it")
    document: dict[str, Any] = tomllib.loads(text)
    return document


def table(document: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """Returns what is nested in a document at this place; nothing if there is no such place.

    :raises ValueError: naming the place, when something else is there.
    """
    value: Any = document
    for number, key in enumerate(path, 1):
        value = value.get(key) or {}
        if not isinstance(value, dict):
            raise ValueError(f"{'.'.join(path[:number])}: expected a table")
    return dict(value)


def _at(document: Mapping[str, Any], field: str) -> Any:
    *above, last = field.split(".")
    return table(document, *above).get(last)


def _as_told(key: str, value: Any) -> Any:
    """Returns a value as the control file has it: a licence or a person may be told in parts."""
    if key == "licence":
        return _licence(value)
    if key == "maintainer":
        return _person(value[0] if isinstance(value, list) and value else value)
    return value.strip() if isinstance(value, str) else value


def _checked(field: str, key: str, value: Any) -> Any:
    expected = list if key in RELATIONS else str
    if not isinstance(value, expected):
        raise ValueError(f"{field}: expected text, got {names.shown(value)}")
    return value


def _licence(value: Any) -> Any:
    if isinstance(value, list):
        parts = [_licence(each) for each in value]
        return " or ".join(part for part in parts if isinstance(part, str) and part)
    if isinstance(value, dict):
        return value.get("type") or value.get("text") or value.get("name")
    return value


def _person(value: Any) -> Any:
    """Returns `Name <address>` of a person told in parts; other types as they are."""
    if not isinstance(value, dict):
        return value
    name, email = value.get("name"), value.get("email")
    address = f"<{email}>" if email and name else email
    return " ".join(part for part in (name, address) if isinstance(part, str))
