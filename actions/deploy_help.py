from __future__ import annotations

import os
from typing import Any

from delivery_action import DeliveryAction

from delivery.report import usage

ALIASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "aliases")


class DeployHelp(DeliveryAction):
    def deliver(self, word: str | None) -> dict[str, Any]:
        return {"text": usage(ALIASES, word)}
