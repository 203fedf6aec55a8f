"""After `script/demo --keep`, script/engine works in the demo's fleet from any shell."""

from __future__ import annotations

import os
import subprocess
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
