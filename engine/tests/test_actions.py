"""What running a single action means: results, statuses, time-outs, secrets."""

from __future__ import annotations

import os
import threading

import pytest
from patience import wait_for

from packengine.packs import ActionDisabled, UnknownReference
from packengine.processes import is_alive, process_identity


def test_a_python_action_gives_result_exit_code_stdout_and_stderr(engine):
    execution = engine.run("fixture.greet", {"name": "ada"})
    assert execution.status == "succeeded"
    assert execution.result["result"] == {"greeting": "hello ada", "token": "t0ken"}
    assert execution.result["stdout"] == "greeting ada\n"
    assert "in a glad mood" in execution.result["stderr"]
    assert execution.result["exit_code"] == 0
    assert set(execution.result) == {"result", "stdout", "stderr", "exit_code"}


def test_a_false_status_fails_the_action_and_keeps_its_result(engine):
    execution = engine.run("fixture.fail")
    assert execution.status == "failed"
    assert execution.result["result"] == {"reason": "because"}
    assert execution.result["exit_code"] == 0


def test_an_exception_fails_the_action_with_the_text_none_as_result(pack, make_engine):
    pack.python("boom", "raise RuntimeError('boom')")
    execution = make_engine().run("test.boom")
    assert execution.status == "failed"
    assert execution.result["result"] == "None"
    assert execution.result["exit_code"] == 1
    assert "RuntimeError: boom" in execution.result["stderr"]


def test_a_status_that_is_not_a_boolean_is_an_error(pack, make_engine):
    pack.python("odd", "return 'yes', 1")
    execution = make_engine().run("test.odd")
    assert execution.status == "failed"
    assert "must either be True or False" in execution.result["error"]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return (1, 2, 3)", [1, 2, 3]),
        ("return {1: 2}", "{1: 2}"),
        ("return float('nan')", None),
        ("return object", "<class 'object'>"),
        ("import datetime; return datetime.date(2024, 1, 31)", "2024-01-31"),
        ("return True, {'text': 'é\\u2028'}", {"text": "é\u2028"}),
        ("return None", None),
        ("return 'x' * 1000000", "x" * 1000000),
    ],
    ids=["tuple", "keys-not-texts", "nan", "class", "date", "unicode", "none", "large"],
)
def test_results_come_back_as_json_holds_them(pack, make_engine, body, result):
    pack.python("give", body)
    execution = make_engine().run("test.give")
    assert execution.status == "succeeded"
    assert execution.result["result"] == result


def test_prints_do_not_corrupt_the_result(pack, make_engine):
    pack.python("noisy", "print('{\"result\": 1}' * 1000)\nreturn 'fine'")
    execution = make_engine().run("test.noisy")
    assert execution.result["result"] == "fine"
    assert len(execution.result["stdout"]) == 13 * 1000 + 1


def test_a_crash_of_the_interpreter_fails_only_the_action(pack, make_engine):
    pack.python("crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    execution = make_engine().run("test.crash")
    assert (execution.status, execution.result["exit_code"]) == ("failed", -11)


def test_parameters_and_configuration_are_not_in_argv_or_the_environment(pack, make_engine):
    pack.python(
        "look",
        """
        import subprocess
        with open("/proc/self/cmdline") as stream:
            words = stream.read()
        return words + repr(sorted(__import__("os").environ.items()))
        """,
        {"password": {"type": "string", "secret": True}},
    )
    pack.metadata("config.schema.yaml", key={"type": "string", "secret": True})
    pack.config("key: hidden-key")
    result = make_engine().run("test.look", {"password": "hidden-word"}).result["result"]
    assert "python_child.py" in result
    assert "hidden" not in result


def test_a_timeout_kills_the_whole_process_group(pack, make_engine):
    pack.python(
        "slow",
        """
        import subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
        time.sleep(60)
        """,
        {"timeout": {"default": 1}},
    )
    execution = make_engine().run("test.slow")
    assert execution.status == "timeout"
    assert execution.result["error"] == "Action failed to complete in 1 seconds"
    assert 1 <= execution.elapsed_seconds < 10
    wait_for(lambda: not _runs(int(execution.result["stdout"])))


def test_canceling_an_action_kills_its_process_group(pack, make_engine):
    pack.python(
        "slow",
        """
        import subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        open(given["file"], "w").write(str(child.pid))
        time.sleep(60)
        """,
        {"file": {"type": "string"}},
    )
    engine = make_engine()
    file = pack.path / "pid"
    execution = engine.start("test.slow", {"file": str(file)})
    wait_for(lambda: file.exists() and file.read_text())
    engine.cancel(execution.id)
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "canceled"
    wait_for(lambda: not _runs(int(file.read_text())))


def test_a_completed_execution_cannot_be_canceled(engine):
    execution = engine.run("core.noop")
    with pytest.raises(ValueError, match="already in a completed state"):
        engine.cancel(execution.id)


def test_many_actions_run_at_once_without_mixing_their_output(engine):
    executions = [engine.start("core.echo", {"message": f"number {n}"}) for n in range(20)]
    engine.wait_for_background()
    outputs = [engine.execution(execution.id).result["stdout"] for execution in executions]
    assert outputs == [f"number {n}" for n in range(20)]


def test_the_environment_of_an_action_names_pack_and_execution(pack, make_engine, monkeypatch):
    monkeypatch.setenv("ENGINE_API_KEY", "k3y")
    pack.python("look", "import os; return dict(os.environ)")
    execution = make_engine().run("test.look", {"env": {"EXTRA": 1, "PYTHONPATH": "/x"}})
    environment = execution.result["result"]
    assert environment["ST2_ACTION_PACK_NAME"] == "test"
    assert environment["ST2_ACTION_EXECUTION_ID"] == execution.id
    assert environment["EXTRA"] == "1"
    assert "/x" not in environment["PYTHONPATH"].split(":")
    assert "ENGINE_API_KEY" not in environment


def test_a_python_action_runs_under_the_python_of_its_packs_virtualenv(pack, make_engine):
    pack.python("look", "import sys; return sys.prefix")
    engine = make_engine()
    bin_directory = os.path.join(engine.data_dir, "virtualenvs", "test", "bin")
    import subprocess
    import sys

    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", os.path.dirname(bin_directory)], check=True
    )
    assert engine.run("test.look").result["result"] == os.path.dirname(bin_directory)


