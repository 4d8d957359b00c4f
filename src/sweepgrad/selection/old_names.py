"""What cards and evaluations of older versions call what is called otherwise now."""

from typing import Any

# Version 0.1.0 on the left.
NAMES = {
    "flattery": "optimism",
    "opening": "evaluated",
    "earlier_openings": "earlier_evaluations",
    "interrupted_openings": "interrupted_evaluations",
}


def upgraded(values: Any) -> Any:
    """Return what a file says with its keys called as they are now."""
    if isinstance(values, dict):
        return {NAMES.get(key, key): upgraded(value) for key, value in values.items()}
    return [upgraded(value) for value in values] if isinstance(values, list) else values
