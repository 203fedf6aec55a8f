"""The functions of a program of host/, for tests that call some of them without its `main`."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

HOST = Path(__file__).resolve().parent.parent / "host"


def calling(program: str, snippet: str, *arguments: str) -> Sequence[str]:
    """Returns the command that runs a snippet of bash after the functions of a program.

    :param arguments: the snippet's.
    """
    functions, _, last = (HOST / program).read_text().rstrip().rpartition("\n")
    assert last == 'main "$@"'
    return ["bash", "-c", functions + snippet, program, *arguments]
