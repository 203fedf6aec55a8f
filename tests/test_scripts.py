"""The shell scripts people run, and those that run on hosts."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
import sys

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


@pytest.mark.parametrize(
    "path", [path for path in shell_scripts() if path.startswith(("script/", "host/"))]
)
def test_what_a_script_says_of_itself_fits_a_terminal(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as script:
        shown = [line[2:].rstrip() for line in itertools.takewhile(is_comment, list(script)[1:])]
    assert [line for line in shown if len(line) > 80] == []


def is_comment(line):
    return line.startswith("#")


@pytest.mark.parametrize("script", ["test", "acceptance"])
def test_a_test_that_is_not_there_is_said_at_once(script):
    for word in ("tests/test_nothing.py::test_x", "fault"):
        ended = run(f"script/{script}", "-x", "-q", "tests/test_scripts.py", word)
        assert (ended.returncode, ended.stdout) == (
            2,
            f"script/{script}: {word} is no test file or directory here; see --help\n",
        )


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
        ([], "--app is missing; run cicd-host-setup --help"),
        (["--app", "shop", "--stage", "canary"], "--port is missing; run cicd-host-setup --help"),
        (["--app", "shop", "--stage", "canary", "--port", "65536"], "--port 65536: use a port"),
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


@pytest.mark.parametrize("script", ["acceptance", "bench", "check", "demo", "setup", "test"])
def test_a_script_explains_itself(script):
    shown = run("script/" + script, "--help")
    assert shown.returncode == 0
    assert f"script/{script}" in shown.stdout
    assert "set -e" not in shown.stdout


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["check", "--what"], "script/check: unknown argument --what: see script/check --help"),
        (["setup", "--what"], "script/setup: unknown argument --what: see script/setup --help"),
        (["demo", "--what"], "script/demo: unknown argument --what: see script/demo --help"),
        (["demo", "--keep", "--app", "shoe"], "script/demo: --app takes shop or notes"),
        (["demo", "--app"], "script/demo: --app takes shop or notes"),
    ],
)
def test_a_script_refuses_wrong_arguments_at_once(command, expected):
    refused = run("script/" + command[0], *command[1:])
    assert refused.returncode == 2
    assert refused.stdout == expected + "\n"


# Stands for Python, venv and pip, and writes down what it is asked for.
FAKE_PYTHON = """\
#!/bin/sh
echo "$*" >> "$CALLS"
case "$2 $3" in
"venv --clear") rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"pip install") exit "$PIP_STATUS" ;;
esac
"""


class Setup:
    """A project of script/setup alone, with a Python that installs nothing."""

    def __init__(self, root):
        self.root = root
        self.calls = root / "calls"
        (root / "script").mkdir()
        shutil.copy(os.path.join(ROOT, "script", "setup"), root / "script")
        (root / "engine").mkdir()
        for name in ("requirements.txt", "requirements-tests.txt", "engine/pyproject.toml"):
            (root / name).write_text("")
        self.program("python", FAKE_PYTHON)
        self.python = root / ".venv" / "bin" / "python"

    def program(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def start(self, pip_status=0):
        self.calls.write_text("")
        return subprocess.Popen(
            [str(self.root / "script" / "setup")],
            env={
                **os.environ,
                "PYTHON": str(self.root / "python"),
                "CALLS": str(self.calls),
                "PIP_STATUS": str(pip_status),
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, pip_status=0):
        """Runs it; returns its exit status, its last line and whether it made a virtualenv."""
        process = self.start(pip_status)
        lines = process.communicate(timeout=60)[0].splitlines()
        made = "-m venv --clear" in self.calls.read_text()
        return process.returncode, lines[-1] if lines else "", made


@pytest.fixture
def setup(tmp_path):
    return Setup(tmp_path)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_sandbox_started_with_a_shell_does_nothing(shell, tmp_path):
    """The other scripts are shell scripts, so people type that."""
    for program in ("git", "sandbox", "import", "from"):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {program} >> {tmp_path}/called\n")
        (tmp_path / program).chmod(0o755)
    subprocess.run(
        [shell, f"{ROOT}/script/sandbox", "list"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    called = tmp_path / "called"
    assert set(called.read_text().split() if called.exists() else ()) <= {"import", "from"}


def test_setup_makes_the_virtualenv_once(setup):
    assert setup.run()[::2] == (0, True)
    assert setup.run()[::2] == (0, False)
    assert "pip install" not in setup.calls.read_text()


def test_setup_makes_anew_a_virtualenv_whose_making_was_interrupted(setup):
    setup.program(".venv/bin/python", "#!/bin/sh\necho No module named pip >&2\nexit 1\n")
    assert setup.run()[::2] == (0, True)
    assert (setup.root / ".venv" / ".installed").exists()


def test_setup_makes_anew_a_virtualenv_whose_python_is_gone(setup):
    setup.run()
    setup.python.unlink()
    setup.python.symlink_to(setup.root / "gone")
    marker = (setup.root / ".venv" / ".installed").read_text()
    assert setup.run()[::2] == (0, True)
    assert (setup.root / ".venv" / ".installed").read_text() == marker
    assert not setup.python.is_symlink()


def test_setup_says_that_pip_failed_and_goes_on_from_there_next_time(setup):
    status, last, _ = setup.run(pip_status=3)
    assert status == 1
    assert last.startswith("script/setup: pip could not install Python packages: ")
    assert last.endswith("run script/setup again")
    assert setup.run()[::2] == (0, False)
    assert "pip install" in setup.calls.read_text()


def test_setup_waits_for_another(setup):
    with open(setup.root / "script" / "setup") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = setup.start()
        assert process.stdout.readline() == "Waiting for another script/setup ...\n"
        assert setup.calls.read_text() == ""
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_an_interrupted_run_of_tests_says_so(tmp_path):
    path = tmp_path / "test_two.py"
    path.write_text("def test_one(): pass\ndef test_two(): raise KeyboardInterrupt\n")
    shown = run(sys.executable, "-m", "tests.run", "-p", "no:cacheprovider", str(path))
    assert shown.returncode == pytest.ExitCode.INTERRUPTED
    closing = shown.stdout.splitlines()[-1]
    assert closing == "1 passed, 0 failed, 0 skipped; interrupted before the end"


@pytest.mark.parametrize(
    ("said", "status", "sum_of_all"),
    [
        (("7 passed, 0 failed, 1 skipped", 0), 0, "18 passed, 0 failed, 3 skipped"),
        (("7 passed, 2 failed, 1 skipped", 1), 1, "18 passed, 2 failed, 3 skipped"),
        (("Killed", 137), 1, "11 passed, 1 failed, 2 skipped"),
    ],
)
def test_continuous_integration_closes_with_the_counts_of_all(tmp_path, said, status, sum_of_all):
    line, exit_status = said
    parts = {
        "test": "[ -z $1 ] || exec echo 3 passed, 0 failed, 0 skipped\n"
        f"echo {line}; exit {exit_status}",
        "test-corpus": "echo php passed; echo 5 passed, 0 failed, 2 skipped",
    }
    for directory in ("script", ".ci"):
        (tmp_path / directory).mkdir()
    for name, body in parts.items():
        (tmp_path / "script" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "script" / name).chmod(0o755)
    shutil.copy(os.path.join(ROOT, ".ci/run"), tmp_path / ".ci")

    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, sum_of_all)
    assert line in done.stdout.splitlines()
