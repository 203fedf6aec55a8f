from __future__ import annotations

import os
from typing import Any

from delivery_action import DeliveryAction

from delivery.chat.advice import Advice
from delivery.chat.usage import Usage

ALIASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "aliases")


class DeployHelp(DeliveryAction):
    def deliver(self, word: str | None, line: str | None = None) -> dict[str, Any]:
        usage = Usage(ALIASES)
        if line is None:
            return {"text": usage.text(word)}
        configuration = self.configuration
        advice = Advice(
            configuration.store(),
            configuration.discovery(),
            configuration.zone(),
            configuration.web_url(),
            usage,
        )
        return {"text": advice.answer(line)}
