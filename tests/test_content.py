"""The pack's content has none of the faults StackStorm's registration lets pass."""

from __future__ import annotations

import copy
import struct
from pathlib import Path

import pytest
import yaml

from tests import content_checks
from tests.content_checks import CHECKS, Pack

ROOT = Path(__file__).resolve().parent.parent

EACH_CHECK = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def problems_of(check, path: Path):
    if check is content_checks.workflows_pass_orquestas_inspection:
        try:
            from packengine.workflows import orquesta

            orquesta()
        except ImportError as error:
            pytest.skip(f"orquesta cannot be imported here: {error}")
    return list(check(Pack(path)))


@EACH_CHECK
def test_the_pack_has_no_such_fault(check):
    assert problems_of(check, ROOT) == []


GREET = {
    "name": "greet",
    "runner_type": "python-script",
    "entry_point": "greet.py",
    "description": "Greets.",
    "enabled": True,
    "parameters": {
        "who": {"type": "string", "description": "Whom to greet.", "required": True},
        "times": {"type": "integer", "description": "How often.", "default": 1},
        "style": {"type": "string", "description": "How.", "default": "x", "immutable": True},
    },
    "output_schema": {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The greeting."}},
    },
}

GREET_ALL = {
    "name": "greet_all",
    "runner_type": "orquesta",
    "entry_point": "workflows/greet_all.yaml",
    "description": "Greets twice.",
    "enabled": True,
    "parameters": {
        "who": {"type": "string", "description": "Whom.", "required": True, "pattern": "^[a-z]+\\Z"}
    },
    "output_schema": {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The greeting."}},
    },
}

GREET_ALL_WORKFLOW = {
    "version": 1.0,
    "input": ["who"],
    "vars": [{"text": None}],
    "output": [{"text": "<% ctx(text) %>"}],
    "tasks": {
        "greet": {
            "action": "tiny.greet",
            "input": {"who": "<% ctx(who) %>"},
            "next": [
                {"when": "<% succeeded() %>", "publish": [{"text": "<% result().result.text %>"}]},
                {"when": "<% failed() %>", "do": "apologise"},
            ],
        },
        "apologise": {
            "action": "core.echo",
            "input": {"message": "sorry"},
            "next": [{"do": "fail"}],
        },
    },
}

SAW_EVENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"who": {"type": "string", "description": "Who was seen."}},
}

TINY = {
    "pack.yaml": {
        "ref": "tiny",
        "name": "tiny",
        "description": "A pack.",
        "version": "0.1.0",
        "author": "Nobody",
        "email": "nobody@example.org",
        "keywords": ["tiny"],
        "python_versions": ["3"],
    },
    "config.schema.yaml": {
        "token": {"type": "string", "description": "A credential.", "secret": True},
        "server": {
            "type": "object",
            "description": "A server.",
            "additionalProperties": False,
            "properties": {"port": {"type": "integer", "description": "Its port."}},
        },
    },
    "tiny.yaml.example": {"token": "x", "server": {"port": 1}},
    "actions/greet.yaml": GREET,
    "actions/greet_all.yaml": GREET_ALL,
    "actions/workflows/greet_all.yaml": GREET_ALL_WORKFLOW,
    "actions/greet.py": "class Greet:\n    pass\n",
    "sensors/door.yaml": {
        "class_name": "Door",
        "entry_point": "door.py",
        "description": "Looks.",
        "trigger_types": [
            {"name": "saw", "description": "Somebody came.", "payload_schema": SAW_EVENT}
        ],
    },
    "sensors/door.py": "class Door:\n    pass\n",
    "rules/saw.yaml": {
        "name": "saw",
        "description": "Greets.",
        "enabled": True,
        "trigger": {"type": "tiny.saw"},
        "criteria": {"trigger.who": {"type": "in", "pattern": ["ada", "bob"]}},
        "action": {"ref": "tiny.greet", "parameters": {"who": "{{ trigger.who }}"}},
    },
    "rules/hourly.yaml": {
        "name": "hourly",
        "description": "Greets.",
        "enabled": False,
        "trigger": {"type": "core.st2.IntervalTimer", "parameters": {"unit": "hours", "delta": 1}},
        "criteria": {},
        "action": {"ref": "tiny.greet", "parameters": {"who": "all"}},
    },
    "aliases/greet.yaml": {
        "name": "tiny_greet",
        "action_ref": "tiny.greet",
        "description": "Greets.",
        "formats": [{"display": "greet <who>", "representation": ["greet {{ who }}"]}],
        "ack": {"format": "Greeting {{ execution.parameters.who }}"},
    },
    "policies/greet.yaml": {
        "name": "tiny_greet",
        "description": "One at a time.",
        "enabled": True,
        "resource_ref": "tiny.greet",
        "policy_type": "action.concurrency.attr",
        "parameters": {"threshold": 1, "action": "delay", "attributes": ["who"]},
    },
    "LICENSE": "Apache License\nVersion 2.0, January 2004\n",
    "icon.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 64, 64),
}


