import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.support import command

from sweepgrad.compose.plan import plan
from sweepgrad.data.access import open_check
from sweepgrad.data.audit.report import _group_by
from sweepgrad.data.audit.report_text import findings
from sweepgrad.data.leakage.duplicates import Duplicates
from sweepgrad.data.schema.roles import InferredColumns
from sweepgrad.data.split import split_rows
from sweepgrad.data.table import read

N = 400
DRAW = np.random.default_rng(0)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table():
    y = DRAW.permutation(np.arange(N) < 160)
    return pd.DataFrame(
        {"a": DRAW.normal(size=N) + y, "b": DRAW.normal(size=N), "y": np.where(y, "yes", "no")}
    )


def check(frame, *more):
    """Return the exit code and the output of `check --json` for a table."""
    frame.to_csv("t.csv", index=False)
    done = command(
        "check", "--json", "data=csv", "data.path=t.csv", "data.target=y", "data.positive=yes", *more
    )
    assert done.code in (0, 1), done.err
    (found,) = json.loads(done.out)
    return done.code, found


def test_a_table_without_problems_is_accepted(nowhere):
    code, found = check(table())
    assert (code, found["problems"], found["remedies"]) == (0, [], [])
    assert found["majority"] == 0.6
    assert found["certificate"]["preprocessing"]["unmoved"]
    assert not list(nowhere.glob("runs"))  # nothing was trained


def test_everything_that_training_refuses_is_reported_at_once_with_its_remedy(nowhere):
    frame = table()
    y = (frame["y"] == "yes").to_numpy()
    frame["result"] = np.where(y, "b", "a")
    frame["nearly"] = y ^ (np.arange(N) % 100 == 0)
    frame["customer number"] = np.arange(N)
    frame["same"] = 1
    code, found = check(frame)
    assert code == 1
    kinds = {finding["column"]: finding["kind"] for finding in found["findings"]}
    assert kinds == {"result": "revealing", "customer number": "identifying", "same": "constant"}
    assert set(found["certificate"]["columns_that_tell_the_target"]) == {"nearly"}
    (remedy,) = found["remedies"]
    for name in ("result", "nearly", '"customer number"', "same"):
        assert name in remedy
    assert check(frame, remedy)[0] == 0  # the remedy can be pasted
    output = command("check", "data=csv", "data.path=t.csv", "data.target=y", "data.positive=yes").out
    assert "remedy: 'data.drop=[" in output
    assert "\x1b" not in output


def test_duplicates_are_reported_with_the_column_that_groups_them(nowhere):
    frame = table().assign(song=[f"song{i}" for i in range(N)], label="one label")
    frame = pd.concat([frame, frame.iloc[:100]], ignore_index=True)
    code, found = check(frame, "data.drop=[song,label]")
    assert code == 1
    assert found["certificate"]["duplicates"]["rows"]["train-test"] > 5
    assert found["remedies"] == ["data.drop=[label]", "data.group=song"]
    code, found = check(frame, *found["remedies"])
    assert (code, found["groups"]) == (0, {"number": N, "largest": 2})
    assert found["certificate"]["groups_across_parts"] == {"song": 0}


def parts_of(frame):
    """Return the rows of each part, which depend only on the labels."""
    (job,) = plan(["data=simulated"], multirun=False).jobs
    return split_rows(
        (frame["y"] == "yes").to_numpy().astype(np.int8), np.arange(len(frame)), job.config.split
    )


def test_drift_missing_values_and_rare_levels_are_reported_but_are_no_problems(nowhere):
    frame = table()
    parts = parts_of(frame)
    frame.loc[parts.train[:60], "a"] = np.nan
    frame.loc[parts.val[:20], "a"] = np.nan
    frame.loc[parts.test[:20], "a"] = np.nan
    frame.loc[parts.val, "b"] += 3
    frame["town"] = "common"
    frame.loc[parts.train[:2], "town"] = "rare"
    frame.loc[parts.test[:3], "town"] = "new"
    code, found = check(frame)
    assert code == 0
    assert found["missing"] == {"a": 60 / len(parts.train)}
    assert found["rare_levels"] == {"town": 1}
    assert found["unseen_levels"] == {"town": 3}
    assert [(drift["column"], drift["part"]) for drift in found["drift"]] == [("b", "val")]
    assert found["drift"][0]["p"] < 1e-9


