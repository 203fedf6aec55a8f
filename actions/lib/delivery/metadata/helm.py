"""Helm: Chart.yaml. Every value is read as text, so that 1.10 stays 1.10."""

from __future__ import annotations

from typing import Any

import yaml

from delivery import names
from delivery.metadata.reader import Reader, text_of
from delivery.plain_yaml import WithoutAliases

SIZE_LIMIT = 64 * 1024  # bytes; YAML is slow to parse


class _Loader(WithoutAliases, yaml.BaseLoader):
    """Makes only text."""


def chart(raw: bytes) -> dict[str, Any]:
    if len(raw) > SIZE_LIMIT:
        raise ValueError(f"{len(raw)} bytes; the limit is {SIZE_LIMIT}")
    try:
        document = yaml.load(text_of(raw), Loader=_Loader)  # noqa: S506 - makes only text
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(where + names.plain(error.problem or str(error))) from None
    except yaml.YAMLError as error:
        raise ValueError(names.plain(str(error))) from None
    if not isinstance(document, dict):
        raise ValueError("expected a mapping")
    return document


READERS = (
    Reader(
        "Chart.yaml",
        chart,
        {
            "name": ("name",),
            "version": ("version", "appVersion"),
            "description": ("description",),
            "maintainer": ("maintainers",),
            "homepage": ("home",),
        },
    ),
)
