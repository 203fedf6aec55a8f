"""The base class of python-script actions."""

from __future__ import annotations

import abc
import logging
import sys

_FORMAT = "%(name)-12s: %(levelname)-8s %(message)s"


class PackConfig(dict):
    """A pack's configuration; reading a key it does not have says which key and which pack."""

    def __init__(self, pack, values):
        super().__init__(values)
        self._pack = pack

    def __missing__(self, key):
        # StackStorm raises ValueError here, and packs catch that.
        raise ValueError(
            f'Config for pack "{self._pack}" is missing key "{key}": add it to {self._pack}.yaml '
            "among the configurations."
        )


class Action(abc.ABC):
    """Base of every python-script action: subclasses define `run(**parameters)`.

    `run` returns a result, or a pair (succeeded, result). What is logged goes to stderr.

    :param config: dict of the pack's configuration.
    :param action_service: gives access to the datastore: get_value, set_value, list_values,
        delete_value, datastore_service.
    """

    description = None

    def __init__(self, config=None, action_service=None):
        wrapper = getattr(action_service, "_action_wrapper", None)
        self.config = PackConfig(getattr(wrapper, "_pack", "unknown"), config or {})
        self.action_service = action_service
        self.logger = _stderr_logger(type(self).__name__, getattr(wrapper, "_log_level", "debug"))

    @abc.abstractmethod
    def run(self, **kwargs):
        """Does the work and returns its result."""


def _stderr_logger(class_name, level_name):
    logger = logging.getLogger(f"actions.python.{class_name}")
    if not logger.handlers:
        level = getattr(logging, level_name.upper(), logging.DEBUG)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
        logger.setLevel(level)
    return logger
