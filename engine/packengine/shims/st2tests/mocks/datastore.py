"""The datastore of a test."""

from __future__ import annotations

from typing import Any

from st2common.services.datastore import BaseDatastoreService, KeyValuePair


class MockDatastoreService(BaseDatastoreService):
    """Keeps entries in a dictionary. A time to live is logged and not honoured."""

    def __init__(
        self, logger: Any, pack_name: str, class_name: str, api_username: str | None = None
    ) -> None:
        super().__init__(logger, pack_name, class_name)
        self._username = api_username or "admin"
        self._datastore_items: dict[str, KeyValuePair] = {}

    def get_user_info(self) -> dict[str, Any]:
        """Returns who the service acts for."""
        return {
            "username": self._username,
            "rbac": {"is_admin": True, "enabled": True, "roles": ["admin"]},
            "authentication": {"method": "authentication token", "location": "header"},
        }

    def _read(self, full_name: str, decrypt: bool) -> str | None:
        pair = self._datastore_items.get(full_name)
        return pair.value if pair else None

    def _write(self, full_name: str, value: Any, ttl: float | None, encrypt: bool) -> None:
        if ttl:
            self._logger.warning("MockDatastoreService does not expire keys (ttl=%s).", ttl)
        self._datastore_items[full_name] = KeyValuePair(full_name, value, ttl)

    def _delete(self, full_name: str) -> bool:
        return self._datastore_items.pop(full_name, None) is not None

    def _pairs(self, prefix: str) -> list[KeyValuePair]:
        return [pair for name, pair in self._datastore_items.items() if name.startswith(prefix)]
