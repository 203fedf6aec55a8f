"""The errors a person is meant to read: one line that says what, where and what to do."""

from __future__ import annotations


class DeliveryError(Exception):
    """The delivery cannot go on; the message says why and what to do about it."""
