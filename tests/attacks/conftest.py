"""Lets the tests of attacks run in a sandbox, as those of tests/end_to_end do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))

from tests.end_to_end.conftest import (  # noqa: F401
    engine,
    pytest_configure,
    pytest_runtest_protocol,
    shop,
    world,
)
