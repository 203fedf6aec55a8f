"""Reads YAML files, a key that is there twice being an error."""

from __future__ import annotations

from typing import Any

import yaml

from packengine.problems import described
from packengine.regular_files import read_text

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_BaseLoader):  # type: ignore[misc]  # which of two, mypy cannot know
    """Refuses a mapping that names a key twice, which YAML loaders let pass silently."""


def _construct_unique_mapping(loader: Any, node: yaml.MappingNode) -> Any:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if isinstance(key_node, yaml.ScalarNode):
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is there twice", key_node.start_mark
                )
            seen.add(key_node.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique_mapping
)


def load_yaml(path: str) -> Any:
    """Returns a YAML file's content.

    :raises OSError: when it cannot be read.
    :raises UnicodeDecodeError: when it is not UTF-8.
    :raises yaml.YAMLError: when it is no YAML, a key is there twice, or a value cannot be.
    """
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError):
        raise
    except Exception as error:
        # A date that does not exist, a tag that does not fit its value, nesting without end: the
        # loader lets through whatever making the value raised.
        raise yaml.YAMLError(f"holds a value that cannot be read: {described(error)}") from error
