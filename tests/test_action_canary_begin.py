from __future__ import annotations

import dataclasses

from action_test_case import ConsulActionTestCase
from canary_begin import CanaryBegin
from consul_server import register
from releases import begun, published, settled

from delivery.commits import Commit
from delivery.releases import Target


class TestCanaryBegin(ConsulActionTestCase):
    action_cls = CanaryBegin

    def setUp(self):
        super().setUp()
        register(self.url, "canary-1", "10.0.0.1", "shop", ["shop::app", "shop::app_canary"])

    def begin(self, target, by=None):
        return {
            "app": "shop",
            "version": target.version,
            "by": by,
            "wait_for_lock_s": 0,
            "by_hand": False,
            "chat_user": "",
            "stackstorm_user": "st2",
        }

    def test_plans_a_rollout_to_the_canarys_hosts(self):
        target = published(self.shop)
        succeeded, result = self.act(**self.begin(target))
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["stage"], result["hosts"], result["remaining"]), ("canary", ["canary-1"], 1)
        )
        self.assertEqual(self.shop.stages.get("canary").rollout.by, "alice")

    def test_a_release_that_cannot_go_there_by_itself_is_told(self):
        target = published(self.shop)
        register(self.url, "canary-1", "10.0.0.1", "shop", ["shop::app"])
        self.assert_fails("no host of shop", **self.begin(target))
        event = self.shop.events.all()[-1]
        self.assertEqual(
            (event["type"], event["stage"], event["version"]),
            ("rollout_refused", "canary", target.version),
        )
        self.assertIn(f"shop: {target.version} is not deployed to canary: ", event["message"])
        known = len(self.shop.events.all())
        self.assert_fails("no host of shop", **dict(self.begin(target), by_hand=True))
        self.assertEqual(len(self.shop.events.all()), known)

    def test_the_beginning_of_a_version_is_enough(self):
        first, second = published(self.shop, 1, "2.0.0"), published(self.shop, 2, "2.0.01")
        for beginning, target in (
            ("2.0.0", first),
            ("2.0.0-1", first),
            ("2.0.01", second),
            (second.version, second),
        ):
            succeeded, result = self.act(**self.begin(Target(beginning, "")))
            self.assertTrue(succeeded, result)
            self.assertEqual((result["app"], result["version"]), ("shop", target.version))
            self.shop.rollouts.fail(self.shop.stages.get("canary").rollout)

    def test_a_beginning_of_several_versions_lists_them_newest_first(self):
        first, second = published(self.shop, 1), published(self.shop, 2)
        self.assert_fails(
            f"1.0 is the beginning of 2 releases of shop, the newest first: {second.version}, "
            f"{first.version}; type one in full",
            **self.begin(Target("1.0", "")),
        )
        self.assert_fails("shop has no release 1.; nearest: ", **self.begin(Target("1.", "")))

    def test_what_production_runs_already_is_not_proposed_for_promotion(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        for stage in ("canary", "production"):
            settled(self.shop, stage, old)
        settled(self.shop, "canary", new)
        _, result = self.act(**dict(self.begin(old), by_hand=True))
        self.assertEqual(result["next"], "")

    def test_capitals_make_no_difference_in_a_name(self):
        target = published(self.shop)
        _, result = self.act(**dict(self.begin(target), app="SHOP"))
        self.assertEqual(result["app"], "shop")

    def test_does_nothing_when_the_canary_runs_it_already(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        succeeded, result = self.act(**self.begin(target))
        self.assertTrue(succeeded)
        self.assertEqual(
            (result["begun"], result["reason"]),
            (False, "canary of shop runs " + target.version + " already"),
        )

    def test_does_nothing_when_the_canary_has_had_a_newer_one(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        settled(self.shop, "canary", new)
        succeeded, result = self.act(**self.begin(old))
        self.assertTrue(succeeded)
        self.assertFalse(result["begun"])
        self.assertIn("is older than " + new.version, result["reason"])

    def late(self):
        """Publishes a commit whose push came after that of the next one; returns both targets."""
        new = published(self.shop, 1)
        release = self.shop.releases.get(new.version)
        first, second = (Commit(each * 40, "Change it", "Ada") for each in "fe")
        newer, older = (
            dataclasses.replace(
                release,
                version=f"2.0-{build}.{commits[0].commit[:7]}",
                commit=commits[0].commit,
                build=build,
                commits=commits,
            )
            for build, commits in ((2, [second, first]), (3, [first]))
        )
        return newer, older

    def test_a_late_push_of_an_older_commit_is_not_newer(self):
        newer, older = self.late()
        for release in (newer, older):
            self.shop.releases.publish(release)
        settled(self.shop, "canary", newer.target)
        self.assertEqual(self.shop.releases.newest().version, newer.version)
        _, result = self.act(**self.begin(older.target))
        self.assertFalse(result["begun"])
        self.assertIn(f"{older.version} is older than {newer.version}", result["reason"])

    def test_a_newer_commit_follows_a_late_push_of_an_older_one(self):
        newer, older = self.late()
        self.shop.releases.publish(older)
        settled(self.shop, "canary", older.target)
        self.shop.releases.publish(newer)
        self.assertEqual(self.shop.releases.newest().version, newer.version)
        succeeded, result = self.act(**self.begin(newer.target))
        self.assertTrue(succeeded, result)
        self.assertTrue(result["begun"])

    def test_in_a_shared_repository_the_commits_that_changed_it_count(self):
        """A push may end with a commit that changes nothing of the application."""
        release = self.shop.releases.get(published(self.shop, 1).version)
        first, second = (Commit(each * 40, "Change it", "Ada") for each in "fe")
        older = dataclasses.replace(release, commit="9" * 40, build=8, commits=[first])
        newer = dataclasses.replace(release, commit="8" * 40, build=7, commits=[second, first])
        self.assertTrue(newer.is_newer_than(older))
        self.assertFalse(older.is_newer_than(newer))

    def test_names_who_holds_the_lock(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        begun(self.shop, "production", old, [["p"]], "olga", "promote")
        self.assert_fails("shop is locked: promoting .* to production, by olga", **self.begin(new))

    def test_refuses_a_release_nobody_published(self):
        published(self.shop)
        self.assert_fails(
            r"shop has no release 9.9; nearest: 1.0-1.aaaaaaa",
            app="shop",
            version="9.9",
            by=None,
            wait_for_lock_s=0,
            by_hand=False,
            chat_user="",
            stackstorm_user="st2",
        )

    def by_hand(self, version):
        return {
            "app": "shop",
            "version": version,
            "by": "olga",
            "wait_for_lock_s": 60,
            "by_hand": True,
            "chat_user": "olga",
            "stackstorm_user": "bot",
        }

    def test_by_hand_takes_the_newest_release(self):
        published(self.shop, 1)
        newest = published(self.shop, 2)
        succeeded, result = self.act(**self.by_hand(None))
        self.assertTrue(succeeded, result)
        self.assertEqual(result["version"], newest.version)

    def test_who_asks_is_not_whoever_is_named(self):
        target = published(self.shop)
        for parameters, who in (
            (dict(self.begin(target), by="olga"), "st2"),
            (dict(self.by_hand(None), chat_user="", stackstorm_user="st2"), "st2"),
            (self.by_hand(None), "olga"),
        ):
            succeeded, result = self.act(**parameters)
            self.assertTrue(succeeded, result)
            rollout = self.shop.stages.get("canary").rollout
            self.assertEqual(rollout.by, who)
            self.shop.rollouts.fail(rollout)

    def test_by_hand_an_older_release_comes_back(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        settled(self.shop, "canary", new)
        succeeded, result = self.act(**self.by_hand(old.version))
        self.assertTrue(succeeded, result)
        self.assertEqual((result["begun"], result["version"]), (True, old.version))

    def test_by_hand_another_rollout_is_not_waited_for(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        begun(self.shop, "production", old, [["p"]], "olga", "promote")
        self.assert_fails("shop is locked: promoting", **self.by_hand(new.version))

    def test_a_release_of_other_stages_than_the_operators_goes_nowhere(self):
        settled(self.shop, "canary", published(self.shop, 1))
        register(self.url, "production-1", "10.0.0.2", "shop", ["shop::app"])
        for number, stages in ((2, ["production"]), (3, ["production", "canary"])):
            target = published(self.shop, number, stages=stages)
            for begin in (self.begin(target), self.by_hand(target.version)):
                self.assert_fails(
                    f"{target.version} was published for the stages {', '.join(stages)}; the "
                    "pack's configuration has canary, production: push again, or correct "
                    "policy.applications.shop.stages there",
                    **begin,
                )

    def test_the_operator_says_what_the_stages_are(self):
        for node in ("canary-1", "production-1"):
            register(self.url, node, "10.0.0.2", "shop", ["shop::app"], enrolled="production")
        self.config["policy"] = {"applications": {"shop": {"stages": ["production"]}}}
        succeeded, result = self.act(**self.begin(published(self.shop, stages=["production"])))
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["stage"], result["hosts"]), ("production", ["canary-1", "production-1"])
        )
