"""Who may promote, roll back, freeze and abort, where the configuration has a list of them."""

from __future__ import annotations

import re
from typing import Any, Mapping

from delivery.errors import DeliveryError
from delivery.names import plain

KINDS = {"chat_users": "in chat", "stackstorm_users": "as StackStorm users"}


class NotAllowed(DeliveryError):
    """This user may not do that; the message says who may."""


def lists_of(application: str, permissions: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the lists that hold for an application, as `require` takes them.

    :param permissions: section `permissions` of the configuration.
    """
    own = permissions["applications"].get(application) or {}
    # StackStorm makes an empty list of one that is left out.
    return {kind: own.get(kind) or permissions.get(kind) for kind in KINDS}


def require(
    permissions: Mapping[str, Any], to_do: str, chat_user: str | None, stackstorm_user: str
) -> None:
    """Refuses who is not on the list. A list that is missing or empty is for everybody.

    The name of a chat user is the bot's word. That is why a list of StackStorm users, if there is
    one, holds for the bot too: both have to pass.

    Some bots put an @ before a name: it makes no difference.

    :param permissions: {chat_users: [...], stackstorm_users: [...]}.
    :param to_do: what is asked for, such as `promote`.
    :param chat_user: who asks in chat; None or empty when it was not asked in chat.
    :param stackstorm_user: on whose account StackStorm runs this.
    :raises NotAllowed: naming those who may.
    """
    askers: dict[str, str | None] = {"chat_users": chat_user, "stackstorm_users": stackstorm_user}
    for kind, asker in askers.items():
        allowed: list[str] = permissions.get(kind) or []
        if asker and allowed and _bare(asker) not in map(_bare, allowed):
            raise NotAllowed(
                f"sorry, {plain(asker)[:80]} may not {to_do}; allowed {KINDS[kind]}: "
                f"{', '.join(allowed)}"
            )


def requester(by: str | None, chat_user: str | None, stackstorm_user: str) -> str:
    """Returns who is recorded as having asked: in chat whom the alias names, elsewhere the account
    on which StackStorm runs this, because anybody could give another's name.

    :param by: as given to the action.
    """
    if by and chat_user:
        return by
    return re.sub("^[^A-Za-z0-9]+|[^A-Za-z0-9._@-]", "", stackstorm_user)[:100] or "somebody"


def _bare(user: str) -> str:
    return user[1:] if user.startswith("@") else user
