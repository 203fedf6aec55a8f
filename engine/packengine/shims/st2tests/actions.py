"""The base class of action tests."""

from __future__ import annotations

from typing import Any

from st2common.runners.utils import get_action_class_instance

from st2tests.mocks.action import MockActionService, MockActionWrapper
from st2tests.pack_resource import BasePackResourceTestCase


class BaseActionTestCase(BasePackResourceTestCase):
    """Set `action_cls`; `self.action_service` keeps its datastore in memory."""

    action_cls: Any = None

    def setUp(self) -> None:
        super().setUp()
        wrapper = MockActionWrapper(pack="tests", class_name=self.action_cls.__name__)
        self.action_service = MockActionService(action_wrapper=wrapper)

    def get_action_instance(self, config: dict[str, Any] | None = None) -> Any:
        """Returns the action, made as the python-script runner makes it."""
        return get_action_class_instance(self.action_cls, config, self.action_service)
