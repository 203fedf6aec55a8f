"""The base class of sensor tests."""

from __future__ import annotations

from typing import Any

from st2common.models.api.trace import TraceContext

from st2tests.mocks.sensor import Dispatched, MockSensorService, MockSensorWrapper
from st2tests.pack_resource import BasePackResourceTestCase


class BaseSensorTestCase(BasePackResourceTestCase):
    """Set `sensor_cls`; `self.sensor_service` remembers what was dispatched."""

    sensor_cls: Any = None

    def setUp(self) -> None:
        super().setUp()
        wrapper = MockSensorWrapper(pack="tests", class_name=self.sensor_cls.__name__)
        self.sensor_service = MockSensorService(sensor_wrapper=wrapper)

    def get_sensor_instance(
        self, config: dict[str, Any] | None = None, poll_interval: float | None = None
    ) -> Any:
        """Returns the sensor, with `poll_interval` in seconds for a polling one."""
        arguments: dict[str, Any] = {"sensor_service": self.sensor_service}
        if config:
            arguments["config"] = config
        if poll_interval is not None:
            arguments["poll_interval"] = poll_interval
        return self.sensor_cls(**arguments)

    def get_dispatched_triggers(self) -> list[Dispatched]:
        """Returns dicts of trigger, payload and trace_context, oldest first."""
        return self.sensor_service.dispatched_triggers

    def get_last_dispatched_trigger(self) -> Dispatched:
        """Returns the newest of them; IndexError when nothing was dispatched."""
        return self.sensor_service.dispatched_triggers[-1]

    def assertTriggerDispatched(
        self, trigger: str, payload: Any = None, trace_context: TraceContext | None = None
    ) -> bool:
        """Asserts that the trigger was dispatched, with this payload and context if given."""
        wanted: Dispatched = {"trigger": trigger}
        if payload:
            wanted["payload"] = payload
        if trace_context:
            wanted["trace_context"] = trace_context
        for item in self.get_dispatched_triggers():
            if all(item[key] == value for key, value in wanted.items()):
                return True
        raise AssertionError(f'Trigger "{trigger}" hasn\'t been dispatched')
