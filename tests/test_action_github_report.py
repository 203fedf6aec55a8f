"""What GitHub shows of a delivery: a real Consul, and a double of GitHub."""

from __future__ import annotations

import os
import sys
from unittest import mock

import pytest
from action_test_case import ConsulActionTestCase
from events import Events
from github_report import GithubReport
from releases import COMMITS, begun, failed, published, settled
from st2tests.base import BaseSensorTestCase

from delivery import github, github_repository
from delivery.application import Application
from sandbox.github import TOKEN, running_github

A, B = COMMITS[:2]


@pytest.mark.filterwarnings("ignore:Argument lazy is deprecated")
class GithubReportTestCase(ConsulActionTestCase):
    action_cls = GithubReport

    def setUp(self):
        super().setUp()
        no_pauses = mock.patch.object(github, "PAUSES_S", dict.fromkeys(github.PAUSES_S, 0.0))
        no_pauses.start()
        self.addCleanup(no_pauses.stop)
        double = running_github()
        self.github = double.__enter__()
        self.addCleanup(double.__exit__, None, None, None)
        self.github.add_repository("acme/shop", main=list(COMMITS))
        self.config["github"] = {"api_url": self.github.url, "token": TOKEN}

    def event(self, kind, place=-1):
        """Returns the number of the newest event of a kind, or of another one of them."""
        return [each["id"] for each in self.shop.events.all() if each["type"] == kind][place]

    def report(self, kind, place=-1):
        """Reports an event; returns the action's result."""
        succeeded, result = self.act(app="shop", event=self.event(kind, place))
        self.assertTrue(succeeded, result)
        return result

    def statuses(self, commit=A):
        return self.github.statuses("acme/shop", commit)

    def deployments(self):
        return self.github.deployments("acme/shop")

    def tags(self):
        return self.github.repositories["acme/shop"].tags()

    def begin(self, stage, target, kind="deploy", source=None):
        return begun(self.shop, stage, target, [["node-1"]], "alice", kind, source=source)

    def finish(self, rollout):
        self.shop.rollouts.assign(rollout, ["node-1"])
        return self.shop.rollouts.settle(self.shop.rollouts.record_batch(rollout, {}))


class TestApplicationsThatShareARepository(GithubReportTestCase):
    def test_each_have_contexts_environments_and_tags_of_their_own(self):
        self.config["github"]["tags"] = "stage"
        for name in ("api", "web"):
            self.shop = Application(self.store, name)
            self.shop.builds.start(A, "acme/shop", "main", "alice", path=f"services/{name}")
            settled(self.shop, "canary", published(self.shop))
            for kind in ("build_passed", "release_published", "rollout_succeeded"):
                succeeded, result = self.act(app=name, event=self.event(kind))
                self.assertTrue(succeeded, result)
        contexts = [f"cicd/{app}/{each}" for app in ("api", "web") for each in ("canary", "ci")]
        self.assertLessEqual(set(contexts), set(self.statuses()))
        self.assertNotIn("cicd/ci", self.statuses())
        newest = {environment: states[-1] for _, environment, states in self.deployments()}
        self.assertEqual(newest, {"api/canary": "success", "web/canary": "success"})
        self.assertEqual(set(self.tags()), {"deployed/api/canary", "deployed/web/canary"})


