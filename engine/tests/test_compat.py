"""Orquesta 1.2.0 on the Python at hand."""

from __future__ import annotations

import subprocess
import sys

from packengine import workflows


def test_orquesta_imports_after_the_restorations():
    assert workflows.orquesta().conducting.WorkflowConductor


def test_inline_parameters_are_read():
    workflows.orquesta()
    from orquesta.utils import parameters

    assert parameters.parse_inline_params('x=TRUE y="a b" z=5', preserve_order=False) == {
        "x": True,
        "y": "a b",
        "z": 5,
    }


def test_jinja_in_workflows_is_sandboxed():
    import jinja2.sandbox

    workflows.orquesta()
    from orquesta.expressions.jinja import JinjaEvaluator

    assert isinstance(JinjaEvaluator._jinja_env, jinja2.sandbox.SandboxedEnvironment)


def test_an_engine_without_workflows_does_not_load_orquesta(pack, tmp_path):
    code = (
        "import sys; from packengine.engine import Engine;"
        "Engine([{!r}], data_dir={!r}).run('core.noop');"
        "sys.exit('orquesta' in sys.modules)".format(str(pack.path), str(tmp_path / "d"))
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
