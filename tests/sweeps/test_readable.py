"""Nothing is trained whose model or record could not be read again."""

from dataclasses import replace

import pytest
from tests.support import SMALL

from sweepgrad.bounded.reading import Limits
from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.data.access import Training, open_training
from sweepgrad.data.preprocess.transforms import Categorical, Preprocessor
from sweepgrad.errors import DamagedFile, UserError
from sweepgrad.runs import record as records
from sweepgrad.sweeps import readable
from sweepgrad.sweeps.preflight import check_tables
from sweepgrad.training import bundle_schema
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import EpochStats, LayerStats

WORST = -2.2250738585072014e-308


def config_of(*overrides: str) -> Config:
    return plan([*SMALL, *overrides], multirun=False).jobs[0].config


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["train.epochs=1000000"], "train.epochs: 1,000,000 epochs do not fit into the record"),
        (["train.epochs=200000", "train.diagnose=true"], "with layer statistics.*or train.diagnose=false"),
        (["model.hidden=[8192,8192]"], r"model.hidden: \[8192, 8192\] with .* a model can have 33,554,432"),
    ],
)
def test_a_run_whose_result_could_not_be_read_is_refused_before_training(overrides, problem):
    with pytest.raises(UserError, match=problem):
        check_tables(plan([*SMALL, *overrides], multirun=False))


def test_long_runs_and_large_models_are_not_refused():
    readable.refuse_unreadable_run(config_of("train.epochs=300000", "model.hidden=[4096,4096]"), 14, 100_000)


@pytest.mark.parametrize("diagnose", [False, True])
@pytest.mark.parametrize(
    "limits", [Limits(1 << 19, 1 << 21), Limits(1 << 26, 200_000)], ids=["size", "values"]
)
def test_a_record_of_the_most_epochs_that_are_allowed_is_read(sweep, tmp_path, monkeypatch, diagnose, limits):
    """Write and read it with the program itself, with the longest numbers and smaller limits."""
    monkeypatch.setattr(readable, "LIMITS", limits)
    monkeypatch.setattr(records, "LIMITS", limits)
    config = config_of("train.epochs=100000", f"train.diagnose={diagnose}", "model.hidden=[4]")
    with pytest.raises(UserError, match=r"train\.epochs") as caught:
        readable.refuse_unreadable_run(config, 14, 100_000)
    most = int(str(caught.value).partition("holds ")[2].partition(".")[0].replace(",", ""))
    assert most > 50
    figures = dict.fromkeys(("nll", "accuracy"), WORST)
    layers = (LayerStats(WORST, WORST, WORST), LayerStats(WORST, WORST))
    epoch = Epoch(figures, figures, EpochStats(layers, WORST, figures) if diagnose else None)
    record = records.read(sweep.jobs[0])
    records.write(tmp_path, replace(record, history=most * (epoch,)))
    assert len(records.read(tmp_path).history) == most
    records.write(tmp_path, replace(record, history=2 * most * (epoch,)))
    with pytest.raises(DamagedFile, match="at most"):
        records.read(tmp_path)


def with_levels(levels: tuple[str, ...]) -> Training:
    training = open_training(config_of().data, config_of().split)
    return replace(training, preprocessor=Preprocessor((), (Categorical("town", levels, False),)))


def test_a_table_whose_model_could_not_be_read_is_refused(monkeypatch):
    monkeypatch.setattr(bundle_schema, "LIMITS", Limits(1 << 25, 1 << 17))
    with pytest.raises(UserError, match=r"data\.drop: .* values, and at most"):
        readable.refuse_unreadable_model(with_levels(tuple(map(str, range(70_000)))))
    assert readable.refuse_unreadable_model(with_levels(("a", "b"))) > 0
