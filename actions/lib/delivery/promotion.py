"""Which application a promotion without a name means."""

from __future__ import annotations

from delivery.errors import DeliveryError
from delivery.release import Application, Target, applications
from delivery.store import Store


def candidates(store: Store) -> list[Application]:
    """Returns the applications with a live canary that the last stage does not run.

    One whose canary's version the last stage was rolled back from is none: whoever wants it
    again says so by name.
    """
    return [
        application
        for application in (Application(store, name) for name in applications(store))
        if _is_candidate(application)
    ]


def choose(store: Store) -> Application:
    """Returns the only candidate.

    :raises DeliveryError: when there is none or more than one; lists them.
    """
    found = candidates(store)
    if len(found) == 1:
        return found[0]
    if not found:
        raise DeliveryError(
            "nothing to promote: no live canary differs from production, but for "
            "one that was rolled back, which is promoted only by its name"
        )
    names = ", ".join(f"{each.name} {_target(each).version}" for each in found)
    raise DeliveryError(
        f"more than one canary waits: {names}; say which: !deploy promote {found[0].name}"
    )


def _is_candidate(application: Application) -> bool:
    try:
        target = _target(application)
    except DeliveryError:
        return False
    return not application.was_rolled_back(application.stages()[-1], target.version)


def _target(application: Application) -> Target:
    last = application.stages()[-1]
    return application.promotion(last, application.stage_before(last))
