"""Sees, before the first test, that a StackStorm that is given can be compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import needs  # noqa: E402
from stackstorm import StackStorm  # noqa: E402


def pytest_collection_finish(session: pytest.Session) -> None:
    stackstorm = StackStorm.given()
    if not stackstorm or not any(HERE in item.path.parents for item in session.items):
        return
    try:
        which = needs.api(stackstorm, ["core", "packs"])
        directory = needs.packs_directory(stackstorm)
        needs.sudo(stackstorm)
    except needs.Unfit as unfit:
        raise pytest.UsageError(f"engine/tests/parity: {unfit}") from None
    session.config.get_terminal_writer().line(
        f"compared with {which}; authentication on, sudo on the runner's path, packs in {directory}"
    )
