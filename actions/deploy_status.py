from delivery.report import status
from delivery_action import DeliveryAction


class DeployStatus(DeliveryAction):
    def deliver(self, app):
        return status(self.configuration.store(), app)
