"""Whatever is wrong with a pack is found, and what is right is left in peace."""

from __future__ import annotations

import json
import os

import pytest
from tiny import ACTION, FILES, FLOW, GONE, SENSOR, changed, write

from packengine import cli
from packengine.lint import lint
from packengine.packs import PackError

GREET = "actions/greet.yaml"
TASKS = (FLOW, "tasks")
SAW = "rules/saw.yaml"
ALIAS = "aliases/greet.yaml"


def lines(problems, path):
    return [problem.line(str(path)) for problem in problems]


def test_a_pack_without_fault_has_none(tmp_path):
    assert lint(str(write(tmp_path, FILES))) == ([], [], [])


# A fault each: what is changed, and the line that is then said.
FAULTS = [
    (
        changed("pack.yaml", "email", GONE),
        "pack.yaml: email is missing, and registration fails without it; add an address",
    ),
    (
        changed("pack.yaml", "version", "1"),
        "pack.yaml: version: '1' does not match",
    ),
    (
        changed("config.schema.yaml", "tries", "default", "many"),
        "config.schema.yaml: default of tries: 'many' is not of type 'integer'; correct it",
    ),
    (
        changed("tiny.yaml.example", "server", "port", "one"),
        "tiny.yaml.example: server.port: 'one' is not of type 'integer'; correct it, or change "
        "config.schema.yaml",
    ),
    (
        changed("tiny.yaml.example", "tokn", "x"),
        "tiny.yaml.example: tokn is not known, nearest: token; remove it",
    ),
    (changed("tiny.yaml.example", "a: b: c"), "tiny.yaml.example: mapping values are not allowed"),
    # metadata
    (
        changed(GREET, "colour", "red"),
        "actions/greet.yaml: colour is not known; remove it, or correct its spelling",
    ),
    (changed(SAW, "action", GONE), "rules/saw.yaml: action is required; add it"),
    (
        changed(GREET, "runner_type", "python-scrip"),
        "actions/greet.yaml: StackStorm does not have the runner python-scrip; write one of",
    ),
    (
        changed("actions/hail.yaml", FILES[GREET]),
        "actions/hail.yaml: there is already an action tiny.greet; rename one of the two",
    ),
    # entry points
    (
        changed("actions/greet.py", GONE),
        "actions/greet.yaml: there is no actions/greet.py; correct entry_point, or add the file",
    ),
    (changed(FLOW, GONE), "actions/greet_all.yaml: there is no actions/workflows/greet_all.yaml"),
    (changed(GREET, "entry_point", ""), "actions/greet.yaml: has no entry_point; name its file"),
    (
        changed("actions/list.yaml", {"name": "list", "runner_type": "local-shell-script"}),
        "actions/list.yaml: has no entry_point",
    ),
    (
        changed(
            "actions/list.yaml",
            {"name": "list", "runner_type": "local-shell-cmd", "entry_point": "list.sh"},
        ),
        "actions/list.yaml: local-shell-cmd takes no entry_point; leave it out, or use "
        "local-shell-script",
    ),
    (
        changed("actions/greet.py", "x = 1\n"),
        "actions/greet.py: defines no class with a method run; add one that extends Action",
    ),
    (
        changed("actions/greet.py", ACTION.replace("def run", "def runn")),
        "actions/greet.py: defines no class with a method run",
    ),
    (
        changed("actions/greet.py", ACTION + ACTION.replace("Greet", "Also")),
        "actions/greet.py: defines several classes with a method run, of which the runner takes "
        "Also; leave one",
    ),
    (
        changed("actions/greet.py", ACTION.replace("(Action)", "")),
        "actions/greet.py: Greet does not extend Action",
    ),
    (
        changed("actions/greet.py", ACTION.replace("times=1", "count=1")),
        "actions/greet.py: run() does not take the action's parameter times; add it",
    ),
    (
        changed("actions/greet.py", ACTION.replace("who,", "who, whom,")),
        "actions/greet.py: run() requires whom, which is no parameter of the action; add it",
    ),
    (
        changed("actions/greet.py", "class Greet(:\n"),
        "actions/greet.py: line 1: ",
    ),
    (
        changed("actions/lib/words.py", "x = = 1\n"),
        "actions/lib/words.py: line 1: ",
    ),
    (
        changed("sensors/door.yaml", "class_name", "Window"),
        "sensors/door.yaml: door.py has no class Window; correct class_name",
    ),
    (changed("sensors/door.py", GONE), "sensors/door.yaml: there is no sensors/door.py"),
    (
        changed("sensors/door.py", SENSOR.replace("def cleanup", "def clean_up")),
        "sensors/door.py: Door has no method cleanup, so that it cannot be started; add it",
    ),
    (
        changed("sensors/door.py", SENSOR.replace("(Sensor)", "(PollingSensor)")),
        "sensors/door.py: Door has no method poll",
    ),
    # references
    (
        changed(SAW, "action", "ref", "tiny.grete"),
        "rules/saw.yaml: there is no action tiny.grete; write tiny.greet or tiny.greet_all",
    ),
    (
        changed(SAW, "trigger", "type", "tiny.heard"),
        "rules/saw.yaml: the pack tiny has no trigger tiny.heard; correct the name",
    ),
    (
        changed(SAW, "trigger", "type", "core.st2.CronTime"),
        "rules/saw.yaml: the pack core has no trigger core.st2.CronTime",
    ),
    (changed(ALIAS, "action_ref", "core.nothing"), "aliases/greet.yaml: there is no action core."),
    (changed("policies/greet.yaml", "resource_ref", "tiny.x"), "policies/greet.yaml: there is no"),
    (
        changed(*TASKS, "greet", "action", "tiny.hail"),
        f"{FLOW}: task greet: there is no action tiny.hail",
    ),
    # what is passed
    (
        changed(SAW, "action", "parameters", {}),
        "rules/saw.yaml: tiny.greet: the required who is not given; pass it",
    ),
    (
        changed(SAW, "action", "parameters", "whom", "x"),
        "rules/saw.yaml: tiny.greet: whom is not known; leave it out",
    ),
    (
        changed(SAW, "action", "parameters", "times", "many"),
        "rules/saw.yaml: tiny.greet: times: 'many' is not of type 'integer'; correct it",
    ),
    (
        changed(SAW, "action", "parameters", "style", "y"),
        "rules/saw.yaml: tiny.greet: style is immutable; leave it out",
    ),
    (
        changed("rules/hourly.yaml", "trigger", "parameters", "delta", GONE),
        "rules/hourly.yaml: trigger.parameters.delta is required; add it",
    ),
    (
        changed("rules/hourly.yaml", "trigger", "parameters", "unit", "moons"),
        "rules/hourly.yaml: trigger.parameters.unit: 'moons' is not one of",
    ),
    (
        changed(*TASKS, "apologise", "input", {}),
        f"{FLOW}: task apologise: core.echo: the required message is not given",
    ),
    (
        changed(*TASKS, "greet", "input", "times", "many"),
        f"{FLOW}: task greet: tiny.greet: times: 'many' is not of type 'integer'",
    ),
    (
        changed("policies/greet.yaml", "parameters", "attributes", ["whom"]),
        "policies/greet.yaml: tiny.greet has no parameter whom; correct the attribute's name",
    ),
    (
        changed(GREET, "parameters", "times", "default", "many"),
        "actions/greet.yaml: default of times: 'many' is not of type 'integer'",
    ),
    # rules
    (
        changed(SAW, "action", "parameters", "who", "{{ trigger.whom }}"),
        "rules/saw.yaml: tiny.saw has no whom; read one of who",
    ),
    (
        changed(SAW, "criteria", "trigger.size", {"type": "exists", "pattern": True}),
        "rules/saw.yaml: tiny.saw has no size",
    ),
    (
        changed(SAW, "enabled", GONE),
        "rules/saw.yaml: enabled is not said, so StackStorm takes it for false; say enabled: true",
    ),
    # expressions
    (
        changed(SAW, "action", "parameters", "who", "{{ trigger.who "),
        "rules/saw.yaml: parameter who: unexpected end of template",
    ),
    (
        changed(SAW, "action", "parameters", "who", "{{ trigger.who | shout }}"),
        "rules/saw.yaml: parameter who: No filter named 'shout'",
    ),
    (
        changed(SAW, "action", "parameters", "who", "{{ triger.who }}"),
        "rules/saw.yaml: parameter who: '{{ triger.who }}' names triger, which a rule does not",
    ),
    (
        changed(SAW, "criteria", "trigger.who", "pattern", "{{ st2kv.system.who"),
        "rules/saw.yaml: trigger.who: unexpected end of template",
    ),
    (
        changed(ALIAS, "result", {"format": "{% if x %}"}),
        "aliases/greet.yaml: result: Unexpected end of template",
    ),
    (
        changed(GREET, "parameters", "times", "default", "{{ a b }}"),
        "actions/greet.yaml: default of times: expected token",
    ),
    (
        changed(*TASKS, "greet", "next", [{"when": "<% succeeded( %>"}]),
        f"{FLOW}: tasks.greet.next[0].when: Parse error: unexpected end of statement in "
        "<% succeeded( %>; correct the expression",
    ),
    # workflows
    (
        changed(*TASKS, "greet", "input", "who", "<% ctx(whom) %>"),
        f'{FLOW}: tasks.greet.input: Variable "whom" is referenced before assignment in '
        "<% ctx(whom) %>; publish it before",
    ),
    (changed(*TASKS, "greet", "nxt", []), f"{FLOW}: tasks.greet: Additional properties are not"),
    (changed(FLOW, "a: b: c"), f"{FLOW}: mapping values are not allowed"),
    (
        changed(FLOW, "input", ["who", "when"]),
        "actions/greet_all.yaml: the workflow's input when is no parameter, so nobody can pass it",
    ),
    (
        changed(FLOW, "input", []),
        f"{FLOW}: input does not have the action's parameter who, which is then ignored; add it",
    ),
    (
        changed(FLOW, "output", GONE),
        f"{FLOW}: output does not have text of the action's output_schema; add it to output",
    ),
    (
        changed(*TASKS, "greet", "next", 0, "publish", [{"text": "<% result().result.t %>"}]),
        f"{FLOW}: task greet: tiny.greet gives no result.t; read one of text",
    ),
    (
        changed(*TASKS, "greet", "next", 0, "publish", [{"text": "<% result().output.t %>"}]),
        f"{FLOW}: task greet: tiny.greet gives no output; read one of",
    ),
    # aliases
    (
        changed(ALIAS, "formats", ["greet {{ whom }}"]),
        'aliases/greet.yaml: "greet {{ whom }}": whom is not known; leave it out',
    ),
    (
        changed(ALIAS, "formats", ["greet"]),
        'aliases/greet.yaml: "greet": the required who is not given; pass it',
    ),
    (
        changed(ALIAS, "immutable_parameters", {"tone": "kind"}),
        'aliases/greet.yaml: "greet {{ who }}": tone is not known',
    ),
    (
        changed(ALIAS, "formats", ["greet {{ who }}", "greet all {{ who }}"]),
        'aliases/greet.yaml: "greet all word" also matches "greet {{ who }}", so StackStorm',
    ),
    (
        changed(ALIAS, "formats", ["greet who={{ who }}"]),
        'aliases/greet.yaml: nothing that reads like "greet who=word" matches',
    ),
    (
        changed(ALIAS, "formats", ["greet ({{ who }}"]),
        'aliases/greet.yaml: "greet ({{ who }}" is no regular expression',
    ),
    (
        changed(ALIAS, "ack", "format", "{{ execution.parameters.whom or 'x' }}"),
        "has no attribute 'whom'; read only what every line of the format gives",
    ),
    (
        changed("aliases/again.yaml", dict(FILES[ALIAS], name="again")),
        'aliases/greet.yaml: "greet word" also matches "greet {{ who }}" of tiny.again, so',
    ),
    # what StackStorm says only when it runs
    (
        changed("triggers/saw.yaml", {"name": "saw"}),
        "sensors/door.yaml: there is already a trigger tiny.saw; describe it in one place",
    ),
    (
        changed("actions/greet.py", ACTION.replace("def run", "async def run")),
        "actions/greet.py: run() is async, and the runner does not wait for what it returns",
    ),
    (
        changed(GREET, "entry_point", "../../greet.py"),
        "actions/greet.yaml: entry_point lies outside of the pack; move the file",
    ),
    (
        changed(SAW, "criteria", "trigger.who", {"type": "regex", "pattern": "("}),
        "rules/saw.yaml: criterion \"trigger.who\": '(' is no regular expression",
    ),
    (
        changed(*TASKS, "greet", "input", "who", "{{ ctx().who | shout }}"),
        f"{FLOW}: No filter named 'shout'",
    ),
    (
        changed(*TASKS, "greet", "input", "who", "<% ctx(who).shout(1 + sum([2])) %>"),
        f"{FLOW}: YAQL has no function shout in <% ctx(who)",
    ),
    # what no pack should hold
    (changed(SAW, "x: 2001-99-99\n"), "rules/saw.yaml: holds a value that cannot be read: Value"),
    (changed(SAW, "x: !!int foo\n"), "rules/saw.yaml: holds a value that cannot be read: Value"),
    (changed(FLOW, "x: !!int foo\n"), f"{FLOW}: holds a value that cannot be read: Value"),
    (changed(FLOW, "tasks", GONE), "'tasks' is a required property"),
    (
        changed("config.schema.yaml", {5: {"type": "string"}}),
        "config.schema.yaml: the document: the key 5 is not text; quote it",
    ),
    (
        changed(GREET, "parameters", "who", "position", float("inf")),
        'actions/greet.yaml: parameter "who" has the position inf; number them from 0',
    ),
    (
        changed(SAW, "criteria", "trigger.who", "type", ["equals"]),
        'rules/saw.yaml: criterion "trigger.who": StackStorm does not have the operator [',
    ),
    (
        changed("sensors/door.yaml", "trigger_types", 0, "payload_schema", {"properties": [1]}),
        "sensors/door.yaml: trigger_types[0].payload_schema.properties: [1] is not of type",
    ),
    (
        changed(ALIAS, "formats", ["greet {{ who }}" + "x" * 5000]),
        "characters, more than 2000; shorten the format",
    ),
    (
        changed(ALIAS, "formats", ["greet {{ who }}\\d{4294967296}"]),
        "is no regular expression: the repetition number is too large; correct the format",
    ),
    (
        changed(ALIAS, "formats", ["(?:" * 600 + "{{ who }}" + ")" * 600]),
        "aliases/greet.yaml: ",
    ),
    (
        changed("actions/greet.py", "class A(B):\n    pass\n\n\nclass B(A):\n    pass\n"),
        "actions/greet.py: defines no class with a method run",
    ),
    (
        changed("actions/lib/words.py", "x = " + "-" * 100_000 + "1\n"),
        "actions/lib/words.py: ",
    ),
]


