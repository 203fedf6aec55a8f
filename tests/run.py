"""Runs pytest, lists what was skipped by reason, and closes with one line of counts.

Without arguments everything is run, on all cores: files side by side, the tests of one file after
each other, because those of a file may share a sandbox.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import pytest

# One more than there are cores: tests in the sandbox wait more than they compute.
PROCESSES = min(4, (os.cpu_count() or 1) + 1)
SIDE_BY_SIDE = [f"--numprocesses={PROCESSES}", "--dist=loadfile"]
FAULTS = "tests/end_to_end/faults"  # what fails on hosts and on the way, which takes its time
ATTACKS = "tests/attacks"  # what scripts of a repository and a compromised host attempt
WITHOUT_SKIPPED = "-rfE"  # they are listed below


class Tally:
    """Counts the outcome of every test as pytest reports it.

    skipped: how many tests, by reason and file.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.skipped: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skip(report)
        elif report.failed:
            self.counts["failed"] += 1
        elif report.when == "call":
            self.counts["passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.counts["failed"] += 1
        elif report.skipped:
            self._skip(report)

    def _skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        self.counts["skipped"] += 1
        files = self.skipped.setdefault(reason_of(report), Counter())
        files[report.nodeid.partition("::")[0]] += 1


def reason_of(report: Any) -> str:
    """Returns why something was skipped."""
    if not isinstance(report.longrepr, (list, tuple)):
        return "expected failure"
    reason = str(report.longrepr[2])
    return reason[len("Skipped: ") :] if reason.startswith("Skipped: ") else reason


def main(arguments: list[str]) -> int:
    tally = Tally()
    if not arguments:
        arguments = [f"--ignore={FAULTS}", f"--ignore={ATTACKS}", *SIDE_BY_SIDE]
    elif arguments == ["faults"]:
        arguments = [FAULTS, *SIDE_BY_SIDE]
    elif arguments == ["attacks"]:
        arguments = [ATTACKS]
    status = pytest.main([WITHOUT_SKIPPED, *arguments], plugins=[tally])
    for reason, files in sorted(tally.skipped.items()):
        print(f"skipped: {reason}")
        for file, number in sorted(files.items()):
            print(f"    {number:3} of {file}")
    counts = tally.counts
    line = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    if status == pytest.ExitCode.INTERRUPTED:
        line += "; interrupted before the end"
    print(line)
    if status == pytest.ExitCode.OK and not counts["passed"]:
        return 1
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
