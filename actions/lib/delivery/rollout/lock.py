"""The proof that a rollout holds its application's lock while its hosts are at work.

    with HeldLock(lambda: rollouts.keep_lock(rollout)) as held:
        ...
        held.require()      # before each order, and while waiting

The lock is a Consul session, which Consul ends at the earliest `LOCK_TTL_S` after it was renewed
last, and at the latest after twice that (its documentation, "Sessions and
Distributed Locks").
Who has not heard from Consul for `LOCK_TTL_S` therefore stops before anybody else can begin.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Callable

from delivery.errors import DeliveryError
from delivery.store import ConsulUnreachable

LOCK_TTL_S = 30  # a rollout whose process is gone has lost its lock after twice that
RENEW_S = 7


class LockLost(DeliveryError):
    """Nothing proves any more that this rollout is the only one of its application."""


class HeldLock:
    """Renews a lock in a thread while the block runs, however often Consul is away.

    :param renew: renews it and returns whether it was still there.
    """

    def __init__(self, renew: Callable[[], bool]) -> None:
        self._renew = renew
        self._done = threading.Event()
        self._gone = ""
        self._proven_at = time.monotonic()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> HeldLock:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._done.set()
        self._keeper.join()

    def require(self) -> None:
        """:raises LockLost: when the lock is gone, or Consul has not confirmed it for too long."""
        unheard_s = time.monotonic() - self._proven_at
        if self._gone or unheard_s > LOCK_TTL_S:
            why = self._gone or f"Consul has not confirmed it for {unheard_s:.0f} s"
            raise LockLost(
                f"the rollout has lost its lock: {why}; it stops before another one can begin"
            )

    def _keep(self) -> None:
        while not (self._gone or self._done.wait(RENEW_S)):
            asked_at = time.monotonic()
            try:
                if self._renew():
                    self._proven_at = asked_at
                else:
                    self._gone = "Consul has ended it"
            except ConsulUnreachable:
                continue
            except Exception as error:
                self._gone = f"{type(error).__name__}: {error}"
