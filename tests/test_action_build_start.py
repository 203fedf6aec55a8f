from __future__ import annotations

from action_test_case import ConsulActionTestCase
from build_start import BuildStart
from releases import COMMITS

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
        self.assertEqual(self.shop.build(COMMITS[0])["by"], "alice")

    def test_refuses_what_is_no_name_and_writes_nothing(self):
        self.assert_fails("is not the name of a branch", **dict(PUSH, branch="{{config_context}}"))
        self.assertEqual(self.store.keys(), [])
