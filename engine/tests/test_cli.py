"""The command line, in StackStorm's words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from patience import wait_for

from packengine import cli, datastore, show

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PACKS = [os.path.join(HERE, "packs", name) for name in ("fixture", "examples")]


@pytest.fixture
def st2(tmp_path, capsys):
    """A function that runs a command line; returns (exit code, output, errors)."""

    def run(*words):
        options = ["--data-dir", str(tmp_path / "data")]
        for path in PACKS:
            options += ["--pack", path]
        code = cli.main(options + list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_run_shows_how_an_action_ends(st2):
    code, output, _ = st2("run", "fixture.greet", "name=ada", "password=swordfish")
    assert code == 0
    assert re.match(r"id: [0-9a-f]{24}\naction.ref: fixture.greet\ncontext.user: ", output)
    assert "status: succeeded (0." in output
    assert "greeting: hello ada" in output
    assert "swordfish" not in output
    assert "t0ken" not in output


def test_run_shows_the_output_of_a_workflow_and_its_tasks_on_standard_error(st2):
    code, output, errors = st2("run", "examples.orquesta-subworkflow", "name=Ada")
    assert (code, output) == (0, "greeting: HELLO, ADA!\n")
    tree = [line.split()[:2] for line in errors.splitlines()]
    assert ["prepare", "succeeded"] in tree
    assert ["shout", "succeeded"] in tree
    assert max(len(line) for line in errors.splitlines()) <= 80


def test_an_execution_is_shown_with_the_tasks_of_its_workflow(st2):
    shown = json.loads(st2("run", "examples.orquesta-subworkflow", "name=Ada", "-j")[1])
    code, output, _ = st2("execution", "get", shown["id"])
    assert code == 0
    tree = output[output.index("tasks:") :].splitlines()
    assert [line.split()[:2] for line in tree[1:]] == [
        ["prepare", "succeeded"],
        ["greet", "succeeded"],
        ["greet", "succeeded"],
        ["shout", "succeeded"],
    ]
    assert max(len(line) for line in output.splitlines()) <= 80


def test_a_directory_of_configurations_has_to_be_there(st2, tmp_path):
    missing = tmp_path / "nope"
    code, _, errors = st2("--config-dir", str(missing), "run", "fixture.greet", "name=ada")
    assert code == 2
    assert errors == (
        f"ERROR: --config-dir {missing}: no such directory; "
        "name the one that holds the packs' configuration files\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.fixture
def configured(tmp_path, capsys, pack):
    """A function that runs a command line about the pack `test`, which has a configuration."""
    pack.file("config.schema.yaml", "server: {type: string}\nmode: {type: string, enum: [a, b]}\n")
    pack.file("test.yaml.example", "server: x\n")
    pack.python("show", "return {'server': self.config.get('server', 'none')}")

    def run(directory, *words):
        options = ["--data-dir", str(tmp_path / "data"), "--pack", str(pack.path)]
        options += ["--config-dir", str(directory)] if directory else []
        code = cli.main([*options, *(words or ("run", "test.show", "-j"))])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.directory = pack.config_dir
    return run


def test_an_empty_directory_of_configurations_is_refused(configured, pack):
    for words in (["run", "test.show"], ["serve", "--api-port", "0"], ["chat"]):
        code, output, errors = configured(configured.directory, *words)
        assert (code, output) == (2, "")
        assert errors == (
            f"ERROR: --config-dir {configured.directory}: there is no test.yaml; copy "
            f"{pack.path}/test.yaml.example there as test.yaml and edit it, or name another "
            "directory\n"
        )


def test_a_configuration_of_nearly_the_right_name_is_pointed_at(configured):
    (configured.directory / "test.yml").write_text("server: x\n")
    assert "there is no test.yaml; rename test.yml, or" in configured(configured.directory)[2]


def test_a_file_is_no_directory_of_configurations(configured, pack):
    pack.config("server: x\n")
    errors = configured(configured.directory / "test.yaml")[2]
    assert "test.yaml: not a directory; name the one that holds" in errors


def test_a_pack_without_its_configuration_says_that_it_runs_with_defaults(configured):
    code, output, errors = configured(None)
    assert code == 0
    assert json.loads(output)["result"]["result"] == {"server": "none"}
    assert errors == (
        "test runs with the defaults of its configuration: neither --config-dir nor "
        "ENGINE_CONFIG_DIR names a directory\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sever: x", "test.yaml: unknown key sever, nearest: server"),
        ("mode: aa", "test.yaml: mode: 'aa' is not one of ['a', 'b'], nearest: a"),
        ("server:\n\t- a", "; indent with spaces, not with tabs"),
        ("server: {{ st2kv.system.server }}", '; put a value with {{ }} in quotes: "{{ ... }}"'),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_at_once(configured, pack, text, words):
    pack.config(text)
    for command in (["run", "test.show"], ["serve", "--api-port", "0"], ["chat"]):
        code, output, errors = configured(configured.directory, *command)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert words in errors


def test_a_configuration_that_is_no_text_is_named(configured, pack):
    (configured.directory / "test.yaml").write_bytes(b"server: caf\xe9\n")
    errors = configured(configured.directory)[2]
    assert errors.endswith("test.yaml: byte 11 is not UTF-8; save it as text\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hlep"], "unknown option --hlep; --help lists them"),
        (["deploy", "status"], "what is typed in chat is typed in: chat"),
        (["!deploy status"], "what is typed in chat is typed in: chat"),
    ],
)
def test_a_first_word_that_is_no_command_says_where_to_go(words, message):
    done = subprocess.run(
        [sys.executable, "-m", "packengine", *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_an_unknown_option_is_named_as_it_was_given_by_a_caller(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--other"])
    with pytest.raises(SystemExit):
        cli.main(["--hlep"])
    assert "unknown option --hlep; --help lists them" in capsys.readouterr().err


def test_run_shows_the_text_that_a_result_has_for_people(configured, pack):
    pack.config("server: x")
    pack.python("tell", "return {'text': 'all\\nis well', 'count': 2}")
    assert configured(configured.directory, "run", "test.tell") == (0, "all\nis well\n", "")
    shown = json.loads(configured(configured.directory, "run", "test.tell", "--json")[1])
    assert shown["result"]["result"]["count"] == 2


def test_run_shows_why_an_action_failed_in_one_line(configured, pack):
    pack.config("server: x")
    pack.python("refuse", "return False, {'error': 'no such\\nhost'}")
    code, output, errors = configured(configured.directory, "run", "test.refuse")
    assert (code, output, errors) == (1, "", "test.refuse failed: no such host\n")


def test_run_shows_what_chat_would_show(configured, pack):
    pack.config("server: x")
    pack.metadata(
        "aliases/show.yaml",
        name="show",
        action_ref="test.show",
        formats=["show"],
        result={"format": "The server is {{ execution.result.result.server }}."},
    )
    code, output, _ = configured(configured.directory, "run", "test.show")
    assert (code, output) == (0, "The server is x.\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rnu"], "packengine: error: unknown command rnu; did you mean run?"),
        (["perfrm"], "packengine: error: unknown command perfrm; use run, execution, "),
        (["execution", "lst"], "packengine execution: error: unknown command lst; did you mean li"),
        (["run"], "packengine run: error: the following arguments are required: PACK.ACTION"),
        (["test"], "packengine test: error: the following arguments are required: PACK"),
    ],
)
def test_a_wrong_command_line_is_answered_with_what_is_meant(words, expected, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(expected)
    assert "perform" not in last
    assert "name=value" not in last


def test_run_prints_json(st2):
    code, output, _ = st2("run", "examples.orquesta-sequential", "name=Ada", "-j")
    shown = json.loads(output)
    assert (code, shown["status"]) == (0, "succeeded")
    assert shown["result"]["output"] == {"greeting": "HELLO, ADA!"}
    assert [child["status"] for child in shown["children"]] == ["succeeded", "succeeded"]


def test_run_exits_with_one_when_the_action_fails(st2):
    assert st2("run", "fixture.fail")[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "fixture.gret"], "Did you mean fixture.greet"),
        (["run", "fixture.greet"], '"name" of fixture.greet is required'),
        (["run", "fixture.greet", "Ada"], '"Ada" is not name=value; write it as name=Ada'),
        (["run", "fixture.greet", "name=a", "times=x"], "not of type integer"),
        (["execution", "get", "nothing"], 'Execution with id "nothing" not found'),
        (["rule", "enable", "fixture.nothing"], 'Rule "fixture.nothing" cannot be found'),
        (["key", "set", "empty", ""], "no value for empty: give one, or write it to"),
        (["key", "get", "nothing"], 'Unable to find key "nothing"'),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(st2, words, message):
    code, output, errors = st2(*words)
    assert (code, output) == (2, "")
    assert errors.startswith("ERROR: ")
    assert errors.count("\n") == 1
    assert message in errors


COMMANDS = [
    ["run", "fixture.greet", "name=ada"],
    ["key", "set", "a", "b"],
    ["execution", "list"],
    ["serve", "--api-port", "0"],
]


def is_one_line(errors):
    return errors.startswith("ERROR: ") and errors.count("\n") == 1


@pytest.mark.parametrize("words", COMMANDS)
def test_a_data_directory_that_cannot_be_made_is_named(st2, tmp_path, words):
    (tmp_path / "file").write_text("")
    code, _, errors = st2("--data-dir", str(tmp_path / "file" / "data"), *words)
    assert code == 2
    assert is_one_line(errors)
    assert str(tmp_path / "file") in errors
    assert "--data-dir" in errors


@pytest.mark.parametrize("words", COMMANDS)
def test_a_file_that_is_no_database_is_named(st2, tmp_path, words):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "engine.sqlite").write_text("garbage " * 1000)
    code, _, errors = st2(*words)
    assert code == 2
    assert is_one_line(errors)
    assert f"{tmp_path}/data/engine.sqlite cannot be used: file is not a database" in errors


def test_a_full_disk_is_one_line_and_what_is_there_can_be_read(st2, monkeypatch):
    assert st2("key", "set", "a", "kept")[0] == 0
    connect = datastore.connect

    def connect_when_full(path):
        connection = connect(path)
        connection.execute("PRAGMA query_only = ON")  # fails each write, like a full disk
        return connection

    monkeypatch.setattr(datastore, "connect", connect_when_full)
    code, output, _ = st2("key", "get", "a")
    assert (code, "kept" in output) == (0, True)
    for words in COMMANDS[:2]:
        code, _, errors = st2(*words)
        assert code == 2
        assert is_one_line(errors)
        assert "see that its disk has room" in errors


def test_parameters_are_read_by_their_types(st2):
    code, output, _ = st2(
        "run",
        "fixture.give_back",
        "text=a=b",
        "list=a,b",
        "number=1.5",
        'object={"k": 1}',
        "flag=yes",
        "-j",
    )
    assert json.loads(output)["result"]["result"] == {
        "text": "a=b",
        "list": ["a", "b"],
        "number": 1.5,
        "object": {"k": 1},
        "flag": True,
    }


def test_executions_are_listed_and_shown(st2):
    st2("run", "core.noop", "--user", "alice", "--trace-tag", "t1")
    st2("run", "examples.orquesta-join")
    _, output, _ = st2("execution", "list", "-j")
    listed = json.loads(output)
    assert [one["action"]["ref"] for one in listed] == ["examples.orquesta-join", "core.noop"]
    _, output, _ = st2("execution", "list", "--action", "core.noop")
    assert "alice" in output
    assert "orquesta-join" not in output
    assert len(json.loads(st2("execution", "list", "--all", "-j")[1])) == 6
    assert len(json.loads(st2("execution", "list", "--status", "failed", "-j")[1])) == 0
    _, output, _ = st2("execution", "get", listed[1]["id"], "--detail")
    assert "trace_tag: t1" in output
    assert "log:" in output
    _, output, _ = st2("execution", "get", listed[0]["id"], "-j")
    assert len(json.loads(output)["children"]) == 4


def test_a_completed_execution_cannot_be_canceled(st2):
    identifier = json.loads(st2("run", "core.noop", "-j")[1])["id"]
    code, _, errors = st2("execution", "cancel", identifier)
    assert code == 2
    assert "already in a completed state" in errors


def test_actions_rules_triggers_and_sensors_are_listed(st2):
    assert "core.echo" in st2("action", "list")[1]
    assert "core.echo" not in st2("action", "list", "--pack-ref", "fixture")[1]
    assert (
        json.loads(st2("action", "get", "fixture.greet", "-j")[1])["runner_type"] == "python-script"
    )
    assert "name (string, required)" in st2("action", "get", "fixture.greet")[1]
    assert "core.st2.webhook" in st2("trigger", "list")[1]
    for kind in ("rule", "sensor", "alias", "trigger-instance", "rule-enforcement"):
        assert st2(kind, "list")[:2] == (0, "No matching items found\n")


def test_keys_are_set_read_listed_and_deleted(st2):
    st2("key", "set", "plain", "p")
    st2("key", "set", "hidden", "h", "--encrypt")
    assert st2("key", "get", "plain")[1] == "p\n"
    assert st2("key", "get", "hidden")[1].strip() != "h"
    assert st2("key", "get", "hidden", "--decrypt")[1] == "h\n"
    assert json.loads(st2("key", "list", "-j")[1]) == [
        {"name": "hidden", "value": "********", "secret": True},
        {"name": "plain", "value": "p", "secret": False},
    ]
    assert st2("key", "delete", "plain")[0] == 0
    assert st2("key", "delete", "plain")[0] == 2


def test_an_action_the_engine_cannot_run_is_refused_by_name(pack, capsys, tmp_path):
    pack.action("bad", runner="http-request")
    options = ["--pack", str(pack.path), "--data-dir", str(tmp_path / "d")]
    assert cli.main([*options, "run", "core.noop"]) == 0
    assert cli.main([*options, "run", "test.bad"]) == 2
    assert "does not have the runner http-request" in capsys.readouterr().err


def command(tmp_path, *words):
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "packengine",
        "--data-dir",
        str(tmp_path / "data"),
        "--pack",
        PACKS[0],
        "--pack",
        PACKS[1],
        *list(words),
    ]


def test_run_async_returns_at_once_and_the_action_runs_on(st2, tmp_path):
    file = tmp_path / "go-on"
    output = subprocess.run(
        command(
            tmp_path,
            "run",
            "core.local",
            f"cmd=while ! test -e {file}; do sleep 0.1; done",
            "--async",
        ),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    identifier = output.split()[-1]
    assert json.loads(st2("execution", "get", identifier, "-j")[1])["status"] in (
        "requested",
        "running",
    )
    file.touch()
    wait_for(
        lambda: json.loads(st2("execution", "get", identifier, "-j")[1])["status"] == "succeeded"
    )


def test_an_interrupt_cancels_the_execution(st2, tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "run", "core.local", "cmd=sleep 60"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: json.loads(st2("execution", "list", "--status", "running", "-j")[1]))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "status: canceled" in output


def test_another_command_cancels_a_running_execution(st2, tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "run", "core.local", "cmd=sleep 60"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = wait_for(lambda: json.loads(st2("execution", "list", "--status", "running", "-j")[1]))
    assert st2("execution", "cancel", running[0]["id"])[0] == 0
    output, _ = process.communicate(timeout=10)
    assert "status: canceled" in output


def test_help_is_given(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    assert "execution" in capsys.readouterr().out


def test_colours_are_for_terminals_only(monkeypatch):
    class Terminal:
        @staticmethod
        def isatty():
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert show.coloured("x", "31", Terminal()) == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert show.coloured("x", "31", Terminal()) == "x"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.041, "0.04s"), (12.34, "12.3s"), (185, "3m05s"), (7500, "2h05m")]
)
def test_durations_are_short(seconds, text):
    assert show.duration(seconds) == text
