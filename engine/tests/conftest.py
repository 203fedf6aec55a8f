"""Engines for the tests: one with the fixture packs, and fresh ones for packs a test writes."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap

import pytest
import yaml

from packengine.engine import Engine
from packengine.run import SHIMS

if importlib.util.find_spec("st2tests") is None:
    sys.path.append(SHIMS)

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURE_PACKS = [os.path.join(HERE, "packs", name) for name in ("fixture", "examples")]


class PackWriter:
    """A pack called `test` that a test writes file by file."""

    def __init__(self, path):
        self.path = path
        self.config_dir = path.parent / "configs"
        self.config_dir.mkdir()
        self.file("pack.yaml", "name: test\ndescription: d\nversion: 0.1.0\nauthor: a\n")

    def file(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def metadata(self, path, **values):
        return self.file(path, yaml.safe_dump(values))

    def action(self, name, runner="noop", **values):
        values = dict({"name": name, "runner_type": runner, "enabled": True}, **values)
        return self.metadata(f"actions/{name}.yaml", **values)

    def python(self, name, body, parameters=None, **values):
        """Write a python-script action whose run method has this body."""
        code = "from st2common.runners.base_action import Action\n\n\nclass Test(Action):\n"
        code += "    def run(self, **given):\n" + textwrap.indent(textwrap.dedent(body), " " * 8)
        (self.path / "actions").mkdir(exist_ok=True)
        (self.path / "actions" / (name + ".py")).write_text(code)
        self.action(
            name, "python-script", entry_point=name + ".py", parameters=parameters or {}, **values
        )

    def workflow(self, text, name="flow", parameters=None, **values):
        self.file(f"actions/workflows/{name}.yaml", text)
        self.action(
            name,
            "orquesta",
            entry_point=f"workflows/{name}.yaml",
            parameters=parameters or {},
            **values,
        )

    def rule(self, name, trigger, action, criteria=None, parameters=None, **values):
        values = dict({"enabled": True}, **values)
        self.metadata(
            f"rules/{name}.yaml",
            name=name,
            criteria=criteria or {},
            trigger=trigger if isinstance(trigger, dict) else {"type": trigger},
            action={"ref": action, "parameters": parameters or {}},
            **values,
        )

    def config(self, text):
        (self.config_dir / "test.yaml").write_text(textwrap.dedent(text))


@pytest.fixture
def pack(tmp_path):
    return PackWriter(tmp_path / "test")


@pytest.fixture
def make_engine(tmp_path, pack):
    """A function that starts an engine on the pack, once it is written."""
    engines = []

    def make(**options):
        options = dict(
            {
                "packs": [str(pack.path)],
                "config_dir": str(pack.config_dir),
                "data_dir": str(tmp_path / "data"),
            },
            **options,
        )
        engines.append(Engine(**options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def run_workflow(pack, make_engine):
    """A function that runs the text of a workflow and returns its execution."""

    def run(text, parameters=None, given=None):
        pack.workflow(text, parameters=parameters)
        return make_engine().run("test.flow", given)

    return run


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """An engine with the fixture packs, one for all tests that only run something."""
    with Engine(packs=FIXTURE_PACKS, data_dir=str(tmp_path_factory.mktemp("engine"))) as engine:
        yield engine
