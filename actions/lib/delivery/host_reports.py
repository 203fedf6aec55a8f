"""What hosts say of themselves: `cicd-converge` writes a report below `<app>/hosts/`."""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple, Sequence

from delivery.clock import lasting, seconds_since
from delivery.ledger import Ledger
from delivery.names import cut, matches, plain
from delivery.records import Fields, MalformedRecord
from delivery.releases import Rules
from delivery.store import Entry

NODES_SHOWN = 5
CAUSES_SHOWN = 3
INSTALLING = "installing"  # written before the host is touched; any other status after
CAUSE_LIMIT = 500  # characters of one host's reason beside those of others


class HostReport(NamedTuple):
    """A host's last report. `version` is None where nothing is installed.

    `status` is the host's own word; `reason` says in one line what went wrong; `at` is ISO 8601.
    `desired` and `deployment` are the version and the rollout that it is about; empty for none.
    """

    version: str | None
    sha256: str | None
    status: str
    reason: str
    at: str | None
    desired: str = ""
    deployment: str = ""

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
                fields.name("desired", "version") if fields.values.get("desired") else "",
                fields.name("deployment", "deployment") if fields.values.get("deployment") else "",
            )
        except MalformedRecord as malformed:
            return cls(None, None, "its report is malformed", str(malformed), None)

    @property
    def is_installing(self) -> bool:
        """Whether the host is at work, or was when its `cicd-converge` was killed."""
        return self.status == INSTALLING

    def is_late(self, rules: Rules) -> bool:
        """Returns whether the host has been installing for longer than that can take."""
        return (
            self.is_installing and self.at is not None and seconds_since(self.at) > rules.converge_s
        )

    def told(self, rules: Rules) -> str:
        """Returns the status for people; of a host that was interrupted, what to do."""
        if not self.is_installing:
            return self.status
        doing = f"installing {self.desired}" if self.desired else "going back to nothing"
        if not self.is_late(rules):
            return doing
        limit = lasting(rules.converge_s)
        return f"{doing} for more than {limit}; run cicd-converge there"


class HostReports:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> dict[str, HostReport]:
        """Returns what each host last reported, by node name."""
        found = self._ledger.get_below("hosts")
        return {
            node: HostReport.parse(entry) for node, entry in found.items() if matches("node", node)
        }


def causes(reasons: Mapping[str, str]) -> str:
    """Returns why hosts failed in one line that stays readable: each cause once, with its hosts.

    Reasons that differ in numbers only, such as times in a log, are one cause.

    :param reasons: each host's own, by node.
    """
    hosts_by_cause: dict[str, list[str]] = {}
    for node, why in sorted(reasons.items()):
        hosts_by_cause.setdefault(_without_numbers(why), []).append(node)
    groups = sorted(hosts_by_cause.values(), key=len, reverse=True)
    shown = [
        f"{_some(nodes)}: {cut(plain(reasons[nodes[0]]), CAUSE_LIMIT)}"
        for nodes in groups[:CAUSES_SHOWN]
    ]
    others = [node for nodes in groups[CAUSES_SHOWN:] for node in nodes]
    return "; ".join(shown + ([f"{_some(sorted(others))}: other causes"] if others else []))


def _without_numbers(reason: str) -> str:
    """Returns what two reasons have in common that are one: statuses count, times do not."""
    return re.sub(r"(?<!HTTP )(?<!exited with )\b[0-9]+", "0", reason)


def _some(nodes: Sequence[str]) -> str:
    more = len(nodes) - NODES_SHOWN
    return ", ".join(nodes[:NODES_SHOWN]) + (f" and {more} more" if more > 0 else "")
