"""How the python-script runner makes an action."""

from __future__ import annotations

TYPE_CHECKING = False  # Not imported: actions start faster without typing.
if TYPE_CHECKING:
    from typing import Any, Callable


def get_action_class_instance(
    action_cls: Callable[..., Any], config: dict[str, Any] | None = None, action_service: Any = None
) -> Any:
    """Returns an instance of an action's class, also of one whose constructor only takes config."""
    try:
        return action_cls(config=config, action_service=action_service)
    except TypeError as error:
        if "unexpected keyword argument 'action_service'" not in str(error):
            raise
    action = action_cls(config=config)
    action.action_service = action_service
    return action
