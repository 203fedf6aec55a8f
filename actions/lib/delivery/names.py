"""What names from outside may look like. Everything that arrives is matched here, at the door.

None of the patterns lets a template marker, a space, a quote or a shell character through, so a
name that passed may stand in a key, a path, an argument list or a workflow's input.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
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
# Categories of characters that nobody sees: controls, formats such as directions, halves of a pair.
UNSEEN = ("Cc", "Cf", "Cs")
TEMPLATE = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}|<%|%>")
# Characters that a chat may take for others, by those others.
LOOKALIKES = str.maketrans({"\uff20": "@", "\ufe6b": "@", "\uff1c": "<", "\ufe64": "<"})
# What a chat takes for a call to people (@everyone, <!channel>, <@U123>; not ada@example.org), and
# for a link that shows other words than its address (<https://x|Approve>, [Approve](https://x)).
ACTED_UPON = re.compile(
    r"@(?=(?:everyone|here|channel|all)(?!\.?\w))|(?<!\w)@(?=\w)|<(?=[!@#]|[a-z]+:)|\](?=\()", re.I
)


def check(kind: str, value: object) -> str:
    """Returns `value` if it is a proper name of this kind (a key of PATTERNS).

    :raises DeliveryError: that says what was expected.
    """
    if matches(kind, value):
        return str(value)
    raise DeliveryError(f"{shown(value)} is not a valid {kind}; expected {PATTERNS[kind]}")


def check_applications(setting: str, names: Iterable[object]) -> None:
    """
    :param setting: of the pack's configuration, whose keys are names of applications.
    :raises DeliveryError: for a name that no application can have: it would hold for nobody.
    """
    for name in names:
        if not matches("application", name):
            raise DeliveryError(
                f"{setting} in the pack's configuration: {shown(name)} is no application's name "
                f"({PATTERNS['application']})"
            )


def matches(kind: str, value: object) -> bool:
    """Returns whether `value` is a proper name of this kind."""
    return isinstance(value, str) and bool(re.fullmatch(PATTERNS[kind], value))


def shown(value: object) -> str:
    """Returns a value from outside as it may be shown in a message: short, and no template."""
    return plain(repr(value))[:80]


def plain(text: str) -> str:
    """Returns text that is safe to show: on one line, of at most `TEXT_LIMIT` characters, without
    characters that nobody sees, without the markers that a template engine acts upon, and without
    mentions and disguised links that a chat acts upon.
    """
    line = " ".join(map(_seen, text.split())).translate(LOOKALIKES)
    safe = ACTED_UPON.sub(lambda found: f"{found.group()} ", TEMPLATE.sub("?", line))
    return cut(safe, TEXT_LIMIT)


def _seen(word: str) -> str:
    if word.isascii() and word.isprintable():
        return word
    return "".join(each for each in word if unicodedata.category(each) not in UNSEEN)


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
