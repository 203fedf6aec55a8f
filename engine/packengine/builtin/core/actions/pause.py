from __future__ import annotations

import random as randomness
import time

from st2common.runners.base_action import Action


class Pause(Action):
    def run(self, max_pause: int, random: bool) -> int:
        seconds = randomness.randint(1, max_pause) if random else max_pause
        time.sleep(seconds)
        return seconds
