"""Elixir: mix.exs. It is a program, which Mix would run: plain literals are read instead."""

from __future__ import annotations

import re
from typing import Any

from delivery.metadata.reader import INTERPOLATED, Reader, literal, literals, program


def mix(raw: bytes) -> dict[str, Any]:
    text = program(raw)

    def field(name: str) -> str | None:
        """An attribute of the module, as @version, or else what the key is set to."""
        key = rf"(?:(?![ \t]).*[\[,{{(][ \t]*)?{name}:[ \t]*"
        block = re.search(rf'^[ \t]*(?:@{name}[ \t]+|{key})"""\n([^"]{{0,2000}})"""', text, re.M)
        return (
            literal(rf"@{name}[ \t]+", text)
            or literal(key, text)
            or (block.group(1) if block and not INTERPOLATED.search(block.group(1)) else None)
        )

    return {
        **{name: field(name) for name in ("version", "description", "homepage_url", "source_url")},
        **{
            name: literals(rf"(?![ \t]).*\b{name}:[ \t]*", text)
            for name in ("licenses", "maintainers")
        },
    }


READERS = (
    Reader(
        "mix.exs",
        mix,
        {
            "version": ("version",),
            "description": ("description",),
            "licence": ("licenses",),
            "maintainer": ("maintainers",),
            "homepage": ("homepage_url", "source_url"),
        },
    ),
)
