"""Why hosts failed, in one line that stays readable however many they are."""

from __future__ import annotations

import pytest

from delivery.host_reports import CAUSE_LIMIT, causes
from delivery.names import TEXT_LIMIT


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ({"a-1": "disk full"}, "a-1: disk full"),
        ({"b": "disk full", "a": "disk full"}, "a, b: disk full"),
        ({"a": "disk full", "b": "refused", "c": "refused"}, "b, c: refused; a: disk full"),
        (
            {
                "a": "timed out; its log: 10:00:01 pid 17 lost",
                "b": "timed out; its log: 10:00:02 pid 5 lost",
            },
            "a, b: timed out; its log: 10:00:01 pid 17 lost",
        ),
        ({"a": "HTTP 404 at x", "b": "HTTP 503 at x"}, "a: HTTP 404 at x; b: HTTP 503 at x"),
        (
            {"a": "post-inst exited with 3", "b": "post-inst exited with 4"},
            "a: post-inst exited with 3; b: post-inst exited with 4",
        ),
        (
            {f"web-{number}": "disk full" for number in range(1, 8)},
            "web-1, web-2, web-3, web-4, web-5 and 2 more: disk full",
        ),
        (
            {"a": "one", "b": "two", "c": "three", "d": "four", "e": "five"},
            "a: one; b: two; c: three; d, e: other causes",
        ),
    ],
)
def test_each_cause_is_told_once_with_its_hosts(reasons, told):
    assert causes(reasons) == told


def test_long_causes_leave_room_for_the_others():
    said = causes({name: name * 5000 for name in "abcdef"})
    assert len(said) < 3 * (CAUSE_LIMIT + 10) + 40 < TEXT_LIMIT
    assert said.endswith("; d, e, f: other causes")
