"""What the tests of actions have in common: a real Consul, empty for each test."""
import uuid

from consul_server import running_consul
from releases import shop
from st2tests.base import BaseActionTestCase

from delivery.store import Store


class ConsulActionTestCase(BaseActionTestCase):
    """A test of an action that talks to Consul; `self.store` and `self.shop` look at the result."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._consul = running_consul()
        cls.url = cls._consul.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls._consul.__exit__(None, None, None)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        prefix = "test-" + uuid.uuid4().hex
        self.config = {"consul": {"url": self.url, "kv_prefix": prefix}}
        self.store = Store(self.url, prefix=prefix)
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
