from __future__ import annotations

import uuid

from st2common.runners.base_action import Action


class MakeUuid(Action):
    def run(self, uuid_type: str) -> str:
        return str(getattr(uuid, uuid_type)())
