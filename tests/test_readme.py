"""The README and the pages in docs/ are true to the pack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from delivery import ci, metadata, packaging, repository, settings
from delivery.configuration import Configuration

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}
README = PAGES["README.md"]
ALL_PAGES = "\n".join(PAGES.values())
SCHEMA = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
EXAMPLE = re.search(r"```yaml\n(.*?)```", PAGES["docs/application.md"], re.DOTALL).group(1)


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


def table(page: str, heading: str) -> Iterator[tuple[str, ...]]:
    """The rows of a section's table, without its head."""
    section = PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        yield tuple(cell.strip() for cell in row.strip("|").split("|"))


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", page)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_readme_reaches_its_first_command_in_ten_lines():
    commands = [n for n, line in enumerate(README.splitlines(), 1) if line.startswith("    ")]
    assert commands[0] <= 10


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_the_readme_links_to_every_page():
    assert {page for page in PAGES if page != "README.md"} <= set(re.findall(r"\((\S+?)\)", README))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        linked = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), f"{page}: {target}"


def test_the_table_has_every_key_of_the_configuration_and_its_default():
    said = {
        key.strip("`"): default for key, default, _ in table("docs/configuration.md", "Settings")
    }
    assert said == {key: default_of(details) for key, details in schema_keys(SCHEMA)}


def test_the_table_names_every_tool_and_every_choice_there_is():
    said = {key.strip("`"): text for key, _, text in table("docs/configuration.md", "Settings")}
    for registry in (ci.TOOLS, packaging.TOOLS, repository.TOOLS):
        for tool in registry.names():
            assert f"`{tool}`" in said[f"{registry.role}.tool"]
    for value in SCHEMA["github"]["properties"]["tags"]["enum"]:
        assert f"`{value}`" in said["github.tags"]


def test_every_action_that_is_named_exists_and_takes_the_parameters_given():
    commands = re.findall(r"run cicd_canary\.(\w+)([^`|]*)", ALL_PAGES)
    assert commands
    for name, words in commands:
        action = yaml.safe_load((ROOT / "actions" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(re.findall(r"(\w+)=", words)) <= set(action["parameters"])


def test_every_other_part_of_the_pack_that_is_named_exists():
    named = set(re.findall(r"cicd_canary\.(\w+)", ALL_PAGES)) - {"yaml"}
    parts = {path.stem for folder in ("actions", "rules") for path in ROOT.glob(f"{folder}/*.yaml")}
    for path in ROOT.glob("sensors/*.yaml"):
        sensor = yaml.safe_load(path.read_text(encoding="utf-8"))
        parts |= {sensor["class_name"]} | {each["name"] for each in sensor["trigger_types"]}
    assert named
    assert named <= parts


def test_the_chat_commands_are_exactly_the_aliases():
    said = {chat.strip("`") for chat, _, _ in table("README.md", "Commands")} - {""}
    shown = {
        f"!{form['display']}"
        for path in ROOT.glob("aliases/*.yaml")
        for form in yaml.safe_load(path.read_text(encoding="utf-8"))["formats"]
    }
    assert said == shown


def test_every_file_of_the_project_that_is_named_exists():
    folders = "actions|bench|docs|host|script|tests"
    named = set(re.findall(rf"(?<![\w./])(?:{folders})/[\w./-]*\w", ALL_PAGES))
    missing = {path for path in named if not (ROOT / path).exists()}
    scripts = ("cisetup", "cibuild", "package", "post-inst", "pre-rm", "post-rm")
    assert missing == {f"script/{name}" for name in scripts}, (
        "only an application's scripts are not the project's"
    )


def test_the_table_has_every_file_that_metadata_is_read_from_and_each_field_in_order():
    columns = [("version",), ("description",), ("licence",), ("maintainer",), ("homepage",)]
    columns.append(("depends", "conflicts", "replaces"))
    assert list(table("docs/application.md", "Metadata")) == [
        (
            f"`{reader.path}`",
            *(
                ", ".join(f"`{field}`" for key in keys for field in reader.fields.get(key, ()))
                for keys in columns
            ),
        )
        for reader in metadata.READERS
    ]


def test_the_example_of_an_application_holds_the_defaults():
    policy = Configuration({}).policies.of("shop")
    example, without = (settings.load(text, "shop") for text in (EXAMPLE, None))
    assert policy.apply(example) == policy.apply(without)


def test_the_example_of_an_application_holds_every_key():
    everything = yaml.safe_load(re.sub(r"(?m)^( *)# (\w+:)", r"\1\2", EXAMPLE))
    settings.load(yaml.safe_dump(everything), "shop")
    known = settings.load(None, "shop").as_dict()
    assert everything.keys() == known.keys()
    for name, value in known.items():
        if isinstance(value, dict):
            assert everything[name].keys() == value.keys()


def test_the_installation_stores_every_secret_of_the_example():
    example = (ROOT / "cicd_canary.yaml.example").read_text(encoding="utf-8")
    secrets = set(re.findall(r"st2kv\.system\.(\w+)", example))
    stored = re.findall(r"st2 key set --encrypt (\w+)", PAGES["docs/installation.md"])
    assert sorted(stored) == sorted(secrets)


def test_configurations_are_registered_by_one_command():
    lines = [line.strip() for line in ALL_PAGES.splitlines() if "--register-configs" in line]
    assert set(lines) == {"sudo st2ctl reload --register-configs"}
