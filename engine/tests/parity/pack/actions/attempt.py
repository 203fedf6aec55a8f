from __future__ import annotations

from st2common.runners.base_action import Action


class Attempt(Action):
    def run(self, name, succeeds_at):
        attempt = int(self.action_service.get_value(name, local=False) or 0) + 1
        self.action_service.set_value(name, str(attempt), local=False)
        return attempt >= succeeds_at, attempt
