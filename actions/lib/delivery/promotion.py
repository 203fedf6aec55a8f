"""Which application a promotion without a name means."""

from __future__ import annotations

from delivery.application import Application, applications
from delivery.errors import DeliveryError
from delivery.releases import Target
from delivery.store import Store


def candidates(store: Store) -> list[Application]:
    """Returns the applications with a live canary that the last stage does not run.

    A version that the last stage was rolled back from is left out: it is promoted only by the
    application's name.
    """
    return [application for application in applications(store) if _is_candidate(application)]


def choose(store: Store) -> Application:
    """Returns the only candidate.

    :raises DeliveryError: when there is none or more than one; lists them.
    """
    found = candidates(store)
    if len(found) == 1:
        return found[0]
    if not found:
        raise DeliveryError(
            "nothing to promote: every live canary is already in production; to promote a "
            "rolled-back version name the application"
        )
    names = ", ".join(f"{each.name} {_target(each).version}" for each in found)
    raise DeliveryError(
        f"Several canaries are ready: name one ({names}), such as !deploy promote {found[0].name}"
    )


def _is_candidate(application: Application) -> bool:
    try:
        target = _target(application)
        last = application.stages.names()[-1]
        return not application.stages.was_rolled_back(last, target.version)
    except DeliveryError:
        return False


def _target(application: Application) -> Target:
    last = application.stages.names()[-1]
    return application.stages.promotion(last, application.stages.before(last))
