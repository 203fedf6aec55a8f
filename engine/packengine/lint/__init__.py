"""Finds what is wrong with a pack and StackStorm's registration lets pass.

Each check is a generator in a file of this folder: it takes a Subject and yields problems.
"""

from __future__ import annotations

import os
from typing import Callable, Iterable, Iterator, NamedTuple

from packengine.lint import (
    aliases,
    calls,
    configuration,
    entry_points,
    expressions,
    rules,
    workflow_files,
)
from packengine.lint.subject import Subject
from packengine.packs import PackError, Registry
from packengine.problems import FAULT, UNCHECKED, UNSUPPORTED, Problem, guarded

CHECKS: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    configuration.check,
    entry_points.check,
    calls.check,
    rules.check,
    expressions.check,
    workflow_files.check,
    aliases.check,
)


class Report(NamedTuple):
    """What was found in a pack, sorted by file.

    :ivar faults: what is wrong.
    :ivar unsupported: what StackStorm has and the engine does not.
    :ivar unchecked: what nobody can tell without a pack that is not here.
    """

    faults: list[Problem]
    unsupported: list[Problem]
    unchecked: list[Problem]


def lint(path: str, others: Iterable[str] = ()) -> Report:
    """Returns what is wrong with a pack.

    :param path: the pack's directory.
    :param others: directories of packs whose actions and triggers it uses.
    :raises PackError: when one of the others is no pack.
    """
    path = os.path.abspath(path)
    directories = [path, *(other for other in map(os.path.abspath, others) if other != path)]
    try:
        registry = Registry(directories)
    except PackError as error:
        if any(not _is_of(problem, path) for problem in error.problems):
            raise
        return _report(error.problems)
    found = [problem for problem in registry.problems if _is_of(problem, path)]
    pack = next(pack for pack in registry.packs.values() if pack.path == path)
    subject = Subject(registry, pack)
    for check in CHECKS:
        found.extend(guarded(pack.path, check(subject)))
    return _report(found)


def _is_of(problem: Problem, path: str) -> bool:
    return problem.path == path or problem.path.startswith(path + os.sep)


def _report(problems: list[Problem]) -> Report:
    unique = sorted(dict.fromkeys(problems), key=lambda problem: problem.path)
    by_kind = {
        kind: [problem for problem in unique if problem.kind == kind]
        for kind in (FAULT, UNSUPPORTED, UNCHECKED)
    }
    return Report(by_kind[FAULT], by_kind[UNSUPPORTED], by_kind[UNCHECKED])