@pytest.mark.parametrize(("files", "line"), FAULTS, ids=[line[:70] for _, line in FAULTS])
def test_a_pack_with_this_fault_is_found_out(files, line, tmp_path):
    found = lint(str(write(tmp_path, files)))
    assert any(line in each for each in lines(found.faults, tmp_path)), found
    assert (found.unsupported, found.unchecked) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        ACTION.replace('def run(self, who, times=1, style="x")', "def run(self, **given)"),
        ACTION.replace("Action)", "LibraryAction)"),
        "from lib.greet import Base\n\n\nclass Greet(Base):\n    pass\n",
        "class Helper:\n    pass\n" + ACTION,
        ACTION.replace("\nclass", "\nwith open(__file__):\n  class").replace("\n    ", "\n      "),
    ],
)
def test_what_a_file_does_not_tell_is_left_in_peace(text, tmp_path):
    assert lint(str(write(tmp_path, changed("actions/greet.py", text)))).faults == []


UNSUPPORTED = [
    (
        changed("actions/chain.yaml", {"name": "chain", "runner_type": "action-chain"}),
        "actions/chain.yaml: the engine does not have the runner action-chain; run it on",
    ),
    (
        changed(SAW, "trigger", "type", "core.st2.CronTimer"),
        "rules/saw.yaml: the engine does not have the trigger type core.st2.CronTimer",
    ),
    (
        changed(SAW, "action", {"ref": "core.sendmail"}),
        "rules/saw.yaml: the engine does not have the action core.sendmail",
    ),
    (
        changed(*TASKS, "apologise", {"action": "core.http", "next": [{"do": "fail"}]}),
        f"{FLOW}: task apologise: the engine does not have the action core.http",
    ),
    (
        changed(ALIAS, "formats", 0, "match_multiple", True),
        "aliases/greet.yaml: the engine does not have match_multiple",
    ),
    (
        changed(SAW, "criteria", {"trigger..who": {"type": "equals", "pattern": "ada"}}),
        "rules/saw.yaml: criterion: the embedded engine does not have the JSONPath of",
    ),
]


