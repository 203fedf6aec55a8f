"""The datastore as actions and sensors see it."""

from __future__ import annotations

TYPE_CHECKING = False  # Not imported: actions start faster without typing.
if TYPE_CHECKING:
    from typing import Any

SEPARATOR = ":"
SYSTEM_SCOPE = "system"


class KeyValuePair:
    """One entry of the datastore.

    :param name: the full key, prefix included.
    :param value: its text.
    :param ttl: seconds it is to live from when it was set, or None.
    """

    def __init__(self, name: str, value: str, ttl: float | None = None) -> None:
        self.id = name
        self.name = name
        self.value = value
        self.ttl = ttl


class BaseDatastoreService:
    """Reads and writes the datastore for one class of one pack.

    A key is local unless `local=False`: it is then prefixed with `<pack>.<Class>:`. A subclass
    says where entries are kept by defining the methods whose names start with an underscore.

    :param logger: told what cannot be honoured.
    :param pack_name: the pack's ref.
    :param class_name: name of the action's or the sensor's class.
    """

    def __init__(self, logger: Any, pack_name: str, class_name: str) -> None:
        self._logger = logger
        self._pack_name = pack_name
        self._class_name = class_name

    def get_user_info(self) -> dict[str, Any]:
        """Returns who the service acts for."""
        raise NotImplementedError

    def list_values(
        self,
        local: bool = True,
        prefix: str | None = None,
        limit: int | None = None,
        offset: int | None = 0,
    ) -> list[KeyValuePair]:
        """Returns the KeyValuePairs whose key starts with `prefix`, in the order of their keys."""
        start = self._local_prefix() + (prefix or "") if local else (prefix or "")
        pairs = sorted(self._pairs(start), key=lambda pair: pair.name)
        first = offset or 0
        return pairs[first : first + limit] if limit else pairs[first:]

    def get_value(
        self, name: str, local: bool = True, scope: str = SYSTEM_SCOPE, decrypt: bool = False
    ) -> str | None:
        """Returns the value of a key, or None when there is none."""
        _refuse_other_scopes(scope)
        return self._read(self._full_name(name, local), decrypt)

    def set_value(
        self,
        name: str,
        value: Any,
        ttl: float | None = None,
        local: bool = True,
        scope: str = SYSTEM_SCOPE,
        encrypt: bool = False,
    ) -> bool:
        """Sets a key, to live `ttl` seconds when that is given. Returns True."""
        _refuse_other_scopes(scope)
        self._write(self._full_name(name, local), value, ttl, encrypt)
        return True

    def delete_value(self, name: str, local: bool = True, scope: str = SYSTEM_SCOPE) -> bool:
        """Deletes a key. Returns whether it was there."""
        _refuse_other_scopes(scope)
        return self._delete(self._full_name(name, local))

    def _read(self, full_name: str, decrypt: bool) -> str | None:
        raise NotImplementedError

    def _write(self, full_name: str, value: Any, ttl: float | None, encrypt: bool) -> None:
        raise NotImplementedError

    def _delete(self, full_name: str) -> bool:
        raise NotImplementedError

    def _pairs(self, prefix: str) -> list[KeyValuePair]:
        raise NotImplementedError

    def _full_name(self, name: str, local: bool) -> str:
        return self._local_prefix() + name if local else name

    def _local_prefix(self) -> str:
        return f"{self._pack_name}.{self._class_name}{SEPARATOR}"


def _refuse_other_scopes(scope: str) -> None:
    if scope != SYSTEM_SCOPE:
        raise ValueError(f"Scope {scope} is unsupported.")
