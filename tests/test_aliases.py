"""What people type in chat, and what becomes of it."""

from __future__ import annotations

import glob
import os
import re

import jinja2
import yaml
from st2tests.base import BaseActionAliasTestCase

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def formats_of_all_aliases():
    found = []
    for path in glob.glob(os.path.join(ROOT, "aliases", "*.yaml")):
        with open(path, encoding="utf-8") as source:
            for entry in yaml.safe_load(source)["formats"]:
                found.extend(entry["representation"])
    return found


class AliasTestCase(BaseActionAliasTestCase):
    """A test of one alias; the name of a test tells what is typed."""

    action_alias_name = "cicd_canary_deploy_help"

    def means(self, command, **parameters):
        """The command is taken by one format of all aliases, by one of this; with these values."""
        self.assertCommandMatchesExactlyOneFormatString(formats_of_all_aliases(), command)
        taken = [
            each for each in self.action_alias_db.get_format_strings() if self.takes(each, command)
        ]
        self.assertEqual(len(taken), 1, command)
        expected = dict.fromkeys(re.findall(r"\(\?P<(\w+)>", taken[0]))
        expected.update(parameters)
        self.assertExtractedParametersMatch(taken[0], command, expected)

    def takes(self, format_string, command):
        try:
            self.assertCommandMatchesExactlyOneFormatString([format_string], command)
        except AssertionError:
            return False
        return True

    def pins(self, name):
        """StackStorm refuses a command that sets the parameter."""
        self.assertIn(name, self.action_alias_db.immutable_parameters)


