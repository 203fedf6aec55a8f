"""Rust: Cargo.toml, in which a package may inherit from its workspace."""

from __future__ import annotations

from typing import Any

from delivery.metadata.reader import Reader, table, toml


def cargo(raw: bytes) -> dict[str, Any]:
    document = toml(raw)
    inherited = table(document, "workspace", "package")
    own = table(document, "package")
    package = {
        key: inherited.get(key) if isinstance(value, dict) else value for key, value in own.items()
    }
    return {"package": package or inherited}


READERS = (
    Reader(
        "Cargo.toml",
        cargo,
        {
            "name": ("package.name",),
            "version": ("package.version",),
            "description": ("package.description",),
            "licence": ("package.license",),
            "maintainer": ("package.authors",),
            "homepage": ("package.homepage",),
        },
    ),
)
