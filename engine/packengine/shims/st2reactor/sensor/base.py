"""The base classes of sensors."""

from __future__ import annotations

import abc
import time

TYPE_CHECKING = False  # Not imported: sensors start faster without typing.
if TYPE_CHECKING:
    from typing import Any


class BaseSensor(abc.ABC):
    """What every sensor has; subclass Sensor or PollingSensor instead.

    :param sensor_service: dispatches triggers, gives loggers and the datastore.
    :param config: the pack's configuration.
    """

    # A sensor may have a configuration of its own kind.
    config: Any

    def __init__(self, sensor_service: Any, config: Any = None) -> None:
        self.sensor_service = sensor_service
        self._sensor_service = sensor_service
        self.config = config or {}
        self._config = self.config

    @abc.abstractmethod
    def setup(self) -> None:
        """Runs once, before run."""

    @abc.abstractmethod
    def run(self) -> None:
        """Runs until the sensor is stopped."""

    @abc.abstractmethod
    def cleanup(self) -> None:
        """Runs once, when the sensor is stopped."""

    @abc.abstractmethod
    def add_trigger(self, trigger: dict[str, Any]) -> None:
        """Runs when a trigger of this sensor comes into use."""

    @abc.abstractmethod
    def update_trigger(self, trigger: dict[str, Any]) -> None:
        """Runs when a trigger of this sensor has changed."""

    @abc.abstractmethod
    def remove_trigger(self, trigger: dict[str, Any]) -> None:
        """Runs when a trigger of this sensor is no longer used."""


class Sensor(BaseSensor):
    """A sensor that listens."""


class PollingSensor(BaseSensor):
    """A sensor that asks every `poll_interval` seconds."""

    def __init__(self, sensor_service: Any, config: Any = None, poll_interval: float = 5) -> None:
        super().__init__(sensor_service=sensor_service, config=config)
        self._poll_interval = poll_interval

    @abc.abstractmethod
    def poll(self) -> None:
        """Asks once, and dispatches what is new."""

    def run(self) -> None:
        """Polls for ever; the interval is read anew each time, so a poll may change it."""
        while True:
            self.poll()
            time.sleep(self._poll_interval)

    def get_poll_interval(self) -> float:
        """Returns the seconds between two polls."""
        return self._poll_interval

    def set_poll_interval(self, poll_interval: float) -> None:
        """Sets the seconds between two polls."""
        self._poll_interval = poll_interval
