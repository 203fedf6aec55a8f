from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.ci import jenkins_job
from delivery.ci.jenkins import Jenkins


class JenkinsJobEnsure(DeliveryAction):
    def deliver(self, app: str) -> dict[str, Any]:
        server = Jenkins.configured(self.configuration)
        wanted = jenkins_job.config_xml(
            server.settings,
            self.configuration.git_url(),
            self.configuration.section("ci")["timeout_s"],
        )
        name = server.job_name(app)
        return {
            "job": name,
            "outcome": server.ensure_job(name, wanted, jenkins_job.same),
            "url": server.api.job_url(name),
        }
