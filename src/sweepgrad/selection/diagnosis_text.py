"""Say what the diagnoses of a sweep's runs come to, for the leaderboard and the card."""

from collections.abc import Sequence

from sweepgrad.tracking.mapping import Logged
from sweepgrad.training.diagnosis import DIAGNOSIS, HEALTHY


def of_runs(runs: Sequence[Logged]) -> str:
    """What is said of runs of one configuration; "" if nothing is."""
    said = [run.tags.get(DIAGNOSIS, "") for run in runs]
    unusual = [text for text in said if text not in ("", HEALTHY)]
    if not unusual:
        return HEALTHY if HEALTHY in said else ""
    return unusual[0] if len(runs) == 1 else f"{len(unusual)} of {len(runs)} runs: {unusual[0]}"


def sentence(run: Logged) -> str:
    """What the card says of a run's training; "" if nothing is known."""
    said = run.tags.get(DIAGNOSIS, "")
    return f"Diagnosis of its training: {said}." if said else ""
