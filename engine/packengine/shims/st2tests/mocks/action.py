"""The action service of a test."""

from __future__ import annotations

from logging import RootLogger
from unittest.mock import Mock

from st2tests.mocks.datastore import MockDatastoreService


class MockActionWrapper:
    """Says which pack and class an action service belongs to."""

    def __init__(self, pack: str, class_name: str) -> None:
        self._pack = pack
        self._class_name = class_name


class MockActionService(MockDatastoreService):
    """An action service whose datastore is a dictionary, and whose logger is a Mock."""

    def __init__(self, action_wrapper: MockActionWrapper) -> None:
        super().__init__(Mock(spec=RootLogger), action_wrapper._pack, action_wrapper._class_name)
        self._action_wrapper = action_wrapper

    @property
    def datastore_service(self) -> MockActionService:
        """The same methods, under the name packs also use."""
        return self
