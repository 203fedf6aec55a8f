from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery import repository
from delivery.errors import DeliveryError


class RepositoryRefresh(DeliveryAction):
    def deliver(self) -> dict[str, Any]:
        tool = repository.TOOLS.create(self.configuration)
        refreshed: dict[str, str | None] = {}
        problems = []
        for host in repository.hosts(self.configuration):
            try:
                refreshed[host.node] = tool.refresh(host)
            except DeliveryError as error:
                problems.append(str(error))
        if problems:
            raise DeliveryError("; ".join(problems))
        return {"refreshed": refreshed}
