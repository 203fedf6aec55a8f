"""The chat room: commands, acknowledgements, results, announcements."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from patience import wait_for

from packengine import chat, completion
from packengine.engine import Engine

ROOT = Path(__file__).resolve().parents[2]

GREET = """\
import time

from st2common.runners.base_action import Action


class Greet(Action):
    def run(self, who, times, by, seconds):
        time.sleep(seconds)
        return who != "nobody", {"text": " ".join(["Hello " + who] * times), "by": by}
"""


def greeting(name, formats, **more):
    return {
        "name": f"room_{name}",
        "action_ref": "room.greet",
        "description": "Greets somebody",
        "formats": formats,
        **more,
    }


PACK = {
    "pack.yaml": {
        "ref": "room",
        "name": "room",
        "description": "x",
        "version": "0.1.0",
        "author": "x",
        "email": "x@example.org",
        "python_versions": ["3"],
    },
    "actions/greet.py": GREET,
    "actions/greet.yaml": {
        "name": "greet",
        "runner_type": "python-script",
        "entry_point": "greet.py",
        "parameters": {
            "who": {"type": "string", "required": True, "pattern": "^[a-z]+\\Z"},
            "times": {"type": "integer", "default": 1},
            "seconds": {"type": "number", "default": 0},
            "by": {"type": "string", "default": "{{ action_context.api_user }}"},
        },
    },
    "actions/say.yaml": {
        "name": "say",
        "runner_type": "announcement",
        "parameters": {
            "experimental": {"immutable": True, "default": True},
            "channel": {"type": "string"},
            "message": {"type": "string"},
        },
    },
    "aliases/greet.yaml": greeting(
        "greet",
        [{"display": "greet <who> [times=<n>]", "representation": ["greet {{ who }}"]}],
        ack={"format": "Greeting {{ execution.parameters.who }}.", "append_url": False},
        result={
            "format": "{{ execution.result.result.text }} from {{ execution.result.result.by }}"
        },
    ),
    "aliases/quietly.yaml": greeting(
        "quietly",
        [{"display": "quietly greet <who>", "representation": ["quietly {{ who }}"]}],
        ack={"enabled": False},
        result={"enabled": False},
    ),
    "aliases/badly.yaml": greeting(
        "badly",
        [{"display": "badly greet <who>", "representation": ["badly {{ who }}"]}],
        ack={"enabled": False},
        result={"format": "{{ 1 / 0 }}"},
    ),
    "aliases/plainly.yaml": greeting(
        "plainly", [{"display": "plainly greet <who>", "representation": ["plainly {{ who }}"]}]
    ),
}


def write_pack(path):
    for name, content in PACK.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.fixture(name="engine")
def _engine(tmp_path):
    with Engine([str(write_pack(tmp_path / "room"))], data_dir=str(tmp_path / "data")) as engine:
        yield engine


def said(engine, line, user="ada"):
    out = io.StringIO()
    return chat.handle(engine, user, line, out), out.getvalue()


def test_a_command_is_acknowledged_and_answered(engine):
    assert said(engine, "!greet bob") == (True, "Greeting bob.\nHello bob from ada\n")


def test_pairs_at_the_end_become_parameters_of_the_actions_types(engine):
    assert said(engine, "!greet bob times=2")[1].endswith("Hello bob Hello bob from ada\n")


def test_the_acknowledgement_is_there_before_the_result(engine):
    out = io.StringIO()
    talk = threading.Thread(target=chat.handle, args=(engine, "ada", "!greet bob seconds=3", out))
    talk.start()
    assert wait_for(out.getvalue) == "Greeting bob.\n"
    talk.join()
    assert out.getvalue().endswith("Hello bob from ada\n")


def test_a_command_needs_no_mark_in_front(engine):
    assert said(engine, "greet bob") == (True, "Greeting bob.\nHello bob from ada\n")


def test_talk_is_answered_with_where_help_is(engine):
    assert said(engine, "nice weather today") == (
        False,
        'No command matches "nice weather today". !help lists all commands.\n',
    )
    assert engine.executions() == []


def test_an_empty_line_is_answered(engine):
    for line in ("", "  ", "!"):
        assert said(engine, line) == (True, "Type a command; !help lists them.\n")


def test_a_word_of_a_command_alone_is_answered_with_the_command(engine):
    assert "Did you mean: quietly greet <who>?" in said(engine, "quietly")[1]


def test_an_execution_knows_who_asked(engine):
    said(engine, "!greet bob", user="carol")
    context = engine.executions()[0].context
    assert (context["user"], context["api_user"]) == ("carol", "carol")
    assert context["action_alias_ref"] == {"id": "room.room_greet", "name": "room_greet"}


def test_a_failed_command_is_answered_and_counts_as_failed(engine):
    assert said(engine, "!greet nobody") == (False, "Greeting nobody.\nHello nobody from ada\n")


def test_disabled_messages_are_silence_and_the_outcome_still_counts(engine):
    assert said(engine, "!quietly bob") == (True, "")
    assert said(engine, "!quietly nobody") == (False, "")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("!gret bob", 'No command matches "gret bob". Did you mean: greet <who> [times=<n>]'),
        ("!greet Bob", "who"),
        ("!greet bob times=often", 'Failed to cast value "often" for parameter "times"'),
        ("!greet bob size=3", "size"),
    ],
)
def test_a_line_that_cannot_be_done_is_refused_and_nothing_is_started(engine, line, answer):
    succeeded, text = said(engine, line)
    assert not succeeded
    assert answer in text
    assert engine.executions() == []


def test_a_result_format_that_is_wrong_is_said_with_the_execution(engine):
    succeeded, text = said(engine, "!badly bob")
    execution = engine.executions()[0]
    assert succeeded
    assert " ".join(text.split()) == (
        f"Execution {execution.id} succeeded, but the result format of room.room_badly is wrong: "
        "division by zero"
    )


def test_an_alias_without_formats_of_its_own_names_the_execution(engine):
    text = said(engine, "!plainly bob")[1]
    identifier = engine.executions()[0].id
    assert text.startswith(f"Started room.greet. (execution {identifier})\nAction room.greet ")


def test_help_lists_the_commands(engine):
    assert said(engine, "!help")[1].splitlines() == [
        "!badly greet <who>        Greets somebody",
        "!greet <who> [times=<n>]  Greets somebody",
        "!plainly greet <who>      Greets somebody",
        "!quietly greet <who>      Greets somebody",
    ]


def test_help_for_a_word_says_what_is_matched(engine):
    assert said(engine, "!help quietly")[1].splitlines() == [
        "!quietly greet <who>  Greets somebody",
        "                      matches quietly {{ who }}",
    ]


def test_help_for_a_word_leaves_out_formats_that_do_not_fit_the_line(engine):
    out = io.StringIO()
    chat.Room(engine, "ada", out, 40).say("!help quietly")
    assert "matches" not in out.getvalue()
    assert max(len(line) for line in out.getvalue().splitlines()) <= 40


def test_help_for_a_word_nobody_knows_says_so(engine):
    assert said(engine, "!help xyzzy")[1] == (
        'No command mentions "xyzzy". !help lists all commands.\n'
    )


def test_long_lines_are_wrapped_and_aligned_text_is_left_alone(engine):
    out = io.StringIO()
    chat.Room(engine, "ada", out).write("a    b\n" + "word " * 30)
    lines = out.getvalue().splitlines()
    assert lines[0] == "a    b"
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)
    assert lines[2].startswith("  word")


def test_a_line_breaks_between_words_only():
    address = "https://stackstorm.example.org/?#/executions/" + "6b062cc2cfcf43a0e55be6f9" * 2
    text = f"Promoting shop to production on production-1, {'production-2, ' * 4}see {address}"
    lines = chat.wrapped(text, 80)
    assert " ".join(line.strip() for line in lines).split() == text.split()
    assert lines[-1] == f"  {address}"
    assert all(len(line) <= 80 for line in lines[:-1])


def test_continuation_lines_are_indented_once_in_whatever_width_the_output_has(engine):
    for width in (80, 77, 40):
        out = io.StringIO()
        chat.Room(engine, "ada", out, width).write("  " + "word " * 40)
        first, *others = out.getvalue().splitlines()
        assert first.startswith("  word")
        assert others and all(line.startswith("    word") for line in others)
        assert all(len(line) <= width for line in (first, *others))


def test_what_a_terminal_would_obey_is_taken_out(engine):
    out = io.StringIO()
    chat.Room(engine, "ada", out).write("a\x1b[2Jb\rc\x9bd")
    assert out.getvalue() == "a[2Jbcd\n"


def test_announcements_are_written_once_and_old_ones_never(engine):
    engine.run("room.say", {"channel": "deployments", "message": "before"})
    out = io.StringIO()
    room = chat.Room(engine, "ada", out)
    engine.run("room.say", {"channel": "deployments", "message": "shop 2 is live"})
    room.look()
    room.look()
    assert out.getvalue() == "#deployments: shop 2 is live\n"


def test_announcements_of_other_processes_are_heard(engine, tmp_path):
    out = io.StringIO()
    room = chat.Room(engine, "ada", out)
    engine_in_a_process(tmp_path, "engine.run('room.say', {'channel': 'c', 'message': 'far'})")
    room.look()
    assert out.getvalue() == "#c: far\n"


def test_lines_of_a_script_are_shown_and_done_in_turn(engine):
    out = io.StringIO()
    code = chat.run_script(engine, "ada", io.StringIO("!greet bob\n\n!quietly eve\n"), out)
    assert code == 0
    assert out.getvalue().splitlines() == [
        "ada> !greet bob",
        "Greeting bob.",
        "Hello bob from ada",
        "ada> !quietly eve",
    ]


@pytest.mark.parametrize("farewell", ["quit", "!exit", "Quit"])
def test_a_script_may_end_early(engine, farewell):
    out = io.StringIO()
    script = io.StringIO(f"!quietly eve\n{farewell}\n!greet bob\n")
    assert chat.run_script(engine, "ada", script, out) == 0
    assert out.getvalue() == "ada> !quietly eve\n"


def test_a_script_goes_on_after_a_failure_and_exits_with_1(engine):
    out = io.StringIO()
    script = io.StringIO("!quietly nobody\n!greet bob\n")
    assert chat.run_script(engine, "ada", script, out) == 1
    assert out.getvalue().endswith("Hello bob from ada\n")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("!", ["!badly", "!exit", "!greet", "!help", "!plainly", "!quietly", "!quit"]),
        ("qui", ["quietly", "quit"]),
        ("!QUI", ["!quietly", "!quit"]),
        ("quietly ", ["greet"]),
        ("!badly greet ", ["bob", "nobody"]),
        ("!greet b", ["bob"]),
        ("greet bob x", []),
        ("xyzzy ", []),
    ],
)
def test_completion_knows_commands_and_the_values_of_their_parameters(engine, typed, expected):
    for who in ("bob", "nobody"):
        said(engine, f"!quietly {who}")
    assert chat.Room(engine, "ada", io.StringIO()).completions(typed) == expected


def test_what_may_be_left_out_of_a_command_may_be_skipped():
    promote = completion.parts("deploy promote [app] [to <stage>]")
    for words, names in (
        ("deploy", ["promote"]),
        ("deploy promote", ["app", "to"]),
        ("deploy promote shop", ["to"]),
        ("deploy promote to", ["to", "stage"]),
        ("deploy promote shop to", ["stage"]),
    ):
        found = [part.name for part in completion.following(promote, words.split())]
        assert sorted(set(found)) == sorted(names), words


def test_what_runs_is_known_by_its_command(engine):
    room = chat.Room(engine, "ada", io.StringIO())
    room.start("!greet bob seconds=2")
    assert room.running() == ["greet bob seconds=2"]
    wait_for(lambda: room.look() or not room.running())


PROGRAM = """\
import sys
from packengine import chat, prompt
from packengine.engine import Engine
with Engine([sys.argv[1]], data_dir=sys.argv[2]) as engine:
    {statement}
