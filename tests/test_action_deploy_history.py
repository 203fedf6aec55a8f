from __future__ import annotations

from action_test_case import ConsulActionTestCase
from deploy_history import DeployHistory
from releases import published, settled


class TestDeployHistory(ConsulActionTestCase):
    action_cls = DeployHistory

    def test_tells_the_newest_first(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        _, result = self.act(app="shop", limit=3)
        messages = [line.split("  ", 1)[1] for line in result["text"].splitlines()]
        self.assertEqual(
            messages,
            [
                "shop: canary runs " + target.version + " (deployed by alice in 0 s)",
                "shop: canary batch 1 of 1: node-1",
                "shop: deploying " + target.version + " on canary, 1 host in 1 batch, by alice",
            ],
        )
