"""How the house is built: how large its parts may be, and which of them may know of which.

docs/architecture.md tells the same in words.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "actions/lib"

LINES = 350
PUBLIC_METHODS = 15

# What is too large still. Each goes with the change that makes it small.
TOO_LONG = {"delivery/release.py"}
TOO_MANY_METHODS = {"delivery/release.py Application", "delivery/store.py Store"}

# By part: where it is, where its imports are looked for, and which parts of ours it may import.
PARTS = {
    "delivery": (LIB / "delivery", LIB, set()),
    "packengine": (ROOT / "engine/packengine", ROOT / "engine", {"st2common"}),  # its stand-ins
    "sandbox": (ROOT / "sandbox", ROOT, set()),
    "demo": (ROOT / "demo", ROOT, {"packengine", "sandbox", "delivery"}),
    "bench": (ROOT / "bench", ROOT, {"packengine", "sandbox", "delivery", "demo"}),
    "actions": (ROOT / "actions", ROOT, {"delivery", "st2common"}),
    "sensors": (ROOT / "sensors", ROOT, {"delivery", "st2reactor"}),
}
STACKSTORM = {"st2common", "st2reactor", "st2client", "st2tests", "st2actions"}
OURS = {*PARTS, *STACKSTORM, "tests"}


def python_files(folder: Path) -> list[Path]:
    """Returns the modules of a part; packs, stand-ins and samples inside of it are their own."""
    apart = {"shims", "builtin", "packs", "applications", "pack"}
    if folder == ROOT / "actions":
        apart.add("delivery")
    found = sorted(folder.rglob("*.py"))
    return [path for path in found if not apart & set(path.relative_to(folder).parts)]


def imported(tree: ast.Module, at_run_time: bool = False) -> Iterator[str]:
    """Yields the modules that a module names, inside of functions too.

    :param at_run_time: without those that only a type checker reads.
    """
    for node in ast.walk(tree):
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, "imports here are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules(part: str) -> dict[str, Path]:
    folder, above, _ = PARTS[part]
    names = {}
    for path in python_files(folder):
        name = ".".join(path.relative_to(above).with_suffix("").parts)
        names[name[: -len(".__init__")] if name.endswith(".__init__") else name] = path
    return names


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of a circle of imports, or nothing."""
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                found = follow(other, [*path, name])
                if found:
                    return found
            done.add(name)
        return []

    return next((found for found in (follow(name, []) for name in sorted(graph)) if found), [])


def test_a_file_of_delivery_is_read_in_one_sitting():
    lengths = {
        str(path.relative_to(LIB)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(LIB / "delivery")
    }
    assert {name for name, lines in lengths.items() if lines >= LINES} <= TOO_LONG


def test_a_class_of_delivery_does_one_thing():
    too_many = set()
    for path in python_files(LIB / "delivery"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                public = {
                    each.name
                    for each in node.body
                    if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
                }
                if len(public) > PUBLIC_METHODS:
                    too_many.add(f"{path.relative_to(LIB)} {node.name}")
    assert too_many <= TOO_MANY_METHODS


@pytest.mark.parametrize("part", PARTS)
def test_arrows_point_one_way(part):
    allowed = {part, *PARTS[part][2]}
    for path in modules(part).values():
        named = {name.split(".")[0] for name in imported(parsed(path))}
        assert named & OURS <= allowed, path


def test_the_sandbox_needs_nothing_but_python():
    """script/sandbox runs before anything is installed."""
    for path in modules("sandbox").values():
        named = {name.split(".")[0] for name in imported(parsed(path))}
        assert not named & {"consul", "github", "jenkins", "requests", "yaml", "pytest"}, path


@pytest.mark.parametrize("part", ["delivery", "sandbox"])
def test_imports_do_not_go_in_circles(part):
    known = modules(part)
    graph = {
        name: {other for other in imported(parsed(path), at_run_time=True) if other in known}
        - {name}
        for name, path in known.items()
    }
    assert circle(graph) == []
