from delivery.report import history
from delivery_action import DeliveryAction


class DeployHistory(DeliveryAction):
    def deliver(self, app, limit):
        return history(self.application(app), limit)
