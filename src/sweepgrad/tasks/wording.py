"""Templates of what the card says of a model, filled by `str.format`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """What the card says, of a task.

    Figures are those of the task's default metric: `test` of the model, `majority` and `linear` of the
    baselines, `gain` of the model over the first; each with its unit.

    Attributes:
        poor: the model is no better than the simplest answer; with `p`.
        good: it is better.
        linear_wins, linear_ties, linear_loses: beside the linear baseline; the latter two with `p`.
        baselines: how they were made, and how sure the differences are; with `p` and `p_simple`.
        use: for what it is good enough; with `in_order` and `one_in`, the number of answers to a mistake.
        in_order: how well it ranks; with `ranking`, a share of pairs.
        costs: what its decisions cost; with `cost` and `constant`, that of always the cheaper answer.
        costs_poor, costs_good: the verdict on that; with `costs`, `p`, `in_order` and `calibration`.
        calibrated, miscalibrated: what probabilities are worth; with `error` and `chance`.
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
