"""What the pack's sensors have in common: how they hand triggers over to StackStorm."""

from __future__ import annotations


class DeliverySensor:
    """Comes before StackStorm's own base class; its sensors care for no triggers of others."""

    def hand_over(self, trigger, payload, trace_tag=None):
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

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
