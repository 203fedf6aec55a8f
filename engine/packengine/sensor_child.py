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

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    request = json.loads(sys.stdin.buffer.read())
    die_with_parent(request["parent"])
    child = load_python_child()
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


def load_python_child():
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "engine_python_child", os.path.join(HERE, "python_child.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def die_with_parent(parent):
    """Has the kernel end this process when the engine dies, however it does."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


def make_sensor(request, child):
    module = child.load_module(request["entry_point"])
    sensor_class = getattr(module, request["class_name"], None)
    if sensor_class is None:
        raise Exception(
            'Plugin file "{}" doesn\'t expose class named "{}"'.format(
                request["entry_point"], request["class_name"]
            )
        )
    options = {"sensor_service": SensorService(request, child), "config": request["config"]}
    if request["poll_interval"]:
        options["poll_interval"] = request["poll_interval"]
    return sensor_class(**options)


class _Wrapper:
    """What sensors and StackStorm's own code look for in a sensor service."""

    def __init__(self, request, logger):
        self._pack = request["pack"]
        self._class_name = request["class_name"]
        self._logger = logger


class SensorService:
    """Dispatches triggers, gives loggers and the datastore."""

    def __init__(self, request, child):
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

    def get_logger(self, name):
        return logging.getLogger(f"{self._logger.name}.{name}")

    def get_user_info(self):
        return self.datastore_service.get_user_info()

    def dispatch(self, trigger, payload=None, trace_tag=None):
        """Leaves the trigger for the engine, which validates its payload. Returns None always."""
        self.datastore_service.inject_trigger(trigger, payload, trace_tag or None)

    def dispatch_with_context(self, trigger, payload=None, trace_context=None):
        """Like dispatch, with the trace tag inside a TraceContext."""
        self.dispatch(trigger, payload, getattr(trace_context, "trace_tag", None))

    def list_values(self, local=True, prefix=None, limit=None, offset=None):
        return self.datastore_service.list_values(
            local=local, prefix=prefix, limit=limit, offset=offset
        )

    def get_value(self, name, local=True, scope="system", decrypt=False):
        return self.datastore_service.get_value(name, local=local, scope=scope, decrypt=decrypt)

    def set_value(self, name, value, ttl=None, local=True, scope="system", encrypt=False):
        return self.datastore_service.set_value(
            name, value, ttl=ttl, local=local, scope=scope, encrypt=encrypt
        )

    def delete_value(self, name, local=True, scope="system"):
        return self.datastore_service.delete_value(name, local=local, scope=scope)


if __name__ == "__main__":
    main()