def test_a_large_group_in_one_part_is_no_drift(nowhere):
    frame = table().assign(customer=np.arange(N))
    frame.loc[:79, "customer"] = 0
    frame.loc[:79, "b"] += 5
    code, found = check(frame, "data.group=customer")
    assert (code, found["groups"]) == (0, {"number": N - 79, "largest": 80})
    assert found["drift"] == []


def test_several_tables_are_checked_and_bad_input_is_refused(nowhere):
    done = command("check", "--json", "data=simulated", "data.rows=200", "split.seed=1,2", "seed=1,2")
    assert len(json.loads(done.out)) == 2
    assert command("check", "data=csv", "data.path=none.csv", "data.target=y").code == 2


def test_inferred_columns_are_marked_whatever_their_notice_says(nowhere):
    table().to_csv("t.csv", index=False)
    (job,) = plan(["data=csv", "data.path=t.csv", "data.target=y"], multirun=False).jobs
    report = open_check(job.config.data, job.config.split)
    notice = report.notices[-1]
    assert isinstance(notice, InferredColumns)
    assert pickle.loads(pickle.dumps(notice)).role == notice.role == "numeric"
    other = replace(report, notices=(InferredColumns("other words", "numeric"), f"{notice}, again"))
    lines = list(findings(other, job.config.split))
    assert ("numeric", "a, b (by column type)") in lines
    assert [text for topic, text in lines if topic == "notice"] == [f"{notice}, again"]


@pytest.mark.parametrize(
    ("dropped", "columns", "group", "remedies"),
    [
        (("song", "label"), (), (), ("data.drop=[label]", "data.group=song")),
        ((), (), (), ("data.group=song",)),
        (("song", "label"), ("a",), (), ("data.drop=[label,a]", "data.group=song")),
        ((), (), (("artist",),), ("data.group=[[artist],[song]]",)),
    ],
)
def test_remedies_name_what_to_drop_and_what_groups_rows(nowhere, dropped, columns, group, remedies):
    table().to_csv("t.csv", index=False)
    (job,) = plan(["data=csv", "data.path=t.csv", "data.target=y"], multirun=False).jobs
    report = open_check(job.config.data, job.config.split)
    found = replace(
        report,
        roles=replace(report.roles, dropped=dropped, group=group),
        certificate=replace(report.certificate, columns=dict.fromkeys(columns, 0.99)),
        group_by="song",
    )
    assert found.remedies == remedies


def test_duplicates_are_grouped_by_the_column_with_the_most_values(nowhere):
    frame = table().assign(song=[f"song{i}" for i in range(N)], album=[f"album{i // 4}" for i in range(N)])
    pd.concat([frame, frame.iloc[:100]], ignore_index=True).to_csv("t.csv", index=False)
    overrides = ["data=csv", "data.path=t.csv", "data.target=y", "data.drop=[song,album]"]
    (job,) = plan(overrides, multirun=False).jobs
    assert open_check(job.config.data, job.config.split).group_by == "song"


def test_duplicates_by_chance_group_nothing(nowhere):
    frame = table()
    frame["song"] = np.arange(N) // 2
    frame.to_csv("t.csv", index=False)
    (job,) = plan(
        ["data=csv", "data.path=t.csv", "data.target=y", "data.positive=yes", "data.drop=[song]"],
        multirun=False,
    ).jobs
    read_table = read(job.config.data)
    certificate = open_check(job.config.data, job.config.split).certificate
    pairs = tuple((2 * row + 1, 2 * row + 2) for row in range(9))
    for n_pairs, found in ((9, "song"), (1, None)):  # at most 2 more than by chance are no sign of anything
        duplicates = Duplicates({"train to val": 9}, {"train to val": 0.5}, n_pairs, 0.0, pairs)
        none = replace(duplicates, pairs=0, named=())
        changed = replace(certificate, duplicates=duplicates, near_duplicates=none)
        assert _group_by(read_table, changed) == found
