"""Studies on disk: a killed one resumes with the same outcome, and a lock keeps other processes out."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from sweepgrad import rng
from sweepgrad.errors import UserError
from sweepgrad.sweeps.search.journal import Done, if_complete, open_study
from sweepgrad.sweeps.search.space import Choices, Interval, Space, Steps
from sweepgrad.sweeps.search.suggest import Plan, Search

SPACE = Space(
    {
        "model": Choices(("wide", "deep")),
        "lr": Interval(1e-4, 1e-1, log=True),
        "width": Interval(1, 64, log=False),
        "share": Steps((0.0, 0.1, 0.2)),
        "data": "data=simulated",
    }
)
PLAN = Plan("tpe", "minimize", seed=3, trials=22, batch=4)


class Killed(BaseException):
    """An exception that stands for SIGKILL; it is not caught."""


def f(point: dict[str, str]) -> float:
    """Return the value of a point; NaN for some, as if their jobs failed."""
    if int(point["width"]) % 5 == 0:
        return math.nan
    return (math.log10(float(point["lr"])) + 2) ** 2 + float(point["share"]) + (point["model"] == "deep")


def work(folder: Path, plan: Plan = PLAN, launches: int = 1000, space: Space = SPACE) -> list[Done]:
    """Resume a study; raise Killed after some launches, before their values are recorded."""
    with open_study(space, plan, folder, "s", {"x": "1"}) as study:
        while batch := study.ask():
            if launches == 0:
                raise Killed
            launches -= 1
            study.tell(batch, [f(trial.point) for trial in batch])
        return study.done()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[Done]:
    return work(tmp_path_factory.mktemp("undisturbed"))


def test_a_study_has_its_trials_numbered_and_some_failed(undisturbed):
    assert [trial.number for trial in undisturbed] == list(range(22))
    failed = [trial for trial in undisturbed if trial.value is None]
    assert 0 < len(failed) < 11
    assert all(int(trial.point["width"]) % 5 == 0 for trial in failed)


@pytest.mark.parametrize("seed", range(4))
def test_killed_between_batches_it_ends_the_same(tmp_path, undisturbed, seed):
    for attempt in range(100):
        try:
            done = work(tmp_path, launches=int(rng.bits(rng.key(seed, "kill", attempt), 1)[0] % 3))
        except Killed:
            continue
        break
    assert attempt > 0
    assert done == undisturbed


def test_killed_at_any_line_it_ends_the_same(tmp_path, undisturbed, monkeypatch):
    """Before each line of the file in turn, or in the middle of it."""
    append = JournalFileBackend.append_logs
    plan = Plan("tpe", "minimize", seed=3, trials=15, batch=4)  # the estimator draws the first 10 blindly

    def dying(file: Path, kill_at: int):
        written = 0

        def append_logs(self, logs):
            nonlocal written
            if written == kill_at:
                if kill_at % 2:
                    with file.open("ab") as half:
                        half.write(json.dumps(logs[0]).encode()[:20])
                raise Killed
            append(self, logs)
            written += 1

        return append_logs

    lines = 2 + 2 * plan.trials  # the study, what it is about, and two of each trial
    for kill_at in range(lines):
        folder = tmp_path / str(kill_at)
        with monkeypatch.context() as patch:
            patch.setattr(JournalFileBackend, "append_logs", dying(folder / "s.log", kill_at))
            with pytest.raises(Killed):
                work(folder, plan)
        assert work(folder, plan) == undisturbed[:15], kill_at
        assert len((folder / "s.log").read_text().splitlines()) == lines


DYING = """
import os, signal, sys
from pathlib import Path
from tests.sweeps.search import test_journal

numbers = iter(range(int(sys.argv[2])))
formula = test_journal.f

