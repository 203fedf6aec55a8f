from __future__ import annotations

import json

from action_test_case import ConsulActionTestCase
from consul_server import register, take_down
from deploy_hosts import DeployHosts
from releases import published

from delivery.clock import now


class TestDeployHosts(ConsulActionTestCase):
    action_cls = DeployHosts

    def setUp(self):
        super().setUp()
        self.target = published(self.shop)
        register(self.url, "web-1", "10.0.1.1", "shop", ["shop::app"])
        register(self.url, "web-0", "10.0.0.1", "shop", ["shop::app", "shop::app_canary"])

    def report(self, node, **values):
        report = dict(
            {
                "version": self.target.version,
                "sha256": self.target.sha256,
                "status": "ok",
                "reason": "",
                "at": "2026-01-01T00:00:00Z",
            },
            **values,
        )
        self.store.commit([self.store.overwrite("shop/hosts/" + node, json.dumps(report))])

    def lines(self):
        succeeded, result = self.act(app="shop")
        self.assertTrue(succeeded, result)
        return result["text"].splitlines()

    def test_tells_of_each_host_those_of_the_canary_first(self):
        self.report("web-0")
        self.assertRegex(
            self.lines()[0], r"^web-0 \(canary\): " + self.target.version + r", ok, \d+ d$"
        )
        self.assertEqual(self.lines()[1], "web-1 (production): nothing, no report yet")

    def test_says_why_a_host_failed(self):
        self.report("web-1", version="1.0", status="failed", reason="2.0 was not healthy")
        self.assertIn("web-1 (production): 1.0, failed (2.0 was not healthy)", self.lines()[1])

    def test_says_of_a_host_that_is_installing_since_when(self):
        at_work = {"version": "1.0", "status": "installing", "desired": "2.0"}
        self.report("web-1", at=now(), **at_work)
        register(self.url, "web-1", "10.0.1.1", "shop", ["shop::app"], passing=False)
        self.assertRegex(self.lines()[1], r"^web-1 \(production\): 1\.0, installing 2\.0, \d+ s$")
        self.report("web-1", **at_work)
        self.assertRegex(
            self.lines()[1],
            r"1\.0, installing 2\.0 for more than 5 min 4 s; run cicd-converge there, \d+ d$",
        )

    def test_says_what_consul_finds_wrong_with_a_host(self):
        self.report("web-0")
        register(
            self.url,
            "web-0",
            "10.0.0.1",
            "shop",
            ["shop::app", "shop::app_canary"],
            passing=False,
        )
        self.assertIn("failing shop answers", self.lines()[0])
        take_down(self.url, "web-1")
        self.assertIn("Consul agent down", self.lines()[1])
