from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction, progress

from delivery.proof.envelope import Signer
from delivery.proof.statement import rolled_out


class RolloutFinish(DeliveryAction):
    def deliver(self, app: str, stage: str, deployment: str) -> dict[str, Any]:
        application = self.application(app)
        rollout = self.steps(application).finish(stage, deployment).latest()
        signer = Signer.configured(self.configuration)
        if signer:
            release = application.releases.get(rollout.target.version)
            application.evidence.append(release.version, signer.sign(rolled_out(release, rollout)))
        return progress(rollout)
