"""Freezes that were typed in another way than the command takes them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

from delivery.errors import DeliveryError
from delivery.zones import Zone

LENGTH = re.compile(
    r"(?i)(?<![0-9.,-])\b([1-9][0-9]{0,3}) ?"
    r"(m(?:in(?:s|utes?)?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:eeks?|ks?)?)\b"
)
UNITS = {"m": "min", "h": "h", "d": "d", "w": "w"}
LENGTH_AT_END = re.compile(r"(?i)(.{1,500}?),?\s+for\s+([0-9]{1,4} ?[a-z]{1,7})[.!]?")
FOR_EVER = re.compile(r"(?i)\b(?:for\s*)?(?:ever|forever|always|indefinitely|good)\b")
UNTIL = re.compile(r"(?i)\b(?:until|till|til|to)\s+(\S+)")
REASON = re.compile(r"(?i)\b(?:because(?:\s+of)?|since|due\s+to|reason:?)\s+(.*)")
UNFINISHED = re.compile(r"(?i)(?:^|\s+)(?:because(?:\s+of)?|since|due\s+to|reason:?)\s*$")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
AROUND = re.compile(r"(?i)^(?:(?:for|please|now|from|on)\b\s*)+|\s*\b(?:for|please|now)$")


def advice(app: str, text: str, zone: Zone) -> str:
    """Returns how a freeze is written.

    :param text: the line without the command and the application.
    :param zone: of the days in it.
    """
    text, said_why = UNFINISHED.subn("", text)
    if said_why:
        return f"{advice(app, text, zone)} because ..., a reason without braces"
    given = REASON.search(text)
    times = text[: given.start()] if given else text
    because = f" because {given[1]}" if given and given[1].strip() else ""
    until, length = UNTIL.search(times), LENGTH.search(times)
    if FOR_EVER.search(times):
        return f"to freeze without an end leave the time out: type !deploy freeze {app}{because}"
    if length:
        when = f" for {length[1]}{UNITS[length[2][0].lower()]}"
        return f"type !deploy freeze {app}{when}{because or _left_over(times, length)}"
    if until:
        begins = _beginning_of(until[1].lower().strip(".,!?"), zone.now())
        if begins:
            hours = max(1, math.ceil((begins - zone.now()).total_seconds() / 3600))
            return (
                f"a freeze has a length; for one until {begins:%A %H:%M} {zone.name} type "
                f"!deploy freeze {app} for {hours}h{because}"
            )
        return f"a freeze has a length: type !deploy freeze {app} for 3 days{because}"
    if re.search(r"(?i)\bfor\b|[0-9]", times):
        return (
            "a freeze lasts minutes, hours, days or weeks, whole ones and at most 9999: type "
            f"!deploy freeze {app} for 2h{because}"
        )
    return f"type !deploy freeze {app}{because or _left_over(times)}"


def refuse_length_in_reason(app: str, reason: str) -> None:
    """Refuses a freeze whose reason ends with how long it is to last: it would have no end.

    :raises DeliveryError: says how it is written.
    """
    found = LENGTH_AT_END.fullmatch(reason)
    if found:
        length = LENGTH.fullmatch(found[2])
        if length:
            raise DeliveryError(
                f"the time comes before the reason: type !deploy freeze {app} "
                f"for {length[1]}{UNITS[length[2][0].lower()]} because {found[1]}"
            )


def _left_over(text: str, length: re.Match[str] | None = None) -> str:
    """Returns the words that are no time: they are the reason."""
    words = text.replace(length[0], "") if length else text
    reason = AROUND.sub("", " ".join(words.split()))
    return f" because {reason}" if reason else ""


def _beginning_of(day: str, now: datetime) -> datetime | None:
    """Returns when a day begins, tomorrow or the next of its name; None when it is no day."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if day == "tomorrow":
        return midnight + timedelta(days=1)
    if day not in DAYS:
        return None
    return midnight + timedelta(days=(DAYS.index(day) - now.weekday() - 1) % 7 + 1)
