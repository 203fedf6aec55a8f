from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.doctor import as_text, examine


class Doctor(DeliveryAction):
    def run(self):
        succeeded, result = super().run()
        return succeeded and not result["to_do"], result

    def deliver(self):
        findings = examine(self.configuration)
        return {
            "findings": [each.as_dict() for each in findings],
            "text": as_text(findings),
            "to_do": sum(each.fine is False for each in findings),
        }
