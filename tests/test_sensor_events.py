"""The events sensor against a real Consul."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import events
import yaml
from consul_server import WithConsul
from events import Events
from releases import begun, published, settled
from st2tests.base import BaseSensorTestCase

from delivery.application import Application
from delivery.errors import DeliveryError
from delivery.store import Store

SCHEMA = yaml.safe_load((Path(events.__file__).parent / "events.yaml").read_text("utf-8"))


class TestEvents(WithConsul, BaseSensorTestCase):
    sensor_cls = Events

    def setUp(self):
        super().setUp()
        self.sensor = self.start()

    def tearDown(self):
        """A field that the trigger does not describe would keep StackStorm from dispatching it."""
        described = SCHEMA["trigger_types"][0]["payload_schema"]["properties"]
        for trigger in self.get_dispatched_triggers():
            self.assertLessEqual(trigger["payload"].keys(), described.keys())
        super().tearDown()

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
        Application(self.store, "shop").builds.packaging_failed("a" * 40, "no space")
        self.start().step()
        self.assertEqual(self.dispatched()[-1], ("shop", "packaging_failed"))

    def test_an_event_says_where_it_is_to_be_told(self):
        published(Application(self.store, "shop"))
        self.config["chat"] = {"channel": "#ships", "route": "errbot"}
        self.start().step()
        payload = self.get_dispatched_triggers()[0]["payload"]
        self.assertEqual((payload["channel"], payload["route"]), ("#ships", "errbot"))

    def test_what_is_live_in_a_stage_is_told_with_the_command_that_promotes_it(self):
        stages = ["staging", "edge", "production"]
        shop = Application(self.store, "shop")
        target = published(shop, stages=stages)
        for stage in stages:
            settled(shop, stage, target)
            self.sensor.step()
        hints = {
            each["payload"]["stage"]: each["payload"]["hint"]
            for each in self.get_dispatched_triggers()
            if each["payload"]["type"] == "rollout_succeeded"
        }
        self.assertEqual(
            hints,
            {
                "staging": "To promote: !deploy promote shop to edge",
                "edge": "To promote: !deploy promote shop",
                "production": "",
            },
        )

    def test_a_rollout_that_begins_is_told_with_its_stop_and_a_promotion_with_what_ships(self):
        shop = Application(self.store, "shop")
        target = published(shop)
        settled(shop, "canary", target)
        self.sensor.step()
        begun(shop, "production", target, [["node-1"]], "alice", "promote", "canary")
        self.sensor.step()
        hints = [
            each["payload"]["hint"]
            for each in self.get_dispatched_triggers()
            if each["payload"]["type"] == "rollout_started"
        ]
        stop = "To stop: !deploy abort shop"
        self.assertEqual(hints, [stop, f"Ships: commits not recorded\n{stop}"])

    def test_what_the_next_stage_runs_already_is_not_proposed_for_promotion(self):
        shop = Application(self.store, "shop")
        old, new = published(shop), published(shop, number=2)
        for stage, target in (("canary", old), ("production", old), ("canary", new)):
            settled(shop, stage, target)
        settled(shop, "canary", old)
        self.sensor.step()
        self.assertEqual(self.get_dispatched_triggers()[-1]["payload"]["hint"], "")

    def test_what_a_stage_was_rolled_back_to_is_not_proposed_for_promotion(self):
        shop = Application(self.store, "shop")
        old = published(shop)
        settled(shop, "canary", old)
        settled(shop, "canary", published(shop, number=2))
        settled(shop, "canary", old, kind="rollback")
        self.sensor.step()
        last = self.get_dispatched_triggers()[-1]["payload"]
        self.assertIn("is back on", last["message"])
        self.assertEqual(last["hint"], "")

    def test_other_events_have_no_hint(self):
        published(Application(self.store, "shop"))
        self.sensor.step()
        self.assertEqual({each["payload"]["hint"] for each in self.get_dispatched_triggers()}, {""})

    def test_a_warning_about_a_release_is_its_hint(self):
        shop = Application(self.store, "shop")
        release = shop.releases.get(published(shop).version)
        newer = dataclasses.replace(release, version="1.0-9.abcdef0", build=9)
        shop.releases.publish(newer, "No file {{ names }} a version")
        self.sensor.step()
        payload = self.get_dispatched_triggers()[-1]["payload"]
        self.assertEqual(payload["hint"], "No file ? names ? a version")

    def test_an_event_whose_release_is_gone_is_dispatched_all_the_same(self):
        shop = Application(self.store, "shop")
        target = published(shop)
        settled(shop, "canary", target)
        self.store.commit([self.store.delete(f"shop/releases/{target.version}")])
        self.sensor.step()
        payload = self.get_dispatched_triggers()[-1]["payload"]
        self.assertEqual((payload["type"], payload["hint"]), ("rollout_succeeded", ""))

    def test_a_misspelt_key_of_the_configuration_is_refused(self):
        self.config["chat"] = {"chanel": "#ships"}
        with self.assertRaisesRegex(DeliveryError, "chat.chanel .* nearest: chat.channel"):
            self.start()

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