@pytest.mark.parametrize(("files", "line"), UNSUPPORTED)
def test_what_the_engine_does_not_have_is_no_fault_of_the_pack(files, line, tmp_path):
    found = lint(str(write(tmp_path, files)))
    assert found.faults == []
    assert any(each.startswith(line) for each in lines(found.unsupported, tmp_path)), found


def test_what_another_pack_has_is_checked_when_it_is_here(tmp_path):
    write(tmp_path / "tiny", FILES)
    user = {
        "pack.yaml": dict(FILES["pack.yaml"], ref="user", name="user"),
        "rules/saw.yaml": dict(FILES[SAW], action={"ref": "tiny.greet", "parameters": {}}),
    }
    write(tmp_path / "user", user)
    alone = lint(str(tmp_path / "user"))
    assert alone.faults == []
    assert lines(alone.unchecked, tmp_path / "user") == [
        "rules/saw.yaml: tiny.greet is of the pack tiny, which is not here; name that pack's "
        "directory with --pack",
        "rules/saw.yaml: tiny.saw is of the pack tiny, which is not here; name that pack's "
        "directory with --pack",
    ]
    together = lint(str(tmp_path / "user"), [str(tmp_path / "tiny")])
    assert lines(together.faults, tmp_path / "user") == [
        "rules/saw.yaml: tiny.greet: the required who is not given; pass it"
    ]


