"""A tool is one file: what it says of itself, and who asks for that."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from delivery import ci, packaging, repository
from delivery.ci import CiServer
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.packaging import Packager

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
REGISTRIES = [ci.TOOLS, packaging.TOOLS, repository.TOOLS]
EVERY_TOOL = [
    pytest.param(registry, name, id=f"{registry.role}-{name}")
    for registry in REGISTRIES
    for name in registry.names()
]


class Toy(CiServer):
    name = "toy"
    own_settings: ClassVar = {
        "url": {"type": "string"},
        "token": {"type": "string", "secret": True},
        "depth": {"type": "integer", "minimum": 1, "default": 3},
    }
    required: ClassVar = {"toy.url": "set it to the toy's address"}

    def run(self, job):
        raise NotImplementedError


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(ci.TOOLS, "_registered", {})
    ci.TOOLS.register(Toy)


def test_the_tools_of_a_role_are_the_files_in_its_folder():
    assert ci.TOOLS.names() == ["build_host", "jenkins"]
    assert packaging.TOOLS.names() == ["fpm", "nfpm"]
    assert repository.TOOLS.names() == ["aptly", "freight"]


@pytest.mark.parametrize(("registry", "name"), EVERY_TOOL)
def test_a_tool_says_what_installs_the_programs_it_calls(registry, name):
    tool = registry.find(name)
    assert bool(tool.programs) == bool(tool.installed_by)


@pytest.mark.parametrize(("registry", "name"), EVERY_TOOL)
def test_what_a_tool_requires_can_be_set_and_has_no_default(registry, name):
    for key in registry.find(name).required:
        details = SCHEMA[registry.role]
        for part in key.split("."):
            details = details["properties"][part]
        assert "default" not in details


@pytest.mark.parametrize(("registry", "name"), EVERY_TOOL)
def test_the_schema_names_every_tool(registry, name):
    assert name in SCHEMA[registry.role]["properties"]["tool"]["description"]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.role)
def test_the_default_is_a_tool(registry):
    assert SCHEMA[registry.role]["properties"]["tool"]["default"] in registry.names()


def test_an_unknown_tool_is_refused_with_the_nearest(toy):
    for name, near in (("jenkin", "jenkins"), ("tyo", "toy")):
        with pytest.raises(
            DeliveryError, match=f"ci.tool .* unknown tool '{name}'; nearest: {near}"
        ):
            ci.TOOLS.find(name)


def test_a_module_that_holds_no_tool_is_none():
    assert not ci.TOOLS.knows("builds")
    with pytest.raises(DeliveryError, match="unknown tool 'layout'"):
        packaging.TOOLS.find("layout")


def test_a_file_that_cannot_be_loaded_is_named_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.setattr(packaging, "__path__", [*packaging.__path__, str(tmp_path)])
    with pytest.raises(
        DeliveryError,
        match=r"^delivery/packaging/broken.py cannot be loaded: ModuleNotFoundError: .*"
        "nothing_of_this_name.*; correct the file, or remove it",
    ):
        packaging.TOOLS.find("broken")
    assert packaging.TOOLS.find("nfpm").name == "nfpm"


def test_a_file_that_cannot_be_loaded_hides_no_other_mistake(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(packaging, "__path__", [*packaging.__path__, str(tmp_path)])
    with pytest.raises(DeliveryError, match="unknown tool 'nfmp'; nearest: nfpm"):
        Configuration({"packaging": {"tool": "nfmp"}})
    with pytest.raises(DeliveryError, match=r"broken.py cannot be loaded: SystemExit: 3; correct"):
        packaging.TOOLS.find("broken")


@pytest.mark.parametrize(
    ("number", "line", "expected"),
    [
        (1, "programs = 'dpkg-deb'", r"programs is 'dpkg-deb'; make it a tuple of texts"),
        (2, "programs = (7,)", r"programs is \(7,\); make it a tuple of texts"),
        (3, "required = ('url',)", r"required is \('url',\); make it a mapping of text to text"),
        (4, "required = {'url': None}", "required is .*; make it a mapping of text to text"),
        (5, "own_settings = 'url'", "own_settings is 'url'; make it a mapping of JSON schemas"),
        (6, "own_settings = {'url': 'string'}", "own_settings is .*; make it a mapping of JSON"),
        (7, "own_settings = {'url': {}}", "own_settings is .*; make it a mapping of JSON schemas"),
    ],
)
def test_what_a_class_says_of_itself_is_checked(tmp_path, monkeypatch, number, line, expected):
    name = f"crate_{number}"
    (tmp_path / f"{name}.py").write_text(
        "from delivery.packaging import Packager\n"
        "class Crate(Packager):\n"
        f"    name = '{name}'\n"
        f"    {line}\n"
    )
    monkeypatch.setattr(packaging, "__path__", [*packaging.__path__, str(tmp_path)])
    with pytest.raises(DeliveryError, match=f"^delivery/packaging/{name}.py: Crate.{expected}"):
        packaging.TOOLS.find(name)
    assert name not in packaging.TOOLS.names()


def test_a_file_that_is_added_is_a_tool_at_once(tmp_path, monkeypatch):
    (tmp_path / "crate.py").write_text(
        "from delivery.packaging import Packager\n"
        "class Crate(Packager):\n"
        "    name = 'crate'\n"
        "    def build(self, workspace, recipe):\n"
        "        raise NotImplementedError\n"
    )
    monkeypatch.setattr(packaging, "__path__", [*packaging.__path__, str(tmp_path)])
    configuration = Configuration({"packaging": {"tool": "crate"}})
    assert isinstance(packaging.TOOLS.create(configuration), Packager)
    assert "crate" in packaging.TOOLS.names()


# --- the settings of a tool that config.schema.yaml does not describe ---------------------------


def test_its_own_settings_are_taken_and_its_defaults_filled_in(toy):
    configuration = Configuration({"ci": {"tool": "toy", "toy": {"url": "http://toy"}}})
    assert configuration.section("ci")["toy"] == {"url": "http://toy", "depth": 3}
    assert isinstance(ci.TOOLS.create(configuration), Toy)


def test_its_settings_may_be_there_while_another_tool_is_in_use(toy):
    configuration = Configuration({"ci": {"tool": "build_host", "toy": {"url": "http://toy"}}})
    assert ci.TOOLS.chosen(configuration).name == "build_host"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ulr": "x"}, "ci.toy.ulr in .* unknown key; nearest: ci.toy.url"),
        ({"depth": 0}, "ci.toy.depth in .* expected 1 or more, got 0"),
        ({"token": 7}, "ci.toy.token in .* expected text, got something else"),
    ],
)
def test_its_settings_are_checked_as_those_of_the_schema(toy, settings, words):
    with pytest.raises(DeliveryError, match=words):
        Configuration({"ci": {"tool": "toy", "toy": settings}})


def test_its_settings_are_unknown_without_it():
    with pytest.raises(DeliveryError, match="ci.toy in .* unknown key"):
        Configuration({"ci": {"toy": {"url": "http://toy"}}})


def test_what_it_requires_is_named(toy):
    with pytest.raises(DeliveryError, match="^ci.toy.url is not set in .*; set it to the toy's"):
        ci.TOOLS.create(Configuration({"ci": {"tool": "toy"}}))
