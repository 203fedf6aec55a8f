from __future__ import annotations

import json
import re

from action_test_case import ConsulActionTestCase
from deploy_history import DeployHistory
from releases import published, settled


class TestDeployHistory(ConsulActionTestCase):
    action_cls = DeployHistory

    def setUp(self):
        super().setUp()
        self.target = published(self.shop)
        settled(self.shop, "canary", self.target)

    def lines(self, limit=None, events="main"):
        succeeded, result = self.act(app="shop", limit=limit, events=events)
        self.assertTrue(succeeded, result)
        *lines, last = result["text"].splitlines()
        self.assertEqual(last, f"Times are {self.config.get('chat', {}).get('time_zone', 'UTC')}.")
        return lines

    def test_tells_the_newest_first_with_each_batch_when_asked_for(self):
        messages = [
            re.sub(r"in \d s", "in a moment", line.split("  ", 1)[1])
            for line in self.lines(3, "all")
        ]
        self.assertEqual(
            messages,
            [
                f"shop: canary runs {self.target.version} (deployed by alice in a moment)",
                "shop: canary batch 1 of 1: node-1",
                f"shop: deploying {self.target.version} on canary, 1 host in 1 batch, by alice",
            ],
        )

    def test_leaves_batches_out_and_still_tells_as_many_events(self):
        messages = [line.split("  ", 1)[1] for line in self.lines(3)]
        self.assertEqual(len(messages), 3)
        self.assertNotIn("batch 1 of 1: node-1", " ".join(messages))
        self.assertEqual(messages[2], f"shop {self.target.version} is published")

    def test_tells_ten_events_or_all_that_are_kept(self):
        for number in range(2, 5):
            settled(self.shop, "canary", published(self.shop, number))
        self.assertEqual(len(self.lines()), 10)
        self.assertEqual(len(self.lines(events="all")), 24)

    def test_tells_times_in_the_configured_zone(self):
        event = self.shop.events.all()[-1]
        key = f"shop/events/{event['id']}"
        self.store.commit(
            [self.store.overwrite(key, json.dumps(dict(event, at="2026-07-01T22:30:00Z")))]
        )
        self.assertEqual(self.lines(1)[0][:11], "07-01 22:30")
        self.config["chat"] = {"time_zone": "Europe/Berlin"}
        self.assertEqual(self.lines(1)[0][:11], "07-02 00:30")

    def test_a_zone_that_there_is_not_is_told_with_the_nearest(self):
        for name, nearest in (("Berlin", "Europe/Berlin"), ("Europe/Berln", "Europe/Berlin, ")):
            self.config["chat"] = {"time_zone": name}
            self.assert_fails(
                "chat.time_zone in the pack's configuration: expected a name of the IANA time "
                f"zone database, got '{name}'; nearest: {nearest}",
                app="shop",
                limit=None,
                events="main",
            )
        for name in ("localtime", "posixrules", "right/UTC", "posix/Europe/Berlin"):
            self.config["chat"] = {"time_zone": name}
            self.assert_fails(f"got '{name}'; nearest: ", app="shop", limit=None, events="main")
