from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.proof.envelope import Signer
from delivery.proof.told import told


class DeployEvidence(DeliveryAction):
    def deliver(self, app: str, version: str | None) -> dict[str, Any]:
        signer = Signer.configured(self.configuration)
        return told(self.application(app), version or "", signer, self.configuration.zone())