@pytest.mark.parametrize(
    "file", ["actions/lib/x.py", "sensors/x.py", "actions/x.yaml", "x.yaml.example"]
)
@pytest.mark.parametrize("kind", ["dangling", "circle", "pipe"])
def test_what_is_no_regular_file_is_a_fault(file, kind, tmp_path):
    path = write(tmp_path, FILES) / file
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling" else path.name)
    faults = lines(lint(str(tmp_path)).faults, tmp_path)
    assert [line.split(":")[0] for line in faults] == [file]


def test_two_packs_of_one_ref_are_refused(tmp_path):
    write(tmp_path / "a", FILES)
    write(tmp_path / "b", FILES)
    with pytest.raises(PackError, match="b/pack.yaml: the pack tiny is already loaded from .*a;"):
        lint(str(tmp_path / "a"), [str(tmp_path / "b")])


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """A function that runs `lint` in a directory that is no pack; returns status and output."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = cli.main(["lint", *words])
        return status, capsys.readouterr().out

    return run


def test_the_command_exits_with_one_for_faults_only(command, tmp_path):
    write(tmp_path / "right", UNSUPPORTED[0][0])
    assert command("right") == (
        0,
        "unsupported:\n"
        "  actions/chain.yaml: the engine does not have the runner action-chain; run it on "
        "StackStorm\n"
        "0 wrong, 1 unsupported, 0 not checked\n",
    )
    write(tmp_path / "wrong", changed(SAW, "enabled", GONE))
    status, output = command("wrong")
    assert status == 1
    assert output.splitlines()[-1] == "1 wrong, 0 unsupported, 0 not checked"
    status, output = command("wrong", "--json")
    assert status == 1
    assert list(json.loads(output)) == ["faults", "unsupported", "unchecked"]


def test_a_directory_that_is_no_pack_is_a_fault(command, tmp_path):
    (tmp_path / "empty").mkdir()
    status, output = command("empty")
    assert status == 1
    assert output.startswith(".: not a pack, it has no pack.yaml; name a pack's directory\n")
