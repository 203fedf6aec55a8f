"""`from st2common import log as logging`, as sensors often write it."""

from __future__ import annotations

import logging


def getLogger(name: str) -> logging.Logger:
    """Returns the logger called `name`."""
    return logging.getLogger(name)
