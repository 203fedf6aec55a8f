from __future__ import annotations

from action_test_case import ConsulActionTestCase
from deploy_abort import DeployAbort
from releases import begun, published, settled

ABORT = {"app": "shop", "by": "olga", "chat_user": "olga", "stackstorm_user": "bot"}


class TestDeployAbort(ConsulActionTestCase):
    action_cls = DeployAbort

    def test_asks_a_rollout_that_goes_on_to_stop(self):
        target = published(self.shop)
        begun(self.shop, "canary", target, [["n"]], "alice", "deploy")
        succeeded, result = self.act(**ABORT)
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["stage"], result["version"], result["reverted"]),
            ("canary", target.version, False),
        )
        self.assertIn("stops after the current batch", result["text"])
        self.assertEqual(
            self.shop.events.all()[-1]["message"],
            "shop: olga aborts " + target.version + " on canary",
        )

    def test_reverts_what_a_process_that_is_gone_has_left(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        settled(self.shop, "canary", old)
        rollout = begun(self.shop, "canary", new, [["n"]], "alice", "deploy")
        self.shop.rollouts.assign(rollout, ["n"])
        self.store.sessions.close(rollout.session)
        succeeded, result = self.act(**ABORT)
        self.assertTrue(succeeded, result)
        self.assertIn(
            "was aborted: orphaned rollout reverted; canary is back on " + old.version,
            result["text"],
        )
        self.assertEqual(self.shop.stages.get("canary").rollout.reason, "requested by olga")
        self.assertEqual(self.store.get_below("shop/stages/canary/assigned"), {})
        self.assertFalse(self.shop.rollouts.is_locked())

    def test_says_so_when_there_is_nothing_to_abort(self):
        settled(self.shop, "canary", published(self.shop))
        self.assert_fails("shop has no rollout in progress; nothing to abort", **ABORT)

    def test_who_is_not_on_the_list_may_not(self):
        begun(self.shop, "canary", published(self.shop), [["n"]], "alice", "deploy")
        self.config["permissions"] = {"chat_users": ["alice"]}
        self.assert_fails("sorry, olga may not abort; allowed in chat: alice", **ABORT)
        self.assertEqual(self.shop.events.all()[-1]["type"], "rollout_started")
