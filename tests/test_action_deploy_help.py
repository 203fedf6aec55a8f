from __future__ import annotations

from deploy_help import DeployHelp
from st2tests.base import BaseActionTestCase


class TestDeployHelp(BaseActionTestCase):
    action_cls = DeployHelp

    def text(self, word=None):
        succeeded, result = self.get_action_instance(config={}).run(word=word)
        self.assertTrue(succeeded, result)
        return result["text"]

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
        self.assertTrue(
            self.text("promot").startswith(
                'Unknown command "promot". Nearest:\n!deploy promote [app]'
            )
        )

    def test_answers_a_strange_word_with_every_command(self):
        self.assertTrue(self.text("xyzzy").startswith('Unknown command "xyzzy". All commands:'))
        self.assertIn("!deploy status", self.text("xyzzy"))
