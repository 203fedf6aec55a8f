"""`packengine test` runs a pack's tests against the stand-ins, and ends as they do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tiny import FILES, write

TESTS = """
from st2tests.base import BaseActionTestCase, BaseSensorTestCase

from door import Door
from greet import Greet


class GreetTestCase(BaseActionTestCase):
    action_cls = Greet

    def test_greet(self):
        self.assertEqual(self.get_action_instance().run("ada", style="hello"), {"text": TEXT})


class DoorTestCase(BaseSensorTestCase):
    sensor_cls = Door

    def test_run(self):
        self.assertIsNone(self.get_sensor_instance().run())
"""
RIGHT = TESTS.replace("TEXT", '"hello ada"')
WRONG = TESTS.replace("TEXT", '"hello bob"')


def run_tests(pack, *names, hide=""):
    # A process of its own, as the tests' own Python may have imported the same names.
    code = "import sys; from packengine import cli"
    if hide:  # as if it was not installed
        code += "; import importlib.util as u; find = u.find_spec"
        code += f"; u.find_spec = lambda name: None if name == {hide!r} else find(name)"
    code += "; sys.exit(cli.main(sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-c", code, "--data-dir", str(pack / "data"), "test", str(pack), *names],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout


@pytest.mark.parametrize("hide", ["", "pytest"])
def test_the_exit_status_is_that_of_the_tests(tmp_path, hide):
    pack = write(tmp_path, {**FILES, "tests/test_all.py": RIGHT})
    status, output = run_tests(pack, hide=hide)
    assert status == 0, output
    assert ("2 passed" if not hide else "Ran 2 tests") in output
    write(tmp_path, {"tests/test_all.py": WRONG})
    status, output = run_tests(pack, hide=hide)
    assert status == 1
    assert "hello bob" in output


@pytest.mark.parametrize("hide", ["", "pytest"])
def test_one_test_can_be_named(tmp_path, hide):
    pack = write(tmp_path, {**FILES, "tests/test_all.py": WRONG})
    status, output = run_tests(pack, "test_all.py::DoorTestCase::test_run", hide=hide)
    assert status == 0, output
    assert ("1 passed" if not hide else "Ran 1 test") in output


def test_what_the_packs_virtualenv_holds_can_be_imported(tmp_path):
    library = "data/virtualenvs/tiny/lib/python3.9/site-packages/only_here.py"
    test = "from only_here import WORD\n\n\ndef test_word():\n    assert WORD == 'found'\n"
    write(tmp_path, {**FILES, library: "WORD = 'found'\n", "tests/test_word.py": test})
    status, output = run_tests(tmp_path)
    assert status == 0, output


def test_a_pack_without_tests_is_told_so(tmp_path):
    status, output = run_tests(write(tmp_path, FILES))
    assert status == 0
    assert "there are no tests" in output


def test_what_is_no_pack_is_refused(tmp_path):
    status, output = run_tests(tmp_path)
    assert status == 2
    assert "not a pack, it has no pack.yaml" in output
