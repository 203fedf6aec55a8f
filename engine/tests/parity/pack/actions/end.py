from __future__ import annotations

import sys

from st2common.runners.base_action import Action


class End(Action):
    def run(self, how, data):
        if how == "print":
            print("out")
            print("err", file=sys.stderr)
        if how == "raise":
            raise RuntimeError("as asked")
        if how == "exit":
            sys.exit(3)
        if how == "set":
            return {1, 2}
        return {
            "succeed": (True, data),
            "fail": (False, data),
            "list": [True, data],
            "odd": ("yes", data),
            "triple": (True, data, 1),
            "nothing": None,
        }.get(how, data)
