"""Ruby: a gemspec, and the version.rb that its version usually comes from.

Both are programs: only RubyGems running them would know all of what they say. Plain literals are
read; `Gem::Specification.load` is not called, because it runs the repository's code.
"""

from __future__ import annotations

from typing import Any

from delivery.metadata.reader import Reader, literal, literals, program

SET = r"[ \t]*=[ \t]*"


def gemspec(raw: bytes) -> dict[str, Any]:
    text = program(raw)

    def field(name: str) -> str | None:
        return literal(rf"\w+\.{name}{SET}", text)

    def fields(name: str) -> list[str]:
        return literals(rf"\w+\.{name}{SET}", text)

    people = [*fields("authors"), field("author") or field("authors")]
    addresses = [*fields("email"), field("email")]
    return {
        **{
            name: field(name)
            for name in ("name", "version", "summary", "description", "license", "homepage")
        },
        "licenses": fields("licenses"),
        "authors": {"name": people[0], "email": addresses[0]} if people[0] else None,
    }


def version_rb(raw: bytes) -> dict[str, Any]:
    return {"VERSION": literal(rf"VERSION{SET}", program(raw))}


READERS = (
    Reader(
        "*.gemspec",
        gemspec,
        {
            "name": ("name",),
            "version": ("version",),
            "description": ("summary", "description"),
            "licence": ("license", "licenses"),
            "maintainer": ("authors",),
            "homepage": ("homepage",),
        },
    ),
    Reader("lib/**/version.rb", version_rb, {"version": ("VERSION",)}),
)