class TestStatuses(GithubReportTestCase):
    def test_a_build_that_runs_is_pending(self):
        self.shop.builds.start(A, "acme/shop", "main", "alice")
        result = self.report("build_started")
        self.assertEqual(self.statuses(), {"cicd/ci": "pending"})
        self.assertEqual(result["changed"], ["cicd/ci is pending"])

    def test_a_build_that_failed_is_a_failure_whose_reason_is_not_published(self):
        self.shop.builds.start(A, "acme/shop", "main", "alice")
        self.shop.builds.finish(A, passed=False, reason="build-1.internal: no space left")
        self.report("build_failed")
        self.assertEqual(self.statuses(), {"cicd/ci": "failure"})
        shown = str(self.github.repositories["acme/shop"].statuses)
        self.assertNotIn("build-1.internal", shown)

    def test_a_commit_that_passed_is_being_packaged(self):
        self.shop.builds.start(A, "acme/shop", "main", "alice")
        self.shop.builds.finish(A, passed=True)
        self.report("build_passed")
        self.assertEqual(self.statuses(), {"cicd/ci": "success", "cicd/package": "pending"})

    def test_packaging_that_failed_is_a_failure(self):
        self.shop.builds.start(A, "acme/shop", "main", "alice")
        self.shop.builds.finish(A, passed=True)
        self.shop.builds.packaging_failed(A, "no space left on build-1.internal")
        self.report("packaging_failed")
        self.assertEqual(self.statuses(), {"cicd/ci": "success", "cicd/package": "failure"})

    def test_a_published_release_waits_for_the_canary(self):
        published(self.shop)
        self.report("release_published")
        self.assertEqual(
            self.statuses(),
            {"cicd/ci": "success", "cicd/package": "success", "cicd/canary": "pending"},
        )

    def test_a_canary_that_is_live_is_a_success(self):
        settled(self.shop, "canary", published(self.shop))
        self.report("rollout_succeeded")
        self.assertEqual(self.statuses()["cicd/canary"], "success")

    def test_a_canary_that_was_taken_back_is_a_failure(self):
        failed(self.shop, "canary", published(self.shop))
        self.report("rollout_failed")
        self.assertEqual(self.statuses()["cicd/canary"], "failure")

    def test_production_has_a_deployment_and_no_status(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        settled(self.shop, "production", target, "promote", source="canary")
        self.report("rollout_succeeded")
        self.assertEqual(set(self.statuses()), {"cicd/ci", "cicd/package", "cicd/canary"})

    def test_other_commits_are_left_alone(self):
        published(self.shop)
        published(self.shop, 2)
        self.report("release_published")
        self.assertEqual(self.statuses(A), {})
        self.assertEqual(self.statuses(B)["cicd/package"], "success")

    def test_a_status_links_to_the_execution_that_caused_it(self):
        self.config["github"]["web_ui_url"] = "https://st2.example/"
        with mock.patch.dict(os.environ, ST2_ACTION_EXECUTION_ID="5f0c"):
            self.shop.builds.start(A, "acme/shop", "main", "alice")
        self.report("build_started")
        status = self.github.repositories["acme/shop"].statuses[0]
        self.assertEqual(status["target_url"], "https://st2.example/#/history/5f0c")

    def test_without_the_address_of_the_web_ui_there_is_no_link(self):
        with mock.patch.dict(os.environ, ST2_ACTION_EXECUTION_ID="5f0c"):
            self.shop.builds.start(A, "acme/shop", "main", "alice")
        self.report("build_started")
        self.assertIsNone(self.github.repositories["acme/shop"].statuses[0]["target_url"])


class TestDeployments(GithubReportTestCase):
    def test_the_deployment_of_a_release_is_queued_then_in_progress_then_a_success(self):
        target = published(self.shop)
        self.report("release_published")
        rollout = self.begin("canary", target)
        self.report("rollout_started")
        self.finish(rollout)
        self.report("rollout_succeeded")
        self.assertEqual(self.deployments(), [(A, "canary", ["queued", "in_progress", "success"])])

    def test_a_rollout_that_failed_is_a_failure(self):
        failed(self.shop, "canary", published(self.shop))
        self.report("rollout_failed")
        self.assertEqual(self.deployments(), [(A, "canary", ["failure"])])

    def test_each_stage_is_an_environment_and_only_the_last_one_is_production(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        settled(self.shop, "production", target, "promote", source="canary")
        self.report("rollout_succeeded", 0)
        self.report("rollout_succeeded", 1)
        there = self.github.repositories["acme/shop"].deployments
        self.assertEqual(
            [(each["environment"], each["production_environment"]) for each in there],
            [("canary", False), ("production", True)],
        )

    def test_what_a_new_version_replaces_becomes_inactive(self):
        settled(self.shop, "canary", published(self.shop))
        self.report("rollout_succeeded")
        settled(self.shop, "canary", published(self.shop, 2))
        self.report("rollout_succeeded")
        self.assertEqual(
            self.deployments(), [(A, "canary", ["success", "inactive"]), (B, "canary", ["success"])]
        )

    def test_a_rollback_is_a_deployment_of_the_commit_before(self):
        first, second = published(self.shop), published(self.shop, 2)
        for target, kind in ((first, "deploy"), (second, "deploy"), (first, "rollback")):
            settled(self.shop, "canary", target, kind)
            self.report("rollout_succeeded")
        self.assertEqual(
            self.deployments(),
            [
                (A, "canary", ["success", "inactive"]),
                (B, "canary", ["success", "inactive"]),
                (A, "canary", ["success"]),
            ],
        )

    def test_a_release_rolled_out_again_is_another_deployment(self):
        target = published(self.shop)
        failed(self.shop, "canary", target)
        self.report("rollout_failed")
        settled(self.shop, "canary", target)
        self.report("rollout_succeeded")
        self.assertEqual(
            [states for _, _, states in self.deployments()], [["failure"], ["success"]]
        )


class TestOrder(GithubReportTestCase):
    def test_an_event_reported_twice_changes_nothing(self):
        settled(self.shop, "canary", published(self.shop))
        for kind in ("release_published", "rollout_started", "rollout_succeeded"):
            self.report(kind)
        written = len(self.github.writes())
        for kind in ("release_published", "rollout_started", "rollout_succeeded"):
            self.assertEqual(self.report(kind)["changed"], [])
        self.assertEqual(len(self.github.writes()), written)

    def test_an_old_event_reported_late_does_not_hide_what_happened_since(self):
        settled(self.shop, "canary", published(self.shop))
        for kind in ("rollout_succeeded", "build_started", "rollout_started", "release_published"):
            self.report(kind)
        self.assertEqual(
            self.statuses(),
            {"cicd/ci": "success", "cicd/package": "success", "cicd/canary": "success"},
        )
        self.assertEqual(self.deployments(), [(A, "canary", ["success"])])

    def test_a_success_reported_after_the_next_one_is_inactive(self):
        for number in (1, 2):
            settled(self.shop, "canary", published(self.shop, number))
        self.report("rollout_succeeded", 1)
        self.report("rollout_succeeded", 0)
        self.assertEqual(
            {commit: states[-1] for commit, _, states in self.deployments()},
            {A: "inactive", B: "success"},
        )

    def test_what_happens_while_it_is_reported_is_reported_too(self):
        rollout = self.begin("canary", published(self.shop))
        once = [rollout]
        real = github_repository.Repository.set_deployment

        def overtaken(repository, wanted):
            changed = real(repository, wanted)
            if once:
                self.finish(once.pop())
            return changed

        with mock.patch.object(github_repository.Repository, "set_deployment", overtaken):
            self.report("rollout_started")
        self.assertEqual(self.deployments(), [(A, "canary", ["in_progress", "success"])])
        self.assertEqual(self.statuses()["cicd/canary"], "success")


class TestTags(GithubReportTestCase):
    def test_no_tag_is_written_unless_configured(self):
        settled(self.shop, "canary", published(self.shop))
        self.report("release_published")
        self.report("rollout_succeeded")
        self.assertEqual(self.tags(), {})

    def test_a_tag_follows_what_a_stage_runs(self):
        self.config["github"]["tags"] = "stage"
        first, second = published(self.shop), published(self.shop, 2)
        for target, kind, commit in (
            (first, "deploy", A),
            (second, "deploy", B),
            (first, "rollback", A),
        ):
            settled(self.shop, "canary", target, kind)
            self.report("rollout_succeeded")
            self.assertEqual(self.tags(), {"deployed/canary": commit})

    def test_a_stage_that_was_not_reached_moves_no_tag(self):
        self.config["github"]["tags"] = "stage"
        failed(self.shop, "canary", published(self.shop))
        self.report("rollout_failed")
        self.assertEqual(self.tags(), {})

    def test_a_success_reported_late_does_not_move_the_tag_back(self):
        self.config["github"]["tags"] = "stage"
        for number in (1, 2):
            settled(self.shop, "canary", published(self.shop, number))
        self.report("rollout_succeeded", 1)
        self.report("rollout_succeeded", 0)
        self.assertEqual(self.tags(), {"deployed/canary": B})

    def test_each_release_has_a_tag_of_its_own(self):
        self.config["github"]["tags"] = "release"
        version = published(self.shop).version
        self.report("release_published")
        self.assertEqual(self.tags(), {f"release/{version}": A})


class TestWhatIsNotReported(GithubReportTestCase):
    def test_without_a_token_github_is_told_nothing_and_that_is_no_failure(self):
        self.config["github"] = {"api_url": self.github.url}
        published(self.shop)
        result = self.report("release_published")
        self.assertIs(result["reported"], False)
        self.assertIn("github.token", result["reason"])
        self.assertEqual(self.github.requests, [])

    def test_without_a_token_neither_consul_nor_pygithub_is_needed(self):
        config = {"consul": {"url": "http://127.0.0.1:1"}}
        with mock.patch.dict(sys.modules, github=None):
            succeeded, result = self.get_action_instance(config=config).run(
                app="shop", event="0000000001"
            )
        self.assertTrue(succeeded, result)

    def test_an_application_that_nobody_knows_is_an_error(self):
        self.assert_fails(
            "no application shop; none has been built yet", app="shop", event="0000000001"
        )

    def test_an_event_that_is_no_longer_kept_is_an_error(self):
        published(self.shop)
        self.assert_fails(
            "shop has no event 0000000099; only the last 200", app="shop", event="0000000099"
        )

    def test_a_repository_that_the_token_does_not_see_is_an_error_that_names_it(self):
        Application(self.store, "shop").builds.start(A, "acme/hidden", "main", "alice")
        self.assert_fails(
            "repository acme/hidden: GitHub answered 404 .*has no access to it",
            app="shop",
            event=self.event("build_started"),
        )

    def test_a_repository_that_was_renamed_is_an_error_that_says_its_new_name(self):
        self.github.renamed["acme/shop"] = "acme/store"
        self.github.add_repository("acme/store", main=list(COMMITS))
        published(self.shop)
        self.assert_fails(
            "acme/shop is now acme/store on GitHub",
            app="shop",
            event=self.event("release_published"),
        )

    def test_a_failure_says_what_to_do_and_keeps_the_token_to_itself(self):
        published(self.shop)
        self.config["github"]["token"] = "ghp_wrong"
        succeeded, result = self.act(app="shop", event=self.event("release_published"))
        self.assertFalse(succeeded)
        self.assertIn("github.token", result["error"])
        self.assertNotIn("ghp_wrong", str(result))


class TestWhatIsSaidAtStart(BaseSensorTestCase):
    sensor_cls = Events

    def said(self, **settings):
        sensor = self.get_sensor_instance(config={"github": settings})
        with mock.patch.object(sensor, "_logger") as logger:
            sensor.setup()
        return [call[0][0] % call[0][1:] for call in logger.info.call_args_list]

    def test_one_line_says_that_github_is_told_nothing(self):
        self.assertEqual(len(self.said()), 1)
        self.assertIn("Nothing is reported to GitHub; set github.token", self.said()[0])

    def test_nothing_is_said_where_there_is_a_token_or_an_app(self):
        self.assertEqual(self.said(token=TOKEN), [])
        self.assertEqual(self.said(app_id=7, installation_id=8, private_key="key"), [])
