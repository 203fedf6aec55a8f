"""What the steps of packaging have in common: a failure is recorded with the build.

The reason is free text, so it does not travel through the workflow's inputs: the step that fails
writes it into Consul itself.
"""

from __future__ import annotations

import contextlib
from typing import Any

from delivery_action import DeliveryAction

from delivery.errors import DeliveryError


class PackagingStep(DeliveryAction):
    """A step of packaging. Without `app` and `commit` it is used alone, and nothing is recorded."""

    def note_failure(self, reason: str, parameters: dict[str, Any]) -> None:
        """Records why no package could be made of the commit."""
        app, commit = parameters.get("app"), parameters.get("commit")
        if app and commit:
            with contextlib.suppress(DeliveryError):
                self.application(app).builds.packaging_failed(commit, reason)
