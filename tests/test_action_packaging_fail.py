from __future__ import annotations

from action_test_case import ConsulActionTestCase
from packaging_fail import PackagingFail
from releases import COMMITS

COMMIT = COMMITS[0]


class TestPackagingFail(ConsulActionTestCase):
    action_cls = PackagingFail

    def setUp(self):
        super().setUp()
        self.shop.builds.start(COMMIT, "acme/shop", "main", "alice")
        self.shop.builds.finish(COMMIT, passed=True)

    def packaging_failures(self):
        return [each for each in self.shop.events.all() if each["type"] == "packaging_failed"]

    def test_passes_on_why_the_step_failed_and_records_nothing_more(self):
        self.shop.builds.packaging_failed(COMMIT, "nfpm: no such file")
        succeeded, result = self.act(app="shop", commit=COMMIT, step="build_package")
        self.assertTrue(succeeded, result)
        self.assertEqual(
            result["error"], "shop aaaaaaa: packaging build 1 failed: nfpm: no such file"
        )
        self.assertEqual(len(self.packaging_failures()), 1)

    def test_records_a_failure_whose_step_was_killed(self):
        succeeded, result = self.act(app="shop", commit=COMMIT, step="build_package")
        self.assertTrue(succeeded, result)
        self.assertIn("build_package ended without a reason", result["error"])
        (event,) = self.packaging_failures()
        self.assertEqual(event["commit"], COMMIT)
        self.assertIn("build_package ended without a reason", event["message"])

    def test_a_commit_that_failed_ci_keeps_that_as_its_failure(self):
        self.shop.builds.start(COMMITS[1], "acme/shop", "main", "alice")
        self.shop.builds.finish(COMMITS[1], passed=False, reason="3 tests failed")
        succeeded, result = self.act(app="shop", commit=COMMITS[1], step="find_build_host")
        self.assertTrue(succeeded, result)
        self.assertIn("did not pass CI: build 2 failed: 3 tests failed; push a", result["error"])
        self.assertEqual(self.packaging_failures(), [])

    def test_refuses_a_commit_that_was_never_built(self):
        self.assert_fails("shop has no build of bbbbbbb", app="shop", commit=COMMITS[1], step=None)
