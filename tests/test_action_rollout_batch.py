from __future__ import annotations

from unittest import mock

from action_test_case import ConsulActionTestCase
from consul_server import register
from releases import begun, published
from rollout_batch import RolloutBatch
from test_rollout import Hosts

from delivery.configuration import Configuration


class TestRolloutBatch(ConsulActionTestCase):
    action_cls = RolloutBatch

    def setUp(self):
        super().setUp()
        self.hosts = Hosts(self.shop)
        over_ssh = mock.patch.object(Configuration, "ssh", return_value=self.hosts)
        over_ssh.start()
        self.addCleanup(over_ssh.stop)
        nodes = ["canary-1", "canary-2"]
        for node in nodes:
            register(self.url, node, "10.0.0.1", "shop", ["shop::app", "shop::app_canary"])
        self.target = published(self.shop)
        rollout = begun(
            self.shop, "canary", self.target, [[node] for node in nodes], "alice", "deploy"
        )
        self.step = {"app": "shop", "stage": "canary", "deployment": rollout.deployment}

    def test_brings_the_next_batch_to_the_version_and_says_what_is_left(self):
        for batch, remaining in (("canary-1", 1), ("canary-2", 0)):
            succeeded, result = self.act(**self.step)
            self.assertTrue(succeeded, result)
            self.assertEqual(self.hosts.told[-1], [batch])
            self.assertEqual((result["batches"], result["remaining"]), (2, remaining))
        self.assertEqual(
            (result["version"], result["status"], result["failed_hosts"]),
            (self.target.version, "rolling_out", {}),
        )
        self.assertEqual(result["hosts"], ["canary-1", "canary-2"])

    def test_fails_when_more_hosts_fail_than_may_and_names_them(self):
        self.hosts.refusing.add("canary-1")
        self.assert_fails("canary-1: connection refused on port 22", **self.step)
        self.assertEqual(self.hosts.told, [["canary-1"]])

    def test_refuses_a_rollout_that_is_over(self):
        self.assert_fails(
            "the rollout canary-x of shop is over", **dict(self.step, deployment="canary-x")
        )
        self.assertEqual(self.hosts.told, [])
