"""What is wrong with a pack: one line each, with the file and what to do about it."""

from __future__ import annotations

import os
from typing import Iterator, NamedTuple

# The pack is wrong: StackStorm refuses the file too, or fails when it is used.
FAULT = "fault"
# StackStorm has it and the engine does not.
UNSUPPORTED = "unsupported"
# Nobody can tell without a pack that is not here.
UNCHECKED = "unchecked"


class Problem(NamedTuple):
    """Something that is wrong with a pack, or cannot be used here.

    :param path: the file, absolute.
    :param what: what is wrong.
    :param remedy: what to do about it.
    :param kind: FAULT, UNSUPPORTED or UNCHECKED.
    """

    path: str
    what: str
    remedy: str
    kind: str = FAULT

    def __str__(self) -> str:
        return self.line()

    def line(self, directory: str | None = None) -> str:
        """Returns the problem as one line: ``file: what is wrong; what to do``.

        :param directory: what the file's name is shown relative to; None for the absolute name.
        """
        path = os.path.relpath(self.path, directory) if directory else self.path
        return f"{path}: {self.what}; {self.remedy}"


def described(error: BaseException) -> str:
    """Returns an exception nobody foresaw as one line of at most 300 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else text[:297] + "..."


def guarded(path: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """Yields problems of a file; what checking it raises is one more of them.

    A pack may hold anything, and one file must not keep the others from being checked.
    """
    try:
        yield from problems
    except Exception as error:
        yield Problem(path, f"cannot be checked: {described(error)}", "correct the file")


def unsupported(path: str, what: str, place: str = "") -> Problem:
    """Returns that a file asks for something StackStorm has and the engine does not.

    :param place: where in the file, with a colon and a space.
    """
    return Problem(
        path, f"{place}the engine does not have {what}", "run it on StackStorm", UNSUPPORTED
    )
