"""Python: pyproject.toml (PEP 621, Poetry) and setup.cfg. setup.py is a program without fields."""

from __future__ import annotations

import configparser
import re
from typing import Any

from delivery.metadata.reader import Reader, table, text_of, toml

SIZE_LIMIT = 64 * 1024  # bytes; configparser is slow where lines are malformed


def pyproject(raw: bytes) -> dict[str, Any]:
    document = toml(raw)
    urls = table(document, "project", "urls")
    if urls:
        labels = {re.sub(r"[^a-z]", "", label.lower()): url for label, url in urls.items()}
        document["project"]["urls"] = {"Homepage": labels.get("homepage")}
    return document


def setup_cfg(raw: bytes) -> dict[str, Any]:
    if len(raw) > SIZE_LIMIT:
        raise ValueError(f"{len(raw)} bytes; the limit is {SIZE_LIMIT}")
    parser = configparser.RawConfigParser()
    text = re.sub(r"(?<=\S)[^\S\n]+", " ", text_of(raw))  # the parser looks at each blank again
    try:
        parser.read_string(text, source="setup.cfg")
    except configparser.Error as error:
        raise ValueError(str(error)) from None
    section = dict(parser.items("metadata")) if parser.has_section("metadata") else {}
    # attr: and file: tell setuptools where to look, which only running the project would answer.
    values: dict[str, Any] = {
        key.replace("-", "_"): value
        for key, value in section.items()
        if not re.match(r"(attr|file):", value)
    }
    for role in ("maintainer", "author"):
        if values.get(role):
            values[role] = {"name": values[role], "email": values.get(f"{role}_email")}
    return {"metadata": values}


READERS = (
    Reader(
        "pyproject.toml",
        pyproject,
        {
            "name": ("project.name", "tool.poetry.name"),
            "version": ("project.version", "tool.poetry.version"),
            "description": ("project.description", "tool.poetry.description"),
            "licence": ("project.license", "tool.poetry.license"),
            "maintainer": (
                "project.maintainers",
                "project.authors",
                "tool.poetry.maintainers",
                "tool.poetry.authors",
            ),
            "homepage": ("project.urls.Homepage", "tool.poetry.homepage"),
        },
    ),
    Reader(
        "setup.cfg",
        setup_cfg,
        {
            "name": ("metadata.name",),
            "version": ("metadata.version",),
            "description": ("metadata.description",),
            "licence": ("metadata.license",),
            "maintainer": ("metadata.maintainer", "metadata.author"),
            "homepage": ("metadata.url",),
        },
    ),
)
