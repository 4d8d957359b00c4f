"""Templates of the card's sentences on a model, filled by `str.format`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The card's sentences for a task.

    They contain values of the task's default metric, with units: `test` of the model, `majority` and `linear`
    of the baselines, and `gain`, the difference between the model and the first baseline. P-values are text,
    see `p_value_text`.

    Attributes:
        poor: the model is not better than the constant prediction; with `p`.
        good: it is better.
        linear_wins, linear_ties, linear_loses: the comparison with the linear baseline; the latter two with
            `p`, ties with `linear_gap`, how much more or less the baseline reaches.
        baselines: how baselines were fitted, and the p-values; with `p` and `p_simple`.
        use: what the model is good enough for; with `in_order`, and `one_in`, the predictions per mistake.
        in_order: how well it ranks; with `ranking`, a share of pairs.
        costs: the cost of its decisions, `cost`, and `constant`, that of always predicting the cheaper class.
        costs_poor, costs_good: the verdict on costs; with `costs`, `p`, `in_order` and `calibration`.
        calibrated, miscalibrated: the quality of probabilities; with `error` and `chance`.
    """

    poor: str
    good: str
    linear_wins: str
    linear_ties: str
    linear_loses: str
    baselines: str
    use: str
    in_order: str
    costs: str
    costs_poor: str
    costs_good: str
    calibrated: str
    miscalibrated: str


def p_value_text(p: float) -> str:
    """Return a p-value as text, such as `p = 0.11` or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.06 else f"p = {p:.2f}"
