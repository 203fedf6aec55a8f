"""After `script/demo --keep`, script/engine works in the demo's fleet from any shell."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

PROJECT = Path(__file__).resolve().parents[2]
SANDBOX = str(PROJECT / "script/sandbox")
# What the demo does when it keeps its fleet, until its standard input ends.
KEEP = f"""
mkdir /run/cicd-sandbox/demo
echo {PROJECT} > /run/cicd-sandbox/demo/kept
echo kept
read -r _
rm /run/cicd-sandbox/demo/kept
read -r _
"""


def engine(*words, **environment):
    """Runs script/engine as in a shell that knows nothing of the fleet."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [str(PROJECT / "script/engine"), *words],
        env={**plain, **environment},
        cwd="/",
        capture_output=True,
        text=True,
    )


@pytest.fixture
def fleet():
    process = subprocess.Popen(
        [SANDBOX, "run", "--quiet", "--canary", "0", "--production", "0", "--", "sh", "-c", KEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "kept\n"
    yield process
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def test_commands_are_for_the_kept_fleet_until_it_is_let_go(fleet, tmp_path):
    key = f"of-{os.getpid()}"  # a demo of this project may be kept at the same time
    assert engine("key", "set", key, "the fleet").returncode == 0
    assert engine("key", "get", key).stdout == "the fleet\n"
    status = engine("run", "cicd_canary.deploy_status", "app=shop")
    assert (status.returncode, status.stdout) == (1, "")
    assert status.stderr.startswith("no application shop")
    elsewhere = engine("key", "list", "--json", ENGINE_DATA_DIR=str(tmp_path))
    assert elsewhere.stdout == "[]\n"
    assert engine("--data-dir", str(tmp_path), "key", "list", "--json").stdout == "[]\n"

    fleet.stdin.write("\n")
    fleet.stdin.flush()
    wait_for(lambda: "the fleet" not in engine("key", "get", key).stdout, 30)


# A chat: Ctrl-C clears its line.
PROMPT = """
import sys
try:
    print("ready", flush=True)
    sys.stdin.readline()
except KeyboardInterrupt:
    print("cleared", flush=True)
    print("still", sys.stdin.readline())
"""


def test_ctrl_c_is_for_the_command_in_the_fleet_alone(fleet):
    world = subprocess.run(
        [SANDBOX, "list"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    here = [line.split()[1] for line in world if line.endswith(str(PROJECT))][-1]
    pid, terminal = pty.fork()
    if not pid:
        inside = ["exec", "--world", here, "sandbox", "--", sys.executable, "-c", PROMPT]
        os.execv(SANDBOX, [SANDBOX, *inside])
    said = b""
    with contextlib.suppress(OSError):  # the terminal's end, on Linux
        while True:
            said += os.read(terminal, 1024)
            if said.endswith(b"ready\r\n"):
                os.write(terminal, b"\x03")
            elif said.endswith(b"cleared\r\n"):
                os.write(terminal, b"here\n")
    assert os.waitpid(pid, 0)[1] == 0, said
    assert b"still here" in said


# What the demo does with its chat, begun by a shell at a terminal, which the fleet cannot see.
CHAT = "from demo.__main__ import call_in_foreground as call; call(['true'], {}); print('left')"


def test_leaving_the_chat_of_a_terminal_ends_the_demo_in_order():
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(PROJECT)
        fleet = ["run", "--quiet", "--canary", "0", "--production", "0", "--"]
        os.execv(SANDBOX, [SANDBOX, *fleet, sys.executable, "-c", CHAT])
    said = b""
    with contextlib.suppress(OSError):  # the terminal's end, on Linux
        while True:
            said += os.read(terminal, 1024)
    assert os.waitpid(pid, 0)[1] == 0, said
    assert said.strip() == b"left"
