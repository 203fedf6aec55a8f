"""Commands on other hosts, against a real sshd on this machine."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time

import pytest
from waiting import wait_for

from delivery.errors import DeliveryError
from delivery.remote import Host, RemoteError, Ssh

from .local_host import LocalSshd, runs

HERE = LocalSshd.host


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with LocalSshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.mark.parametrize("node", ["", "-oProxyCommand=id", "web 1", "web;id", "web\n", "a" * 254])
def test_a_node_name_that_could_be_anything_else_is_refused(node):
    with pytest.raises(DeliveryError, match="invalid host name"):
        Host(node, "10.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "-oProxyCommand=id",
        "10.0.0.1;id",
        "fe80::1%$(id)",
        "a b",
        "root@10.0.0.1",
        "300.0.0.1",
        "host-",
        "a..b",
        "10.0.0.1\n",
        "x" * 254,
    ],
)
def test_an_address_that_could_be_anything_else_is_refused(address):
    with pytest.raises(DeliveryError, match="invalid address of host web-1"):
        Host("web-1", address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "web-1", "web-1.node.example", "1a.b"])
def test_ip_addresses_and_host_names_are_addresses(address):
    assert Host("web-1", address).address == address


def test_a_missing_key_file_is_named_at_once():
    with pytest.raises(DeliveryError, match="ssh.key_file: file /nowhere/key does not exist"):
        Ssh("root", key_file="/nowhere/key", connect_timeout_s=5)


def test_output_and_exit_status_come_back(sshd):
    result = sshd.ssh().run(HERE, ["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)

    assert (result.exit_status, result.text, result.stderr) == (3, "out\n", "err\n")
    assert result.reason == "err"
    assert not result.ok


def test_arguments_arrive_as_they_are(sshd):
    awkward = ["a b", "$(id)", "; id", "'", '"', "*", "\\", "", "ä", "line\nline", "-n"]

    result = sshd.ssh().run(HERE, ["printf", "[%s]", *awkward])

    assert result.text == "".join(f"[{argument}]" for argument in awkward)


def test_stdin_arrives_byte_for_byte(sshd):
    data = bytes(range(256)) * 4096

    assert sshd.ssh().run(HERE, ["cat"], stdin=data).stdout == data


def test_a_failing_command_names_host_command_and_last_line(sshd):
    with pytest.raises(RemoteError) as failure:
        sshd.ssh().run(
            HERE,
            ["sh", "-c", "echo first >&2; echo no such thing >&2; exit 1"],
            what="find the thing",
        )

    assert str(failure.value) == "here (127.0.0.1): find the thing: no such thing"
    assert failure.value.result.exit_status == 1


def test_a_command_that_fails_in_silence_still_has_a_reason(sshd):
    result = sshd.ssh().run(HERE, ["false"], check=False)

    assert result.reason == "exit status 1, no output"


def test_a_command_that_takes_too_long_is_ended_over_there_with_its_children(sshd, tmp_path):
    child = tmp_path / "child"
    script = f"sleep 600 & echo $! > {child}; sleep 600"
    started = time.monotonic()

    result = sshd.ssh().run(HERE, ["sh", "-c", script], timeout_s=1, check=False)

    assert result.exit_status is None
    assert result.reason == "timed out after 1 s"
    assert time.monotonic() - started < 60
    wait_for(lambda: not runs(int(child.read_text())))


def test_a_command_that_itself_exits_124_did_not_time_out(sshd):
    result = sshd.ssh().run(HERE, ["sh", "-c", "exit 124"], check=False)

    assert result.exit_status == 124


def test_many_hosts_are_served_at_once_and_in_order(sshd, tmp_path):
    hosts = [Host(f"web-{number}", "127.0.0.1") for number in range(8)]
    wait_for_all = (
        f"mktemp -p {tmp_path}; until [ $(ls {tmp_path} | wc -l) = 8 ]; do sleep 0.1; done"
    )

    results = sshd.ssh().run_many(hosts, ["sh", "-c", wait_for_all])

    assert [result.host for result in results] == hosts
    assert all(result.ok for result in results)


def test_one_host_that_fails_does_not_hide_the_others(sshd):
    hosts = [HERE, Host("gone", "no-such-host.invalid"), HERE]

    first, gone, last = sshd.ssh().run_many(hosts, ["true"])

    assert first.ok
    assert last.ok
    assert (gone.exit_status, gone.reason) == (None, "host name does not resolve")


def test_no_hosts_give_no_results(sshd):
    assert sshd.ssh().run_many([], ["true"]) == []


def test_a_refused_connection_says_so(sshd):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            RemoteError,
            match=rf"here \(127.0.0.1\): true: connection refused "
            rf"on port {port}$",
        ):
            sshd.ssh(port=port).run(HERE, ["true"])


def test_a_host_that_never_answers_is_given_up_after_the_connect_timeout(sshd):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]

        result = sshd.ssh(port=port, connect_timeout_s=1).run(HERE, ["true"], check=False)

    assert (result.exit_status, result.reason) == (None, f"no answer on port {port} within 1 s")


def test_a_host_whose_key_is_not_known_is_refused(sshd, tmp_path):
    empty = tmp_path / "known hosts 100%"
    empty.touch()

    result = sshd.ssh(known_hosts_file=str(empty)).run(HERE, ["true"], check=False)

    assert (result.exit_status, result.reason) == (None, f"its host key is not in {empty}")


def test_a_host_whose_key_has_changed_is_refused(sshd, tmp_path):
    public_key = (sshd.directory / "id_ed25519.pub").read_text()
    other = tmp_path / "known_hosts"
    other.write_text(f"[127.0.0.1]:{sshd.port} {public_key}")

    result = sshd.ssh(known_hosts_file=str(other)).run(HERE, ["true"], check=False)

    assert (result.exit_status, result.reason) == (
        None,
        f"its host key differs from the one in {other}",
    )


def test_a_key_that_is_not_let_in_says_whose(sshd, tmp_path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True
    )

    result = sshd.ssh(key_file=str(tmp_path / "key")).run(HERE, ["true"], check=False)

    assert (result.exit_status, result.reason) == (None, "SSH key rejected for user root")


def test_a_kept_connection_serves_the_next_command_and_is_closed_after_its_time(sshd, tmp_path):
    ssh = sshd.ssh(keep_connection_s=2)
    connection = ["sh", "-c", "echo $(ps -o ppid= -p $PPID) $SSH_CONNECTION"]

    first, second = ssh.run(HERE, connection), ssh.run(HERE, connection)
    wait_for(lambda: not runs(int(first.text.split()[0])))
    third = ssh.run(HERE, connection)

    assert first.text == second.text != third.text


def test_a_kept_connection_serves_nobody_who_would_not_have_been_let_in(sshd, tmp_path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True
    )
    (tmp_path / "known_hosts").touch()
    sshd.ssh(keep_connection_s=5).run(HERE, ["true"])

    for stranger in (
        {"key_file": str(tmp_path / "key")},
        {"known_hosts_file": str(tmp_path / "known_hosts")},
    ):
        assert not sshd.ssh(keep_connection_s=5, **stranger).run(HERE, ["true"], check=False).ok


def test_a_kept_connection_tells_commands_apart_in_what_they_say_and_how_they_end(sshd):
    ssh = sshd.ssh(keep_connection_s=5)
    ssh.run(HERE, ["true"])

    results = ssh.run_many([HERE] * 16, ["sh", "-c", "cat; echo no >&2; sleep 0.5; exit 3"], b"in")

    assert [(result.exit_status, result.text, result.reason) for result in results] == [
        (3, "in", "no")
    ] * 16


def test_a_kept_connection_that_was_cut_says_so_and_is_made_anew(tmp_path):
    with LocalSshd(tmp_path) as sshd:
        ssh = sshd.ssh(keep_connection_s=30)
        cut = ssh.run(HERE, ["sh", "-c", "kill -KILL $(ps -o ppid= -p $PPID)"], check=False)
        again = ssh.run(HERE, ["echo", "back"])

    assert cut.exit_status is None
    assert cut.reason == "connection closed"
    assert again.text == "back\n"


def test_a_user_who_is_not_root_works_through_sudo():
    command = Ssh("deploy", connect_timeout_s=5)._command(HERE, ["id", "-u"], 5)

    assert command[-1] == "sudo -n timeout --kill-after=10 5 id -u"


THERE = Host("there", "127.0.0.1")


def taking(size):
    return ["sh", "-c", f"head -c {size} | sha256sum"]


@pytest.mark.parametrize("keep_connection_s", [0, 5])
def test_what_one_command_prints_another_reads(sshd, tmp_path, keep_connection_s):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    ssh = sshd.ssh(keep_connection_s=keep_connection_s)

    done = ssh.pipe(HERE, ["cat", str(tmp_path / "file")], THERE, taking(10**7))

    assert done.text.split()[0] == hashlib.sha256(content).hexdigest()


def test_who_reads_decides_how_much_is_sent(sshd):
    started = time.monotonic()

    done = sshd.ssh().pipe(HERE, ["cat", "/dev/zero"], THERE, taking(1000))

    assert done.text.split()[0] == hashlib.sha256(bytes(1000)).hexdigest()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("read", "argv", "reason"),
    [
        ("echo no such package >&2; exit 1", "cat; exit 66", "here .*: take it: no such package"),
        ("exit 1", "cat; echo too few >&2; exit 66", "here .*: take it: exit status 1, no output"),
        ("echo x", "cat; echo too few >&2; exit 66", "there .*: take it: too few"),
        ("cat /dev/zero", "echo no room >&2; exit 1", "there .*: take it: no room"),
        ("echo x; echo oh >&2; exit 1", "cat; echo no >&2; exit 1", "there .*: take it: no"),
    ],
)
def test_the_end_that_failed_first_is_named(sshd, read, argv, reason):
    with pytest.raises(RemoteError, match=reason):
        sshd.ssh().pipe(HERE, ["sh", "-c", read], THERE, ["sh", "-c", argv], what="take it")


def test_a_source_that_cannot_be_reached_is_named(sshd):
    away = Host("away", "127.0.0.2")
    with pytest.raises(RemoteError, match="away .*: its host key is not in|connection refused"):
        sshd.ssh().pipe(away, ["true"], THERE, ["sh", "-c", "cat; exit 66"])
