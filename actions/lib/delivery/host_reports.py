"""What hosts say of themselves: `cicd-converge` writes a report below `<app>/hosts/`."""

from __future__ import annotations

from typing import NamedTuple

from delivery.ledger import Ledger
from delivery.names import plain
from delivery.records import Fields, MalformedRecord
from delivery.store import Entry


class HostReport(NamedTuple):
    """A host's last report. `version` is None where nothing is installed.

    `status` is the host's own word; `reason` says in one line what went wrong; `at` is ISO 8601.
    """

    version: str | None
    sha256: str | None
    status: str
    reason: str
    at: str | None

    @classmethod
    def parse(cls, entry: Entry) -> HostReport:
        """A malformed report is one without a version, whose reason names the key."""
        try:
            fields = Fields.of(entry)
            return cls(
                fields.optional_text("version") and fields.name("version", "version"),
                fields.optional_text("sha256") and fields.name("sha256", "sha256"),
                plain(fields.text("status")),
                plain(fields.text("reason", "")),
                fields.optional_text("at") and fields.time("at"),
            )
        except MalformedRecord as malformed:
            return cls(None, None, "its report is malformed", str(malformed), None)


class HostReports:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> dict[str, HostReport]:
        """Returns what each host last reported, by node name."""
        found = self._ledger.get_below("hosts")
        return {node: HostReport.parse(entry) for node, entry in found.items()}