"""


def command_line(tmp_path, statement):
    program = PROGRAM.format(statement=statement)
    return [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        program,
        str(tmp_path / "room"),
        str(tmp_path / "data"),
    ]


def engine_in_a_process(tmp_path, statement):
    subprocess.run(command_line(tmp_path, statement), cwd=ROOT, check=True)


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?!\n)")


class Terminal:
    """A chat in a process of its own, at a terminal of its own."""

    def __init__(self, tmp_path):
        write_pack(tmp_path / "room")
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # A job in the background ignores it.
            os.chdir(ROOT)
            command = command_line(tmp_path, "sys.exit(prompt.converse(engine, 'ada', sys.stdout))")
            os.execvpe(command[0], command, dict(os.environ, TERM="xterm"))
        self.raw = ""
        self._read = 0

    @property
    def text(self):
        """What has been written and was not read yet, without what moves the cursor."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n")[self._read :]

    def type(self, text):
        os.write(self._fd, text.encode())

    def read_until(self, pattern, seconds=15):
        """Read until what has not been read before matches; returns the match."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                self._read += found.end()
                return found
            ready, _, _ = select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{pattern!r} was not written, but {self.text!r}"
            try:
                self.raw += os.read(self._fd, 4096).decode()
            except OSError:  # The other side has gone.
                pytest.fail(f"{pattern!r} was not written, but {self.text!r}")

    def interrupt(self):
        # Nothing shows outside that it has begun to wait; a person reads the last line first.
        time.sleep(0.3)
        self.type("\x03")

    def leave(self):
        self.type("\x04")
        return self.exit_code()

    def exit_code(self):
        return os.WEXITSTATUS(os.waitpid(self._pid, 0)[1])

    def close(self):
        os.close(self._fd)
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.fixture(name="terminal")
def _terminal(tmp_path):
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_at_a_terminal_there_is_a_prompt_and_ctrl_d_leaves(terminal):
    terminal.read_until("Hello ada.*\nNo serve runs on .*\nada> ")
    terminal.type("!greet nobody\r")
    terminal.read_until("Greeting nobody.\n(.|\n)*Hello nobody from ada\nada> ")
    assert terminal.leave() == 0


def test_at_a_terminal_it_is_told_that_a_serve_begins_and_ends(terminal, tmp_path):
    terminal.read_until("No serve runs on .*\nada> ")
    with (tmp_path / "data" / "serve.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        terminal.read_until("A serve runs again.")
    terminal.read_until("No serve runs on ")


@pytest.mark.parametrize("farewell", ["quit", "!exit"])
def test_at_a_terminal_a_word_leaves_too(terminal, farewell):
    terminal.read_until("ada> ")
    terminal.type(f"{farewell}\r")
    assert terminal.exit_code() == 0


def test_at_a_terminal_every_line_is_answered(terminal):
    terminal.read_until("ada> ")
    for line, answer in (
        ("grete bob", "Did you mean: greet <who>"),
        ("", "Type a command; !help lists them."),
        ("help", "!badly greet <who>"),
        ("greet bob", "Hello bob from ada"),
    ):
        terminal.type(f"{line}\r")
        terminal.read_until(re.escape(answer) + r"(.|\n)*ada> ")


def test_the_next_command_can_be_typed_while_one_runs(terminal):
    terminal.read_until("ada> ")
    terminal.type("!greet bob seconds=3\r")
    terminal.read_until("Greeting bob.\nada> ")
    terminal.type("!greet eve\r")
    terminal.read_until("Hello eve from ada\nada> ")
    terminal.read_until("Hello bob from ada\nada> ")
    assert terminal.leave() == 0


def test_what_arrives_while_somebody_types_appears_above_the_line(terminal, tmp_path):
    terminal.read_until("ada> ")
    terminal.type("!greet b")
    terminal.read_until("!greet b")
    engine_in_a_process(tmp_path, "engine.run('room.say', {'channel': 'c', 'message': 'far'})")
    terminal.read_until("#c: far\nada> !greet b")
    terminal.type("ob\r")
    terminal.read_until("Hello bob from ada\nada> ")


def test_the_cursor_stays_where_it_was_in_the_line(terminal, tmp_path):
    terminal.read_until("ada> ")
    terminal.type("!greet bb\x1b[D")  # and one to the left
    terminal.read_until("!greet bb")
    engine_in_a_process(tmp_path, "engine.run('room.say', {'channel': 'c', 'message': 'far'})")
    terminal.read_until("#c: far\nada> !greet bb")
    terminal.type("o\r")
    terminal.read_until("Hello bob from ada\nada> ")


def test_ctrl_c_clears_the_line(terminal):
    terminal.read_until("ada> ")
    terminal.type("!greet b")
    terminal.read_until("!greet b")
    terminal.interrupt()
    terminal.read_until("\\^C\nada> ")
    terminal.type("!greet eve\r")
    terminal.read_until("Hello eve from ada\nada> ")
    assert terminal.leave() == 0


def test_what_was_typed_is_known_in_the_next_chat(terminal, tmp_path):
    terminal.read_until("ada> ")
    terminal.type("!greet bob\r")
    terminal.read_until("Hello bob from ada\nada> ")
    assert terminal.leave() == 0
    assert (tmp_path / "data" / "chat_history").read_text().splitlines() == ["!greet bob"]
    again = Terminal(tmp_path)
    try:
        again.read_until("ada> ")
        again.type("\x1b[A")
        again.read_until("!greet bob")
        again.type("\x15!gre\tb\t\r")
        again.read_until("Hello bob from ada\nada> ")
    finally:
        again.close()


def test_leaving_says_what_runs_and_lets_it_end(terminal, tmp_path):
    terminal.read_until("ada> ")
    terminal.type("!greet bob seconds=3\r")
    terminal.read_until("Greeting bob.\nada> ")
    terminal.type("\x04")
    terminal.read_until("Still running: !greet bob seconds=3. Leaving when it has ended;")
    terminal.read_until("Hello bob from ada\n")
    assert terminal.exit_code() == 0
    assert statuses(tmp_path) == ["succeeded"]


def test_who_leaves_may_end_what_runs(terminal, tmp_path):
    terminal.read_until("ada> ")
    terminal.type("!greet bob seconds=60\r")
    terminal.read_until("Greeting bob.\nada> ")
    terminal.type("\x04")
    terminal.read_until(r"Ctrl-C ends it\s+now, half\s+way.")
    terminal.interrupt()
    terminal.read_until("Ended half way: !greet bob seconds=60.")
    assert terminal.exit_code() == 130
    assert statuses(tmp_path) == ["abandoned"]


def statuses(tmp_path):
    with Engine([str(tmp_path / "room")], data_dir=str(tmp_path / "data")) as engine:
        return [execution.status for execution in engine.executions()]
