from __future__ import annotations

import contextlib
from typing import Any

from delivery_action import DeliveryAction, progress

from delivery.errors import DeliveryError
from delivery.next_step import next_promotion
from delivery.permission import requester
from delivery.rollout.steps import Superseded


class CanaryBegin(DeliveryAction):
    def deliver(
        self,
        app: str,
        version: str | None,
        by: str | None,
        wait_for_lock_s: int,
        by_hand: bool,
        chat_user: str,
        stackstorm_user: str,
    ) -> dict[str, Any]:
        application = self.application(app)
        releases = application.releases
        app = application.name
        release = releases.find(version) if version else releases.newest()
        canary, version = release.stages[0], release.version
        if application.stages.is_live(canary, version):
            return self.nothing_to_do(app, version, f"{canary} of {app} runs {version} already")
        who = release.by
        if by or by_hand:
            who = requester(by, chat_user, stackstorm_user)
        try:
            rollout = self.steps(application).deploy(
                canary,
                version,
                who,
                wait_for_lock_s=0 if by_hand else wait_for_lock_s,
                even_older=by_hand,
            )
        except Superseded as newer:
            return self.nothing_to_do(app, version, str(newer))
        following = next_promotion(application, canary, release)
        return dict(progress(rollout), app=app, begun=True, next=following)

    def note_failure(self, reason: str, parameters: dict[str, Any]) -> None:
        """Records why a release stays where it is: nobody waits for this answer."""
        if parameters["by_hand"] or not parameters["version"]:
            return
        with contextlib.suppress(DeliveryError):
            application = self.application(parameters["app"])
            release = application.releases.find(parameters["version"])
            application.events.refused(release.stages[0], release, reason)

    @staticmethod
    def nothing_to_do(app: str, version: str, reason: str) -> dict[str, Any]:
        return {"begun": False, "app": app, "version": version, "reason": reason}
