"""remote-shell-cmd and remote-shell-script, over a real sshd on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest
from patience import wait_for

SSHD = "/usr/sbin/sshd"


class Sshd:
    """An sshd on a port of 127.0.0.1 that lets root in with one key."""

    def __init__(self, directory):
        self.key_file = str(directory / "user_key")
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)],
                check=True,
            )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        (directory / "config").write_text(
            "\n".join(
                [
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {directory}/host_key",
                    f"AuthorizedKeysFile {directory}/user_key.pub",
                    "StrictModes no",
                    "UsePAM no",
                    "PermitRootLogin yes",
                    "PidFile none",
                    "LogLevel QUIET",
                    "",
                ]
            )
        )
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.process = subprocess.Popen([SSHD, "-D", "-f", str(directory / "config")])
        wait_for(self._listens)

    def _listens(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    if os.geteuid() != 0 or not os.path.exists(SSHD):
        pytest.skip("needs root and openssh-server: apt-get install openssh-server")
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait(10)


@pytest.fixture
def login(sshd, monkeypatch, tmp_path):
    """What lets an action in; known hosts are kept out of the user's own file."""
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(
        '#!/bin/sh\nexec /usr/bin/ssh -F none -o UserKnownHostsFile=%s "$@"\n'
        % (tmp_path / "known_hosts")
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", "{}:{}".format(wrapper.parent, os.environ["PATH"]))
    return {"port": sshd.port, "private_key": sshd.key_file, "username": "root"}


def remote(engine, login, **given):
    return engine.run("core.remote", dict(login, **given))


def test_each_host_has_its_own_result(engine, login):
    hosts = "127.0.0.1,localhost"
    execution = remote(engine, login, hosts=hosts, cmd="echo '{\"a\": 1}'; echo err >&2; pwd >&2")
    assert execution.status == "succeeded"
    expected = {
        "failed": False,
        "succeeded": True,
        "return_code": 0,
        "stdout": {"a": 1},
        "stderr": "err\n/tmp",
    }
    assert execution.result == {"127.0.0.1": expected, "localhost": expected}


def test_a_failure_on_one_host_fails_the_action(engine, login, sshd):
    execution = remote(
        engine,
        login,
        hosts=f"127.0.0.1:{sshd.port},127.0.0.1",
        cmd='test -n "$ONCE"',
        env={"ONCE": ""},
    )
    assert execution.status == "failed"
    assert {entry["return_code"] for entry in execution.result.values()} == {1}


def test_environment_and_directory_are_quoted(engine, login):
    execution = remote(
        engine,
        login,
        hosts="127.0.0.1",
        cwd="/",
        cmd='echo "$WORD"; pwd',
        env={"WORD": "a 'b' $(touch /tmp/never); \"c\""},
    )
    assert execution.result["127.0.0.1"]["stdout"] == "a 'b' $(touch /tmp/never); \"c\"\n/"


def test_a_private_key_may_be_given_itself(engine, login, sshd):
    with open(sshd.key_file) as stream:
        key = stream.read()
    execution = remote(engine, dict(login, private_key=key), hosts="127.0.0.1", cmd="true")
    assert execution.status == "succeeded"
    assert engine.masked(execution).parameters["private_key"] == "********"


def test_when_no_host_answers_the_action_fails_as_a_whole(engine, login):
    execution = remote(engine, login, hosts="127.0.0.1:1", cmd="true")
    assert execution.status == "failed"
    assert set(execution.result) == {"error", "traceback"}
    first, _, errors = execution.result["error"].partition("\n\n connect_errors=")
    assert first == "Unable to connect to any one of the hosts: ['127.0.0.1:1']."
    (result,) = json.loads(errors).values()
    assert result["return_code"] == 255
    assert result["error"].startswith("Failed connecting to host 127.0.0.1. ")


def test_when_some_hosts_answer_the_others_have_an_error_each(engine, login):
    execution = remote(engine, login, hosts="127.0.0.1:1,localhost", cmd="true")
    assert execution.status == "failed"
    assert execution.result["localhost"]["succeeded"]
    result = execution.result["127.0.0.1"]
    assert (result["failed"], result["return_code"], result["stderr"]) == (True, 255, "")
    assert result["error"].startswith("Failed connecting to host 127.0.0.1. ")


def test_a_command_may_exit_as_ssh_does_when_it_cannot_connect(engine, login):
    execution = remote(engine, login, hosts="127.0.0.1", cmd="echo no >&2; exit 255")
    assert execution.status == "failed"
    assert execution.result["127.0.0.1"] == {
        "failed": True,
        "succeeded": False,
        "return_code": 255,
        "stdout": "",
        "stderr": "no",
    }


def test_the_action_times_out_only_when_every_host_does(engine, login):
    execution = remote(engine, login, hosts="127.0.0.1:1,localhost", cmd="sleep 20", timeout=3)
    assert execution.status == "failed"
    assert execution.result["localhost"]["timeout"] is True


def test_a_command_that_takes_too_long_times_out(engine, login):
    execution = remote(engine, login, hosts="127.0.0.1", cmd="sleep 20", timeout=1)
    assert execution.status == "timeout"
    assert execution.result["127.0.0.1"]["return_code"] == -9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hosts": "-oProxyCommand=touch"}, "is no host"),
        ({"hosts": "a;b"}, "is no host"),
        ({"hosts": " , "}, "No hosts specified"),
        ({"hosts": "h", "username": "-l"}, "is no user name"),
        ({"hosts": "h", "bastion_host": "a b"}, "is no host"),
        ({"hosts": "h", "env": {"A;B": "x"}}, "is no name of an environment variable"),
        ({"hosts": "h", "password": "x"}, "does not support password"),
        ({"hosts": "h", "passphrase": "x"}, "does not support passphrase"),
    ],
)
def test_what_cannot_be_is_refused_before_ssh_is_asked(engine, given, message):
    execution = engine.run("core.remote", dict({"cmd": "true"}, **given))
    assert execution.status == "failed"
    assert message in execution.result["error"]


def test_a_script_is_copied_with_its_library_run_and_removed(pack, make_engine, login):
    pack.file(
        "actions/hello.sh",
        """\
        #!/bin/sh
        . "$(dirname "$0")/lib/words.sh"
        echo "$word $1 $2" "$(dirname "$0")"
        """,
    )
    pack.file("actions/lib/words.sh", "word=hello\n")
    pack.action(
        "hello",
        "remote-shell-script",
        entry_point="hello.sh",
        parameters={"who": {"type": "string", "position": 0}, "loud": {"type": "string"}},
    )
    execution = make_engine().run(
        "test.hello", dict(login, hosts="127.0.0.1", who="a b", loud="very")
    )
    assert execution.status == "succeeded"
    word, first, *rest = execution.result["127.0.0.1"]["stdout"].split()
    assert (word, first) == ("hello", "--loud=very")
    assert rest[:2] == ["a", "b"]
    assert not os.path.exists(rest[-1])


def test_canceling_ends_all_connections(engine, login, tmp_path):
    execution = engine.start(
        "core.remote",
        dict(login, hosts="127.0.0.1,localhost", cmd=f"mktemp -p {tmp_path}; sleep 30"),
    )
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    engine.cancel(execution.id)
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "canceled"
