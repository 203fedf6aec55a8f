"""Whether the shop can serve customers."""

PROBLEM = ""


def problem() -> str:
    """Why the shop cannot serve customers, empty when it can."""
    return PROBLEM
