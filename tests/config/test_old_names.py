"""Names of earlier versions are read under today's, and refused on the command line."""

import pytest
from tests.support import command

from sweepgrad.config import old_names


def test_a_configuration_is_read_under_todays_keys_and_else_unchanged():
    old = {"seed": 1, "split": {"seed": 3, "turns": 5, "turn": 2, "fold": None}}
    new = {"seed": 1, "split": {"seed": 3, "outer_folds": 5, "outer_fold": 2, "fold": None}}
    assert old_names.config(old) == old_names.config(new) == new
    assert old_names.config("nothing") == "nothing"
    assert old_names.config({"split": 1}) == {"split": 1}
    assert old["split"] == {"seed": 3, "turns": 5, "turn": 2, "fold": None}


def test_tags_are_read_under_todays_names():
    old = {
        "sweepgrad.kind": "opening",
        "sweepgrad.opening": "i",
        "sweepgrad.opened": "then",
        "sweepgrad.opened_for": "it",
        "sweepgrad.opened.0123abcd": "by me",
        "sweepgrad.jobs": "4",
    }
    assert old_names.tags(old) == {
        "sweepgrad.kind": "test_evaluation",
        "sweepgrad.test_evaluation": "i",
        "sweepgrad.test_evaluated_at": "then",
        "sweepgrad.test_evaluated_for": "it",
        "sweepgrad.test_evaluated.0123abcd": "by me",
        "sweepgrad.jobs": "4",
    }


@pytest.mark.parametrize(("old", "new"), sorted(old_names.KEYS.items()))
def test_an_old_key_is_refused_on_the_command_line_with_todays(old, new, folder):
    result = command("train", f"{old}=5")
    assert result.code == 2
    assert f"{old}: was renamed. Use {new} [from {old}=5]" in result.err
