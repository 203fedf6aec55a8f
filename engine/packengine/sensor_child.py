"""Runs one sensor: `python sensor_child.py`, the request as JSON on stdin.

Like python_child it stands alone: standard library only, under the Python of the pack.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys

TYPE_CHECKING = False  # Not imported: sensors start faster without typing.
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, TypedDict

    from st2common.models.api.trace import TraceContext
    from st2common.services.datastore import KeyValuePair
    from st2reactor.sensor.base import BaseSensor

    class Trigger(TypedDict):
        """A trigger that rules use, as add_trigger gets it."""

        type: str
        pack: str
        name: str
        ref: str
        parameters: dict[str, Any]

    class Request(TypedDict):
        """A sensor to run.

        `parent` is the engine's process; `entry_point` and `database` are file names;
        `poll_interval` is in seconds, None for a sensor that does not poll.
        """

        parent: int
        pack: str
        class_name: str
        entry_point: str
        poll_interval: float | None
        config: dict[str, Any]
        database: str
        triggers: list[Trigger]


HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Runs the sensor until it ends or is stopped."""
    request = json.loads(sys.stdin.buffer.read())
    child = load_python_child()
    child.die_with_parent(request["parent"], signal.SIGTERM)
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != HERE]
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    sensor = make_sensor(request, child)
    for trigger in request["triggers"]:
        sensor.add_trigger(trigger)
    # A sensor is stopped by SIGTERM; exiting runs its cleanup.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    atexit.register(sensor.cleanup)
    sensor.setup()
    sensor.run()


def load_python_child() -> ModuleType:
    """Returns the module python_child, loaded by its path: its package is not on the path."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "engine_python_child", os.path.join(HERE, "python_child.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_sensor(request: Request, child: ModuleType) -> BaseSensor:
    """Returns the sensor, of the class that its metadata names."""
    module = child.load_module(request["entry_point"])
    sensor_class = getattr(module, request["class_name"], None)
    if sensor_class is None:
        raise Exception(
            'Plugin file "{}" doesn\'t expose class named "{}"'.format(
                request["entry_point"], request["class_name"]
            )
        )
    options: dict[str, Any] = {
        "sensor_service": SensorService(request, child),
        "config": request["config"],
    }
    if request["poll_interval"]:
        options["poll_interval"] = request["poll_interval"]
    sensor: BaseSensor = sensor_class(**options)
    return sensor


class _Wrapper:
    """What sensors and StackStorm's own code look for in a sensor service."""

    def __init__(self, request: Request, logger: logging.Logger) -> None:
        self._pack = request["pack"]
        self._class_name = request["class_name"]
        self._logger = logger


class SensorService:
    """Dispatches triggers, gives loggers and the datastore."""

    def __init__(self, request: Request, child: ModuleType) -> None:
        name = "SensorWrapper.{}.{}".format(request["pack"], request["class_name"])
        self._logger = logging.getLogger(name)
        self._sensor_wrapper = _Wrapper(request, self._logger)
        self.datastore_service = child.datastore_service(
            request["database"],
            request["pack"],
            request["class_name"],
            "sensor_service",
            self._logger,
        )

    def get_logger(self, name: str) -> logging.Logger:
        return logging.getLogger(f"{self._logger.name}.{name}")

    def get_user_info(self) -> dict[str, Any]:
        return self.datastore_service.get_user_info()

    def dispatch(self, trigger: str, payload: Any = None, trace_tag: str | None = None) -> None:
        """Leaves the trigger for the engine, which validates its payload."""
        self.datastore_service.inject_trigger(trigger, payload, trace_tag or None)

    def dispatch_with_context(
        self, trigger: str, payload: Any = None, trace_context: TraceContext | None = None
    ) -> None:
        """Like dispatch, with the trace tag inside a TraceContext."""
        self.dispatch(trigger, payload, getattr(trace_context, "trace_tag", None))

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


if __name__ == "__main__":
    main()
