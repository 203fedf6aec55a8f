"""Has the process that runs an execution cancel it, pause it, or hear of a task's change."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Callable, Iterator, NamedTuple

from packengine.execution import Execution
from packengine.processes import is_alive
from packengine.store import Store, Wish

# Seconds between looks for wishes that other processes left.
WATCH_INTERVAL_S = 0.2


class _Handle(NamedTuple):
    """What to call when somebody wishes something of an execution of this process."""

    cancel: Callable[[], Any]
    pause: Callable[[], bool] | None
    report: Callable[[Execution], bool] | None


class Wishes:
    """
    :param store: where wishes wait for the process that grants them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handles: dict[str, _Handle] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def close(self) -> None:
        """Looks for no more wishes."""
        self._closed.set()
        if self._watcher:
            self._watcher.join()

    @contextlib.contextmanager
    def granted_by(
        self,
        identifier: str,
        cancel: Callable[[], Any],
        pause: Callable[[], bool] | None = None,
        report: Callable[[Execution], bool] | None = None,
    ) -> Iterator[None]:
        """While in this context, wishes about an execution are granted by these functions.

        Each returns False when it is too late; None stands for what cannot be wished.

        :param identifier: the execution's id.
        :param report: takes the execution of a task that has changed.
        """
        self._handles[identifier] = _Handle(cancel, pause, report)
        try:
            yield
        finally:
            self._handles.pop(identifier, None)

    def running(self) -> list[str]:
        """Returns the ids of the executions of this process that take wishes."""
        return list(self._handles)

    def make(self, execution: Execution, wish: Wish) -> bool:
        """Grants a wish, or leaves it for the process that runs the execution.

        :returns: whether there is such a process.
        """
        if self.grant(execution.id, wish):
            return True
        if execution.is_completed or not is_alive(self._store.owner_of(execution.id)):
            return False
        self._store.wish(execution.id, wish)
        return True

    def grant(self, identifier: str, wish: Wish) -> bool:
        """Does what is wished of an execution of this process; returns whether it could."""
        handle = self._handles.get(identifier)
        if handle is None:
            return False
        if wish["do"] == "cancel":
            return handle.cancel() is not False
        if wish["do"] == "pause":
            return handle.pause is not None and handle.pause()
        return handle.report is not None and handle.report(self._store.execution(wish["execution"]))

    def watch(self) -> None:
        """Looks for wishes of other processes from now on."""
        with self._lock:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._grant_all, daemon=True)
                self._watcher.start()

    def _grant_all(self) -> None:
        while not self._closed.wait(WATCH_INTERVAL_S):
            for identifier, wish in self._store.take_wishes(set(self._handles)):
                if not self.grant(identifier, wish):
                    self._store.wish(identifier, wish)
