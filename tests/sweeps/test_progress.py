"""Progress on standard error while jobs run: a live line on a terminal, plain lines elsewhere."""

import logging
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console
from tests.sweeps.support import jobs

from sweepgrad.sweeps import progress
from sweepgrad.sweeps.job import Job, Outcome, Running
from sweepgrad.sweeps.progress import Progress, readable


@pytest.fixture
def todo(tmp_path) -> list[Job]:
    return jobs(tmp_path, "seed=range(10)", "train.epochs=4")


class Clock:
    """A clock that goes on by being told to, however busy the machine is."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "_LINE_SECONDS", -1.0)


def outcome(job: Job, accuracy: float = 0.75, **more: object) -> Outcome:
    summary = {"best/val/accuracy": accuracy, "best/val/nll": 0.5, "best/val/roc_auc": 0.8}
    whole = Outcome(job, "FINISHED", summary, best_epoch=3, epochs=4, seconds=1.25)
    return replace(whole, **more)  # type: ignore[arg-type]


def failure(job: Job) -> Outcome:
    return Outcome(job, "FAILED", {}, 0, 0, 0.1, problem="it [diverged] in epoch 1")


def frames(raw: str) -> list[str]:
    """Return the successive contents of a terminal line, between carriage returns and erasures."""
    return [text for text in re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", raw) if text.strip()]


def until_shown(text: str, raw: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wait until a frame has this text, and add what was written to `raw`: frames are drawn by a thread."""
    deadline = time.monotonic() + 60
    while not any(text in frame for frame in frames("".join(raw))):
        assert time.monotonic() < deadline, raw
        time.sleep(0.01)
        raw.append(capsys.readouterr().err)


# Plain lines


def test_each_job_of_few_has_its_line(todo, capsys):
    with Progress() as shown:
        shown.start(3)
        shown.ended(outcome(todo[1]))
        shown.ended(outcome(todo[0], stopped=True, epochs=2, best_epoch=2))
        shown.ended(failure(todo[2]))
    assert capsys.readouterr().err.splitlines() == [
        "[2/3] job 1  val accuracy 0.750  nll 0.5000  best epoch 3/4  1.2 s",
        "[1/3] job 0  val accuracy 0.750  nll 0.5000  best epoch 2/4  stopped after epoch 2",
        "[3/3] job 2  FAILED: it [diverged] in epoch 1",
    ]


def test_of_many_jobs_only_failures_have_lines(todo, capsys):
    with Progress() as shown:
        shown.start(progress._FEW + 1)
        shown.ended(outcome(todo[1]))
        shown.ended(failure(todo[2]))
        assert (shown.done, shown.failed) == (2, 1)
    assert capsys.readouterr().err == "[3/101] job 2  FAILED: it [diverged] in epoch 1\n"


def test_the_quiet_hear_of_failures_and_warnings_alone(todo, capsys, at_once, monkeypatch):
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        with Progress(quiet=True) as shown:
            shown.start(3)
            logging.getLogger("sweepgrad.some").info("said")
            shown.running(Running(todo[0], 2, {"nll": 0.4, "accuracy": 0.8}))
            shown.ended(outcome(todo[1]))
            shown.sending(3)
            shown.ended(failure(todo[2]))
            logging.getLogger("sweepgrad.some").warning("warned")
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
        assert said == "[3/3] job 2  FAILED: it [diverged] in epoch 1\nwarned\n"


def test_nothing_is_said_to_standard_output(todo, capsys, at_once):
    with Progress() as shown:
        shown.start(2)
        shown.running(Running(todo[0], 2, {"nll": 0.4, "accuracy": 0.8}))
        shown.ended(outcome(todo[0]))
        logging.getLogger("sweepgrad.some").info("said")
    assert capsys.readouterr().out == ""


def test_a_line_at_times_tells_of_what_is_under_way(todo, capsys, clock):
    with Progress() as shown:
        shown.start(2)
        for epoch in range(1, 4):
            shown.running(Running(todo[0], epoch, {"nll": 12345.6, "accuracy": 0.8}))
            clock.now += 0.75 * progress._LINE_SECONDS
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] job 0  epoch 3/4  val nll 1.23e+04  accuracy 0.800"
    ]


def test_words_in_brackets_are_no_markup(todo, capsys):
    with Progress() as shown:
        shown.start(1)
        logging.getLogger("sweepgrad.some").info("hidden=[9] [bold]x[/bold] [/]")
        shown.ended(replace(outcome(todo[0]), job=replace(todo[0], name="hidden=[8,[/x]4]")))
    said = capsys.readouterr().err
    assert "hidden=[9] [bold]x[/bold] [/]\n" in said
    assert "hidden=[8,[/x]4]" in said


# How far


def overall(shown: Progress, capsys: pytest.CaptureFixture[str], running: Running | None = None) -> str:
    """Return the present line on the whole sweep."""
    shown.total = 1000
    capsys.readouterr()
    if running is not None:
        shown.running(running)
    else:
        shown._show("", "")
    return capsys.readouterr().err.strip()


