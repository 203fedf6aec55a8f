"""The pack's content has none of the faults StackStorm's registration lets pass.

What every pack is asked, the embedded engine's linter asks; the rest is this pack's own rules.
"""

from __future__ import annotations

import copy
import struct
from pathlib import Path

import pytest
import yaml

from packengine.lint import lint
from tests import content_checks
from tests.content_checks import CHECKS, Pack

ROOT = Path(__file__).resolve().parent.parent

EACH_CHECK = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def test_packengine_lint_finds_nothing_in_the_pack():
    found = lint(str(ROOT))
    assert [problem.line(str(ROOT)) for kind in found for problem in kind] == []


@EACH_CHECK
def test_the_pack_has_no_such_fault(check):
    assert list(check(Pack(ROOT))) == []


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
    assert list(check(Pack(write_pack(tmp_path, TINY)))) == []


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
    (
        "the_only_example_has_the_packs_name",
        changed("tiny.yaml.example", GONE),
        "there is none",
    ),
    (
        "the_only_example_has_the_packs_name",
        changed("old.yaml.example", {}),
        "the only",
    ),
    (
        "names_are_those_of_their_files",
        changed("rules/saw.yaml", "name", "seen"),
        "is called seen, which is not the name of the file",
    ),
    (
        "names_are_those_of_their_files",
        changed("aliases/greet.yaml", "name", "greet"),
        "begin it with tiny_",
    ),
    (
        "criteria_look_for_members_of_lists",
        changed("rules/saw.yaml", "criteria", "trigger.who", {"type": "in", "pattern": "ada"}),
        "trigger.who: with a text, in is a substring test",
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
        "formats_are_shown_to_people",
        changed("aliases/greet.yaml", "formats", ["greet {{ who }}"]),
        "each format needs a display and a representation",
    ),
    (
        "workflows_give_only_what_their_action_describes",
        changed("actions/greet_all.yaml", "output_schema", "properties", {}),
        "text is missing in the action's output_schema",
    ),
]


@pytest.mark.parametrize(
    ("name", "files", "words"), FAULTS, ids=[f"{name}: {words}" for name, _, words in FAULTS]
)
def test_a_pack_with_this_fault_is_found_out(name, files, words, tmp_path):
    check = getattr(content_checks, name)
    found = list(check(Pack(write_pack(tmp_path, files))))
    assert any(words in problem for problem in found), found


def test_each_check_is_known_to_find_something():
    assert {check.__name__ for check in CHECKS} == {name for name, _, _ in FAULTS}
