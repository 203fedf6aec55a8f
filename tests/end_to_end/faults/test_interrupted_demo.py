"""Ctrl-C ends script/demo in order, whenever it is typed; `interrupts.py` tries more moments."""

from __future__ import annotations

import pytest

from tests.end_to_end.interrupts import interrupt


@pytest.mark.parametrize("after_s", [0.3, 4.0, 12.0])
def test_ctrl_c_leaves_no_traceback_and_nothing_behind(after_s):
    done = interrupt(after_s)
    assert done.wrong == [], done.output
    assert done.status != 0
