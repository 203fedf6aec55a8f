"""The manifest, the configuration's schema and its example."""

from __future__ import annotations

import os
from typing import Iterator

import yaml

from packengine import schema
from packengine.lint.subject import Subject, is_computed, value_problems
from packengine.problems import Problem
from packengine.yaml_files import load_yaml


def check(subject: Subject) -> Iterator[Problem]:
    """Yields what is wrong with the pack's manifest and its configuration."""
    pack = subject.pack
    if not pack.metadata.get("email"):
        manifest = os.path.join(pack.path, "pack.yaml")
        yield Problem(
            manifest, "email is missing, and registration fails without it", "add an address"
        )
    if pack.config_problem is not None:
        return
    for name, details in pack.config_schema.items():
        default = details.get("default")
        if default is not None and not is_computed(default):
            path = os.path.join(pack.path, "config.schema.yaml")
            yield from value_problems(path, "default of ", name, default, details)
    for file in sorted(os.listdir(pack.path)):
        if file.endswith(".yaml.example"):
            yield from _example_problems(subject, os.path.join(pack.path, file))


def _example_problems(subject: Subject, path: str) -> Iterator[Problem]:
    document = {
        "type": "object",
        "properties": subject.pack.config_schema,
        "additionalProperties": False,
    }
    try:
        schema.check(load_yaml(path) or {}, document, schema.dotted)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        yield Problem(path, " ".join(str(error).split()), "correct the file")
    except schema.SchemaError as error:
        yield Problem(path, f"{error}", f"{error.remedy}, or change config.schema.yaml")
