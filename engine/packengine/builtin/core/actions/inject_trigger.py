from __future__ import annotations

from st2common.runners.base_action import Action


class InjectTrigger(Action):
    def run(self, trigger=None, trigger_name=None, payload=None, trace_tag=None):
        if trigger and trigger_name:
            raise ValueError("Parameters `trigger` and `trigger_name` are mutually exclusive.")
        if not trigger and not trigger_name:
            raise ValueError("You must include the `trigger_name` parameter.")
        name, payload = trigger or trigger_name, payload or {}
        self.action_service.datastore_service.inject_trigger(name, payload, trace_tag)
        return {"trigger": name, "payload": payload}
