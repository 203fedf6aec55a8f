"""The events sensor against a real Consul."""

from __future__ import annotations

from consul_server import WithConsul
from events import Events
from releases import published
from st2tests.base import BaseSensorTestCase

from delivery.release import Application
from delivery.store import Store


class TestEvents(WithConsul, BaseSensorTestCase):
    sensor_cls = Events

    def setUp(self):
        super().setUp()
        self.sensor = self.start()

    def start(self):
        sensor = self.get_sensor_instance(config=self.config)
        sensor.setup()
        return sensor

    def dispatched(self):
        return [
            (trigger["payload"]["application"], trigger["payload"]["type"])
            for trigger in self.get_dispatched_triggers()
        ]

    def test_every_event_becomes_a_trigger_in_order(self):
        published(Application(self.store, "shop"))
        self.sensor.step()
        self.assertEqual(
            self.dispatched(),
            [("shop", "build_started"), ("shop", "build_passed"), ("shop", "release_published")],
        )

    def test_an_event_is_dispatched_once(self):
        published(Application(self.store, "shop"))
        self.sensor.step()
        published(Application(self.store, "notes"))
        self.sensor.step()
        self.assertEqual(len(self.dispatched()), 6)

    def test_what_happened_while_it_was_away_is_dispatched_later(self):
        published(Application(self.store, "shop"))
        self.sensor.step()
        Application(self.store, "shop").packaging_failed("a" * 40)
        self.start().step()
        self.assertEqual(self.dispatched()[-1], ("shop", "packaging_failed"))

    def test_an_event_says_where_it_is_to_be_told(self):
        published(Application(self.store, "shop"))
        self.config["chat"] = {"channel": "#ships", "route": "errbot"}
        self.start().step()
        payload = self.get_dispatched_triggers()[0]["payload"]
        self.assertEqual((payload["channel"], payload["route"]), ("#ships", "errbot"))

    def test_an_event_that_stackstorm_does_not_take_is_kept(self):
        def refuse(**_):
            raise RuntimeError("the message bus is away")

        published(Application(self.store, "shop"))
        import events

        self.addCleanup(setattr, events, "PAUSE_AFTER_ERROR_S", events.PAUSE_AFTER_ERROR_S)
        events.PAUSE_AFTER_ERROR_S = 0
        dispatch, self.sensor.sensor_service.dispatch = self.sensor.sensor_service.dispatch, refuse
        self.sensor.step()
        self.sensor.sensor_service.dispatch = dispatch
        self.sensor.step()
        self.assertEqual(len(self.dispatched()), 3)

    def test_an_unreachable_consul_does_not_end_the_sensor(self):
        import events

        self.addCleanup(setattr, events, "PAUSE_AFTER_ERROR_S", events.PAUSE_AFTER_ERROR_S)
        events.PAUSE_AFTER_ERROR_S = 0
        self.sensor.store = Store("http://127.0.0.1:1")
        self.sensor.step()
        self.sensor.store = self.store
        published(Application(self.store, "shop"))
        self.sensor.step()
        self.assertEqual(len(self.dispatched()), 3)

    def test_an_event_carries_the_trace_of_its_commit(self):
        published(Application(self.store, "shop"))
        self.sensor.step()
        trigger = self.get_dispatched_triggers()[0]
        self.assertEqual(trigger["payload"]["trace_tag"], "shop-" + "a" * 12)
