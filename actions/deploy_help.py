import os

from delivery.report import usage
from delivery_action import DeliveryAction

ALIASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "aliases")


class DeployHelp(DeliveryAction):
    def deliver(self, word):
        return {"text": usage(ALIASES, word)}
