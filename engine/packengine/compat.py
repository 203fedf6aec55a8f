"""Restores what orquesta 1.2.0 needs and newer Pythons took away. Import before orquesta.

Orquesta 1.2.0 and the networkx 1.11 it asks for were written for Python 3.6:

* ``collections.Mapping`` and its siblings moved to ``collections.abc`` (gone in 3.10);
* ``fractions.gcd`` became ``math.gcd`` (gone in 3.9);
* a flag such as ``(?i)`` may stand only at the start of a pattern (an error since 3.11).

StackStorm 3.9 runs orquesta 1.6.0. What matters of the difference is brought forward too: the
sandboxed Jinja environment, and StackStorm's own expression functions.
"""

from __future__ import annotations

import collections
import collections.abc
import fractions
import math
import threading
import warnings
from typing import Any, Callable, Mapping

_prepared = False
_prepare_lock = threading.Lock()


def prepare_orquesta(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Makes orquesta importable and gives its expressions StackStorm's functions.

    :param functions: name -> function, added to orquesta's own (``ctx``, ``result`` and so on).
    """
    global _prepared
    with _prepare_lock:
        if _prepared:
            return
        _restore_standard_library_names()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _add_expression_functions(functions)
            _sandbox_jinja()
            _scope_inline_flags()
        _prepared = True


def _restore_standard_library_names() -> None:
    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    if not hasattr(fractions, "gcd"):
        fractions.gcd = math.gcd  # type: ignore[assignment]


def _add_expression_functions(functions: Mapping[str, Callable[..., Any]]) -> None:
    # The evaluators read this catalogue once, when they are imported: fill it first.
    from orquesta.expressions.functions import base

    base.load().update(functions)


def _sandbox_jinja() -> None:
    import jinja2
    import jinja2.sandbox
    from orquesta.expressions import jinja

    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    jinja.register_functions(environment)
    jinja.JinjaEvaluator._jinja_env = environment


def _scope_inline_flags() -> None:
    from orquesta.utils import parameters

    for word in ("true", "false"):
        parameters.REGEX_INLINE_PARAMS = parameters.REGEX_INLINE_PARAMS.replace(
            "(?i)" + word, f"(?i:{word})"
        )