def f(point):
    if next(numbers, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return formula(point)

test_journal.f = f
test_journal.work(Path(sys.argv[1]))
"""


def test_killed_by_the_system_it_ends_the_same(tmp_path, undisturbed):
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": f"{root}/src:{root}"}
    for jobs in (2, 11, 7):  # that finish before SIGKILL; values of the last batch are not recorded
        words = [sys.executable, "-c", DYING, str(tmp_path), str(jobs)]
        assert subprocess.run(words, env=environment, check=False).returncode == -signal.SIGKILL
    assert work(tmp_path) == undisturbed


def test_what_was_left_running_is_asked_again(tmp_path):
    with open_study(SPACE, PLAN, tmp_path, "s", {}) as study:
        batch = study.ask()
        assert study.ask() == batch
        study.tell(batch[:1], [1.0])
    with open_study(SPACE, PLAN, tmp_path, "s", {}) as study:
        assert study.ask() == batch[1:]


def test_more_trials_continue_as_if_they_had_been_asked_at_once(tmp_path, undisturbed):
    for trials in (3, 14, 22):
        done = work(tmp_path, Plan("tpe", "minimize", seed=3, trials=trials, batch=4))
        assert done == undisturbed[:trials]
    assert work(tmp_path, launches=0) == undisturbed  # complete: nothing is launched


def test_the_file_is_optunas(tmp_path, undisturbed):
    work(tmp_path)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "s.log")))
    study = optuna.load_study(study_name="s", storage=storage)
    assert [trial.value for trial in study.trials] == [trial.value for trial in undisturbed]
    assert (
        study.best_trial.number
        == min((t for t in undisturbed if t.value is not None), key=lambda t: t.value or 0).number
    )


@pytest.mark.parametrize(("direction", "number"), [("minimize", 1), ("maximize", 2)])
def test_the_best_is_the_earliest_of_equals(tmp_path, direction, number):
    plan = Plan("random", direction, seed=0, trials=6, batch=6)
    with open_study(SPACE, plan, tmp_path, "s", {}) as study:
        assert study.best() is None
        study.tell(study.ask(), [math.nan, -1.0, math.inf, -1.0, math.inf, 0.0])
        best = study.best()
    assert best is not None
    assert best.number == number


@pytest.mark.parametrize(
    ("plan", "setting", "said"),
    [
        (Plan("random", "minimize", 3, 22, 4), {"x": "1"}, "hydra.sweeper.sampler: was tpe, is random"),
        (Plan("tpe", "maximize", 3, 22, 4), {"x": "1"}, "direction: was minimize, is maximize"),
        (Plan("tpe", "minimize", 4, 22, 4), {"x": "1"}, "hydra.sweeper.seed: was 3, is 4"),
        (Plan("tpe", "minimize", 3, 22, 5), {"x": "1"}, "hydra.sweeper.batch: was 4, is 5"),
        (PLAN, {"x": "2"}, "x: was 1, is 2"),
        (PLAN, {"x": "1", "y": "2"}, "y: was not set, is 2"),
        (PLAN, {}, "x: was 1, is not set"),
    ],
)
def test_a_study_about_something_else_is_refused(tmp_path, plan, setting, said):
    with pytest.raises(Killed):
        work(tmp_path, launches=1)
    with pytest.raises(UserError) as error, open_study(SPACE, plan, tmp_path, "s", setting):
        pass
    assert said in str(error.value)
    assert "hydra.sweeper.study=NAME" in str(error.value)
    assert str(tmp_path / "s.log") in str(error.value)


OTHER = """
import sys
from pathlib import Path
from sweepgrad.errors import UserError
from sweepgrad.sweeps.search.suggest import Plan
from sweepgrad.sweeps.search.space import Interval, Space
from sweepgrad.sweeps.search.journal import open_study
try:
    plan = Plan("random", "minimize", 0, 1, 1)
    with open_study(Space({"k": Interval(0.0, 1.0, False)}), plan, Path(sys.argv[1]), "s", {}) as study:
        print(study.ask()[0].point["k"], flush=True)
        sys.stdin.read()
except UserError as error:
    print(error)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start() as first:
        assert first.stdout is not None
        suggested = first.stdout.readline()
        with start() as second:
            said, _ = second.communicate(timeout=120)
        assert "another process is using this study" in said
        assert "hydra.sweeper.study=NAME" in said
        first.kill()
    with start() as third:
        assert third.communicate(timeout=120)[0] == suggested


@pytest.mark.parametrize(
    "content",
    [
        b"no study\nat all\n",
        b"buy milk\nlast line without an end",
        b"{",
        b"[" * 100_000,
        b'{"op_code":0}\n' + b"x\n",
        b'{"op_code":0,"more":1}\nand more',
        b'{"op_code":0,' + b"[" * 100_000 + b"\n",
        b'{"op_code":0,"a":' + b"1" * 5000 + b"}\n",
    ],
    ids=range(8),
)
def test_a_file_that_is_no_study_is_left_as_it_is(tmp_path, content):
    file = tmp_path / "s.log"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"s\.log: (this file is not|line 1 is not of) a study.*study=NAME"):
        work(tmp_path)
    assert file.read_bytes() == content


