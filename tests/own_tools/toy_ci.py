"""CI by a server that is told what to build, and calls back; what somebody else's CI could be."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, ClassVar

from delivery.ci import CiServer, Verdict
from delivery.ci.callback import Callback


class ToyCi(CiServer):
    name = "toy_ci"
    own_settings: ClassVar[dict[str, Any]] = {
        "url": {"type": "string"},
        "secret": {"type": "string", "secret": True},
    }
    required: ClassVar[dict[str, str]] = {"toy_ci.url": "set it to the server's address"}
    polled = True

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def configured(cls, configuration):
        return cls(cls.section(configuration)["toy_ci"]["url"])

    @classmethod
    def callbacks(cls, configuration):
        secret = configuration.section("ci")["toy_ci"].get("secret")
        return [Callback("/toy", secret, "ci.toy_ci.secret")]

    def run(self, job):
        return self._ask("POST", job)

    def look(self, job, record, number=0):
        return self._ask("GET", job)

    def examine(self, applications):
        return f"builds {', '.join(applications)}"

    def _ask(self, method, job):
        request = urllib.request.Request(
            f"{self.url}/{job.callback}", json.dumps(job._asdict()).encode(), method=method
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return Verdict(json.load(answer)["status"], record={"url": request.full_url})
