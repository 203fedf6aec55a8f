"""The base class of alias tests."""

from __future__ import annotations

import glob
import os
from typing import Any

from packengine.aliases import Alias, NoMatch, extract_parameters
from st2tests.pack_resource import BasePackResourceTestCase


class BaseActionAliasTestCase(BasePackResourceTestCase):
    """Set `action_alias_name`; `self.action_alias_db` is the alias of that name in the pack.

    Its `name`, `action_ref`, `formats` and `get_format_strings()` are what tests read.
    """

    action_alias_name: str | None = None
    action_alias_db: Any = None

    def setUp(self) -> None:
        super().setUp()
        if not self.action_alias_name:
            raise ValueError('"action_alias_name" class attribute needs to be provided')
        self.action_alias_db = self._get_action_alias_db_by_name(self.action_alias_name)

    def assertCommandMatchesExactlyOneFormatString(
        self, format_strings: list[str], command: str
    ) -> None:
        """Asserts that one, and only one, of the format strings matches the command."""
        matching = [text for text in format_strings if _matches(text, command)]
        if not matching:
            raise AssertionError(
                f'Command "{command}" didn\'t match any of the provided format strings'
            )
        if len(matching) > 1:
            raise AssertionError(
                'Command "{}" matched multiple format strings: {}'.format(
                    command, ", ".join(matching)
                )
            )

    def assertExtractedParametersMatch(
        self, format_string: str, command: str, parameters: dict[str, Any]
    ) -> None:
        """Asserts what a format string of this alias makes of the command."""
        if format_string not in self.action_alias_db.get_format_strings():
            raise ValueError(
                f'Format string "{format_string}" is not available on the alias '
                f'"{self.action_alias_db.name}"'
            )
        self.assertEqual(extract_parameters(format_string, command), parameters)

    def _get_action_alias_db_by_name(self, name: str) -> Alias:
        import yaml

        pack_path = self._get_base_pack_path()
        for path in sorted(glob.glob(os.path.join(pack_path, "aliases", "*.yaml"))):
            with open(path, encoding="utf-8") as source:
                metadata = yaml.safe_load(source)
            if metadata.get("name") == name:
                return Alias(metadata)
        raise ValueError(f'Alias with name "{name}" not found')


def _matches(format_string: str, command: str) -> bool:
    try:
        extract_parameters(format_string, command)
    except NoMatch:
        return False
    return True
