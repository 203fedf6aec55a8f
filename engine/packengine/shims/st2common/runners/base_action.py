"""The base class of python-script actions."""

from __future__ import annotations

import abc
import logging
import sys

TYPE_CHECKING = False  # Not imported: actions start faster without typing.
if TYPE_CHECKING:
    from typing import Any, Mapping, NoReturn

_FORMAT = "%(name)-12s: %(levelname)-8s %(message)s"


class PackConfig(dict):  # type: ignore[type-arg]  # Python 3.8 takes no dict[...] here
    """A pack's configuration; reading a key it does not have says which key and which pack."""

    def __init__(self, pack: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._pack = pack

    def __missing__(self, key: str) -> NoReturn:
        # StackStorm raises ValueError here, and packs catch that.
        raise ValueError(
            f'Config for pack "{self._pack}" is missing key "{key}": add it to {self._pack}.yaml '
            "among the configurations."
        )


class Action(abc.ABC):
    """Base of every python-script action: subclasses define `run(**parameters)`.

    `run` returns a result, or a pair (succeeded, result). What is logged goes to stderr.

    :param config: the pack's configuration.
    :param action_service: gives access to the datastore: get_value, set_value, list_values,
        delete_value, datastore_service.
    """

    description: str | None = None

    def __init__(self, config: dict[str, Any] | None = None, action_service: Any = None) -> None:
        wrapper = getattr(action_service, "_action_wrapper", None)
        self.config = PackConfig(getattr(wrapper, "_pack", "unknown"), config or {})
        self.action_service = action_service
        self.logger = _stderr_logger(type(self).__name__, getattr(wrapper, "_log_level", "debug"))

    @abc.abstractmethod
    def run(self, **kwargs: Any) -> Any:
        """Does the work and returns its result."""


def _stderr_logger(class_name: str, level_name: str) -> logging.Logger:
    logger = logging.getLogger(f"actions.python.{class_name}")
    if not logger.handlers:
        level = getattr(logging, level_name.upper(), logging.DEBUG)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
        logger.setLevel(level)
    return logger
