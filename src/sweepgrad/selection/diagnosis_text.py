"""Summarize the diagnoses of runs for the leaderboard and the model card."""

from collections.abc import Sequence

from sweepgrad.tracking.mapping import Logged
from sweepgrad.training.diagnosis import DIAGNOSIS, HEALTHY


def of_runs(runs: Sequence[Logged]) -> str:
    """Return the diagnosis of the runs of one configuration; "" without any."""
    texts = [run.tags.get(DIAGNOSIS, "") for run in runs]
    unusual = [text for text in texts if text not in ("", HEALTHY)]
    if not unusual:
        return HEALTHY if HEALTHY in texts else ""
    return unusual[0] if len(runs) == 1 else f"{len(unusual)} of {len(runs)} runs: {unusual[0]}"


def sentence(run: Logged) -> str:
    """Return the sentence of the card on a run's training; "" without a diagnosis."""
    text = run.tags.get(DIAGNOSIS, "")
    return f"Diagnosis of its training: {text}." if text else ""
