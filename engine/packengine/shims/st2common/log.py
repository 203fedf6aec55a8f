"""`from st2common import log as logging`, as sensors often write it."""

from __future__ import annotations

import logging


def getLogger(name):  # noqa: N802 - StackStorm's spelling
    """Returns the logger called `name`."""
    return logging.getLogger(name)
