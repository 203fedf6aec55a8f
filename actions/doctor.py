from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.doctor import as_text, examine


class Doctor(DeliveryAction):
    def run(self, **parameters: Any) -> tuple[bool, dict[str, Any]]:
        succeeded, result = super().run(**parameters)
        return succeeded and not result["to_do"], result

    def deliver(self) -> dict[str, Any]:
        findings = examine(self.configuration)
        return {
            "findings": [each.as_dict() for each in findings],
            "text": as_text(findings),
            "to_do": sum(each.fine is False for each in findings),
        }
