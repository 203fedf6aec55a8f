"""How the python-script runner makes an action."""

from __future__ import annotations


def get_action_class_instance(action_cls, config=None, action_service=None):
    """Returns an instance of an action's class, also of one whose constructor only takes config."""
    try:
        return action_cls(config=config, action_service=action_service)
    except TypeError as error:
        if "unexpected keyword argument 'action_service'" not in str(error):
            raise
    action = action_cls(config=config)
    action.action_service = action_service
    return action
