"""What the tests of actions have in common: a real Consul, empty for each test."""

from __future__ import annotations

from consul_server import WithConsul
from releases import shop
from st2tests.base import BaseActionTestCase


class ConsulActionTestCase(WithConsul, BaseActionTestCase):
    """A test of an action that talks to Consul; `self.store` and `self.shop` look at the result."""

    def setUp(self):
        super().setUp()
        self.shop = shop(self.store)

    def act(self, **parameters):
        """Runs the action; returns whether it succeeded, and its result."""
        return self.get_action_instance(config=self.config).run(**parameters)

    def assert_fails(self, expected, **parameters):
        """The action fails, and says why in one line that matches."""
        succeeded, result = self.act(**parameters)
        self.assertFalse(succeeded)
        self.assertRegex(result["error"], expected)
        self.assertNotIn("\n", result["error"])
