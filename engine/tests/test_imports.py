"""The engine's modules import each other in one direction, and nothing of any pack."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "packengine"


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(file): file
    for file in PACKAGE.rglob("*.py")
    if "shims" not in file.parts and "builtin" not in file.parts
}


def imports_of(tree: ast.AST) -> set[str]:
    """Returns what code imports when it runs, in functions too; not what is for type checkers."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in FILES else str(node.module))
        found |= imports_of(node)
    return found


IMPORTS = {
    name: imports_of(ast.parse(file.read_text(encoding="utf-8"))) & set(FILES) - {name}
    for name, file in FILES.items()
}


def circle_from(name: str, path: tuple[str, ...], done: set[str]) -> tuple[str, ...]:
    if name in path:
        return (*path[path.index(name) :], name)
    if name in done:
        return ()
    for imported in sorted(IMPORTS[name]):
        found = circle_from(imported, (*path, name), done)
        if found:
            return found
    done.add(name)
    return ()


def test_no_module_imports_one_that_imports_it():
    assert len(FILES) > 20
    done: set[str] = set()
    assert [found for found in (circle_from(name, (), done) for name in FILES) if found] == []


def test_what_a_pack_process_loads_by_path_imports_nothing_of_the_engine():
    # They run under the Python of a pack's virtualenv, which does not have the engine.
    for name in ("python_child", "sensor_child", "datastore"):
        assert IMPORTS[f"packengine.{name}"] == set()


def test_the_engine_names_no_pack_that_uses_it():
    project = PACKAGE.parent
    texts = [
        *PACKAGE.rglob("*.py"),
        *PACKAGE.rglob("*.yaml"),
        project / "README.md",
        project / "pyproject.toml",
    ]
    found = [str(file) for file in texts if "cicd" in file.read_text(encoding="utf-8").lower()]
    assert found == []


def test_the_readme_knows_every_module():
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    top = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert {name for name in top if name not in readme} == set()
