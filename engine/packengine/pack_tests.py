"""Runs a pack's unit tests without StackStorm, as ``st2-run-pack-tests`` does with it."""

from __future__ import annotations

import glob
import importlib.util
import os
import subprocess
import sys
from typing import Sequence

from packengine.packs import Registry
from packengine.run import SHIMS

# What st2-run-pack-tests lets tests import from, in its order.
_FOLDERS = ("lib", "sensors", "actions", os.path.join("actions", "lib"), "etc")


def run_tests(path: str, data_dir: str, names: Sequence[str] = ()) -> int:
    """Runs the tests of a pack in a process of their own and returns its exit status.

    pytest runs them where it is installed, else unittest. StackStorm's names are the engine's
    stand-ins; what the pack requires comes from its virtualenv below the data directory, if there
    is one, else from the engine's own Python.

    :param path: the pack's directory.
    :param data_dir: the engine's data directory.
    :param names: files, classes and methods in ``tests``, as ``test_a.py::Case::test_b``; all when
        empty.
    :raises PackError: when the directory is no pack.
    """
    path = os.path.abspath(path)
    pack = next(pack for pack in Registry([path]).packs.values() if pack.path == path)
    tests = os.path.join(path, "tests")
    if not os.path.isdir(tests):
        print(f"{tests}: there is no such folder, so there are no tests")  # noqa: T201
        return 0
    command = [sys.executable, "-m", *_runner(tests, names)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_import_paths(path, tests)))
    libraries = os.path.join(data_dir, "virtualenvs", pack.ref, "lib", "python*", "site-packages")
    for found in glob.glob(libraries):
        environment["PYTHONPATH"] += os.pathsep + os.path.abspath(found)
    # The stand-ins of alias tests use the engine itself.
    environment["PYTHONPATH"] += os.pathsep + os.path.dirname(os.path.dirname(SHIMS))
    return subprocess.run(command, cwd=path, env=environment, check=False).returncode


def _import_paths(path: str, tests: str) -> list[str]:
    folders = [os.path.join(path, folder) for folder in _FOLDERS]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [each for each in (SHIMS, *folders, tests, *inherited) if each]


def _runner(tests: str, names: Sequence[str]) -> list[str]:
    if importlib.util.find_spec("pytest") is not None:
        return ["pytest", *([os.path.join(tests, name) for name in names] or [tests])]
    if names:
        return ["unittest", *(name.replace(".py", "", 1).replace("::", ".") for name in names)]
    # A folder that is a package may import from itself.
    top = os.path.dirname(tests) if os.path.exists(os.path.join(tests, "__init__.py")) else tests
    return ["unittest", "discover", "-s", tests, "-t", top]
