"""YAML of a repository, without anchors and aliases: with them few bytes become gigabytes."""

from __future__ import annotations

from typing import Any

import yaml


class WithoutAliases:
    """Goes before one of PyYAML's loaders. A document with an anchor or an alias is a
    MarkedYAMLError."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[attr-defined]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)  # type: ignore[misc]
