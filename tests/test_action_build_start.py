from __future__ import annotations

from unittest import mock

from action_test_case import ConsulActionTestCase
from build_start import BuildStart
from releases import COMMITS, published

from delivery.releases import Releases

PUSH = {
    "app": "shop",
    "repository": "acme/shop",
    "branch": "main",
    "commit": COMMITS[0],
    "by": "alice",
    "again": False,
}


class TestBuildStart(ConsulActionTestCase):
    action_cls = BuildStart

    def test_starts_the_build_of_a_new_commit(self):
        _, result = self.act(**PUSH)
        self.assertEqual((result["build"], result["status"], result["new"]), (1, "running", True))

    def test_starts_no_second_build_of_a_commit(self):
        self.act(**PUSH)
        _, result = self.act(**dict(PUSH, by="bob"))
        self.assertFalse(result["new"])
        self.assertEqual(self.shop.builds.get(COMMITS[0]).by, "alice")

    def test_a_commit_that_failed_fails_again_with_its_reason(self):
        self.act(**PUSH)
        self.shop.builds.finish(COMMITS[0], passed=False, reason="script/cibuild exited with 1")
        self.assert_fails(
            "shop aaaaaaa not rebuilt: build 1 failed: script/cibuild exited with 1; push "
            "a fix, or run cicd_canary.ci with again=true",
            **PUSH,
        )
        self.assertEqual(self.act(**dict(PUSH, again=True))[1]["status"], "running")

    def test_a_commit_whose_packaging_failed_fails_again_with_its_reason(self):
        self.act(**PUSH)
        self.shop.builds.finish(COMMITS[0], passed=True)
        self.shop.builds.packaging_failed(COMMITS[0], "package.build: no such file")
        self.assert_fails("packaging build 1 failed: package.build: no such file", **PUSH)
        self.shop.builds.forget_packaging_failure(COMMITS[0])
        self.assertEqual(self.act(**PUSH)[1]["status"], "passed")

    def test_refuses_what_is_no_name_and_writes_nothing(self):
        self.assert_fails("is not a valid branch", **dict(PUSH, branch="{{config_context}}"))
        self.assertEqual(self.store.keys(), [])

    def test_a_bound_application_is_not_asked_for_its_newest_release(self):
        self.act(**PUSH)
        with mock.patch.object(Releases, "newest", side_effect=AssertionError):
            succeeded, result = self.act(**dict(PUSH, commit=COMMITS[1]))
        self.assertTrue(succeeded, result)
        self.assert_fails("shop comes from acme/shop", **dict(PUSH, repository="mallory/shop"))

    def test_another_repository_of_the_same_name_does_not_take_an_application_over(self):
        published(self.shop)
        push = dict(PUSH, commit=COMMITS[1])
        self.assert_fails(
            "shop comes from acme/shop, not from mallory/shop; if it has moved, set "
            "applications.mallory/shop.name to shop in the pack's configuration",
            **dict(push, repository="mallory/shop"),
        )
        self.assertTrue(self.act(**push)[0])

    def test_the_first_build_binds_an_application_to_its_repository(self):
        self.act(**PUSH)
        self.shop.builds.finish(COMMITS[0], passed=False, reason="it is broken")
        self.assert_fails(
            "shop comes from acme/shop, not from mallory/shop",
            **dict(PUSH, commit=COMMITS[1], repository="mallory/shop"),
        )
        self.assertEqual(self.store.get("shop/repository").value, "acme/shop")
        self.config["applications"] = {"acme/store": {"name": "shop"}}
        succeeded, result = self.act(**dict(PUSH, commit=COMMITS[1], repository="acme/store"))
        self.assertTrue(succeeded, result)
        self.assertEqual(self.store.get("shop/repository").value, "acme/store")

    def test_an_application_moves_to_the_repository_that_the_configuration_names(self):
        published(self.shop)
        self.config["applications"] = {"acme/store": {"name": "shop"}}
        succeeded, result = self.act(**dict(PUSH, commit=COMMITS[1], repository="acme/store"))
        self.assertTrue(succeeded, result)
        self.assert_fails(
            "acme/shop is not shop, which is acme/store in the pack's configuration; set "
            "applications.acme/shop.name to another name there",
            **dict(PUSH, commit=COMMITS[2]),
        )
