from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.errors import DeliveryError
from delivery.github import HOW_TO_AUTHENTICATE, GitHub, is_configured
from delivery.github_report import Report
from delivery.github_repository import Repository


class GithubReport(DeliveryAction):
    def deliver(self, app: str, event: str) -> dict[str, Any]:
        settings = self.configuration.section("github")
        if not is_configured(settings):
            return {
                "reported": False,
                "reason": f"nothing is reported to GitHub; {HOW_TO_AUTHENTICATE}",
            }
        application = self.application(app)
        recorded = application.events.get(event)
        if not recorded:
            raise DeliveryError(f"{app} has no event {event}; only the last 200 are kept")
        report = Report(application, recorded, settings.get("web_ui_url"))
        changed = report.bring_to(Repository(GitHub(settings), report.repository), settings["tags"])
        return {
            "reported": True,
            "repository": report.repository,
            "commit": report.commit,
            "changed": changed,
        }
