"""Runs pytest, lists what was skipped and why, and closes with one line of counts."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest


class Tally:
    """Counts the outcome of every test as pytest reports it."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self.counts["skipped"] += 1
            self.skipped.append(f"{report.nodeid}: {reason_of(report)}")
        elif report.failed:
            self.counts["failed"] += 1
        elif report.when == "call":
            self.counts["passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.counts["failed"] += 1
        elif report.skipped:
            self.counts["skipped"] += 1
            self.skipped.append(f"{report.nodeid}: {reason_of(report)}")


def reason_of(report: Any) -> str:
    """Returns why something was skipped."""
    return report.longrepr[2] if isinstance(report.longrepr, (list, tuple)) else "expected failure"


def main(arguments: list[str]) -> int:
    tally = Tally()
    status = pytest.main(arguments, plugins=[tally])
    for line in tally.skipped:
        print(f"skipped {line}")
    counts = tally.counts
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    if status == pytest.ExitCode.OK and not counts["passed"]:
        return 1
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