def test_a_missing_entry_point_fails_the_action_and_names_the_file(pack, make_engine):
    pack.action("gone", "python-script", entry_point="gone.py")
    execution = make_engine().run("test.gone")
    assert execution.status == "failed"
    assert "gone.py" in execution.result["stderr"]


def test_the_first_class_with_a_run_method_is_the_action(pack, make_engine):
    pack.file(
        "actions/several.py",
        """
        class Helper:
            pass

        class Zebra:
            def __init__(self, config=None, action_service=None):
                pass

            def run(self):
                return "zebra"
        """,
    )
    pack.action("several", "python-script", entry_point="several.py")
    assert make_engine().run("test.several").result["result"] == "zebra"


def test_actions_share_the_datastore_under_their_own_prefix(pack, make_engine):
    pack.python(
        "write",
        """
        service = self.action_service
        service.set_value("own", "1")
        service.set_value("common", "2", local=False, ttl=60)
        service.set_value("sealed", "3", encrypt=True)
        return [service.get_value("own"), service.get_value("common", local=False),
                service.get_value("sealed", decrypt=True), service.get_value("nothing"),
                [pair.name for pair in service.list_values()], service.delete_value("own"),
                service.get_value("own")]
        """,
    )
    engine = make_engine()
    result = engine.run("test.write").result["result"]
    assert result == ["1", "2", "3", None, ["test.Test:own", "test.Test:sealed"], True, None]
    assert engine.store.keys.get("common") == "2"
    assert engine.store.keys.get("test.Test:sealed") != "3"


def test_an_unknown_action_is_refused_with_the_nearest_names(engine):
    with pytest.raises(UnknownReference, match="Did you mean fixture.greet"):
        engine.run("fixture.gret")


def test_a_disabled_action_is_refused(pack, make_engine):
    pack.action("off", enabled=False)
    with pytest.raises(ActionDisabled, match='Action "test.off" is disabled'):
        make_engine().run("test.off")


def test_local_shell_gives_return_code_and_output_without_the_last_line_end(engine):
    execution = engine.run("core.local", {"cmd": "echo out; echo err >&2"})
    assert execution.status == "succeeded"
    assert execution.result == {
        "failed": False,
        "succeeded": True,
        "return_code": 0,
        "stdout": "out",
        "stderr": "err",
    }


def test_shell_output_that_is_json_is_parsed(engine):
    result = engine.run("core.local", {"cmd": "echo '{\"a\": [1]}'"}).result
    assert result["stdout"] == {"a": [1]}


def test_a_shell_command_that_fails_fails_the_action(engine):
    execution = engine.run("core.local", {"cmd": "exit 3"})
    assert (execution.status, execution.result["return_code"]) == ("failed", 3)


def test_a_shell_command_that_times_out_has_return_code_minus_nine(engine):
    execution = engine.run("core.local", {"cmd": "sleep 30", "timeout": 1})
    assert (execution.status, execution.result["return_code"]) == ("timeout", -9)


