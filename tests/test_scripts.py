"""The shell scripts people run, and those that run on hosts."""

from __future__ import annotations

import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def shell_scripts():
    """Returns the project's programs whose first line names a shell."""
    found = []
    for folder in (
        ".ci",
        "host",
        "script",
        "sandbox/applications/shop/script",
        "sandbox/applications/notes/script",
    ):
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            path = os.path.join(folder, name)
            with open(os.path.join(ROOT, path), "rb") as script:
                first = script.readline()
            if first.startswith(b"#!") and first.rstrip().endswith((b"sh", b"bash")):
                found.append(path)
    return found


def run(*command):
    return subprocess.run(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )


@pytest.mark.parametrize("path", shell_scripts())
def test_a_shell_script_can_be_run(path):
    assert os.access(os.path.join(ROOT, path), os.X_OK)


@pytest.mark.parametrize("program", ["cicd-converge", "cicd-host-setup"])
def test_a_host_program_explains_itself(program):
    shown = run("host/" + program, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(program + " - ")
    assert "set -e" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Usage: cicd-converge"),
        (["--nonsense"], "Usage: cicd-converge"),
        (["../etc/passwd"], "invalid application name"),
        (["no-such-app"], "no-such-app.conf is missing; run cicd-host-setup"),
    ],
)
def test_cicd_converge_refuses_wrong_usage(arguments, expected):
    refused = run("host/cicd-converge", *arguments)
    assert refused.returncode == 2
    assert expected in refused.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--app", "Shop", "--stage", "canary", "--port", "1"], "--app Shop: use lower-case"),
        (["--app", "shop", "--stage", "a;b", "--port", "1"], "--stage a;b: use lower-case"),
        (["--app", "shop", "--stage", "canary", "--port", "x"], "--port x: use a whole number"),
        (["--app", "shop", "--stage", "canary", "--port", "1", "--health", "$(id)"], "--health"),
        (["--app"], "--app needs a value"),
        (["--app", "shop", "--stage", "canary", "--port", "1", "--node", "a b"], "--node a b"),
        (["--app", "shop", "--stage", "canary", "--port", "1", "--prefix", "/a"], "--prefix /a"),
        (["--what"], "unknown option --what"),
    ],
)
def test_cicd_host_setup_refuses_what_it_cannot_use(arguments, expected):
    refused = run("host/cicd-host-setup", *arguments)
    assert refused.returncode == 2
    assert expected in refused.stdout
