"""Inquiries: actions that wait for a person's response."""
from __future__ import annotations

from embedded import schema
from embedded.store import PENDING, TIMEOUT


def check(execution, response, user):
    """Raise ValueError unless a user may answer an inquiry with a response."""
    if execution.runner != "inquirer":
        raise ValueError('Execution "%s" is not an inquiry.' % execution.id)
    if execution.status == TIMEOUT:
        raise ValueError('Inquiry "%s" has timed out.' % execution.id)
    if execution.status != PENDING:
        raise ValueError('Inquiry "%s" has already been responded to.' % execution.id)
    users = execution.result["users"]
    if users and user not in users:
        raise ValueError(
            'User "%s" may not respond to inquiry "%s"; ask %s.'
            % (user, execution.id, ", ".join(users))
        )
    try:
        schema.validate(response, execution.result["schema"], schema.dotted)
    except schema.SchemaError as error:
        raise ValueError(
            'The response to inquiry "%s" does not fit: %s' % (execution.id, error)
        ) from None


def masked(result):
    """Return a copy of an inquiry's result with the secret parts of the response replaced."""
    if not isinstance(result, dict) or "response" not in result:
        return result
    return dict(result, response=schema.mask(result["response"], result["schema"]))
