from __future__ import annotations

import random

from packaging_step import PackagingStep


class ConsulQuery(PackagingStep):
    def deliver(self, service, tag, app=None, commit=None):
        hosts = self.configuration.discovery().service_hosts(
            service or self.configuration.build_service(), tag or self.configuration.build_tag()
        )
        return {
            "hosts": [{"node": host.node, "address": host.address} for host in hosts],
            "chosen": random.choice(hosts).node,
        }
