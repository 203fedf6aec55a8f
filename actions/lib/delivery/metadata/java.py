"""Java: Maven's pom.xml, and Gradle's files.

pom.xml is parsed without entities and without a DTD; nothing is fetched. What another file or the
command line would have to say (a parent's properties, -Drevision) is not there. Gradle's build
files are programs, which are not run: plain literals at their top level are read.
"""

from __future__ import annotations

import re
from typing import Any, Mapping
from xml.etree import ElementTree
from xml.parsers import expat

from delivery.metadata.reader import Reader, literal, program

POM_PARTS = ("version", "parent", "artifactId", "description", "url", "licenses", "developers")
VALUE_LIMIT = 200
TEXT_LIMIT = 2000


def pom(raw: bytes) -> dict[str, Any]:
    root = _xml(raw)
    project = {part: _plain(root.find(f"{{*}}{part}")) for part in POM_PARTS}
    parent = project["parent"] if isinstance(project["parent"], dict) else {}
    properties = root.find("{*}properties")
    values = {
        _name(each): (each.text or "").strip()
        for each in (properties if properties is not None else ())
        if len(each.text or "") <= VALUE_LIMIT
    }
    for name, value in (
        ("project.parent.version", parent.get("version")),
        ("project.version", project["version"] or parent.get("version")),
        ("project.artifactId", project["artifactId"]),
    ):
        if isinstance(value, str):
            values[name] = value[:VALUE_LIMIT]
    for part in ("version", "description", "url"):
        if isinstance(project[part], str):
            project[part] = _filled_in(project[part], values)
    return project


def gradle(raw: bytes) -> dict[str, Any]:
    text = re.sub(r"/\*(?:.*?\*/|.*)", "", program(raw), flags=re.DOTALL)
    # What is indented belongs to a block, unless that is the one for all projects.
    top = "\n".join(re.findall(r"^(?:allprojects[ \t]*\{[^{}]*|[^ \t\n}/].*)", text, re.MULTILINE))
    top = re.sub(r"^allprojects[ \t]*\{", "", top, flags=re.MULTILINE)
    return {
        key: literal(rf"(?:project\.)?{key}(?:[ \t]*=)?[ \t]*", top)
        for key in ("version", "description")
    }


def gradle_properties(raw: bytes) -> dict[str, Any]:
    lines = re.findall(r"^[ \t]*(version|description)[ \t]*[=:](.*)", program(raw), re.MULTILINE)
    return {key: value.strip(" \t") for key, value in lines}


def _xml(raw: bytes) -> ElementTree.Element:
    """:raises ValueError: when it is not XML, or has a DTD: entities in it may be endless."""

    def refuse(*_: object) -> None:
        raise ValueError("a DOCTYPE is not supported; delete it")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(raw, True)
        return ElementTree.fromstring(raw)  # noqa: S314 - without a DTD there are no entities
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(str(error)) from None


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _plain(element: ElementTree.Element | None) -> Any:
    """Returns an element as text or, by the names of its parts, as a mapping; a part that is there
    several times is a list."""
    if element is None:
        return None
    if not len(element):
        return (element.text or "").strip()
    parts: dict[str, list[Any]] = {}
    for each in element:
        parts.setdefault(_name(each), []).append(_plain(each))
    return {name: values if len(values) > 1 else values[0] for name, values in parts.items()}


def _filled_in(text: str, values: Mapping[str, str]) -> str | None:
    """Returns a text with its properties in place; None when one is not known or never ends."""
    for _ in range(10):
        if len(text) > TEXT_LIMIT:
            return None
        filled = re.sub(
            r"\$\{([^${}]+)\}", lambda found: values.get(found.group(1), found.group()), text
        )
        if filled == text:
            break
        text = filled
    return None if "${" in text else text


READERS = (
    Reader(
        "pom.xml",
        pom,
        {
            "name": ("artifactId",),
            "version": ("version", "parent.version"),
            "description": ("description",),
            "licence": ("licenses.license",),
            "maintainer": ("developers.developer",),
            "homepage": ("url",),
        },
    ),
    *(
        Reader(path, parse, {"version": ("version",), "description": ("description",)})
        for path, parse in (
            ("build.gradle.kts", gradle),
            ("build.gradle", gradle),
            ("gradle.properties", gradle_properties),
        )
    ),
)
