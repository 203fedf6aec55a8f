"""The pack's configuration is refused by the name of what is wrong in it."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.store import Store

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = yaml.safe_load((ROOT / "config.schema.yaml").read_text(encoding="utf-8"))
CODE = [
    path for folder in ("actions", "sensors") for path in sorted(ROOT.glob(f"{folder}/**/*.py"))
]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"consull": {}},
            "consull in the pack's configuration: unknown key; nearest: consul",
        ),
        ({"consul": {"urll": "x"}}, "consul.urll in .* unknown key; nearest: consul.url"),
        ({"url": "http://x"}, "url in .* unknown key; nearest: consul.url"),
        ({"ssh": {"gpg_key": "x"}}, "ssh.gpg_key in .* unknown key; nearest: repository.gpg_key"),
        ({"{{ config_context.x }}": {}}, r"^\? config_context.x \? in .* unknown key"),
        ({"consul": "http://x"}, "consul in .* expected a mapping, got 'http://x'"),
        (
            {"ssh": {"connect_timeout_s": "10"}},
            "ssh.connect_timeout_s in .* a whole number, got '10'",
        ),
        (
            {"ssh": {"connect_timeout_s": True}},
            "ssh.connect_timeout_s in .* a whole number, got True",
        ),
        (
            {"ssh": {"connect_timeout_s": 0}},
            "ssh.connect_timeout_s in .* expected 1 or more, got 0",
        ),
        ({"receiver": {"port": 70000}}, "receiver.port in .* expected from 1 to 65535, got 70000"),
        (
            {"repository": {"tool": "apt"}},
            "repository.tool in .* unknown tool 'apt'; nearest: aptly",
        ),
        (
            {"github": {"tags": "relase"}},
            "github.tags in .* one of none, stage, release, got 'relase'; nearest: release",
        ),
        ({"packaging": {"tool": "npfm"}}, "packaging.tool in .* 'npfm'; nearest: nfpm"),
        ({"repository": {"tool": "freigth"}}, "repository.tool in .* 'freigth'; nearest: freight"),
        ({"ci": {"jenkins": {"usr": "x"}}}, "ci.jenkins.usr in .* nearest: .*ci.jenkins.user"),
        ({"ci": {"tool": "jenkin"}}, "ci.tool in .* unknown tool 'jenkin'; nearest: jenkins"),
        ({"ci": {"tool": "Jenkins"}}, "ci.tool in .* expected .*, got 'Jenkins'"),
        ({"ci": {"jenkin": {}}}, "ci.jenkin in .* unknown key; nearest: ci.jenkins"),
        ({"ci": {"builds": {}}}, "ci.builds in .* unknown key"),
        ({"consul": {"kv_prefix": "/a b"}}, r"consul.kv_prefix in .* expected .*, got '/a b'"),
        (
            {"applications": {"acme/shop": {"branch": []}}},
            "applications.acme/shop.branch in .* unknown key; nearest: .*branches",
        ),
        (
            {"permissions": {"applications": {"Shop": {}}}},
            "permissions.applications in .* 'Shop' is no application's name",
        ),
        (
            {"applications": {"acme/shop": {"branches": ["main", 2]}}},
            r"applications.acme/shop.branches\[1\] in .* expected text, got 2",
        ),
    ],
)
def test_what_is_wrong_is_named(values, words):
    with pytest.raises(DeliveryError, match=words):
        Configuration(values)


def test_a_secret_of_the_wrong_type_is_not_shown():
    with pytest.raises(DeliveryError, match="consul.token in .* expected text, got something else"):
        Configuration({"consul": {"token": 12345}})


def test_an_empty_configuration_is_one():
    assert Configuration(None).build_service() == "build"
    assert Configuration({"consul": None, "ssh": {"key_file": None}}).build_tag() == "build::host"


def test_the_example_is_accepted():
    Configuration(yaml.safe_load((ROOT / "cicd_canary.yaml.example").read_text()))


# --- one truth for defaults ---------------------------------------------------------------------


def defaults(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key that has a default, by its own name."""
    for name, details in properties.items():
        if "default" in details:
            yield name, details["default"]
        yield from defaults(details.get("properties", {}))


DEFAULTS = dict(defaults(SCHEMA))


@pytest.mark.parametrize("given", [None, {}, dict.fromkeys(SCHEMA)])
def test_every_default_of_the_schema_is_there(given):
    configuration = Configuration(given)

    def check(values: dict[str, Any], properties: dict[str, Any]) -> None:
        for name, details in properties.items():
            if "properties" in details:
                check(values[name], details["properties"])
            elif "default" in details:
                assert values[name] == details["default"]
            else:
                assert name not in values

    for name, details in SCHEMA.items():
        if "properties" in details:
            check(configuration.section(name), details["properties"])


def test_what_is_set_comes_before_the_default():
    configuration = Configuration({"ci": {"timeout_s": 60, "jenkins": {"job": "team/{app}"}}})
    assert configuration.section("ci")["timeout_s"] == 60
    assert configuration.section("ci")["jenkins"]["job"] == "team/{app}"


def test_a_default_cannot_be_changed_for_others():
    Configuration({}).section("repository")["architectures"].append("s390x")
    assert "s390x" not in Configuration({}).section("repository")["architectures"]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_has_a_default_of_its_own(path):
    """Neither settings.get("port", 8095), nor `settings.get("port") or 8095`, nor a parameter."""
    found = [
        key
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for key in second_defaults(node)
        if key in DEFAULTS
    ]
    assert found == []


def second_defaults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and len(node.args) == 2:
        yield from key_that_is_got(node)
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        for value in node.values[:-1]:
            yield from key_that_is_got(value)
    if isinstance(node, ast.arguments):
        named = [*node.posonlyargs, *node.args][::-1]
        pairs = [*zip(named, node.defaults[::-1]), *zip(node.kwonlyargs, node.kw_defaults)]
        for argument, value in pairs:
            if isinstance(value, ast.Constant) and value.value == DEFAULTS.get(argument.arg, ...):
                yield argument.arg


def key_that_is_got(node: ast.AST) -> Iterator[str]:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        yield node.args[0].value


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('settings.get("port", 8095)', ["port"]),
        ('settings.get("port") or 8095', ["port"]),
        ("def listen(host, port=8095): pass", ["port"]),
        ("def listen(*, port=8095): pass", ["port"]),
        ('settings["port"], settings.get("token") or ""', ["token"]),
    ],
)
def test_a_default_in_code_would_be_found(code, found):
    assert [key for node in ast.walk(ast.parse(code)) for key in second_defaults(node)] == found


@pytest.mark.parametrize("path", sorted(ROOT.glob("actions/*.yaml")), ids=lambda path: path.stem)
def test_no_parameter_of_an_action_repeats_the_default_of_a_setting(path):
    parameters = yaml.safe_load(path.read_text(encoding="utf-8")).get("parameters", {})
    for name, details in parameters.items():
        assert name not in DEFAULTS or details.get("default") != DEFAULTS[name]


def test_hosts_and_the_store_take_the_same_prefix_for_granted():
    setup = (ROOT / "host" / "cicd-host-setup").read_text(encoding="utf-8")
    converge = (ROOT / "host" / "cicd-converge").read_text(encoding="utf-8")
    prefixes = {
        re.search(r" prefix=(\S+)", setup).group(1),
        re.search(r" KV_PREFIX=(\S+)", converge).group(1),
        inspect.signature(Store).parameters["prefix"].default,
    }
    assert prefixes == {DEFAULTS["kv_prefix"]}
