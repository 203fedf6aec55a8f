from __future__ import annotations

from typing import Any

from st2common.runners.base_action import Action


class InjectTrigger(Action):
    def run(
        self,
        trigger: str | None = None,
        trigger_name: str | None = None,
        payload: dict[str, Any] | None = None,
        trace_tag: str | None = None,
    ) -> dict[str, Any]:
        if trigger and trigger_name:
            raise ValueError("Parameters `trigger` and `trigger_name` are mutually exclusive.")
        if not trigger and not trigger_name:
            raise ValueError("You must include the `trigger_name` parameter.")
        name, payload = trigger or trigger_name, payload or {}
        self.action_service.datastore_service.inject_trigger(name, payload, trace_tag)
        return {"trigger": name, "payload": payload}
