from __future__ import annotations

from action_test_case import ConsulActionTestCase
from deploy_status import DeployStatus
from releases import begun, failed, published, settled

from delivery.clock import now


class TestDeployStatus(ConsulActionTestCase):
    action_cls = DeployStatus

    def text(self, app=None):
        succeeded, result = self.act(app=app)
        self.assertTrue(succeeded, result)
        return result["text"]

    def test_of_nothing(self):
        self.assertEqual(self.text(), "no application has been built yet")

    def test_of_a_canary_that_waits(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        self.assertRegex(
            self.text(),
            "(?s)shop\n  canary +" + target.version + r" live \(alice, "
            r"\d s, 1 host\)\n  production  nothing yet\n"
            "  next: !deploy promote shop",
        )

    def test_of_a_release_that_reached_no_canary_says_so(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        settled(self.shop, "canary", old)
        self.assertEqual(
            self.text().splitlines()[-2:],
            [
                f"  {new.version} is published and has not reached the canary",
                f"  next: !deploy canary shop {new.version}",
            ],
        )

    def test_during_a_rollout_the_next_step_is_to_wait(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        begun(self.shop, "production", target, [["node-2"]], "alice", "promote", "canary")
        self.assertEqual(self.text().splitlines()[-1], "  next: wait, or !deploy abort shop")

    def test_of_a_failed_canary_says_why(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        settled(self.shop, "canary", old)
        failed(self.shop, "canary", new)
        self.assertRegex(
            self.text("shop"),
            r"canary +"
            + old.version
            + "; "
            + new.version
            + r" failed \(alice, \d s\): node-1: is broken",
        )

    def test_of_a_canary_that_has_failed_says_what_to_do(self):
        target = published(self.shop)
        failed(self.shop, "canary", target)
        again = f"  next: push a fix, or !deploy canary shop {target.version} to try again"
        self.assertEqual(self.text().splitlines()[-1], again)

    def test_of_a_canary_that_was_rolled_back_says_what_to_do(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        for stage in ("canary", "production"):
            settled(self.shop, stage, old)
        settled(self.shop, "canary", new)
        settled(self.shop, "canary", old, kind="rollback")
        again = f"  next: push a fix, or !deploy canary shop {new.version} to try again"
        self.assertEqual(self.text().splitlines()[-1], again)

    def test_of_a_canary_that_was_rolled_back_to_a_newer_version_says_no_more(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        for stage in ("canary", "production"):
            settled(self.shop, stage, new)
        settled(self.shop, "canary", old)
        settled(self.shop, "canary", new, kind="rollback")
        self.assertNotIn("next:", self.text())

    def test_of_a_production_that_was_rolled_back_says_what_to_do(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        for target in (old, new):
            for stage in ("canary", "production"):
                settled(self.shop, stage, target)
        settled(self.shop, "production", old, kind="rollback")
        again = "  next: push a fix, or !deploy promote shop to try again"
        self.assertEqual(self.text().splitlines()[-1], again)
        self.shop.freezes.start("alice")
        self.assertNotIn("next:", self.text())

    def test_of_a_host_that_was_interrupted_says_since_when(self):
        settled(self.shop, "canary", published(self.shop))
        report = '{"version": "1.0", "status": "installing", "desired": "2.0", "at": "%s"}'
        for node, at in (("web-1", "2026-01-01T00:00:00Z"), ("web-2", now())):
            self.store.commit([self.store.overwrite(f"shop/hosts/{node}", report % at)])
        self.assertRegex(
            self.text(),
            r"\n  web-1 has been installing 2\.0 for more than 5 min 4 s; run cicd-converge there "
            r"\(\d+ d ago\)\n",
        )
        self.assertNotIn("web-2", self.text())

    def test_of_a_rollout_under_way(self):
        target = published(self.shop)
        begun(self.shop, "canary", target, [["n"]], "alice", "deploy")
        self.assertIn("nothing, rolling out " + target.version, self.text())

    def test_of_a_frozen_application_says_who_and_why(self):
        settled(self.shop, "canary", published(self.shop))
        self.shop.freezes.start("alice", "the sale is on")
        self.assertIn("  frozen by alice: the sale is on", self.text())
        self.assertNotIn("next:", self.text())

    def test_of_an_aborted_canary_says_by_whom(self):
        rollout = begun(self.shop, "canary", published(self.shop), [["n"]], "alice", "deploy")
        self.shop.rollouts.aborts.ask(rollout, "olga")
        self.shop.rollouts.fail(rollout)
        self.assertRegex(self.text(), r"was aborted \(alice, \d+ s\): requested by olga")
