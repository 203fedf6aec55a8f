"""The sensor service of a test."""

from __future__ import annotations

from logging import RootLogger
from unittest.mock import Mock

from st2common.models.api.trace import TraceContext

from st2tests.mocks.datastore import MockDatastoreService


class MockSensorWrapper:
    """Says which pack and class a sensor service belongs to."""

    def __init__(self, pack, class_name):
        self._pack = pack
        self._class_name = class_name


class MockSensorService(MockDatastoreService):
    """A sensor service that remembers what was dispatched instead of starting rules."""

    def __init__(self, sensor_wrapper):
        super().__init__(Mock(spec=RootLogger), sensor_wrapper._pack, sensor_wrapper._class_name)
        self._sensor_wrapper = sensor_wrapper
        self.dispatched_triggers = []

    @property
    def datastore_service(self):
        """The same methods, under the name packs also use."""
        return self

    def get_logger(self, name):
        """Returns the Mock that every logger of this sensor is, to ask it what was logged."""
        return self._logger

    def dispatch(self, trigger, payload=None, trace_tag=None):
        """Remembers a trigger and returns what is remembered of it."""
        context = TraceContext(trace_tag=trace_tag) if trace_tag else None
        return self.dispatch_with_context(trigger, payload, context)

    def dispatch_with_context(self, trigger, payload=None, trace_context=None):
        """Remembers a trigger and returns what is remembered of it."""
        item = {"trigger": trigger, "payload": payload, "trace_context": trace_context}
        self.dispatched_triggers.append(item)
        return item
