"""Runs one python-script action: `python python_child.py RESULT_FD`, the request on stdin as JSON.

Stands alone, so that it starts fast and runs under the Python of a pack's virtualenv: standard
library only, and the heavier parts of it only when an action asks.
"""

from __future__ import annotations

import json
import os
import signal
import sys

TYPE_CHECKING = False  # Not imported: actions start faster without typing.
if TYPE_CHECKING:
    import logging
    from types import ModuleType
    from typing import Any, NoReturn, TypedDict

    from st2common.services.datastore import BaseDatastoreService, KeyValuePair

    class Request(TypedDict):
        """An action to run.

        `parent` is the engine's process; `entry_point` and `database` are file names; `pack` is the
        pack's ref.
        """

        parent: int
        pack: str
        entry_point: str
        config: dict[str, Any]
        parameters: dict[str, Any]
        user: str | None
        log_level: str
        database: str


HERE = os.path.dirname(os.path.abspath(__file__))

# Exit code for an action that returns something other than True or False as its status.
INVALID_STATUS = 220


def main() -> None:
    """Runs the action and writes {"status", "result"} to the descriptor in the last argument."""
    request = json.loads(sys.stdin.buffer.read())
    die_with_parent(request["parent"], signal.SIGKILL)
    # The script's own directory came first on the path; an action must not import from it.
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != HERE]
    output = run_action(request)
    status, result = None, output
    if isinstance(output, tuple) and len(output) == 2:
        status, result = output
        if status is not None and not isinstance(status, bool):
            sys.stderr.write(
                "Status returned from the action run() method must either be True or False, "
                f"got: {status}\n"
            )
            sys.exit(INVALID_STATUS)
    sys.stdout.flush()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as stream:
        json.dump({"status": status, "result": plain(result)}, stream)


def die_with_parent(parent: int, number: int) -> None:
    """Has the kernel end this process when the engine dies, however it does.

    :param parent: the engine's process.
    :param number: of the signal.
    """
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)
    if os.getppid() != parent:
        sys.exit(0)


def run_action(request: Request) -> Any:
    """Returns what the action's run method returns."""
    action_class = load_action_class(request["entry_point"])
    from st2common.runners.utils import get_action_class_instance

    service = ActionService(request, action_class.__name__)
    action = get_action_class_instance(
        action_cls=action_class, config=request["config"], action_service=service
    )
    return action.run(**request["parameters"])


def load_action_class(path: str) -> type:
    """Returns the first class, by name, that is defined in the file and has a run method."""
    module = load_module(path)
    for name in sorted(vars(module)):
        candidate = getattr(module, name)
        if (
            isinstance(candidate, type)
            and candidate.__module__ == module.__name__
            and callable(getattr(candidate, "run", None))
            and not getattr(getattr(candidate, "run", None), "__isabstractmethod__", False)
        ):
            return candidate
    raise Exception(f'File "{path}" has no action class or the file doesn\'t exist.')


def load_module(path: str) -> ModuleType:
    """Imports a pack's file by name, its directory at the end of the path, as StackStorm does."""
    directory = os.path.dirname(os.path.realpath(path))
    if directory not in sys.path:
        sys.path.append(directory)
    name = os.path.splitext(os.path.basename(path))[0]
    try:
        return import_file(name, path)
    except Exception as error:
        sys.stderr.write(f'Failed to load action class from file "{path}": {error}\n')
        raise


def import_file(name: str, path: str) -> ModuleType:
    """Returns a file as a module of that name, which nothing else can import."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(value: Any) -> Any:
    """Returns a result as JSON can hold it.

    What JSON cannot hold makes the whole result a text, as in StackStorm: that goes for objects of
    unknown classes and for dicts with keys that are not texts.
    """
    try:
        return _plain(value)
    except TypeError:
        return str(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else None
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError("a key is not a text")
        return {key: _plain(item) for key, item in value.items()}
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    import dataclasses
    import datetime
    import enum
    import uuid

    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


class _Wrapper:
    """What the Action base class looks for in an action service."""

    def __init__(self, pack: str, log_level: str) -> None:
        self._pack = pack
        self._log_level = log_level


class ActionService:
    """The datastore, for actions."""

    def __init__(self, request: Request, class_name: str) -> None:
        self._action_wrapper = _Wrapper(request["pack"], request["log_level"])
        self._request = request
        self._class_name = class_name
        self._datastore_service: BaseDatastoreService | None = None

    @property
    def datastore_service(self) -> BaseDatastoreService:
        if self._datastore_service is None:
            import logging

            self._datastore_service = datastore_service(
                self._request["database"],
                self._request["pack"],
                self._class_name,
                self._request["user"],
                logging.getLogger(f"actions.python.{self._class_name}"),
            )
        return self._datastore_service

    def get_user_info(self) -> dict[str, Any]:
        return self.datastore_service.get_user_info()

    def list_values(
        self,
        local: bool = True,
        prefix: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[KeyValuePair]:
        return self.datastore_service.list_values(
            local=local, prefix=prefix, limit=limit, offset=offset
        )

    def get_value(
        self, name: str, local: bool = True, scope: str = "system", decrypt: bool = False
    ) -> str | None:
        return self.datastore_service.get_value(name, local=local, scope=scope, decrypt=decrypt)

    def set_value(
        self,
        name: str,
        value: Any,
        ttl: float | None = None,
        local: bool = True,
        scope: str = "system",
        encrypt: bool = False,
    ) -> bool:
        return self.datastore_service.set_value(
            name, value, ttl=ttl, local=local, scope=scope, encrypt=encrypt
        )

    def delete_value(self, name: str, local: bool = True, scope: str = "system") -> bool:
        return self.datastore_service.delete_value(name, local=local, scope=scope)


def engine_datastore() -> ModuleType:
    """Returns the engine's datastore module, loaded by its path: its package is not on the path."""
    return import_file("engine_datastore", os.path.join(HERE, "datastore.py"))


def datastore_service(
    database: str, pack: str, class_name: str, user: str | None, logger: logging.Logger
) -> BaseDatastoreService:
    """Returns StackStorm's datastore service over the engine's database.

    :param database: file name.
    :param pack: ref of the pack; with the class it is the prefix of local keys.
    :param user: who is said to use it.
    """
    from st2common.services.datastore import BaseDatastoreService, KeyValuePair

    module = engine_datastore()
    connection = module.connect(database)
    keys = module.Datastore(connection)

    class EngineDatastoreService(BaseDatastoreService):
        def inject_trigger(self, trigger: str, payload: Any, trace_tag: str | None) -> None:
            module.enqueue_trigger(connection, trigger, payload, trace_tag)

        def get_user_info(self) -> dict[str, Any]:
            return {"username": user, "authentication": {"method": "embedded engine"}}

        def get_api_client(self) -> NoReturn:
            raise NotImplementedError("The embedded engine has no st2 API client")

        def _read(self, full_name: str, decrypt: bool) -> str | None:
            try:
                return keys.get(full_name, decrypt=decrypt)
            except module.KeyNotFound:
                return None

        def _write(self, full_name: str, value: Any, ttl: float | None, encrypt: bool) -> None:
            keys.set(full_name, str(value), secret=encrypt, ttl=ttl)

        def _delete(self, full_name: str) -> bool:
            return keys.delete(full_name)

        def _pairs(self, prefix: str) -> list[KeyValuePair]:
            return [KeyValuePair(name, value) for name, value, _ in keys.list(prefix)]

    return EngineDatastoreService(logger=logger, pack_name=pack, class_name=class_name)


if __name__ == "__main__":
    main()
