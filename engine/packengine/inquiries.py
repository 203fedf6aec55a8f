"""Inquiries: actions that wait for a person's response."""

from __future__ import annotations

from typing import Any

from packengine import schema
from packengine.execution import PENDING, TIMEOUT, Execution


def check(execution: Execution, response: Any, user: str) -> None:
    """Checks that a user may answer an inquiry with a response.

    :raises ValueError: when the execution is no inquiry, nobody asks any more, the user may not
        answer, or the response does not fit.
    """
    if execution.runner != "inquirer":
        raise ValueError(f'Execution "{execution.id}" is not an inquiry.')
    if execution.status == TIMEOUT:
        raise ValueError(f'Inquiry "{execution.id}" has timed out.')
    if execution.status != PENDING:
        raise ValueError(f'Inquiry "{execution.id}" has already been responded to.')
    users = execution.result["users"]
    if users and user not in users:
        raise ValueError(
            'User "{}" may not respond to inquiry "{}"; ask {}.'.format(
                user, execution.id, ", ".join(users)
            )
        )
    try:
        schema.validate(response, execution.result["schema"], schema.dotted)
    except schema.SchemaError as error:
        raise ValueError(
            f'The response to inquiry "{execution.id}" does not fit: {error}'
        ) from None


def masked(result: Any) -> Any:
    """Returns a copy of an inquiry's result with the secret parts of the response replaced."""
    if not isinstance(result, dict) or "response" not in result:
        return result
    return dict(result, response=schema.mask(result["response"], result["schema"]))
