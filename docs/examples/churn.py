"""Draw the example table of the pages: `python docs/examples/churn.py > churn.csv`."""

import sys

import numpy as np
import pandas as pd

ROWS = 1000


def customers() -> pd.DataFrame:
    """Return simulated customers. Plan, complaints, visits and age decide who is likely to leave."""
    draw = np.random.default_rng(1)
    household = draw.integers(0, 620, ROWS)
    plan = draw.choice(["basic", "plus", "family"], ROWS, p=[0.5, 0.3, 0.2])
    visits = draw.poisson(6, ROWS)
    complaints = draw.poisson(np.where(plan == "basic", 1.2, 0.6))
    age = draw.normal(44, 13, ROWS).clip(18, 90)
    spent = draw.lognormal(3.2, 0.9, ROWS)
    score = (
        0.8 * complaints - 0.4 * (visits - 6) + 1.1 * (plan == "basic") + 1.2 * ((age - 44) / 13) ** 2 - 3.2
    )
    left = draw.random(ROWS) < 1 / (1 + np.exp(-1.3 * score))
    return pd.DataFrame(
        {
            "customer_number": draw.permutation(ROWS) + 10_000,
            "household": household,
            "age": np.where(draw.random(ROWS) < 0.06, np.nan, age.round()),
            "plan": plan,
            "visits": visits,
            "complaints": complaints,
            "spent": spent.round(2),
            "left": np.where(left, "yes", "no"),
        }
    )


if __name__ == "__main__":
    customers().to_csv(sys.stdout, index=False)
