"""Results over several splits, checked by plain arithmetic."""

import csv
import io
import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sweepgrad.selection.card import Scores
from sweepgrad.selection.evaluation import Evaluation, SplitResult, corrected_mean
from sweepgrad.selection.evaluation_markdown import as_csv, as_table, markdown, summary, warnings

shares = st.floats(0, 1, allow_nan=False)


@given(st.lists(shares, min_size=2, max_size=40), st.floats(0.01, 2))
def test_the_interval_is_nadeau_and_bengios(values, ratio):
    found = corrected_mean(values, ratio)
    n, sd = len(values), np.std(values, ddof=1)
    half = scipy.stats.t.ppf(0.975, n - 1) * sqrt((1 / n + ratio) * sd**2)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.sd == pytest.approx(sd, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (np.mean(values) - half, np.mean(values) + half), abs=1e-9
    )


def test_more_splits_do_not_make_the_interval_as_narrow_as_one_likes():
    few, many = (corrected_mean([0.6, 0.8] * n, 0.25) for n in (5, 5000))
    assert few.high - few.low > many.high - many.low > 2 * 1.96 * sqrt(0.25) * 0.1


def test_one_split_has_no_interval():
    with pytest.raises(ValueError, match="at least two splits"):
        corrected_mean([0.7], 0.25)


def scores(accuracy: float, nll: float = 0.6) -> Scores:
    found = {"accuracy": accuracy, "nll": nll, "roc_auc": 0.75}
    return Scores(80, found, "accuracy", (accuracy - 0.1, accuracy + 0.1))


def judged(seed: int, accuracy: float, *, hidden: str = "[9]", nll: float = 0.6) -> SplitResult:
    return SplitResult(
        split=f"split.seed={seed}",
        run_id=f"r{seed}",
        digest=f"d{seed}",
        settings={"model.hidden": hidden},
        compared=3,
        tied=1,
        mean=accuracy + 0.03,
        test_mean=accuracy + 0.01,
        optimism=0.005,
        n_learned=320,
        n_test_units=60,
        validation=scores(accuracy + 0.04),
        test=scores(accuracy, nll),
        baselines={"majority": scores(0.6), "logistic": scores(accuracy - 0.01 * (seed % 2))},
        evaluated=f"2026-01-0{seed}T00:00:00+00:00 by ann on here, for run r{seed} of mine",
        earlier_evaluations=(),
    )


@pytest.fixture
def whole() -> Evaluation:
    return Evaluation(
        sweep="mine",
        what="left = yes, from people",
        metric="accuracy",
        rule="best",
        grouped=True,
        outer_folds=None,
        earlier_of_table=0,
        splits=(judged(1, 0.70), judged(2, 0.74), judged(3, 0.72, hidden="[6,6]"), judged(4, 0.76)),
    )


def test_baselines_are_compared_on_the_same_splits(whole):
    """Accuracies differ much from split to split, the differences by half a point."""
    ahead = whole.ahead_of("logistic")
    assert ahead.mean == pytest.approx(0.005)
    half = scipy.stats.t.ppf(0.975, 3) * np.std([0.01, 0, 0.01, 0], ddof=1) * sqrt(1 / 4 + 80 / 320)
    assert ahead.high - ahead.mean == pytest.approx(half)
    assert whole.ahead_of("majority").mean == pytest.approx(0.13)


def test_the_gap_is_of_the_same_models_on_validation_and_test(whole):
    assert whole.gap.mean == pytest.approx(0.02)
    assert whole.own_gap.mean == pytest.approx(0.04)
    assert whole.optimism == pytest.approx(0.005)


def test_of_a_loss_less_is_better(whole):
    by_nll = replace(
        whole, metric="nll", splits=tuple(replace(s, mean=0.5, test_mean=0.6) for s in whole.splits)
    )
    assert by_nll.gap.mean == pytest.approx(0.1)
    assert "was 0.1000 better" in " ".join(summary(by_nll))


def test_how_often_which_was_chosen(whole):
    assert whole.chosen == [({"model.hidden": "[9]"}, 3), ({"model.hidden": "[6,6]"}, 1)]
    assert "Chosen: model.hidden=[9] on 3 of 4; model.hidden=[6,6] on 1 of 4." in list(summary(whole))


def test_the_summary_has_the_figures(whole):
    said = " ".join(summary(whole))
    assert (
        "Mean test accuracy over 4 splits: 73.0% (sd 2.6 points; 95 % confidence interval 67.2% to 78.8%"
        in said
    )
    assert "Logistic regression: 72.5%; the procedure is 0.5 points ahead" in said
    assert ", not significant." in said
    assert "mean accuracy of the chosen configuration was 2.0 points better" in said
    assert "expected optimism of the best is 0.5 points" in said


def test_earlier_evaluations_are_named_if_there_are_any(whole):
    assert "had been evaluated" not in " ".join(warnings(whole))
    again = replace(
        whole,
        earlier_of_table=1,
        splits=(replace(whole.splits[0], earlier_evaluations=("before",)), *whole.splits[1:]),
    )
    said = " ".join(warnings(again))
    assert "The test sets of 1 of these splits had been evaluated before." in said
    assert "test rows of this table had been evaluated once, counting every split" in said
    assert said in markdown(again)


def test_the_page_says_how_splits_share_rows(whole):
    assert "test sets overlap" in markdown(whole)
    assert "All rows of a group are in the same set." in markdown(whole)
    outer = markdown(replace(whole, outer_folds=4, grouped=False))
    assert "The 4 outer folds of a seed have disjoint test sets." in outer
    assert "the scores are optimistically biased" in outer


def test_a_split_comes_back_from_json(whole):
    split = whole.splits[2]
    assert SplitResult.from_json(json.loads(json.dumps(split.to_json()))) == split


def test_a_line_for_each_split(whole):
    lines = list(csv.DictReader(io.StringIO(as_csv(whole))))
    assert [line["split"] for line in lines] == [split.split for split in whole.splits]
    assert [float(line["test/accuracy"]) for line in lines] == [0.70, 0.74, 0.72, 0.76]
    assert [float(line["logistic/accuracy"]) for line in lines] == pytest.approx([0.69, 0.74, 0.71, 0.76])
    assert as_table(whole).row_count == 4
