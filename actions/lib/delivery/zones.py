"""The zone in which people are told times: `chat.time_zone`.

    zone = Zone("Europe/Berlin")
    zone.local("2026-01-01T17:00:00Z").hour     # 18

In Consul all times are UTC (`delivery.clock`).
"""

from __future__ import annotations

import importlib
import re
import sys
from datetime import datetime, timezone, tzinfo
from typing import Any

from delivery.clock import parsed
from delivery.errors import DeliveryError
from delivery.names import nearest, shown

UTC = "UTC"
# In the database's directory, and yet no zone that people name.
NOT_A_PLACE = re.compile("localtime|posixrules|Factory|(?:right|posix)/.*")

_zoneinfo: Any = importlib.import_module(
    "zoneinfo" if sys.version_info >= (3, 9) else "backports.zoneinfo"
)


class Zone:
    """
    :param name: from the IANA time zone database, such as Europe/Berlin.
    :raises DeliveryError: when there is none of this name; names the nearest.
    """

    def __init__(self, name: str = UTC) -> None:
        self.name = name
        self._zone = _found(name)

    def now(self) -> datetime:
        """Returns the time there."""
        return datetime.now(self._zone)

    def local(self, timestamp: str) -> datetime:
        """Returns the time there at a timestamp of Consul's.

        :raises ValueError: when it is not such a timestamp.
        """
        return parsed(timestamp).astimezone(self._zone)


def _found(name: str) -> tzinfo:
    if name == UTC:
        return timezone.utc
    try:
        if NOT_A_PLACE.fullmatch(name):
            raise ValueError(name)
        zone: tzinfo = _zoneinfo.ZoneInfo(name)
        return zone
    except (KeyError, ValueError, OSError):  # no such zone, no such name, a directory
        known = _zoneinfo.available_timezones()
        # Most people leave out the continent.
        near = sorted(each for each in known if _is_in(name, each)) or nearest(name, known)
        raise DeliveryError(
            f"chat.time_zone in the pack's configuration: expected a name of the IANA time zone "
            f"database, got {shown(name)}; nearest: {', '.join(near[:5])}"
        ) from None


def _is_in(place: str, name: str) -> bool:
    return name.lower().rpartition("/")[2] == place.lower().replace(" ", "_")
