"""Workflow files: reading and inspecting them with Orquesta before anything runs."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings

import yaml

from packengine import compat, packs, templates, workflow_functions

# Orquesta's expression parsers are shared by all workflows and are not made for threads.
ORQUESTA = threading.RLock()

_specs = {}


def orquesta():
    """Returns the orquesta package, made ready for this Python."""
    functions = dict(templates.WORKFLOW_FUNCTIONS, **workflow_functions.FUNCTIONS)
    compat.prepare_orquesta(functions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import orquesta
        import orquesta.conducting
        import orquesta.events
        import orquesta.specs.loader
        import orquesta.statuses
    return orquesta


def load(path):
    """Returns the workflow of a file as Orquesta's specification, kept until the file changes.

    Raises OSError, yaml.YAMLError, and orquesta's own exceptions.
    """
    details = os.stat(path)
    stamp = (details.st_mtime_ns, details.st_size)
    with ORQUESTA:
        if _specs.get(path, (None,))[0] != stamp:
            module = orquesta().specs.loader.get_spec_module("native")
            _specs[path] = (stamp, module.instantiate(packs.load_yaml(path)))
        return _specs[path][1]


def inspect_all(registry, data_dir):
    """Returns what is wrong with any workflow, each as one line that starts with the file's name.

    When nothing is, that is remembered in the data directory, so that the next start is quick.
    """
    actions = [action for action in registry.actions.values() if action.is_workflow]
    note = os.path.join(data_dir, "inspected")
    fingerprint = _fingerprint(registry, actions)
    if not actions or _read(note) == fingerprint:
        return []
    problems = [
        f"{action.entry_point}: {problem}"
        for action in actions
        for problem in inspect(action, registry)
    ]
    if not problems:
        with open(note, "wb") as stream:
            stream.write(fingerprint)
    return problems


def _fingerprint(registry, workflows):
    """Returns a hash of everything an inspection looks at, this module included."""
    paths = [action.path for action in registry.actions.values()]
    paths += [action.entry_point for action in workflows]
    digest = hashlib.sha256()
    for path in [__file__, *sorted(paths)]:
        digest.update(path.encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    return digest.hexdigest().encode()


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def inspect(action, registry):
    """Returns what is wrong with an action's workflow, each as one line without the file's name.

    :param action: packengine.packs.Action of the orquesta runner.
    """
    try:
        spec = load(action.entry_point)
    except FileNotFoundError:
        return ["there is no such file"]
    except (OSError, yaml.YAMLError) as error:
        return [" ".join(str(error).split())]
    except Exception as error:  # orquesta raises many kinds for a file that is no workflow
        return [f"{type(error).__name__}: {error}"]
    with ORQUESTA:
        found = spec.inspect(app_ctx={"st2": {}, "parent": {}}, raise_exception=False)
    problems = []
    for entries in found.values():
        for entry in entries:
            expression = entry.get("expression")
            words = "{}: {}".format(entry.get("spec_path"), entry.get("message"))
            problems.append(words + (f" in {expression}" if expression else ""))
    problems.extend(_content_problems(spec, registry))
    return sorted(problems)


def _content_problems(spec, registry):
    from orquesta.expressions import base as expressions

    for name, task in spec.tasks.items():
        ref = getattr(task, "action", None)
        if not ref or expressions.has_expressions(ref):
            continue
        place = f"tasks.{name}.action"
        if "." not in ref:
            yield f'{place}: The action reference "{ref}" is not formatted correctly.'
            continue
        try:
            action = registry.action(ref)
        except packs.UnknownReference as error:
            yield f"{place}: {error}"
            continue
        given = getattr(task, "input", None) or {}
        if isinstance(given, dict):
            yield from _input_problems(name, action, given)


def _input_problems(task, action, given):
    declared = dict(action.runner.parameters, **action.parameters)
    for name, details in sorted(declared.items()):
        if details.get("required") and "default" not in details and name not in given:
            yield f'tasks.{task}.input: Action "{action.ref}" is missing required input "{name}".'
    for name in sorted(set(given) - set(declared)):
        yield f'tasks.{task}.input.{name}: Action "{action.ref}" has unexpected input "{name}".'
