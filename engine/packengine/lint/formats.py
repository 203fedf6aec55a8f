"""Formats of aliases as the regular expressions that they are."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, Iterable

_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

# How many examples of a format there may be, and how often one repeats a part: the number of both
# grows exponentially with the format's length.
_MOST = 256


def parsed(text: str) -> Any:
    """Returns a format as a parsed regular expression, each placeholder a group of a word.

    :raises re.error: when it is none.
    """
    return _parser.parse(
        re.sub(r"{{\s*([^\s={}]+)\s*(=.*?)?}}", lambda found: f"(?P<{found[1]}>word)", text)
    )


def parameters(text: str) -> list[str]:
    """Returns the parameters that lines of a format may give."""
    return list(parsed(text).state.groupdict)


def always_given(text: str) -> list[str]:
    """Returns the parameters that every line of a format gives."""
    tokens = parsed(text)
    names = {number: name for name, number in tokens.state.groupdict.items()}
    return [
        names[value[0]] for kind, value in tokens if str(kind) == "SUBPATTERN" and value[0] in names
    ]


def examples(text: str) -> list[str]:
    """Returns lines that read like a format, with and without each of its optional parts."""
    return sorted({" ".join(line.split()) for line in _spelt(parsed(text))})


def _spelt(tokens: Iterable[Any]) -> list[str]:
    lines = [""]
    for kind, value in tokens:
        lines = [line + more for line in lines for more in _spellings(str(kind), value)][:_MOST]
    return lines


def _spellings(kind: str, value: Any) -> list[str]:
    """Returns what stands for a part of a regular expression in an example."""
    if kind == "LITERAL":
        return [chr(value)]
    if kind == "IN":
        return _spellings(str(value[0][0]), value[0][1])
    if kind == "RANGE":
        return [chr(value[0])]
    if kind == "CATEGORY":
        return [" " if str(value) == "CATEGORY_SPACE" else "w"]
    if kind == "SUBPATTERN":
        return _spelt(value[3])
    if kind == "BRANCH":
        return [line for branch in value[1] for line in _spelt(branch)]
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, repeated = value
        counts = {least, min(max(least, 1), most)}
        if least > _MOST:
            raise OverflowError(f"it repeats a part {least} times")
        return sorted({line * count for line in _spelt(repeated) for count in counts})
    if kind in ("AT", "ASSERT", "ASSERT_NOT"):
        return [""]
    return ["w"]
