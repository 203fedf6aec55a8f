"""What the pack's sensors have in common: their configuration, and how they hand triggers over."""

from __future__ import annotations

from typing import Any, Mapping

from delivery.configuration import Configuration
from delivery.errors import DeliveryError


class DeliverySensor:
    """Comes before StackStorm's own base class; its sensors care for no triggers of others."""

    # Of StackStorm's base class, and of each sensor.
    config: Mapping[str, Any] | None
    sensor_service: Any
    _logger: Any

    def configuration(self) -> Configuration:
        """Returns the pack's configuration.

        :raises DeliveryError: when it is not as it should be; the log has the reason, for
            StackStorm starts a sensor that ends a second time and then no more.
        """
        try:
            return Configuration(self.config)
        except DeliveryError as error:
            self._logger.error("The sensor does not start: %s", error)
            raise

    def hand_over(
        self, trigger: str, payload: Mapping[str, Any], trace_tag: str | None = None
    ) -> None:
        """Dispatches a trigger.

        While RabbitMQ is away StackStorm tries for half a minute, then raises. It keeps the
        connection that it has given up, and every later dispatch over it fails too, long after
        RabbitMQ is back (PoolPublisher and ConnectionRetryWrapper in st2common.transport of 3.8
        and 3.9). So after a failure the next dispatch begins with a new dispatcher.

        :raises Exception: whatever StackStorm raises.
        """
        try:
            self.sensor_service.dispatch(trigger=trigger, payload=payload, trace_tag=trace_tag)
        except Exception:
            dispatcher = getattr(self.sensor_service, "_trigger_dispatcher_service", None)
            if dispatcher:
                self.sensor_service._trigger_dispatcher_service = type(dispatcher)(
                    logger=dispatcher._logger
                )
            raise

    def cleanup(self) -> None:
        pass

    def add_trigger(self, trigger: Any) -> None:
        pass

    def update_trigger(self, trigger: Any) -> None:
        pass

    def remove_trigger(self, trigger: Any) -> None:
        pass
