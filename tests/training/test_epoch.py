"""Epochs in records: the keys of version 0.1.0, with any metrics."""

import json

import pytest

from sweepgrad.config import old_names
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import EpochStats, LayerStats

WRITTEN = {
    "train_nll": 0.5,
    "train_accuracy": 0.75,
    "val_nll": 0.6,
    "val_accuracy": 0.7,
    "layer_statistics": {
        "layers": [
            {"gradient_norm": 0.3, "update_ratio": 0.002, "dead_share": 0.0, "saturated_share": None},
            {"gradient_norm": 0.1, "update_ratio": 0.001, "dead_share": None, "saturated_share": None},
        ],
        "output_saturated": 0.25,
        "positive": 0.4,
    },
}


def test_an_epoch_is_read_and_written_with_the_keys_of_the_first_version():
    epoch = Epoch.from_json(json.loads(json.dumps(WRITTEN)))
    assert epoch == Epoch(
        {"nll": 0.5, "accuracy": 0.75},
        {"nll": 0.6, "accuracy": 0.7},
        EpochStats((LayerStats(0.3, 0.002, 0.0), LayerStats(0.1, 0.001)), 0.25, {"positive": 0.4}),
    )
    assert (epoch.train_loss, epoch.val_loss) == (0.5, 0.6)
    assert json.dumps(epoch.to_json()) == json.dumps(WRITTEN)


def test_only_the_key_of_the_statistics_was_another_in_the_first_version():
    first = {"signs" if key == "layer_statistics" else key: value for key, value in WRITTEN.items()}
    assert Epoch.from_json(old_names.epoch(first)).to_json() == WRITTEN
    assert old_names.epoch(WRITTEN) == WRITTEN


def test_without_statistics_there_is_no_key_for_them():
    plain = {key: value for key, value in WRITTEN.items() if key != "layer_statistics"}
    assert Epoch.from_json(plain).to_json() == plain


@pytest.mark.parametrize(
    "damaged", [{}, {"train_nll": 0.5}, {"train_nll": 0.5, "val_mse": 0.5}, {"test_nll": 0.5}]
)
def test_what_is_no_epoch_is_refused(damaged):
    with pytest.raises((KeyError, ValueError)):
        Epoch.from_json(damaged)
