"""Questions of my course, for the lab of sweepgrad."""

from sweepgrad.lab.configs import QUESTIONS


def register() -> None:
    """Add them; sweepgrad calls this once a process."""
    QUESTIONS.add("batch", "my_course.batch")
