"""`lint` and `test`, for who writes packs."""

from __future__ import annotations

import os

from packengine import lint, pack_tests
from packengine.cli.commands import JSON, Commands, Options, add_command, packs, print_json

PACK = (("directory",), {"metavar": "PACK", "help": "directory of the pack"})


def add_authoring(commands: Commands) -> None:
    add_command(
        commands,
        "lint",
        _lint,
        "List a pack's problems, including those registration misses.",
        PACK,
        JSON,
        needs_engine=False,
    )
    add_command(
        commands,
        "test",
        _test,
        "Run a pack's unit tests, without StackStorm.",
        PACK,
        (
            ("names",),
            {
                "nargs": "*",
                "default": [],
                "metavar": "TEST",
                "help": "test_file.py::Case::test_method",
            },
        ),
        needs_engine=False,
    )


def _lint(options: Options) -> int:
    report = lint.lint(options.directory, _packs_beside(options))
    directory = os.path.abspath(options.directory)
    lines = {
        name: [problem.line(directory) for problem in problems]
        for name, problems in report._asdict().items()
    }
    if options.json:
        print_json(lines)
    else:
        _print_report(lines)
    return 1 if report.faults else 0


def _packs_beside(options: Options) -> list[str]:
    """Returns the other packs; a current directory that is none does not matter here."""
    return [path for path in packs(options) if os.path.exists(os.path.join(path, "pack.yaml"))]


def _print_report(lines: dict[str, list[str]]) -> None:
    for line in lines["faults"]:
        print(line)
    for name, heading in (("unsupported", "unsupported:"), ("unchecked", "not checked:")):
        if lines[name]:
            print(heading)
        for line in lines[name]:
            print(f"  {line}")
    counts = len(lines["faults"]), len(lines["unsupported"]), len(lines["unchecked"])
    print("{} wrong, {} unsupported, {} not checked".format(*counts))


def _test(options: Options) -> int:
    return pack_tests.run_tests(options.directory, options.data_dir, options.names)
