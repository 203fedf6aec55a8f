from __future__ import annotations

from action_test_case import ConsulActionTestCase
from releases import begun, published
from rollout_finish import RolloutFinish


class TestRolloutFinish(ConsulActionTestCase):
    action_cls = RolloutFinish

    def setUp(self):
        super().setUp()
        self.target = published(self.shop)
        self.rollout = begun(self.shop, "canary", self.target, [["canary-1"]], "alice", "deploy")

    def finish(self, deployment=None):
        return self.act(
            app="shop",
            stage="canary",
            deployment=deployment or self.rollout.deployment,
        )

    def test_settles_the_stage_on_the_version(self):
        self.shop.rollouts.assign(self.rollout, ["canary-1"])
        self.shop.rollouts.record_batch(self.rollout, {})
        succeeded, result = self.finish()
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["version"], result["status"], result["remaining"]),
            (self.target.version, "live", 0),
        )
        self.assertEqual(self.shop.stages.get("canary").version, self.target.version)
        self.assertEqual(self.shop.events.all()[-1]["type"], "rollout_succeeded")
        self.assertFalse(self.shop.rollouts.is_locked())

    def test_refuses_a_rollout_that_is_over(self):
        succeeded, result = self.finish("canary-x")
        self.assertFalse(succeeded)
        self.assertIn("the rollout canary-x of shop is over", result["error"])
        self.assertIsNone(self.shop.stages.get("canary").version)
