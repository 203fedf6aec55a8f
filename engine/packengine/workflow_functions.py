"""The expression functions StackStorm adds to Orquesta: ``st2kv`` and ``task``."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Callable

from packengine.datastore import SYSTEM_SCOPE, USER_SCOPE, KeyNotFound

if TYPE_CHECKING:
    from packengine.conductor import WorkflowRun

# Running workflows by their id, for the functions, which Orquesta hands only a context.
_running: weakref.WeakValueDictionary[str, WorkflowRun] = weakref.WeakValueDictionary()


def register(workflow_id: str, workflow_run: WorkflowRun) -> None:
    """Makes a running workflow known to the functions for as long as it lives."""
    _running[workflow_id] = workflow_run


def _workflow_run(context: Any) -> WorkflowRun:
    return _running[context["__vars"]["st2"]["workflow_execution_id"]]


def _variable(context: Any, name: str) -> Any:
    # A dict for Jinja expressions, something of YAQL's own for the others.
    try:
        return context[name] or {}
    except KeyError:
        return {}


def st2kv_(context: Any, key: str, **options: Any) -> Any:
    """Returns a key of the datastore; ``decrypt`` and ``default`` as in StackStorm."""
    from orquesta import exceptions

    if not isinstance(key, str):
        raise TypeError("Given key is not typeof string.")
    decrypt = options.get("decrypt", False)
    if not isinstance(decrypt, bool):
        raise TypeError("Decrypt parameter is not typeof bool.")
    run = _workflow_run(context)
    if key.startswith("system."):
        scope, name = SYSTEM_SCOPE, key[len("system.") :]
    else:
        scope, name = USER_SCOPE, "{}:{}".format(context["__vars"]["st2"]["user"], key)
    try:
        value = run.engine.store.keys.get(name, scope=scope)
    except KeyNotFound:
        if "default" in options:
            return options["default"]
        raise exceptions.ExpressionEvaluationException(
            f'The key "{name}" does not exist in the StackStorm datastore.'
        ) from None
    if not decrypt:
        return value
    try:
        return run.engine.store.keys.unseal(value)
    except ValueError:
        raise exceptions.ExpressionEvaluationException(
            f'The key "{name}" is not secret, so it cannot be decrypted; leave out decrypt.'
        ) from None


def task_(context: Any, task_id: str | None = None, route: int | None = None) -> dict[str, Any]:
    """Returns what is known of a task that has run: result, status and times."""
    from orquesta import exceptions

    current = _variable(context, "__current_task")
    task_id = current.get("id") if task_id is None else task_id
    route = current.get("route", 0) if route is None else route
    state = _variable(context, "__state")
    route = _route_of(state, task_id, route)
    # A task that never began is not in the state, nor is the workflow always in the context then.
    begun = f"{task_id}__r{route}" in (state.get("tasks") or {})
    record = _workflow_run(context).task_record(task_id, route) if begun else None
    if record is None:
        raise exceptions.ExpressionEvaluationException(
            f'Unable to find task execution for "{task_id}".'
        )
    return record.as_result()


def _route_of(state: Any, task_id: str, route: int) -> int:
    """Returns the route the task ran on: this one, or the nearest it was split from."""
    pointers = state.get("tasks") or {}
    routes = state.get("routes") or []
    while f"{task_id}__r{route}" not in pointers and route > 0:
        own = set(routes[route])
        earlier = [number for number in range(route) if set(routes[number]) <= own]
        if not earlier:
            break
        route = earlier[-1]
    return route


FUNCTIONS: dict[str, Callable[..., Any]] = {"st2kv": st2kv_, "task": task_}
