"""What the README says of the pack is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import yaml

from delivery import settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCHEMA = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
EXAMPLE = re.search(r"```yaml\n(.*?)```", README, re.DOTALL).group(1)


def schema_keys(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict]]:
    """Every key that can be set, as `section.key`; `*` stands for a name of the user's choice."""
    for name, details in properties.items():
        below = dict(details.get("properties") or {})
        if isinstance(details.get("additionalProperties"), dict):
            below["*"] = details["additionalProperties"]
        if "default" in details or (not below and name != "*"):
            yield path + name, details
        yield from schema_keys(below, f"{path}{name}.")


def default_of(details: dict[str, Any]) -> str:
    return f"`{details['default']}`" if "default" in details else ""


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def table(heading: str) -> Iterator[tuple[str, ...]]:
    """The rows of a section's table, without its head."""
    rows = [line for line in section(heading).splitlines() if line.startswith("|")]
    for row in rows[2:]:
        yield tuple(cell.strip() for cell in row.strip("|").split("|"))


def test_the_table_has_every_key_of_the_configuration_and_its_default():
    said = {key.strip("`"): default for key, default, _ in table("Configure")}
    assert said == {key: default_of(details) for key, details in schema_keys(SCHEMA)}


def test_the_table_names_every_tool_there_is():
    said = {key.strip("`"): text for key, _, text in table("Configure")}
    for key, details in schema_keys(SCHEMA):
        for tool in details.get("enum", ()):
            assert f"`{tool}`" in said[key]


def test_every_action_that_is_named_exists_and_takes_the_parameters_given():
    commands = re.findall(r"run cicd_canary\.(\w+)([^`|]*)", README)
    assert commands
    for name, words in commands:
        action = yaml.safe_load((ROOT / "actions" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(re.findall(r"(\w+)=", words)) <= set(action["parameters"])


def test_every_other_part_of_the_pack_that_is_named_exists():
    named = set(re.findall(r"cicd_canary\.(\w+)", README)) - {"yaml"}
    parts = {path.stem for folder in ("actions", "rules") for path in ROOT.glob(f"{folder}/*.yaml")}
    sensors = {
        yaml.safe_load(path.read_text(encoding="utf-8"))["class_name"]
        for path in ROOT.glob("sensors/*.yaml")
    }
    assert named
    assert named <= parts | sensors


def test_the_chat_commands_are_exactly_the_aliases():
    said = {chat.strip("`") for chat, _, _ in table("Commands")} - {""}
    shown = {
        f"!{form['display']}"
        for path in ROOT.glob("aliases/*.yaml")
        for form in yaml.safe_load(path.read_text(encoding="utf-8"))["formats"]
    }
    assert said == shown


def test_every_file_of_the_project_that_is_named_exists():
    folders = "actions|bench|docs|host|script|tests"
    named = set(re.findall(rf"(?<![\w./])(?:{folders})/[\w./-]*\w", README))
    missing = {path for path in named if not (ROOT / path).exists()}
    assert missing == {"script/cisetup", "script/cibuild", "script/post-inst", "script/package"}, (
        "only an application's scripts are not the project's"
    )


def test_the_example_of_an_application_holds_the_defaults():
    assert settings.load(EXAMPLE, "shop") == settings.load(None, "shop")


def test_the_example_of_an_application_holds_every_key():
    everything = yaml.safe_load(re.sub(r"(?m)^( *)# (\w+:)", r"\1\2", EXAMPLE))
    settings.load(yaml.safe_dump(everything), "shop")
    known = settings.load(None, "shop").as_dict()
    assert everything.keys() == known.keys()
    for name, value in known.items():
        if isinstance(value, dict):
            assert everything[name].keys() == value.keys()
