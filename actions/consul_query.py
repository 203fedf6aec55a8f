from __future__ import annotations

import random
from typing import Any

from packaging_step import PackagingStep

from delivery.proof.reproduction import second_host


class ConsulQuery(PackagingStep):
    def deliver(
        self,
        service: str | None,
        tag: str | None,
        app: str | None = None,
        commit: str | None = None,
    ) -> dict[str, Any]:
        if app and commit:
            builds = self.application(app).builds
            builds.passed(commit)
            # What failed an earlier time must not be told as the reason of this one.
            builds.forget_packaging_failure(commit)
        hosts = self.configuration.discovery().service_hosts(
            service or self.configuration.build_service(), tag or self.configuration.build_tag()
        )
        chosen = random.choice(hosts)
        two = app and self.configuration.section("proof")["builders"] == "two"
        return {
            "hosts": [{"node": host.node, "address": host.address} for host in hosts],
            "chosen": chosen.node,
            "second": second_host(hosts, chosen).node if two else None,
        }
