"""A pack's configuration: its file, the schema's defaults, and values kept in the datastore."""

from __future__ import annotations

import copy
import os
from typing import Any, Dict, Tuple, Union

import yaml

from packengine import schema, templates
from packengine.datastore import Datastore
from packengine.resources import Pack
from packengine.schema import Schema
from packengine.yaml_files import load_yaml

# What a configuration holds, by key.
Values = Dict[str, Any]
# Where in a configuration something is: keys of objects and indexes of arrays.
Place = Tuple[Union[str, int], ...]

# What YAML says of mistakes that are often made, and what to do.
_HINTS = {
    "cannot start any token": "indent with spaces, not with tabs",
    "found unhashable key": 'put a value with {{ }} in quotes: "{{ ... }}"',
}


class ConfigError(Exception):
    """A pack's configuration cannot be used; the message says which file, where and why."""


class Configurations:
    """Reads ``<directory>/<pack>.yaml`` and keeps it until the file changes.

    :param directory: where the files are, or None for defaults only.
    :param datastore: has the keys that values may name.
    """

    def __init__(self, directory: str | None, datastore: Datastore) -> None:
        self._directory = directory
        self._datastore = datastore
        # Path -> stamp of the file, values.
        self._read: dict[str, tuple[tuple[int, int, int], Values]] = {}

    def path(self, pack: str) -> str | None:
        """Returns where the configuration of a pack is, whether or not it exists, or None."""
        return os.path.join(self._directory, pack + ".yaml") if self._directory else None

    def get(self, pack: Pack, user: str | None) -> Values:
        """Returns the configuration as an action of the pack sees it.

        :param user: whose keys of the datastore it may name.
        :raises ConfigError: when it cannot be used.
        """
        values: Any = copy.deepcopy(self.static(pack))
        properties = {"type": "object", "properties": pack.config_schema}
        values = self._with_datastore_values(values, properties, pack, user, ())
        return _with_default_values(values, properties)

    def static(self, pack: Pack) -> Values:
        """Returns what the file holds, checked against the pack's schema.

        :raises ConfigError: when it cannot be read or does not fit.
        """
        if pack.config_problem is not None:
            raise ConfigError(str(pack.config_problem))
        path = self.path(pack.ref)
        if path is None or not os.path.isfile(path):
            return {}
        details = os.stat(path)
        stamp = (details.st_mtime_ns, details.st_size, details.st_ino)
        kept = self._read.get(path)
        if kept is None or kept[0] != stamp:
            kept = self._read[path] = (stamp, self._load(path, pack))
        return kept[1]

    def _load(self, path: str, pack: Pack) -> Values:
        try:
            values = load_yaml(path) or {}
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save it as text") from None
        except (OSError, yaml.YAMLError) as error:
            said = " ".join(str(error).split())
            hints = [hint for problem, hint in _HINTS.items() if problem in said]
            raise ConfigError("; ".join([f"{path}: {said}", *hints])) from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: must hold keys and values")
        if pack.config_schema:
            self._check(path, values, pack.config_schema)
        return values

    @staticmethod
    def _check(path: str, values: Values, config_schema: dict[str, Schema]) -> None:
        for key in values:
            if key not in config_schema:
                raise ConfigError(f"{path}: unknown key {key}{_nearest_key(key, config_schema)}")
        document = {"type": "object", "properties": config_schema}
        try:
            schema.validate(values, document, schema.dotted)
        except schema.SchemaError as error:
            raise ConfigError(f"{path}: {error}") from None
        for key, value in values.items():
            if (
                templates.is_template(value)
                and "decrypt_kv" in value
                and config_schema[key].get("secret")
            ):
                raise ConfigError(
                    f"{path}: {key} is secret, so it is decrypted already: leave out decrypt_kv"
                )

    def _with_datastore_values(
        self, value: Any, value_schema: Schema, pack: Pack, user: str | None, place: Place
    ) -> Any:
        if isinstance(value, dict):
            return {
                key: self._with_datastore_values(
                    child, _property_schema(value_schema, key), pack, user, (*place, key)
                )
                for key, child in value.items()
            }
        if isinstance(value, list):
            return [
                self._with_datastore_values(
                    child, _item_schema(value_schema, index), pack, user, (*place, index)
                )
                for index, child in enumerate(value)
            ]
        if not templates.is_template(value):
            return value
        return self._datastore_value(value, value_schema, pack, user, place)

    def _datastore_value(
        self, value: str, value_schema: Schema, pack: Pack, user: str | None, place: Place
    ) -> Any:
        context = {"st2kv": templates.datastore_context(self._datastore, user)}
        try:
            rendered = templates.render(value, context)
            if rendered and value_schema.get("secret"):
                rendered = self._datastore.unseal(rendered)
        except Exception as error:
            raise ConfigError(
                f'Failed to render dynamic configuration value for key "{schema.dotted(place)}" '
                f'with value "{value}" for pack "{pack.ref}": {error}'
            ) from error
        return rendered or None


def _nearest_key(key: object, config_schema: dict[str, Schema]) -> str:
    """Returns where the key belongs, if it is one of another section, or the nearest at the top."""
    for section, details in config_schema.items():
        if key in (details.get("properties") or {}):
            return f", nearest: {section}.{key}"
    return schema.nearest(key, config_schema)


def _property_schema(value_schema: Any, key: str) -> Schema:
    if not isinstance(value_schema, dict):
        return {}
    rest = value_schema.get("additionalProperties")
    fallback = rest if isinstance(rest, dict) else {}
    return (value_schema.get("properties") or {}).get(key, fallback)


def _item_schema(value_schema: Any, index: int) -> Schema:
    items = value_schema.get("items") if isinstance(value_schema, dict) else None
    if isinstance(items, list):
        return items[index] if index < len(items) else {}
    return items or {}


def _with_default_values(value: Any, value_schema: Schema) -> Any:
    """Fills in defaults, also of objects that the file leaves out altogether."""
    if isinstance(value, dict):
        properties = value_schema.get("properties") or {}
        keys = list(value) + [key for key in properties if key not in value]
        for key in keys:
            child = _property_schema(value_schema, key)
            if key not in value and "default" in child:
                value[key] = copy.deepcopy(child["default"])
            if not value.get(key) and child.get("type") == "object" and _has_parts(child):
                value[key] = {}
            if not value.get(key) and child.get("type") == "array" and child.get("items"):
                value[key] = []
            if key in value:
                value[key] = _with_default_values(value[key], child)
    elif isinstance(value, list):
        value = [
            _with_default_values(item, _item_schema(value_schema, index))
            for index, item in enumerate(value)
        ]
    return value


def _has_parts(value_schema: Schema) -> bool:
    return any(
        value_schema.get(part)
        for part in ("properties", "patternProperties", "additionalProperties")
    )


def secret_values(values: Values, config_schema: dict[str, Schema]) -> set[str]:
    """Returns the texts in a configuration that its schema calls secret."""
    found: set[str] = set()
    _collect_secrets(values, {"type": "object", "properties": config_schema}, False, found)
    return found


def _collect_secrets(value: Any, value_schema: Any, secret: bool, found: set[str]) -> None:
    secret = secret or bool(isinstance(value_schema, dict) and value_schema.get("secret"))
    if isinstance(value, dict):
        for key, child in value.items():
            _collect_secrets(child, _property_schema(value_schema, key), secret, found)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _collect_secrets(child, _item_schema(value_schema, index), secret, found)
    elif secret and isinstance(value, str) and value:
        found.add(value)
