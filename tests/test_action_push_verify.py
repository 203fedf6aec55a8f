from __future__ import annotations

from unittest import mock

import pytest
from push_verify import PushVerify
from st2tests.base import BaseActionTestCase

from delivery import github
from sandbox.github import TOKEN, running_github

OLD, HEAD, ASIDE = "a" * 40, "b" * 40, "c" * 40


@pytest.mark.filterwarnings("ignore:Argument lazy is deprecated")
class TestPushVerify(BaseActionTestCase):
    action_cls = PushVerify

    def setUp(self):
        super().setUp()
        no_pauses = mock.patch.object(github, "PAUSES_S", dict.fromkeys(github.PAUSES_S, 0.0))
        no_pauses.start()
        self.addCleanup(no_pauses.stop)
        running = running_github()
        self.github = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        self.github.add_repository("acme/shop", main=[OLD, HEAD], **{"feature/x": [OLD, ASIDE]})
        self.github.add_repository("acme/Web_Shop", main=[OLD, HEAD])
        self.config = {"github": {"api_url": self.github.url, "token": TOKEN}}

    def verify(self, repository="acme/shop", ref="refs/heads/main", commit=HEAD):
        return self.get_action_instance(config=self.config).run(
            repository=repository, ref=ref, commit=commit
        )

    def assert_refused(self, expected, **push):
        succeeded, result = self.verify(**push)
        self.assertFalse(succeeded)
        self.assertRegex(result["error"], expected)

    def test_a_push_to_the_default_branch_is_confirmed(self):
        _, result = self.verify()
        self.assertEqual(
            (result["verified"], result["apps"], result["branch"]), (True, ["shop"], "main")
        )

    def test_a_push_that_was_overtaken_by_the_next_one_is_confirmed(self):
        self.assertTrue(self.verify(commit=OLD)[1]["verified"])

    def test_a_commit_that_is_not_on_the_branch_is_refused(self):
        self.assert_refused("main of acme/shop does not contain ccccccc", commit=ASIDE)

    def test_a_commit_that_nobody_pushed_is_refused(self):
        self.assert_refused("GitHub answered 404", commit="e" * 40)

    def test_the_default_branch_is_githubs_and_not_the_payloads(self):
        self.github.repositories["acme/shop"].default_branch = "feature/x"
        succeeded, result = self.verify()
        self.assertTrue(succeeded)
        self.assertIs(result["verified"], False)
        self.assertIn("main is not configured to be built", result["reason"])

    def test_a_branch_that_is_not_built_is_no_failure_and_starts_nothing(self):
        succeeded, result = self.verify(ref="refs/heads/feature/x", commit=ASIDE)
        self.assertTrue(succeeded)
        self.assertIs(result["verified"], False)

    def test_branches_are_built_as_configured(self):
        self.config["applications"] = {"acme/shop": {"branches": ["feature/*"]}}
        self.assertTrue(self.verify(ref="refs/heads/feature/x", commit=ASIDE)[1]["verified"])
        self.assertFalse(self.verify()[1]["verified"])

    def test_a_repository_has_the_name_it_is_configured_to_have(self):
        self.config["applications"] = {"acme/Web_Shop": {"name": "web-shop"}}
        self.assertEqual(self.verify("acme/Web_Shop")[1]["apps"], ["web-shop"])

    def test_of_a_repository_with_several_applications_those_of_the_branch_are_named(self):
        self.config["applications"] = {
            "acme/shop": {
                "paths": {
                    "services/api": {},
                    "services/web": {"name": "front", "branches": ["feature/*", "main"]},
                }
            }
        }
        self.assertEqual(self.verify()[1]["apps"], ["api", "front"])
        aside = self.verify(ref="refs/heads/feature/x", commit=ASIDE)
        self.assertEqual(aside[1]["apps"], ["front"])

    def test_a_repository_whose_name_cannot_be_an_application_is_refused(self):
        self.assert_refused("is not a valid Debian package name", repository="acme/Web_Shop")

    def test_a_repository_that_github_does_not_show_is_refused(self):
        self.assert_refused("repository acme/other: GitHub answered 404", repository="acme/other")

    def test_nothing_is_confirmed_while_github_does_not_answer(self):
        self.github.fail(503, times=1000)
        with mock.patch.object(github, "PATIENCE_S", 0):
            self.assert_refused("GitHub answered 503")