def write_pack(path: Path, files) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@EACH_CHECK
def test_a_pack_without_fault_passes(check, tmp_path):
    assert problems_of(check, write_pack(tmp_path, TINY)) == []


GONE = object()


def changed(file, *keys_and_value):
    """Return the tiny pack with one value changed; GONE takes it away."""
    files = copy.deepcopy(TINY)
    *keys, value = (file, *keys_and_value)
    place = files
    for key in keys[:-1]:
        place = place[key]
    if value is GONE:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return files


FLOW = "actions/workflows/greet_all.yaml"

FAULTS = [
    (
        "metadata_fits_stackstorms_schemas",
        changed("actions/greet.yaml", "colour", "red"),
        "actions/greet.yaml: colour is not known",
    ),
    (
        "metadata_fits_stackstorms_schemas",
        changed("rules/saw.yaml", "action", GONE),
        "rules/saw.yaml: action is required",
    ),
    (
        "the_manifest_is_what_exchange_asks_for",
        changed("pack.yaml", "python_versions", ["2", "3"]),
        'python_versions must be ["3"]',
    ),
    (
        "the_manifest_is_what_exchange_asks_for",
        changed("pack.yaml", "email", GONE),
        "pack.yaml: email is missing",
    ),
    ("the_manifest_is_what_exchange_asks_for", changed("LICENSE", "MIT"), "not Apache-2.0"),
    ("the_manifest_is_what_exchange_asks_for", changed("LICENSE", GONE), "LICENSE: is missing"),
    ("the_manifest_is_what_exchange_asks_for", changed("icon.png", b"GIF89a"), "64x64"),
    ("the_example_configuration_is_valid", changed("tiny.yaml.example", GONE), "there is none"),
    ("the_example_configuration_is_valid", changed("old.yaml.example", {}), "the only"),
    (
        "the_example_configuration_is_valid",
        changed("tiny.yaml.example", "server", "port", "one"),
        "tiny.yaml.example: server.port: 'one' is not of type",
    ),
    (
        "the_example_configuration_is_valid",
        changed("tiny.yaml.example", "tokn", "x"),
        "tokn is not known",
    ),
    ("entry_points_exist", changed("actions/greet.py", GONE), "there is no actions/greet.py"),
    ("entry_points_exist", changed(FLOW, GONE), "there is no actions/workflows/greet_all.yaml"),
    ("entry_points_exist", changed("actions/greet.yaml", "entry_point", ""), "no entry_point"),
    ("entry_points_exist", changed("actions/greet.py", "x = 1\n"), "has no class Action"),
    (
        "entry_points_exist",
        changed("sensors/door.yaml", "class_name", "Window"),
        "sensors/door.py has no class Window",
    ),
    (
        "names_are_unique_and_those_of_their_files",
        changed("actions/hail.yaml", GREET),
        "actions/greet.yaml is called greet already",
    ),
    (
        "names_are_unique_and_those_of_their_files",
        changed("rules/saw.yaml", "name", "seen"),
        "is called seen, which is not the name of the file",
    ),
    (
        "names_are_unique_and_those_of_their_files",
        changed("aliases/greet.yaml", "name", "greet"),
        "begin it with tiny_",
    ),
    (
        "references_resolve",
        changed("rules/saw.yaml", "action", "ref", "tiny.grete"),
        "rules/saw.yaml: there is no action tiny.grete",
    ),
    (
        "references_resolve",
        changed("rules/saw.yaml", "trigger", "type", "tiny.heard"),
        "there is no trigger tiny.heard",
    ),
    (
        "references_resolve",
        changed("aliases/greet.yaml", "action_ref", "core.sendmail"),
        "there is no action core.sendmail",
    ),
    (
        "references_resolve",
        changed("policies/greet.yaml", "resource_ref", "tiny.x"),
        "policies/greet.yaml: there is no action tiny.x",
    ),
    (
        "references_resolve",
        changed(FLOW, "tasks", "greet", "action", "tiny.hail"),
        "task greet: there is no action tiny.hail",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/saw.yaml", "action", "parameters", {}),
        "rules/saw.yaml: tiny.greet: the required who is not given",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/saw.yaml", "action", "parameters", "whom", "x"),
        "whom is not known",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/saw.yaml", "action", "parameters", "times", "many"),
        "times: 'many' is not of type 'integer'",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/saw.yaml", "action", "parameters", "style", "y"),
        "style is immutable",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/hourly.yaml", "trigger", "parameters", "delta", GONE),
        "trigger: the required delta is not given",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("rules/hourly.yaml", "trigger", "parameters", "unit", "moons"),
        "'moons' is not one of",
    ),
    (
        "parameters_passed_are_those_taken",
        changed(FLOW, "tasks", "apologise", "input", {}),
        "task apologise: core.echo: the required message is not given",
    ),
    (
        "parameters_passed_are_those_taken",
        changed("policies/greet.yaml", "parameters", "attributes", ["whom"]),
        "tiny.greet has no parameter whom",
    ),
    (
        "rules_use_what_their_trigger_has",
        changed("rules/saw.yaml", "action", "parameters", "who", "{{ trigger.whom }}"),
        "tiny.saw has no whom",
    ),
    (
        "rules_use_what_their_trigger_has",
        changed("rules/saw.yaml", "criteria", "trigger.size", {"type": "exists"}),
        "tiny.saw has no size",
    ),
    ("rules_say_what_they_mean", changed("rules/saw.yaml", "enabled", GONE), "enabled is not said"),
    (
        "rules_say_what_they_mean",
        changed("rules/saw.yaml", "criteria", "trigger.who", {"type": "in", "pattern": "ada"}),
        "trigger.who: with a text, in is a substring test",
    ),
    (
        "workflows_pass_orquestas_inspection",
        changed(FLOW, "tasks", "greet", "input", "who", "<% ctx(whom) %>"),
        "whom",
    ),
    (
        "workflows_pass_orquestas_inspection",
        changed(FLOW, "tasks", "greet", "next", [{"when": "<% succeeded( %>"}]),
        "succeeded(",
    ),
    ("workflows_pass_orquestas_inspection", changed(FLOW, "tasks", "greet", "nxt", []), "nxt"),
    (
        "workflows_take_and_give_what_their_action_says",
        changed(FLOW, "input", ["who", "when"]),
        "when is missing in the action's parameters",
    ),
    (
        "workflows_take_and_give_what_their_action_says",
        changed(FLOW, "input", []),
        "who is missing in the workflow's input",
    ),
    (
        "workflows_take_and_give_what_their_action_says",
        changed(FLOW, "output", GONE),
        "text is missing in the workflow's output",
    ),
    (
        "workflows_read_what_actions_give",
        changed(
            FLOW, "tasks", "greet", "next", 0, "publish", [{"text": "<% result().result.t %>"}]
        ),
        "tiny.greet gives no result.t",
    ),
    (
        "workflows_read_what_actions_give",
        changed(
            FLOW, "tasks", "greet", "next", 0, "publish", [{"text": "<% result().output.text %>"}]
        ),
        "tiny.greet gives no output.text",
    ),
    (
        "failures_do_not_end_green",
        changed(FLOW, "tasks", "apologise", "next", GONE),
        "when greet fails, the workflow succeeds after apologise",
    ),
    (
        "failures_do_not_end_green",
        changed(FLOW, "tasks", "greet", "next", 1, "do", "noop"),
        "when greet fails, the workflow succeeds after greet",
    ),
    (
        "everything_is_described",
        changed("actions/greet.yaml", "parameters", "who", "description", GONE),
        "parameter who has no description",
    ),
    (
        "everything_is_described",
        changed("config.schema.yaml", "server", "properties", "port", "description", GONE),
        "server.port has no description",
    ),
    (
        "everything_is_described",
        changed("rules/saw.yaml", "description", GONE),
        "rules/saw.yaml: has no description",
    ),
    (
        "everything_is_described",
        changed(
            "sensors/door.yaml",
            "trigger_types",
            0,
            "payload_schema",
            "properties",
            "who",
            "description",
            "",
        ),
        "trigger tiny.saw: who has no description",
    ),
    (
        "texts_that_workflows_take_are_constrained",
        changed("actions/greet_all.yaml", "parameters", "who", "pattern", GONE),
        "who needs a pattern, an enum or a maxLength",
    ),
    (
        "texts_that_workflows_take_are_constrained",
        changed("actions/greet_all.yaml", "parameters", "who", "pattern", "^[a-z]+$"),
        "$ also matches before a line's end",
    ),
    (
        "credentials_are_secret",
        changed("config.schema.yaml", "token", "secret", GONE),
        "token must have secret: true",
    ),
    (
        "credentials_are_secret",
        changed("actions/greet.yaml", "parameters", "door_password", {"type": "string"}),
        "door_password must have secret: true",
    ),
    (
        "python_files_compile_and_are_not_wide",
        changed("actions/lib/wide.py", "#" * 101),
        "actions/lib/wide.py:1: 101 columns, 100 are allowed",
    ),
    (
        "python_files_compile_and_are_not_wide",
        changed("sensors/door.py", "class Door(:\n"),
        "sensors/door.py:1: ",
    ),
    (
        "aliases_fit_their_actions",
        changed("aliases/greet.yaml", "formats", ["greet {{ who }}"]),
        "each format needs a display and a representation",
    ),
    (
        "aliases_fit_their_actions",
        changed("aliases/greet.yaml", "formats", 0, "representation", ["greet {{ whom }}"]),
        "whom is not known",
    ),
    (
        "aliases_fit_their_actions",
        changed("aliases/greet.yaml", "formats", 0, "representation", ["greet"]),
        "the required who is not given",
    ),
    (
        "aliases_fit_their_actions",
        changed("aliases/greet.yaml", "immutable_parameters", {"tone": "kind"}),
        "tone is not known",
    ),
    (
        "aliases_mean_one_thing",
        changed(
            "aliases/greet.yaml",
            "formats",
            0,
            "representation",
            ["greet {{ who }}", "greet all {{ who }}"],
        ),
        '"greet all word" also matches "greet {{ who }}"',
    ),
    (
        "aliases_mean_one_thing",
        changed("aliases/greet.yaml", "formats", 0, "representation", ["greet who={{ who }}"]),
        "nothing that reads like",
    ),
    (
        "acknowledgements_render",
        changed("aliases/greet.yaml", "ack", "format", "{{ execution.parameters.whom or 'x' }}"),
        "has no attribute 'whom'",
    ),
]


@pytest.mark.parametrize(
    ("name", "files", "words"), FAULTS, ids=[f"{name}: {words}" for name, _, words in FAULTS]
)
def test_a_pack_with_this_fault_is_found_out(name, files, words, tmp_path):
    check = getattr(content_checks, name)
    found = problems_of(check, write_pack(tmp_path, files))
    assert any(words in problem for problem in found), found


def test_each_check_is_known_to_find_something():
    assert {check.__name__ for check in CHECKS} == {name for name, _, _ in FAULTS}
