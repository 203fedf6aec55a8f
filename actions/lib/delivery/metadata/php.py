"""PHP: composer.json."""

from __future__ import annotations

from delivery.metadata.reader import Reader, json_object

READERS = (
    Reader(
        "composer.json",
        json_object,
        {
            "name": ("name",),
            "version": ("version",),
            "description": ("description",),
            "licence": ("license",),
            "maintainer": ("authors",),
            "homepage": ("homepage",),
        },
    ),
)
