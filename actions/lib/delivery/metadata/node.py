"""Node: package.json, which is also there for the front end of projects in other languages."""

from __future__ import annotations

from delivery.metadata.reader import Reader, json_object

READERS = (
    Reader(
        "package.json",
        json_object,
        {
            "name": ("name",),
            "version": ("version",),
            "description": ("description",),
            "licence": ("license",),
            "maintainer": ("author",),
            "homepage": ("homepage",),
        },
    ),
)