class TestPromote(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_promote"

    def test_the_only_canary_that_waits(self):
        self.means("deploy promote")
        self.means("promote")

    def test_an_application_by_name(self):
        self.means("deploy promote shop", app="shop")
        self.means("promote shop", app="shop")

    def test_an_application_to_a_stage(self):
        self.means("deploy promote shop to production", app="shop", stage="production")
        self.means("promote shop to production", app="shop", stage="production")
        self.means("promote to production", stage="production")
        self.means("deploy promote shop stage=staging", app="shop", stage="staging")

    def test_capitals_of_a_phone_and_many_spaces(self):
        self.means("Deploy  Promote   Shop  to   production ", app="Shop", stage="production")
        self.means("PROMOTE SHOP", app="SHOP")

    def test_a_stage_without_to(self):
        self.means("deploy promote shop production", app="shop", stage="production")

    def test_nobody_promotes_in_the_name_of_another(self):
        self.means("deploy promote shop by=alice", app="shop", by="alice")
        self.pins("by")

    def test_a_template_is_no_application(self):
        self.assertFalse(
            any(
                self.takes(each, "deploy promote {{config_context.consul.token}}")
                for each in self.action_alias_db.get_format_strings()
            )
        )


class TestRollback(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_rollback"

    def test_production(self):
        self.means("deploy rollback shop", app="shop")
        self.means("rollback shop", app="shop")
        self.means("deploy roll back shop", app="shop")

    def test_another_stage(self):
        self.means("deploy rollback shop canary", app="shop", stage="canary")
        self.means("deploy rollback shop on canary", app="shop", stage="canary")
        self.means("deploy rollback shop in canary", app="shop", stage="canary")
        self.means("deploy rollback shop stage=canary", app="shop", stage="canary")

    def test_nobody_rolls_back_in_the_name_of_another(self):
        self.pins("by")


class TestCanary(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_canary"

    def test_the_newest_release(self):
        self.means("deploy canary shop", app="shop")

    def test_a_certain_release(self):
        self.means("deploy canary shop 1.2.0-7.abcdef0", app="shop", version="1.2.0-7.abcdef0")

    def test_is_by_hand_and_by_who_says_it(self):
        self.pins("by")
        self.pins("by_hand")


class TestEvidence(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_evidence"

    def test_what_production_runs(self):
        self.means("deploy evidence shop", app="shop")

    def test_a_certain_release(self):
        self.means("deploy evidence shop 1.2.0-7.abcdef0", app="shop", version="1.2.0-7.abcdef0")


class TestStatus(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_status"

    def test_of_everything(self):
        self.means("deploy status")

    def test_of_an_application(self):
        self.means("deploy status shop", app="shop")


class TestHistory(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_history"

    def test_of_an_application(self):
        self.means("deploy history shop", app="shop")

    def test_of_a_number_of_events(self):
        for limit in ("3", "99", "200"):
            self.means(f"deploy history shop {limit}", app="shop", limit=limit)
        self.means("deploy history shop limit=3", app="shop", limit="3")

    def test_with_batches(self):
        self.means("deploy history shop all", app="shop", events="all")
        self.means("deploy history shop 30 all", app="shop", limit="30", events="all")


class TestHosts(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_hosts"

    def test_of_an_application(self):
        self.means("deploy hosts shop", app="shop")


class TestFreeze(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_freeze"

    def test_until_it_is_unfrozen(self):
        self.means("deploy freeze shop", app="shop")

    def test_with_a_reason_in_peoples_own_words(self):
        self.means(
            "deploy freeze shop because the sale is on, sorry!",
            app="shop",
            reason="the sale is on, sorry!",
        )

    def test_for_some_time(self):
        self.means("deploy freeze shop for 2h", app="shop", duration="2h")
        self.means("deploy freeze shop 2 Weeks", app="shop", duration="2 Weeks")
        self.means(
            "deploy freeze shop for 90 minutes because of the sale",
            app="shop",
            duration="90 minutes",
            reason="the sale",
        )

    def test_a_reason_with_a_template_is_not_taken(self):
        self.assertFalse(
            any(
                self.takes(each, "deploy freeze shop because {{config_context.consul.token}}")
                for each in self.action_alias_db.get_format_strings()
            )
        )

    def test_nobody_freezes_in_the_name_of_another(self):
        self.pins("by")


class TestUnfreeze(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_unfreeze"

    def test_an_application(self):
        self.means("deploy unfreeze shop", app="shop")
        self.pins("by")


class TestAbort(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_abort"

    def test_an_application(self):
        self.means("deploy abort shop", app="shop")
        self.pins("by")


class TestHelp(AliasTestCase):
    action_alias_name = "cicd_canary_deploy_help"

    def test_with_everything(self):
        self.means("deploy")
        self.means("deploy help")

    def test_with_a_command(self):
        self.means("deploy help promote", word="promote")

    def test_a_line_that_is_no_command_is_read(self):
        for line in (
            "canary",
            "promote shop 2.0.0",
            "promote shop to 2.0.0",
            "rollback shop to production",
            "status of shop",
            "freeze shop until tomorrow",
            "history shop 201",
            "history shop 0",
            "promot shop",
        ):
            self.means("deploy " + line, line=line + " ")

    def test_promote_and_rollback_are_read_without_deploy_too(self):
        self.means("rollback", line="rollback")
        for line in ("promote shop 2.0.0", "roll back shop to 1.0.0"):
            self.means(line, line=line + " ")

    def test_a_template_goes_no_further(self):
        self.means("deploy promote {{config_context.consul.token}}", line="promote ")
        self.means("deploy {{config_context.consul.token}}")
        self.means("promote {{config_context.consul.token}}")
        self.means("promote shop {{config_context.consul.token}}", line="promote shop ")


class TestAnswers(AliasTestCase):
    """What is told of an execution that has ended, as StackStorm renders it."""

    action_alias_name = "cicd_canary_deploy_promote"

    def told(self, status, web_url=None, **output):
        execution = {
            "id": "61",
            "status": status,
            "web_url": web_url,
            "elapsed_seconds": 14.2,
            "parameters": {"by": "olga"},
            "result": {"output": output},
        }
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
        template = environment.from_string(self.action_alias_db.result["format"])
        return template.render(execution=execution).strip()

    def test_a_promotion_says_what_has_shipped_in_lines_of_its_own(self):
        text = self.told(
            "succeeded",
            app="shop",
            version="2.0-2.bbbbbbb",
            stage="production",
            previous="1.0-1.aaaaaaa",
            hosts=["a", "b"],
            ships="Ships: 1 commit\n  Fix it (Ada)",
        )
        self.assertEqual(
            text.splitlines(),
            [
                "shop 2.0-2.bbbbbbb is in production on 2 hosts.",
                "Commit bbbbbbb, by olga, in 14 s. To undo: !deploy rollback shop",
                "Ships: 1 commit",
                "  Fix it (Ada)",
            ],
        )

    def test_a_refusal_has_no_link_and_a_failed_rollout_has_one(self):
        refused = self.told("failed", "https://st2/61", error="no application shpo")
        self.assertEqual(refused, "Not promoted: no application shpo")
        failed = self.told("failed", "https://st2/61", error="2.0 failed", version="2.0")
        self.assertEqual(failed, "Not promoted: 2.0 failed (https://st2/61)")
        self.assertEqual(
            self.told("failed", error="2.0 failed", version="2.0"), "Not promoted: 2.0 failed"
        )

    def test_what_has_ended_without_a_cause_has_its_execution(self):
        self.assertEqual(self.told("timeout"), "Not promoted: timeout (execution 61)")
