"""Runs the tests that take the `world` fixture inside a sandbox, one for each module.

Outside a world, such tests are run by a second pytest inside one, and what it reports is reported
here. A module's `WORLD` has options for `script/sandbox run`, such as the number of hosts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

PROJECT = Path(__file__).resolve().parents[2]
REPORTS = "CICD_END_TO_END_REPORTS"

sys.path.insert(0, str(PROJECT))

from delivery_driver import Delivery, serving  # noqa: E402

from packengine.engine import Engine  # noqa: E402
from sandbox.world import World  # noqa: E402

_done: dict[Path, dict[str, list[pytest.TestReport]]] = {}
_said: dict[Path, str] = {}


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> World:
    """The world this test runs in."""
    if os.geteuid() != 0:
        pytest.skip("the sandbox makes namespaces and mounts, so this test needs root")
    if not os.environ.get("CICD_SANDBOX"):
        pytest.fail("the test did not run in a world: " + "".join(_said.values()), pytrace=False)
    return World.load()


@pytest.fixture(scope="module")
def engine(world: World, tmp_path_factory) -> Iterator[Engine]:
    with serving(world, tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def shop(world: World, engine: Engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def notes(world: World, engine: Engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "notes", tmp_path_factory.mktemp("notes"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    inside = os.environ.get("CICD_SANDBOX") or os.geteuid() != 0
    if inside or "world" not in getattr(item, "fixturenames", ()):
        return None
    if item.path not in _done:
        _done[item.path] = run_in_a_world(item)
    reports = _done[item.path].get(item.nodeid)
    if not reports:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # What the tests before it have set up for the next one, pytest expects this one to take down.
    item.session._setupstate.teardown_exact(nextitem)
    return True


def run_in_a_world(item: pytest.Item) -> dict[str, list[pytest.TestReport]]:
    """Run the selected tests of the item's module in a world; their reports by node id."""
    chosen = [
        other.nodeid
        for other in item.session.items
        if other.path == item.path and "world" in getattr(other, "fixturenames", ())
    ]
    directory = item.session.config._tmp_path_factory.mktemp("world")
    reports_file = directory / "reports"
    environment = dict(os.environ, **{REPORTS: str(reports_file)})
    done = subprocess.run(
        [
            str(PROJECT / "script/sandbox"),
            "run",
            "--quiet",
            *getattr(item.module, "WORLD", []),
            "--",
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *chosen,
        ],
        cwd=item.session.config.rootpath,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    _said[item.path] = done.stdout[-4000:]
    reports: dict[str, list[pytest.TestReport]] = {}
    for line in reports_file.read_text().splitlines() if reports_file.exists() else []:
        report = item.config.hook.pytest_report_from_serializable(
            config=item.config, data=json.loads(line)
        )
        reports.setdefault(report.nodeid, []).append(report)
    return reports


class Reporter:
    """Writes down what happens inside a world, for the pytest outside."""

    def __init__(self, config: pytest.Config):
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with open(os.environ[REPORTS], "a") as file:
            file.write(json.dumps(data) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CICD_SANDBOX") and os.environ.get(REPORTS):
        config.pluginmanager.register(Reporter(config))
