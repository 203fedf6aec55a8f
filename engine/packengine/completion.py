"""What the last word of a line of chat may become: words of commands, and values given before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterable, Iterator, NamedTuple

if TYPE_CHECKING:
    from packengine.engine import Engine

# Executions whose parameters are offered, the newest ones; longer values are not typed by hand.
_EXECUTIONS = 200
_LONGEST_VALUE = 64

_JINJA = re.compile(r"{{\s*([^\s=}]+)[^}]*}}")


class Part(NamedTuple):
    """A word of a command as people are shown it: `deploy`, `<app>`, `[app]`, `[to`, `<stage>]`.

    :ivar placeholder: whether it stands for a value of that name.
    :ivar optional: how many parts may be left out from here; 0 for one that must be there.
    """

    name: str
    placeholder: bool
    optional: int


def parts(display: str) -> list[Part]:
    """Returns the parts of a command's format."""
    words = _JINJA.sub(r"<\1>", display).split()
    found = []
    for start, word in enumerate(words):
        end = start
        while word.startswith("[") and end + 1 < len(words) and not words[end].endswith("]"):
            end += 1
        inside = word.strip("[]")
        placeholder = inside.startswith("<") or (word.startswith("[") and word.endswith("]"))
        optional = end - start + 1 if word.startswith("[") else 0
        found.append(Part(inside.strip("<>"), placeholder, optional))
    return found


def following(command: list[Part], words: list[str]) -> Iterator[Part]:
    """Yields the parts of a command that may follow some words."""
    if not command:
        return
    first = command[0]
    if not words:
        yield first
    elif first.placeholder or first.name.lower() == words[0].lower():
        yield from following(command[1:], words[1:])
    if first.optional:
        yield from following(command[first.optional :], words)


def completions(
    engine: Engine, commands: Iterable[tuple[str, str]], before: list[str], word: str
) -> set[str]:
    """Returns what a word may become.

    :param engine: remembers the values that parameters had.
    :param commands: (pack, format) of each command.
    :param before: the words before it.
    :param word: what there is of it, perhaps nothing.
    """
    found: set[str] = set()
    for pack, display in commands:
        for part in following(parts(display), before):
            found |= _values(engine, pack, part.name) if part.placeholder else {part.name}
    return {each for each in found if each.lower().startswith(word.lower())}


def _values(engine: Engine, pack: str, name: str) -> set[str]:
    """Returns what a parameter of a pack's actions was in the newest executions, if no secret."""
    found = set()
    for execution in engine.executions(limit=_EXECUTIONS, top_level=False):
        action = engine.registry.actions.get(execution.action)
        value = execution.parameters.get(name)
        if (
            action is not None
            and action.pack == pack
            and not action.parameters.get(name, {}).get("secret")
            and isinstance(value, str)
            and re.fullmatch(rf"\S{{1,{_LONGEST_VALUE}}}", value)
        ):
            found.add(value)
    return found
