"""A unit on a host of the sandbox does what it would do under systemd 252.

What is expected here was seen of systemd itself, by the same commands.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from typing import Any, Iterator

import pytest
from waiting import wait_for

from sandbox.world import World, WorldHost

WORLD = ["--canary", "1", "--production", "0"]
SLEEP = "ExecStart=/bin/sleep 1000"


class Probe:
    """A unit on a host, another for each test."""

    numbers = itertools.count()

    def __init__(self, host: WorldHost) -> None:
        self.host = host
        self.name = f"probe-{next(self.numbers)}"

    def unit(self, service: str, install: str = "WantedBy=multi-user.target") -> None:
        text = f"[Unit]\nDescription=A probe\n[Service]\n{service}\n[Install]\n{install}\n"
        self.write(f"/etc/systemd/system/{self.name}.service", text)
        self.systemctl("daemon-reload")

    def write(self, path: str, text: str, mode: str = "644") -> None:
        script = f"cat > {path}; chmod {mode} {path}"
        self.host.run(["sh", "-c", script], input=textwrap.dedent(text), check=True)

    def systemctl(self, *arguments: str) -> Any:
        return self.host.run(["systemctl", *arguments])

    def start(self) -> int:
        return self.systemctl("start", self.name).returncode

    def show(self, name: str) -> str:
        return self.systemctl("show", "-p", name, "--value", self.name).stdout.strip()

    @property
    def state(self) -> str:
        return f"{self.show('ActiveState')}/{self.show('SubState')}/{self.show('Result')}"

    def logged(self) -> list[str]:
        """What the service itself wrote."""
        options = ["-q", "--no-pager", "--output=cat", f"_SYSTEMD_UNIT={self.name}.service"]
        return self.host.run(["journalctl", *options]).stdout.splitlines()


@pytest.fixture
def probe(world: World) -> Iterator[Probe]:
    found = Probe(world.host("canary-1"))
    yield found
    found.systemctl("disable", "--quiet", "--now", found.name)


def test_it_says_what_it_is(probe: Probe):
    probe.unit(SLEEP + "\nProtectSystem=strict")
    assert "stand-in of cicd_canary's sandbox" in probe.systemctl("--version").stdout
    assert "stand-in for systemd" in probe.systemctl("--help").stdout
    assert "stand-in" in probe.host.run(["journalctl", "--version"]).stdout
    assert probe.start() == 0
    status = probe.systemctl("status", probe.name).stdout
    assert "by the sandbox's stand-in for systemd" in status
    assert "which does not act upon ProtectSystem" in status
    refused = probe.systemctl("edit", probe.name)
    assert (refused.returncode, "Unknown command verb edit" in refused.stderr) == (1, True)


def test_a_service_is_started_and_stopped(probe: Probe):
    probe.unit(SLEEP)
    assert (probe.systemctl("is-active", probe.name).stdout, probe.state) == (
        "inactive\n",
        "inactive/dead/success",
    )
    assert probe.systemctl("is-active", "--quiet", probe.name).returncode == 3
    assert probe.start() == 0
    assert probe.state == "active/running/success"
    assert probe.systemctl("is-active", "--quiet", probe.name).returncode == 0
    assert probe.systemctl("status", probe.name).returncode == 0
    first = probe.show("MainPID")
    assert probe.start() == 0
    assert probe.show("MainPID") == first
    assert probe.systemctl("restart", probe.name).returncode == 0
    second = probe.show("MainPID")
    assert second != first
    assert probe.systemctl("stop", probe.name).returncode == 0
    assert probe.host.run(["kill", "-0", second]).returncode == 1
    assert probe.state == "inactive/dead/success"
    assert probe.systemctl("status", probe.name).returncode == 3


def test_a_unit_that_is_not_there_is_told(probe: Probe):
    started = probe.systemctl("start", "nosuch")
    assert (started.returncode, started.stderr) == (
        5,
        "Failed to start nosuch.service: Unit nosuch.service not found.\n",
    )
    assert probe.systemctl("stop", "nosuch").returncode == 5
    assert probe.systemctl("status", "nosuch").returncode == 4
    assert probe.systemctl("enable", "nosuch").returncode == 1
    assert probe.systemctl("is-enabled", "nosuch").returncode == 1
    assert probe.systemctl("show", "-p", "LoadState", "nosuch").stdout == "LoadState=not-found\n"


def test_it_is_enabled_by_a_link(probe: Probe):
    probe.unit(SLEEP)
    link = f"/etc/systemd/system/multi-user.target.wants/{probe.name}.service"
    assert (probe.systemctl("is-enabled", probe.name).stdout, probe.show("UnitFileState")) == (
        "disabled\n",
        "disabled",
    )
    assert probe.systemctl("is-enabled", "--quiet", probe.name).returncode == 1
    enabled = probe.systemctl("enable", probe.name)
    assert f"Created symlink {link} → /etc/systemd/system/{probe.name}.service." in enabled.stderr
    assert probe.host.run(["test", "-L", link]).returncode == 0
    assert probe.systemctl("is-enabled", probe.name).returncode == 0
    assert probe.state == "inactive/dead/success"
    assert f"Removed {link}." in probe.systemctl("disable", probe.name).stderr.replace('"', "")
    assert probe.systemctl("--quiet", "enable", "--now", f"{probe.name}.service").stderr == ""
    assert probe.state == "active/running/success"
    assert probe.systemctl("--quiet", "disable", "--now", probe.name).returncode == 0
    assert probe.state == "inactive/dead/success"


def test_a_unit_that_cannot_be_enabled_is_static(probe: Probe):
    probe.unit(SLEEP, install="")
    assert probe.systemctl("is-enabled", probe.name).stdout == "static\n"
    assert probe.systemctl("enable", probe.name).returncode == 0
    assert probe.systemctl("is-enabled", probe.name).stdout == "static\n"


def test_the_command_gets_its_user_directory_and_environment(probe: Probe):
    probe.write("/etc/probe.env", "# the port\nPORT=8099\nNAME='a b'\n")
    probe.write(
        "/usr/local/bin/show-probe",
        '#!/bin/sh\necho "$(id -un):$(id -gn) $(pwd) $GREETING $PORT $NAME" "$#" "$@"\n'
        "echo and this >&2\nexec sleep 1000\n",
        "755",
    )
    probe.unit(
        "User=nobody\nGroup=www-data\nWorkingDirectory=/usr\nStateDirectory=probe\n"
        'Environment="GREETING=hello world"\nEnvironmentFile=/etc/probe.env\n'
        "EnvironmentFile=-/etc/nosuch.env\nExecStartPre=-/bin/false\n"
        "ExecStart=/usr/local/bin/show-probe ${GREETING} $GREETING 'c d' %n $$PORT"
    )
    assert probe.start() == 0
    wait_for(lambda: len(probe.logged()) == 2)
    assert probe.logged() == [
        "nobody:www-data /usr hello world 8099 a b 6 hello world hello world c d "
        f"{probe.name}.service $PORT",
        "and this",
    ]
    assert probe.host.run(["stat", "-c", "%U:%G", "/var/lib/probe"]).stdout == "nobody:www-data\n"


def test_a_service_that_dies_is_restarted_as_its_unit_says(probe: Probe):
    probe.unit(f"{SLEEP}\nRestart=on-failure\nRestartSec=100ms")
    probe.start()
    first = probe.show("MainPID")
    probe.host.run(["kill", "-KILL", first], check=True)
    wait_for(lambda: probe.show("MainPID") not in (first, "0"))
    assert probe.show("NRestarts") == "1"
    second = probe.show("MainPID")
    probe.host.run(["kill", "-TERM", second], check=True)  # a clean end, for systemd
    wait_for(lambda: probe.state == "inactive/dead/success")


def test_a_service_that_always_fails_is_given_up(probe: Probe):
    probe.unit("ExecStart=/bin/sh -c 'echo no database; exit 3'\nRestart=always\nRestartSec=50ms")
    assert probe.start() == 0
    wait_for(lambda: probe.show("ActiveState") == "failed")
    assert (probe.show("NRestarts"), probe.show("ExecMainStatus")) == ("5", "3")
    assert probe.logged() == ["no database"] * 5
    assert probe.systemctl("is-failed", probe.name).returncode == 0
    assert probe.systemctl("reset-failed", probe.name).returncode == 0
    assert probe.show("ActiveState") == "inactive"


def test_without_restart_it_stays_failed(probe: Probe):
    probe.unit("ExecStart=/bin/sh -c 'exit 3'")
    assert probe.start() == 0
    wait_for(lambda: probe.state == "failed/failed/exit-code")
    assert probe.systemctl("is-active", probe.name).stdout == "failed\n"
    assert probe.systemctl("status", probe.name).returncode == 3


@pytest.mark.parametrize(
    ("service", "status", "state"),
    [
        (f"ExecStartPre=/bin/false\n{SLEEP}", 1, "failed/failed/exit-code"),
        ("Type=exec\nExecStart=/nosuch", 1, "failed/failed/exit-code"),
        ("ExecStart=/nosuch", 0, "failed/failed/exit-code"),
        ("Type=oneshot\nExecStart=/bin/true\nExecStart=/bin/false", 1, "failed/failed/exit-code"),
        ("Type=oneshot\nExecStart=/bin/true", 0, "inactive/dead/success"),
        ("Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true", 0, "active/exited/success"),
        ("Type=forking\nExecStart=/bin/false", 1, "failed/failed/exit-code"),
        ("Type=notify\nExecStart=/bin/sh -c 'exit 0'", 1, "failed/failed/protocol"),
        (f"Type=notify\nTimeoutStartSec=1\n{SLEEP}", 1, "failed/failed/timeout"),
        (f"{SLEEP}\nWorkingDirectory=/nosuch", 0, "failed/failed/exit-code"),
        (f"{SLEEP}\nUser=nosuch", 0, "failed/failed/exit-code"),
        (f"{SLEEP}\nEnvironmentFile=/nosuch", 1, "failed/failed/resources"),
    ],
)
def test_how_a_start_ends(probe: Probe, service: str, status: int, state: str):
    probe.unit(service)
    started = probe.systemctl("start", probe.name)
    assert started.returncode == status
    if status:
        assert f"Job for {probe.name}.service failed because" in started.stderr
        assert f'See "systemctl status {probe.name}.service" and "journalctl -xeu' in started.stderr
    wait_for(lambda: probe.state == state, what=f"{probe.state} to be {state}")


@pytest.mark.parametrize(
    ("service", "step"),
    [
        ("ExecStart=/nosuch --option", "203/EXEC"),
        (f"{SLEEP}\nWorkingDirectory=/nosuch", "200/CHDIR"),
        (f"{SLEEP}\nUser=nosuch", "217/USER"),
        ("ExecStart=/bin/sh -c 'exit 2'", "2/INVALIDARGUMENT"),
    ],
)
def test_the_journal_says_how_a_program_ended(probe: Probe, service: str, step: str):
    probe.unit(service)
    probe.start()
    wait_for(lambda: probe.state == "failed/failed/exit-code")
    shown = probe.host.run(["journalctl", "-u", probe.name, "-o", "cat"]).stdout.splitlines()
    name = f"{probe.name}.service"
    assert f"{name}: Main process exited, code=exited, status={step}" in shown
    assert f"{name}: Failed with result 'exit-code'." in shown


def test_a_service_that_forks_is_one_with_its_children(probe: Probe):
    probe.write(
        "/usr/local/bin/fork-probe",
        "#!/bin/sh\nsetsid sh -c 'sleep 1001 & sleep 1000' &\necho $! > /run/probe.pid\n",
        "755",
    )
    probe.unit("Type=forking\nPIDFile=/run/probe.pid\nExecStart=/usr/local/bin/fork-probe")
    assert probe.start() == 0
    assert probe.state == "active/running/success"
    assert probe.show("MainPID") == probe.host.run(["cat", "/run/probe.pid"]).stdout.strip()
    wait_for(lambda: probe.host.run(["pgrep", "-cf", "^sleep 100[01]"]).stdout == "2\n")
    assert probe.systemctl("stop", probe.name).returncode == 0
    assert probe.host.run(["pgrep", "-cf", "^sleep 100[01]"]).stdout == "0\n"


def test_commands_run_in_their_order(probe: Probe):
    probe.unit(
        "ExecStartPre=/bin/echo before\nExecStart=/bin/sh -c 'echo main; exec sleep 1000'\n"
        "ExecStartPost=/bin/sh -c 'sleep 0.5; echo after'\n"
        "ExecReload=/bin/sh -c 'kill -URG $MAINPID'\n"
        "ExecStop=/bin/sh -c 'echo stop; kill $MAINPID'\nExecStopPost=/bin/echo gone"
    )
    assert probe.start() == 0
    assert probe.systemctl("reload", probe.name).returncode == 0
    assert probe.systemctl("stop", probe.name).returncode == 0
    wait_for(lambda: len(probe.logged()) == 5)
    assert probe.logged() == ["before", "main", "after", "stop", "gone"]


def test_what_ignores_to_be_stopped_is_killed(probe: Probe):
    probe.unit("ExecStart=/bin/sh -c 'trap \"\" TERM; sleep 1000; sleep 1000'\nTimeoutStopSec=1")
    probe.start()
    assert probe.systemctl("stop", probe.name).returncode == 0
    wait_for(lambda: probe.show("ActiveState") in ("failed", "inactive"))
    assert probe.host.run(["pgrep", "-cf", "^sleep 1000"]).stdout == "0\n"


def test_a_change_counts_after_daemon_reload(probe: Probe):
    probe.unit("ExecStart=/bin/sh -c 'echo one; exec sleep 1000'")
    probe.start()
    probe.write(
        f"/etc/systemd/system/{probe.name}.service",
        "[Service]\nExecStart=/bin/sh -c 'echo two; exec sleep 1000'\n",
    )
    restarted = probe.systemctl("restart", probe.name)
    assert (
        f"of {probe.name}.service changed on disk. Run 'systemctl daemon-reload'"
        in restarted.stderr
    )
    wait_for(lambda: probe.logged() == ["one", "one"])
    probe.systemctl("daemon-reload")
    assert probe.systemctl("restart", probe.name).stderr == ""
    wait_for(lambda: probe.logged() == ["one", "one", "two"])


def test_a_service_that_says_when_it_is_ready_is_waited_for(probe: Probe):
    notify = (
        "import os, socket, time; time.sleep(0.5); "
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', "
        "os.environ['NOTIFY_SOCKET'].replace('@', chr(0))); time.sleep(1000)"
    )
    probe.unit(f'Type=notify\nExecStart=/usr/bin/python3 -c "{notify}"')
    assert probe.start() == 0
    assert probe.state == "active/running/success"


def test_what_is_masked_is_not_started(probe: Probe):
    probe.systemctl("mask", probe.name)
    started = probe.systemctl("start", probe.name)
    assert (started.returncode, started.stderr) == (
        1,
        f"Failed to start {probe.name}.service: Unit {probe.name}.service is masked.\n",
    )
    assert probe.systemctl("unmask", probe.name).returncode == 0


def test_the_journal_is_shown_by_unit(probe: Probe):
    probe.unit("Type=oneshot\nExecStart=/bin/echo hello")
    probe.start()
    every = probe.host.run(["journalctl", "-u", probe.name]).stdout
    assert re.search(r"canary-1 echo\[\d+\]: hello$", every, re.MULTILINE) or "echo[" in every
    assert probe.host.run(["journalctl", "-qu", probe.name, "-n", "1", "-o", "cat"]).stdout != ""


def test_what_is_enabled_is_started_with_the_host_and_ends_with_it(probe: Probe, world: World):
    probe.unit(SLEEP)
    probe.systemctl("enable", "--now", probe.name)
    probe.host.stop()
    probe.host.start()
    assert probe.state == "active/running/success"
