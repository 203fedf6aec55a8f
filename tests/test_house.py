"""How the house is built: how large its parts may be, and which of them may know of which.

docs/architecture.md tells the same in words.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Collection, Iterator

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "actions/lib"

LINES = 350
PUBLIC_METHODS = 15

# What actions and sensors have in common, by the name it is imported under.
BASES = {path.stem for path in LIB.glob("*.py")}

# By part: where it is, where its imports are looked for, and which parts of ours it may import.
PARTS = {
    "delivery": (LIB / "delivery", LIB, set()),
    # Its own stand-ins for StackStorm's.
    "packengine": (ROOT / "engine/packengine", ROOT / "engine", {"st2common", "st2reactor"}),
    "sandbox": (ROOT / "sandbox", ROOT, set()),
    "demo": (ROOT / "demo", ROOT, {"packengine", "sandbox", "delivery"}),
    "bench": (ROOT / "bench", ROOT, {"packengine", "sandbox", "delivery", "demo"}),
    "actions": (ROOT / "actions", ROOT, {"delivery", "st2common", *BASES}),
    "sensors": (ROOT / "sensors", ROOT, {"delivery", "st2reactor", *BASES}),
}
STACKSTORM = {"st2common", "st2reactor", "st2client", "st2tests", "st2actions"}
OURS = {*PARTS, *STACKSTORM, *BASES, "tests"}


def python_files(folder: Path) -> list[Path]:
    """Returns the modules of a part; packs, stand-ins and samples inside of it are their own."""
    apart = {"shims", "builtin", "packs", "applications", "templates", "pack"}
    if folder == ROOT / "actions":
        apart.add("delivery")
    found = sorted(folder.rglob("*.py"))
    return [path for path in found if not apart & set(path.relative_to(folder).parts)]


def imported(tree: ast.Module, known: Collection[str] = ()) -> Iterator[str]:
    """Yields the modules that a module imports, inside of functions too.

    :param known: of `from a import b`, a.b if it is one of these, else a.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "imports here are absolute"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in known else node.module


def without_type_checking(tree: ast.Module) -> ast.Module:
    """Returns the module without what only a type checker reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    return tree


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
    for path in python_files(LIB / "delivery"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < LINES, path


def test_a_class_of_delivery_does_one_thing():
    for path in python_files(LIB / "delivery"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                public = {
                    each.name
                    for each in node.body
                    if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
                }
                assert len(public) <= PUBLIC_METHODS, f"{node.name} in {path}"


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


@pytest.mark.parametrize("part", ["delivery", "packengine", "sandbox"])
def test_imports_do_not_go_in_circles(part):
    known = modules(part)
    graph = {
        name: set(imported(without_type_checking(parsed(path)), known)) & set(known) - {name}
        for name, path in known.items()
    }
    assert circle(graph) == []
