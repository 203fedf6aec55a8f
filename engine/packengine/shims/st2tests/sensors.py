"""The base class of sensor tests."""

from __future__ import annotations

from st2tests.mocks.sensor import MockSensorService, MockSensorWrapper
from st2tests.pack_resource import BasePackResourceTestCase


class BaseSensorTestCase(BasePackResourceTestCase):
    """Set `sensor_cls`; `self.sensor_service` remembers what was dispatched."""

    sensor_cls = None

    def setUp(self):
        super().setUp()
        wrapper = MockSensorWrapper(pack="tests", class_name=self.sensor_cls.__name__)
        self.sensor_service = MockSensorService(sensor_wrapper=wrapper)

    def get_sensor_instance(self, config=None, poll_interval=None):
        """Returns the sensor, with `poll_interval` in seconds for a polling one."""
        arguments = {"sensor_service": self.sensor_service}
        if config:
            arguments["config"] = config
        if poll_interval is not None:
            arguments["poll_interval"] = poll_interval
        return self.sensor_cls(**arguments)

    def get_dispatched_triggers(self):
        """Returns dicts of trigger, payload and trace_context, oldest first."""
        return self.sensor_service.dispatched_triggers

    def get_last_dispatched_trigger(self):
        """Returns the newest of them; IndexError when nothing was dispatched."""
        return self.sensor_service.dispatched_triggers[-1]

    def assertTriggerDispatched(self, trigger, payload=None, trace_context=None):
        """Asserts that the trigger was dispatched, with this payload and context if given."""
        wanted = {"trigger": trigger}
        if payload:
            wanted["payload"] = payload
        if trace_context:
            wanted["trace_context"] = trace_context
        for item in self.get_dispatched_triggers():
            if all(item[key] == value for key, value in wanted.items()):
                return True
        raise AssertionError(f'Trigger "{trigger}" hasn\'t been dispatched')