def test_nothing_is_made_next_to_a_file_that_is_no_study(tmp_path):
    (tmp_path / "s.log").write_text("notes")
    with pytest.raises(UserError):
        work(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["s.log"]
    (tmp_path / "s.log").unlink()
    os.mkfifo(tmp_path / "s.log")
    with pytest.raises(UserError, match="not a regular file"):
        work(tmp_path)


def changed_lines(file: Path, at: int, **values: object) -> bytes:
    """Change keys of a line of a study; return the file's content."""
    lines = file.read_text().splitlines()
    lines[at] = json.dumps({**json.loads(lines[at]), **values}, separators=(",", ":"))
    file.write_text("\n".join(lines) + "\ntorn")
    return file.read_bytes()


@pytest.mark.parametrize(
    ("at", "values", "said"),
    [
        (2, {"user_attrs": {"point": {"model": "wide", "+hydra.x": "y"}}}, "trial 0 is not a point"),
        (
            2,
            {"params": {"lr": 0.2, "model": 0, "share": 0.0, "width": 3}},
            r"search space \(lr, share, width\)",
        ),
        (2, {"distributions": {}}, r"trial 0 is not a point"),
        (2, {"distributions": {"lr": "[" * 100_000}}, r"trial 0 is not a point"),
        (2, {"system_attrs": {"a": [[[[1]]]]}}, "line 3 is not of a study .*system_attrs"),
        (2, {"datetime_start": "now"}, "line 3 is not of a study .*datetime_start"),
        (2, {"study_id": 1}, "line 3 is not of a study .*study_id"),
        (0, {"study_name": "t"}, "this is the study 't'"),
        (0, {"directions": [1, 1]}, "line 1 is not of a study .*directions"),
        (1, {"user_attr": {"setting": {"x": 1}}}, r"line 2 is not of a study .*setting\.x"),
        (6, {"trial_id": 9}, r"line 7 is not of a study \(it cannot follow the lines before it\)"),
        (7, {"trial_id": 0}, r"line 8 is not of a study \(it cannot follow the lines before it\)"),
        (6, {"values": [10**400], "state": 1}, "line 7 is not of a study .*values"),
        (6, {"values": [math.nan], "state": 1}, "line 7 is not of a study .*values"),
        (6, {"values": None, "state": 1}, "line 7 is not of a study .*a finished trial has a value"),
        (6, {"op_code": 1}, "line 7 is not of a study"),
        (6, {"x": "a" * 5_000_000}, "line 7 is not of a study .*bytes"),
    ],
    ids=range(17),
)
def test_a_study_with_a_changed_line_is_refused_and_left_as_it_is(tmp_path, at, values, said):
    with pytest.raises(Killed):
        work(tmp_path, launches=1)
    content = changed_lines(tmp_path / "s.log", at, **values)
    with pytest.raises(UserError, match=said) as error:
        work(tmp_path)
    assert len(str(error.value)) < 1000
    assert (tmp_path / "s.log").read_bytes() == content


def test_a_file_larger_than_any_study_is_not_read(tmp_path):
    with (tmp_path / "s.log").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="at most 134217728 are read"):
        work(tmp_path)


def test_infinite_values_are_read_again(tmp_path):
    plan = Plan("random", "minimize", seed=0, trials=2, batch=2)
    with open_study(SPACE, plan, tmp_path, "s", {}) as study:
        study.tell(study.ask(), [math.inf, -math.inf])
    with open_study(SPACE, plan, tmp_path, "s", {}) as study:
        assert [trial.value for trial in study.done()] == [math.inf, -math.inf]


@pytest.mark.parametrize("folder", ["a\0b", "a\ud800b"], ids=range(2))
def test_a_folder_that_is_no_path_is_refused(tmp_path, folder):
    search = Search(SPACE, PLAN, tmp_path / folder, "s", {})
    assert if_complete(search) == []
    with pytest.raises(UserError, match=r"hydra\.sweeper\.storage: .* is not a path"):
        work(search.folder)


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"hydra\.sweeper\.storage=FOLDER"):
        work(tmp_path / "file" / "studies")


def test_a_complete_study_is_known_before_anything_is_claimed(tmp_path):
    def said(plan: Plan, **setting: str) -> list[str]:
        return if_complete(Search(SPACE, plan, tmp_path, "s", {"x": "1", **setting}))

    assert said(PLAN) == []
    assert not [*tmp_path.iterdir()]
    with pytest.raises(Killed):
        work(tmp_path, launches=2)
    assert said(PLAN) == []
    done = work(tmp_path)
    best = min(trial.value for trial in done if trial.value is not None)
    complete, found, _ = said(PLAN)
    assert complete.startswith(f"{tmp_path / 's.log'} is complete with 22 trials; nothing was run.")
    assert found.startswith(f"best {best:.6g}, trial ")
    assert said(replace(PLAN, trials=23)) == []
    with pytest.raises(UserError, match="x: was 1, is 2"):
        said(PLAN, x="2")
