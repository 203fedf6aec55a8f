"""The sensor service of a test."""

from __future__ import annotations

from logging import RootLogger
from typing import Any, Dict
from unittest.mock import Mock

from st2common.models.api.trace import TraceContext

from st2tests.mocks.datastore import MockDatastoreService

# A trigger that was dispatched: trigger, payload and trace_context.
Dispatched = Dict[str, Any]


class MockSensorWrapper:
    """Says which pack and class a sensor service belongs to."""

    def __init__(self, pack: str, class_name: str) -> None:
        self._pack = pack
        self._class_name = class_name


class MockSensorService(MockDatastoreService):
    """A sensor service that remembers what was dispatched instead of starting rules."""

    def __init__(self, sensor_wrapper: MockSensorWrapper) -> None:
        super().__init__(Mock(spec=RootLogger), sensor_wrapper._pack, sensor_wrapper._class_name)
        self._sensor_wrapper = sensor_wrapper
        self.dispatched_triggers: list[Dispatched] = []

    @property
    def datastore_service(self) -> MockSensorService:
        """The same methods, under the name packs also use."""
        return self

    def get_logger(self, name: str) -> Any:
        """Returns the Mock that every logger of this sensor is, to ask it what was logged."""
        return self._logger

    def dispatch(
        self, trigger: str, payload: Any = None, trace_tag: str | None = None
    ) -> Dispatched:
        """Remembers a trigger and returns what is remembered of it."""
        context = TraceContext(trace_tag=trace_tag) if trace_tag else None
        return self.dispatch_with_context(trigger, payload, context)

    def dispatch_with_context(
        self, trigger: str, payload: Any = None, trace_context: TraceContext | None = None
    ) -> Dispatched:
        """Remembers a trigger and returns what is remembered of it."""
        item = {"trigger": trigger, "payload": payload, "trace_context": trace_context}
        self.dispatched_triggers.append(item)
        return item
