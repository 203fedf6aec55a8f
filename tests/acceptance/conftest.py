"""A running StackStorm, and the sandbox in its reach with the pack configured for it."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterator

import pytest
import yaml

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
RESPAWN_S = 30

sys.path[:0] = [str(PROJECT), str(HERE), str(PROJECT / "engine/tests")]

import needs  # noqa: E402
from driver import PACK, Delivery, configure, log_files, started_again  # noqa: E402
from jenkins_double import API_TOKEN, USER  # noqa: E402
from stackstorm import ApiError, StackStorm, now  # noqa: E402

from sandbox.fleet import MACHINE_ADDRESS, WEBHOOK_PORT  # noqa: E402
from sandbox.world import World  # noqa: E402


def pytest_collection_finish(session: pytest.Session) -> None:
    """Sees, before the first test, that the StackStorm that is given can be tried."""
    stackstorm = StackStorm.given()
    if not stackstorm or not any(HERE in item.path.parents for item in session.items):
        return
    try:
        which = needs.api(stackstorm, ["core", "packs", "chatops", PACK])
        if not log_files():
            raise needs.Unfit(
                "no log of StackStorm can be read: they are looked through for secrets; set "
                "ST2_LOG_DIR to where its services log"
            )
    except needs.Unfit as unfit:
        raise pytest.UsageError(f"tests/acceptance: {unfit}") from None
    session.config.get_terminal_writer().line(f"tried on {which}; authentication on")


@pytest.fixture(scope="session")
def stackstorm() -> StackStorm:
    return StackStorm.given()


@pytest.fixture(scope="session")
def world() -> World:
    """The world this test runs in, which StackStorm reaches."""
    return World.load()


@pytest.fixture(scope="session")
def configured(stackstorm: StackStorm, world: World, began: str) -> Iterator[dict[str, Any]]:
    """The pack's configuration, which is the world's until the tests have ended."""
    before = stackstorm_configuration(stackstorm)
    values = yaml.safe_load((world.config_dir / f"{PACK}.yaml").read_text())
    # Branches whose names are templates get as far as the check of names.
    values["applications"] = {"acme/shop": {"branches": ["main", "*config_context*"]}}
    # Used by the tests with Jenkins; looked for, with all that is secret, in the end.
    values["ci"]["jenkins"] = {
        "user": USER,
        "api_token": API_TOKEN,
        "job": "team/{app}",
        "callback_url": f"http://{MACHINE_ADDRESS}:{WEBHOOK_PORT}/jenkins",
        "callback_secret": str(uuid.uuid4()),
    }
    # A sensor that has just failed is started again some seconds later even if it was stopped
    # meanwhile, beside the one that is started here: so stop it again when that is over.
    with started_again(stackstorm, RESPAWN_S):
        configure(stackstorm, values)
    try:
        yield values
    finally:
        configure(stackstorm, before)
        stackstorm.enable_sensors(PACK, False)
        stackstorm.enable_sensors(PACK, True)


def stackstorm_configuration(stackstorm: StackStorm) -> dict[str, Any]:
    try:
        return stackstorm.get(f"configs/{PACK}", show_secrets="true")["values"]
    except ApiError as error:
        if error.status != 404:
            raise
        return {}


@pytest.fixture(scope="session")
def began() -> str:
    """When the tests began, as StackStorm writes times."""
    return now()


@pytest.fixture(scope="session")
def shop(world: World, stackstorm: StackStorm, configured: Any, tmp_path_factory) -> Delivery:
    return Delivery(world, stackstorm, "shop", tmp_path_factory.mktemp("shop"))


_phases: list[str] = []


@pytest.fixture
def phase(stackstorm: StackStorm) -> Callable[[str], ContextManager[None]]:
    """A context manager that measures what StackStorm does in it, for the figures at the end."""

    @contextlib.contextmanager
    def measure(name: str) -> Iterator[None]:
        since, started = now(), time.monotonic()
        yield
        took_s = time.monotonic() - started
        count = sum(
            1
            for _ in stackstorm.everything(
                "executions", timestamp_gt=since, include_attributes="id"
            )
        )
        _phases.append(f"{name:<44}{took_s:6.1f} s{count:5} executions")

    return measure


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _phases:
        terminalreporter.section("phases")
        for line in _phases:
            terminalreporter.line(line)