def test_a_background_process_does_not_keep_a_shell_action_from_ending(engine):
    execution = engine.run("core.local", {"cmd": "sleep 20 & echo started"})
    assert execution.result["stdout"] == "started"
    assert execution.elapsed_seconds < 5


def test_a_shell_action_runs_in_its_directory_with_its_environment(engine, tmp_path):
    given = {"cmd": "pwd; echo $COLOUR", "cwd": str(tmp_path), "env": {"COLOUR": "blue"}}
    assert engine.run("core.local", given).result["stdout"] == f"{tmp_path}\nblue"


def test_a_script_gets_named_arguments_then_positional_ones(engine):
    given = {
        "first": "a b",
        "second": True,
        "third": [1, "$HOME"],
        "named": "x;y",
        "loud": True,
        "quiet": False,
    }
    result = engine.run("fixture.arguments", given).result
    assert result["stdout"] == "<--named=x;y><--loud><a b><1><1,$HOME>"


def test_a_script_argument_that_is_not_given_is_left_out_or_empty(engine):
    assert engine.run("fixture.arguments").result["stdout"] == "<><><>"


def test_echo_writes_its_message_through_the_shell(engine):
    assert engine.run("core.echo", {"message": "hi"}).result["stdout"] == "hi"


def test_noop_succeeds(engine):
    execution = engine.run("core.noop")
    assert execution.result == {"failed": False, "succeeded": True, "return_code": 0}


def test_an_announcement_reaches_the_listeners(engine):
    heard = []
    engine.subscribe(lambda event, what: event == "announcement" and heard.append(what))
    engine.run("core.announcement", {"message": {"text": "hear"}, "route": "news"})
    assert heard == [{"route": "news", "message": {"message": {"text": "hear"}}}]


def test_the_context_names_user_pack_and_trace_tag(engine):
    execution = engine.run("core.noop", user="alice", trace_tag="t1", context={"api_user": "bob"})
    assert execution.context == {
        "api_user": "bob",
        "user": "alice",
        "pack": "core",
        "trace_context": {"trace_tag": "t1"},
    }


def test_an_execution_keeps_the_times_of_its_statuses(engine):
    execution = engine.execution(engine.run("core.noop").id)
    assert [entry["status"] for entry in execution.log] == ["requested", "running", "succeeded"]
    assert execution.start_timestamp <= execution.end_timestamp
    assert len(execution.id) == 24


def test_a_secret_is_masked(engine):
    execution = engine.run("fixture.greet", {"name": "ada", "password": "swordfish"})
    shown = engine.masked(execution)
    assert shown.parameters == {"name": "ada", "password": "********"}
    assert shown.result["result"] == {"greeting": "hello ada", "token": "********"}
    assert execution.parameters["password"] == "swordfish"


def test_a_secret_setting_is_masked_wherever_it_shows(pack, make_engine):
    pack.metadata(
        "config.schema.yaml",
        nested={"type": "object", "properties": {"key": {"type": "string", "secret": True}}},
    )
    pack.config("nested: {key: opensesame}")
    pack.python("leak", "print('key', self.config['nested']['key'])")
    engine = make_engine()
    execution = engine.run("test.leak")
    assert execution.result["stdout"] == "key opensesame\n"
    assert engine.masked(execution).result["stdout"] == "key ********\n"


def test_what_a_dead_process_left_running_is_abandoned(make_engine, pack):
    pack.action("nothing")
    first = make_engine()
    execution = first.request("test.nothing")
    first.store._database.execute("UPDATE execution SET owner = '999999999:1'")
    second = make_engine()
    assert second.execution(execution.id).status == "abandoned"


def test_a_process_is_known_by_more_than_its_number():
    identity = process_identity(os.getpid())
    assert is_alive(identity)
    assert not is_alive(f"{os.getpid()}:1")


def test_an_action_ending_after_it_was_abandoned_stays_abandoned(pack, make_engine):
    pack.python("slow", "import time; time.sleep(1)")
    engine = make_engine()
    execution = engine.start("test.slow")
    wait_for(lambda: engine.execution(execution.id).status == "running")
    engine.stop_background(0)
    assert engine.execution(execution.id).status == "abandoned"


def test_two_engines_on_one_data_directory_see_each_others_executions(pack, make_engine):
    first, second = make_engine(), make_engine()
    execution = first.run("core.noop")
    assert second.execution(execution.id).status == "succeeded"
    threads = [
        threading.Thread(target=lambda e=e: [e.run("core.noop") for _ in range(20)])
        for e in (first, second)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(first.executions()) == len(second.executions()) == 41


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
