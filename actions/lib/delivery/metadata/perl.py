"""Perl: META.json as CPAN::Meta::Spec has it (PGXN's is of the same kind). Another is not read."""

from __future__ import annotations

import json
from typing import Any

from delivery.metadata.reader import Reader, text_of


def meta_json(raw: bytes) -> dict[str, Any]:
    # Some tools write a version as a number, all of whose digits count.
    document = json.loads(text_of(raw), parse_float=str, parse_int=str)
    if not isinstance(document, dict) or "meta-spec" not in document:
        return {}
    for key in ("abstract", "author", "license"):  # what is written when nothing is known
        if document.get(key) in ("unknown", ["unknown"]):
            del document[key]
    if isinstance(document.get("version"), str):
        document["version"] = document["version"].replace("_", "")  # as Perl reads 1.02_01
    return document


READERS = (
    Reader(
        "META.json",
        meta_json,
        {
            "name": ("name",),
            "version": ("version",),
            "description": ("abstract",),
            "licence": ("license",),
            "maintainer": ("author", "maintainer"),
            "homepage": ("resources.homepage",),
        },
    ),
)
