"""Runs sensors, each in a process of its own, started again as StackStorm's container does."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from packengine import processes, sensor_child
from packengine.config import ConfigError
from packengine.resources import Sensor
from packengine.run import SHIMS, inherited_environment

if TYPE_CHECKING:
    from packengine.engine import Engine
    from packengine.sensor_child import Request, Trigger

LOG = logging.getLogger(__name__)

# The container's own limits: it gives up on a sensor after two starts that did not last.
MAX_RESPAWNS = 2
RESPAWN_DELAY_S = 2.5
SUCCESSFUL_START_S = 10
EXIT_TIMEOUT_S = 5


class SensorContainer:
    """The sensors of all packs.

    :param engine: knows the sensors and their configurations.
    :param respawn_delay_s: seconds before a sensor that died is started again.
    """

    def __init__(self, engine: Engine, respawn_delay_s: float = RESPAWN_DELAY_S) -> None:
        self._engine = engine
        self._respawn_delay_s = respawn_delay_s
        self._stopping = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._log_path = os.path.join(engine.data_dir, "sensors.log")

    @property
    def running(self) -> dict[str, int]:
        """Ref -> process id of the sensors that run."""
        return {
            ref: process.pid for ref, process in self._processes.items() if process.poll() is None
        }

    def start(self) -> None:
        """Starts every enabled sensor."""
        for sensor in self._engine.registry.sensors.values():
            if sensor.enabled:
                thread = threading.Thread(target=self._keep_running, args=(sensor,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Stops the sensors, killing those that do not end in time."""
        self._stopping.set()
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + EXIT_TIMEOUT_S
        for process in self._processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                process.kill()
        for thread in self._threads:
            thread.join()

    def _keep_running(self, sensor: Sensor) -> None:
        respawns = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            exit_code = self._run_once(sensor)
            if self._stopping.is_set():
                return
            if exit_code == 0:
                LOG.warning("Sensor %s has ended", sensor.ref)
                return
            if time.monotonic() - started >= SUCCESSFUL_START_S:
                respawns = 0
            if respawns >= MAX_RESPAWNS:
                LOG.error(
                    "Sensor %s died again (%s) and is not started any more; see %s",
                    sensor.ref,
                    exit_code,
                    self._log_path,
                )
                return
            respawns += 1
            LOG.warning(
                "Sensor %s died (%s) and is started again; see %s",
                sensor.ref,
                exit_code,
                self._log_path,
            )
            self._stopping.wait(self._respawn_delay_s)

    def _run_once(self, sensor: Sensor) -> int | None:
        try:
            request = self._request(sensor)
        except ConfigError as error:
            LOG.error("Sensor %s: %s", sensor.ref, error)
            return None
        stream = processes.memory_stream("stdin", json.dumps(request).encode())
        with open(self._log_path, "ab") as log, stream as stdin:
            process = subprocess.Popen(
                [self._engine.python(sensor.pack), "-u", sensor_child.__file__],
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=self._environment(sensor),
                start_new_session=True,
            )
        self._processes[sensor.ref] = process
        if self._stopping.is_set():
            process.terminate()
        return process.wait()

    def _request(self, sensor: Sensor) -> Request:
        return {
            "parent": os.getpid(),
            "pack": sensor.pack,
            "class_name": sensor.class_name,
            "entry_point": sensor.entry_point,
            "poll_interval": sensor.poll_interval,
            "config": self._engine.config(sensor.pack),
            "database": self._engine.store.path,
            "triggers": self._triggers(sensor),
        }

    def _triggers(self, sensor: Sensor) -> list[Trigger]:
        """Returns the triggers of the sensor's types that rules use, as add_trigger gets them."""
        found: list[Trigger] = []
        for rule in self._engine.registry.rules.values():
            trigger: Trigger = {
                "type": rule.trigger,
                "pack": rule.trigger.split(".", 1)[0],
                "name": rule.trigger.split(".", 1)[1],
                "ref": rule.trigger,
                "parameters": rule.trigger_parameters,
            }
            if rule.trigger in sensor.trigger_types and trigger not in found:
                found.append(trigger)
        return found

    def _environment(self, sensor: Sensor) -> dict[str, str]:
        environment = inherited_environment()
        python = self._engine.python(sensor.pack)
        environment["PATH"] = os.pathsep.join(
            [os.path.dirname(python), environment.get("PATH", os.defpath)]
        )
        # A sensor gets no library of its pack unless it adds it itself.
        environment["PYTHONPATH"] = SHIMS
        environment["ST2_ACTION_API_URL"] = self._engine.api_url
        return environment
