from delivery.report import hosts
from delivery_action import DeliveryAction


class DeployHosts(DeliveryAction):
    def deliver(self, app):
        return hosts(self.application(app), self.configuration.discovery())
