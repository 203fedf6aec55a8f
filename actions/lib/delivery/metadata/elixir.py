"""Elixir: mix.exs. It is a program, which Mix would run: plain literals are read instead."""

from __future__ import annotations

from typing import Any

from delivery.metadata.reader import Reader, literal, literals, program


def mix(raw: bytes) -> dict[str, Any]:
    text = program(raw)

    def field(name: str) -> str | None:
        """An attribute of the module, as @version, or else what the key is set to."""
        return literal(rf"@{name}[ \t]+", text) or literal(
            rf"(?:.*[\[,{{(][ \t]*)?{name}:[ \t]*", text
        )

    return {
        **{name: field(name) for name in ("version", "description", "homepage_url", "source_url")},
        **{name: literals(rf".*\b{name}:[ \t]*", text) for name in ("licenses", "maintainers")},
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
