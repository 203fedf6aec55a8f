from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.ci import Job
from delivery.ci.jenkins import Jenkins


class JenkinsTrigger(DeliveryAction):
    def deliver(
        self, app: str, repository: str, branch: str, commit: str, callback: str
    ) -> dict[str, Any]:
        job = Job(
            app,
            repository,
            self.configuration.clone_url(repository),
            branch,
            commit,
            callback,
            self.configuration.sources().of_application(app, repository).path,
        )
        record = Jenkins.configured(self.configuration).run(job).record
        return {
            "job": record["job"],
            "queue_id": record.get("queue_id"),
            "number": record.get("number"),
            "url": record.get("url"),
        }
