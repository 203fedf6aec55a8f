from __future__ import annotations

from action_test_case import ConsulActionTestCase
from consul_query import ConsulQuery
from consul_server import register
from releases import COMMITS


class TestConsulQuery(ConsulActionTestCase):
    action_cls = ConsulQuery

    def test_finds_the_configured_build_hosts(self):
        register(self.url, "build-1", "10.0.0.1", "build", ["build::host"])
        succeeded, result = self.act(service=None, tag=None)
        self.assertTrue(succeeded)
        self.assertEqual(result["chosen"], "build-1")
        self.assertEqual(result["hosts"], [{"node": "build-1", "address": "10.0.0.1"}])

    def test_says_which_tags_there_are_when_none_fits(self):
        register(self.url, "web-1", "10.0.0.2", "web", ["old"])
        self.assert_fails("carries the tag new; existing tags: old", service="web", tag="new")

    def test_as_a_step_of_packaging_it_records_why_there_is_no_package(self):
        self.shop.builds.start(COMMITS[0], "acme/shop", "main", "alice")
        self.shop.builds.finish(COMMITS[0], passed=True)
        self.assert_fails(
            "no service build in Consul", service=None, tag=None, app="shop", commit=COMMITS[0]
        )
        self.assertIn("no service build", self.shop.builds.get(COMMITS[0]).packaging_error)
        event = self.shop.events.all()[-1]
        self.assertEqual(event["type"], "packaging_failed")
        self.assertIn(
            "packaging build 1 (aaaaaaa) failed: no service build in Consul", event["message"]
        )

    def test_no_package_is_begun_of_a_commit_that_did_not_pass(self):
        register(self.url, "build-1", "10.0.0.1", "build", ["build::host"])
        self.shop.builds.start(COMMITS[0], "acme/shop", "main", "alice")
        step = {"service": None, "tag": None, "app": "shop", "commit": COMMITS[0]}
        self.assert_fails("did not pass CI: build 1 is running; wait for its verdict", **step)
        self.shop.builds.finish(COMMITS[0], passed=False, reason="3 tests failed")
        self.assert_fails(
            "shop aaaaaaa did not pass CI: build 1 failed: 3 tests failed; push a fix, or run "
            "cicd_canary.ci app=shop repository=acme/shop branch=main "
            f"commit={COMMITS[0]} by=alice again=true",
            **step,
        )
        self.assertEqual(self.shop.builds.get(COMMITS[0]).packaging_error, "")

    def test_as_the_first_step_it_forgets_why_packaging_failed_before(self):
        self.shop.builds.start(COMMITS[0], "acme/shop", "main", "alice")
        self.shop.builds.finish(COMMITS[0], passed=True)
        self.shop.builds.packaging_failed(COMMITS[0], "no space left")
        register(self.url, "build-1", "10.0.0.1", "build", ["build::host"])
        succeeded, result = self.act(service=None, tag=None, app="shop", commit=COMMITS[0])
        self.assertTrue(succeeded, result)
        self.assertEqual(self.shop.builds.get(COMMITS[0]).packaging_error, "")

    def test_where_two_hosts_make_a_package_it_finds_a_second_one(self):
        self.config["proof"] = {"builders": "two"}
        self.shop.builds.start(COMMITS[0], "acme/shop", "main", "alice")
        self.shop.builds.finish(COMMITS[0], passed=True)
        step = {"service": None, "tag": None, "app": "shop", "commit": COMMITS[0]}
        register(self.url, "build-1", "10.0.0.1", "build", ["build::host"])
        register(self.url, "alias", "10.0.0.1", "build", ["build::host"])
        self.assert_fails(
            "proof.builders is two, but (build-1|alias) is the only healthy build host in Consul; "
            "bring up a second one, or set proof.builders to one",
            **step,
        )
        self.assertIn("only healthy", self.shop.builds.get(COMMITS[0]).packaging_error)
        register(self.url, "build-2", "10.0.0.2", "build", ["build::host"])
        succeeded, result = self.act(**step)
        self.assertTrue(succeeded, result)
        self.assertEqual(len({result["chosen"], result["second"]} - {"alias", "build-1"}), 1)
        self.assertIsNone(self.act(service=None, tag=None)[1]["second"])

    def test_says_so_when_consul_is_unreachable(self):
        self.config["consul"]["url"] = "http://127.0.0.1:1"
        self.assert_fails(
            "Consul at http://127.0.0.1:1 did not answer after 3 attempts", service=None, tag=None
        )

    def test_refuses_a_configuration_it_does_not_know_by_name(self):
        self.config["consull"] = {}
        self.assert_fails(
            "consull in the pack's configuration: unknown key; nearest: consul",
            service=None,
            tag=None,
        )
