from __future__ import annotations

from deploy_help import DeployHelp
from st2tests.base import BaseActionTestCase


class TestDeployHelp(BaseActionTestCase):
    action_cls = DeployHelp

    def text(self, word=None):
        succeeded, result = self.get_action_instance(config={}).run(word=word, line=None)
        self.assertTrue(succeeded, result)
        return result["text"]

    def refusal(self, word):
        succeeded, result = self.get_action_instance(config={}).run(word=word, line=None)
        self.assertFalse(succeeded, result)
        return result["error"]

    def test_lists_every_command_in_80_columns(self):
        text = self.text()
        for command in (
            "promote",
            "canary",
            "rollback",
            "status",
            "history",
            "hosts",
            "freeze",
            "unfreeze",
            "abort",
            "help",
        ):
            self.assertIn("!deploy " + command, text)
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 80)

    def test_tells_how_a_command_is_written(self):
        self.assertEqual(
            self.text("abort"),
            "!deploy abort <app>\n  Stop the current rollout and revert its hosts",
        )

    def test_answers_a_slip_with_the_nearest_command(self):
        self.assertEqual(
            self.refusal("promot"),
            "unknown command 'promot'; nearest: !deploy promote [app] [to <stage>]",
        )

    def test_answers_a_strange_word_with_where_the_commands_are(self):
        self.assertEqual(
            self.refusal("xyzzy"), "unknown command 'xyzzy'; !deploy help lists all commands"
        )
