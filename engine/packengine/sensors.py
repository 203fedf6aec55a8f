"""Runs sensors, each in a process of its own, started again as StackStorm's container does."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, NamedTuple

from packengine import processes, sensor_child
from packengine.config import ConfigError, Values
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
# How often a sensor's configuration is compared with what it was started with.
CONFIG_CHECK_S = 1

# Of what a sensor writes, the last lines are kept to tell why it died, each cut to a length.
_LINES_KEPT = 50
_REASON_LENGTH = 500
# Seconds to wait for the rest of its output once it has ended; a child of its may hold it open.
_OUTPUT_TIMEOUT_S = 1


class _End(NamedTuple):
    """How a sensor's process ended: its exit code, None if it never began, and why in one line.

    reconfigured: it was stopped because its configuration had changed.
    """

    exit_code: int | None
    reason: str
    reconfigured: bool = False


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
        said = ""
        while not self._stopping.is_set():
            started = time.monotonic()
            end = self._run_once(sensor)
            if self._stopping.is_set():
                return
            if end.reconfigured:
                LOG.info("Sensor %s is started again: its configuration has changed", sensor.ref)
                continue
            if end.exit_code == 0:
                LOG.warning("Sensor %s has ended", sensor.ref)
                return
            if time.monotonic() - started >= SUCCESSFUL_START_S:
                respawns = 0
            if respawns >= MAX_RESPAWNS:
                LOG.error(
                    "Sensor %s is off: %s; it was started %s times. The rest goes on without it: "
                    "put that right and start serve again. Its log: %s",
                    sensor.ref,
                    end.reason,
                    respawns + 1,
                    self._log_path,
                )
                return
            respawns += 1
            if end.reason != said:
                LOG.warning(
                    "Sensor %s died: %s. It is started again in %s s",
                    sensor.ref,
                    end.reason,
                    f"{self._respawn_delay_s:g}",
                )
            said = end.reason
            self._stopping.wait(self._respawn_delay_s)

    def _run_once(self, sensor: Sensor) -> _End:
        try:
            file = self._config_file(sensor)
            request = self._request(sensor)
        except ConfigError as error:
            return _End(None, str(error))
        stream = processes.memory_stream("stdin", json.dumps(request).encode())
        with stream as stdin:
            process = subprocess.Popen(
                [self._engine.python(sensor.pack), "-u", sensor_child.__file__],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(sensor),
                start_new_session=True,
            )
        self._processes[sensor.ref] = process
        assert process.stdout is not None
        last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        logging_thread = threading.Thread(
            target=self._write_log, args=(process.stdout, last_lines), daemon=True
        )
        logging_thread.start()
        if self._stopping.is_set():
            process.terminate()
        reconfigured = self._wait(process, sensor, file)
        exit_code = process.wait()
        logging_thread.join(_OUTPUT_TIMEOUT_S)
        return _End(exit_code, _reason(exit_code, list(last_lines)), reconfigured)

    def _wait(self, process: subprocess.Popen[bytes], sensor: Sensor, file: Values) -> bool:
        """Waits for a sensor's end, or ends it because its pack's configuration file is another.

        :param file: what the file held when the sensor was started.
        :returns: whether it was ended. A file that cannot be used changes nothing yet.
        """
        while True:
            try:
                process.wait(CONFIG_CHECK_S)
                return False
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ConfigError):
                    if self._config_file(sensor) != file:
                        break
        process.terminate()
        try:
            process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        return True

    def _config_file(self, sensor: Sensor) -> Values:
        return self._engine.configurations.static(self._engine.registry.packs[sensor.pack])

    def _write_log(self, output: IO[bytes], last_lines: deque[str]) -> None:
        """Copies what a sensor writes to the log, and keeps its last lines."""
        with output, open(self._log_path, "ab", buffering=0) as log:
            for line in iter(lambda: output.readline(65536), b""):
                log.write(line)
                last_lines.append(line.decode("utf-8", "replace").rstrip())

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


def _reason(exit_code: int, last_lines: list[str]) -> str:
    """Returns why a sensor died, in one line: the error at the end of its traceback."""
    said = [line for line in last_lines if line.strip()]
    if exit_code < 0:
        return f"killed by signal {-exit_code}"
    if not said:
        return f"exit status {exit_code}, without a word"
    # An error's message may have lines of its own, below the one that names its class.
    start = next(
        (
            number
            for number in reversed(range(len(said)))
            if number and said[number - 1].startswith("  ") and not said[number].startswith(" ")
        ),
        len(said) - 1,
    )
    kind, colon, message = " ".join(" ".join(said[start:]).split()).partition(": ")
    if colon and "." in kind and " " not in kind:
        kind = kind.rpartition(".")[2]  # a class is named with its module
    return f"{kind}{colon}{message}"[:_REASON_LENGTH]
