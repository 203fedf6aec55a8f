"""What the test cases of actions, sensors and aliases have in common."""

from __future__ import annotations

import inspect
import os
from unittest import TestCase


class BasePackResourceTestCase(TestCase):
    """A test case that lives in the tests/ directory of a pack."""

    def get_fixture_content(self, fixture_path: str) -> str:
        """Returns the text of a file, named relative to the pack's tests/fixtures."""
        path = os.path.join(self._get_base_pack_path(), "tests", "fixtures", fixture_path)
        with open(path, encoding="utf-8") as fixture:
            return fixture.read()

    def _get_base_pack_path(self) -> str:
        tests_path = os.path.dirname(os.path.abspath(inspect.getfile(type(self))))
        return os.path.dirname(tests_path)
