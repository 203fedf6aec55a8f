"""What names from outside may look like. Everything that arrives is matched here, at the door.

None of the patterns lets a template marker, a space, a quote or a shell character through, so a
name that passed may stand in a key, a path, an argument list or a workflow's input.
"""

from __future__ import annotations

import difflib
import re
from typing import Iterable, Sized

from delivery.errors import DeliveryError

# A directory or a file in a repository, from its top.
_SEGMENT = r"(?!(?:\.{1,2}|\.git)(?:/|$))[A-Za-z0-9._+@][A-Za-z0-9._+@-]*"

PATTERNS = {
    # A Debian package's name and a DNS label at once.
    "application": r"[a-z][a-z0-9-]{1,61}",
    "stage": r"[a-z][a-z0-9-]{1,61}",
    "role": r"[a-z][a-z0-9-]{1,61}",
    "repository": r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}",
    "branch": r"(?!.*(?:\.\.|//|\.lock$|/$))[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}",
    "path": rf"(?=.{{1,200}}$)(?:{_SEGMENT}/)*{_SEGMENT}",
    "commit": r"[0-9a-f]{40}",
    "version": r"[0-9][A-Za-z0-9.+~-]{0,127}",
    "node": r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}",
    "user": r"[A-Za-z0-9][A-Za-z0-9._@\[\]-]{0,99}",
    "deployment": r"[a-z0-9-]{1,100}",
    "sha256": r"[0-9a-f]{64}",
}

TEXT_LIMIT = 2000  # characters of any text for people
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def check(kind: str, value: object) -> str:
    """Returns `value` if it is a proper name of this kind (a key of PATTERNS).

    :raises DeliveryError: that says what was expected.
    """
    if matches(kind, value):
        return str(value)
    raise DeliveryError(f"{shown(value)} is not a valid {kind}; expected {PATTERNS[kind]}")


def matches(kind: str, value: object) -> bool:
    """Returns whether `value` is a proper name of this kind."""
    return isinstance(value, str) and bool(re.fullmatch(PATTERNS[kind], value))


def shown(value: object) -> str:
    """Returns a value from outside as it may be shown in a message: short, and no template."""
    return plain(repr(value))[:80]


def plain(text: str) -> str:
    """Returns text that is safe to show: on one line, of at most `TEXT_LIMIT` characters, without
    control and direction characters, and without the markers that a template engine acts upon.
    """
    line = " ".join(UNSEEN.sub("", each) for each in text.split())
    safe = re.sub(r"\{\{|\}\}|\{%|%\}|\{#|#\}|<%|%>", "?", line)
    return cut(safe, TEXT_LIMIT)


def cut(text: str, limit: int) -> str:
    """Returns a text of at most `limit` characters; one that was longer ends with dots."""
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def counted(things: Sized, noun: str) -> str:
    """Returns how many things there are: `1 batch`, `3 batches`."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{len(things)} {noun}{'' if len(things) == 1 else plural}"


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Returns the known names that look like `name`, else all of them, at most five."""
    names = sorted(known)
    return difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
