"""A command reads its table once, and prepares it once for each split."""

from pathlib import Path

import pytest
from tests.support import CSV, command, people

from sweepgrad.data import access

TABLE = (*CSV, "data.group=person", "train.epochs=3")


@pytest.fixture
def counted(folder, monkeypatch) -> list[str]:
    """Return the names of tables read and prepared, in order; the table is new, so it is not cached."""
    people().to_csv(folder / "people.csv", index=False)
    found: list[str] = []
    read, prepared = access._read, access._prepared

    def counting_read(*arguments):
        found.append("read")
        return read(*arguments)

    def counting_prepared(*arguments):
        found.append("prepared")
        return prepared(*arguments)

    monkeypatch.setattr(access, "_read", counting_read)
    monkeypatch.setattr(access, "_prepared", counting_prepared)
    return found


def test_each_command_reads_its_table_once(counted):
    def reads(*arguments: str) -> list[str]:
        counted.clear()
        access._opened.clear()
        result = command(*arguments)
        assert result.code == 0, result
        return list(counted)

    once = ["read", "prepared"]
    assert reads("check", *CSV, "data.group=person") == ["read"]
    assert reads("train", *TABLE, "hydra.run.dir=runs/one") == once
    assert reads("verify", "runs/one") == once
    assert reads("continue", "runs/one", "train.epochs=4") == once
    threshold = ("select.threshold=prevalence", "seed=1,2", "model=linear,wide")
    assert reads("train", "-m", *TABLE, *threshold) == once
    assert reads("leaderboard") == once
    assert reads("finalize") == once
    assert Path("runs", "test_evaluations.jsonl").exists()
    assert reads("train", "-m", *TABLE, "split.seed=5,6,7").count("prepared") == 3
    assert reads("evaluate") == ["read", *["prepared"] * 3]
