from __future__ import annotations

from st2common.runners.base_action import Action


class Nothing(Action):
    def run(self):
        return True
