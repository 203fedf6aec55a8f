from __future__ import annotations

from st2common.runners.base_action import Action


class GiveBack(Action):
    def run(self, **parameters):
        return parameters