def test_rate_and_time_left_follow_from_what_was_trained(todo, capsys, at_once, clock):
    with Progress() as shown:
        shown.start(1000)
        for job in todo[:2]:
            shown.ended(outcome(job))
        for job in todo[2:6]:  # taken over, and so no work
            shown.ended(outcome(job, reused=True))
        clock.now += 0.5
        line = overall(shown, capsys, Running(todo[6], 3, {"nll": 0.4, "accuracy": 0.8}))
    rate = (2 + 3 / 4) / 0.5  # 2 whole jobs and 3 epochs of 4
    minutes = (1000 - 6 - 3 / 4) / rate / 60
    expected = f"6 of 1000 done, {rate:.1f} a second, {minutes:.0f} min left, best val accuracy 0.750 (job 0)"
    assert line == expected


def test_what_takes_more_than_a_second_is_told_in_seconds_each(todo, capsys, at_once, clock):
    with Progress() as shown:
        shown.start(10)
        clock.now += 0.4
        line = overall(shown, capsys, Running(todo[0], 1, {"nll": 0.4, "accuracy": 0.8}))
    assert line.startswith("0 of 1000 done, 1.6 s each")  # a quarter took 0.4 s


def test_there_is_no_rate_before_anything_is_trained(capsys, at_once):
    with Progress() as shown:
        shown.start(10)
        assert overall(shown, capsys) == "0 of 1000 done"


@pytest.mark.parametrize(
    ("metric", "best"),
    [("accuracy", "0.900 (job 1)"), ("nll", "0.200 (job 2)"), ("roc_auc", "0.700 (job 1)")],
)
def test_the_best_is_told_by_the_metric_that_was_asked_for(metric, best, todo, capsys, at_once):
    figures = [(0.8, 0.3, 0.6), (0.9, 0.5, 0.7), (0.7, 0.2, 0.65), (0.9, 0.2, 0.7)]
    with Progress(metric=metric) as shown:
        shown.start(1000)
        for job, (accuracy, nll, roc_auc) in zip(todo, figures, strict=False):
            summary = {"best/val/accuracy": accuracy, "best/val/nll": nll, "best/val/roc_auc": roc_auc}
            shown.ended(outcome(job, summary=summary))
        line = overall(shown, capsys)
    assert line.endswith(f"best val {metric} {best}")  # of equals the first


# On a terminal


def test_on_a_terminal_one_line_lives_below_those_that_stay(todo, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    assert Console(stderr=True).is_terminal
    written = list[str]()
    with Progress() as shown:
        shown.start(2)
        shown.running(Running(todo[0], 1, {"nll": 0.4, "accuracy": 0.8}))
        until_shown("0 of 2 done, ", written, capsys)
        shown.ended(outcome(todo[0]))
        until_shown("1 of 2 done, ", written, capsys)
        shown.sending(2)
        until_shown("writing to MLflow: 2 left", written, capsys)
    raw = "".join([*written, capsys.readouterr().err])
    seen = [frame.strip() for frame in frames(raw)]
    assert any(frame.startswith("0 of 2 done, ") and frame.endswith("left") for frame in seen)
    stays = "[1/2] job 0  val accuracy 0.750  nll 0.5000  best epoch 3/4  1.2 s"
    assert seen.count(stays) == 1
    assert any(
        frame.startswith("1 of 2 done, ") and "best val accuracy 0.750 (job 0)" in frame for frame in seen
    )
    order = [seen.index(stays), seen.index("writing to MLflow: 2 left")]
    assert order == sorted(order)
    assert raw.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in raw[-40:]  # the cursor is back


def test_a_run_on_its_own_shows_its_epochs_on_a_terminal(todo, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    job = replace(todo[0], name="hidden=[/9]")
    with Progress() as shown:
        shown.start(1)
        shown.running(Running(job, 2, {"nll": 0.4, "accuracy": 0.8}))
        until_shown("[1/1] hidden=[/9]  epoch 2/4  val nll 0.4000  accuracy 0.800", [], capsys)


def test_writing_to_mlflow_is_told_where_nobody_watches_too(capsys, at_once):
    with Progress() as shown:
        shown.sending(7)
    assert capsys.readouterr().err == "writing to MLflow: 7 left\n"


# In a notebook


def test_in_a_notebook_one_line_is_written_over_and_cleared(todo, capsys, clock):
    with Progress(bar=True) as shown:
        shown.start(2)
        shown.ended(outcome(todo[0]))
        shown.running(Running(todo[1], 2, {"nll": 0.4}))  # too soon to be shown
        clock.now += 1
        shown.ended(outcome(todo[1]))
    frames = capsys.readouterr().err.split("\r")
    assert [frame.partition(",")[0].strip() for frame in frames] == ["", "1 of 2 done", "2 of 2 done", "", ""]
    assert len(frames[-2]) >= len(frames[-3].rstrip())


def test_without_a_bar_nothing_is_written_and_messages_go_to_logging_alone(todo, capsys, caplog, at_once):
    caplog.set_level("INFO", "sweepgrad")
    with Progress(bar=False) as shown:
        shown.start(2)
        shown.ended(outcome(todo[0]))
        shown.ended(failure(todo[1]))
    assert capsys.readouterr().err == ""
    assert "[1/2] job 0  val accuracy 0.750" in caplog.text
    assert "FAILED: it [diverged]" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"), (0, "0 s"), (0.4, "0 s"), (59.6, "60 s"), (89.4, "89 s"), (90, "2 min"), (150, "2 min"),
        (3600, "60 min"), (5399, "90 min"), (5400, "1.5 h"), (86400, "24.0 h"),
    ],
)  # fmt: skip
def test_durations_are_said_as_people_do(seconds, said):
    assert readable(seconds) == said
