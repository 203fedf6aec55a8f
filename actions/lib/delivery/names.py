"""What names from outside may look like. Everything that arrives is matched here, at the door.

None of the patterns lets a template marker, a space, a quote or a shell character through, so a
name that passed may stand in a key, a path, an argument list or a workflow's input.
"""

from __future__ import annotations

import difflib
import re
from typing import Iterable

from delivery.errors import DeliveryError

PATTERNS = {
    # A Debian package's name and a DNS label at once.
    "application": r"[a-z][a-z0-9-]{1,61}",
    "stage": r"[a-z][a-z0-9-]{1,61}",
    "role": r"[a-z][a-z0-9-]{1,61}",
    "repository": r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}",
    "branch": r"(?!.*(?:\.\.|//|\.lock$|/$))[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}",
    "commit": r"[0-9a-f]{40}",
    "version": r"[0-9][A-Za-z0-9.+~-]{0,127}",
    "node": r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}",
    "user": r"[A-Za-z0-9][A-Za-z0-9._@\[\]-]{0,99}",
    "deployment": r"[a-z0-9-]{1,100}",
    "sha256": r"[0-9a-f]{64}",
}


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
    """Returns text on one line and without the markers that a template engine would act upon."""
    return re.sub(r"\{\{|\}\}|\{%|%\}|\{#|#\}|<%|%>", "?", " ".join(text.split()))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Returns the known names that look like `name`, else all of them, at most five."""
    names = sorted(known)
    return difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
