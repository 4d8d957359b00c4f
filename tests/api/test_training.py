"""Training from Python: the same runs as on the command line, in every place where a notebook may call."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from tests.support import GRID, SMALL, command, environment, people
from tests.sweeps.support import weights

import sweepgrad as sg
from sweepgrad.api.results import run_in, sweep_in
from sweepgrad.api.training import UnsentWarning
from sweepgrad.files import digest
from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record

DIVERGES = ("optimizer=sgd", "optimizer.lr=1e300")


@pytest.fixture
def frame() -> pd.DataFrame:
    return people(200).drop(columns="person")


def place(run: sg.Run) -> Path:
    """Return the folder of a run, which has one."""
    assert run.folder is not None
    return run.folder


# Configurations


def test_a_configuration_is_typed_and_validated() -> None:
    config = sg.load_config([*SMALL, "model=deep"])
    assert isinstance(config, sg.Config)
    assert config.train.epochs == 3
    with pytest.raises(sg.UserError, match="train\\.epochs"):
        sg.load_config([*SMALL, "train.epochs=0"])


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (sg.load_config, r"load_config returns the configuration of one run$"),
        (sg.train, r"call sweepgrad\.sweep$"),
    ],
)
@pytest.mark.parametrize("overrides", [["seed=1,2"], ["experiment=spotify_sweep"]])
def test_several_runs_are_a_sweep(function, advice, overrides, folder):
    with pytest.raises(sg.UserError, match=advice):
        function(overrides)
    assert not Path("runs", "single").exists()


def test_yaml_of_a_folder_is_added(folder):
    Path("more", "model").mkdir(parents=True)
    Path("more", "model", "mine.yaml").write_text("defaults: [wide]\nhidden: [3]\n")
    assert sg.load_config(["model=mine"], config_dir="more").model.hidden == (3,)
    assert sg.train([*SMALL, "model=mine"], config_dir=Path("more")).config.model.hidden == (3,)
    with pytest.raises(sg.UserError, match="no such folder"):
        sg.load_config(config_dir="nowhere")


# One run


def test_a_run_says_what_came_of_it(folder, capfd) -> None:
    run = sg.train([*SMALL, "seed=4"], progress=False)
    assert run.folder is not None
    record = records.read(place(run))
    assert (run.name, run.status, run.config.seed) == (record.name, "FINISHED", 4)
    assert run.metrics == record.summary
    assert run.history.index.tolist() == [1, 2, 3]
    assert run.history["val/nll"].tolist() == [epoch.val_loss for epoch in record.history]
    assert run.history["val/nll"].min() == run.metrics["best/val/nll"]
    assert run.id == json.loads((run.folder / "mlflow.json").read_text())["run_id"]
    predicted = run.model().predict(pd.DataFrame({"x1": [0.0, 1.0], "x2": [1.0, 0.0]}))
    assert predicted.columns.tolist() == ["probability", "prediction"]
    assert capfd.readouterr() == ("", "")


def test_a_run_by_python_equals_one_by_the_command_line(folder):
    assert command("train", *SMALL, "model=deep", "seed=3").code == 0
    (cli,) = Path("runs", "single").iterdir()
    run = sg.train([*SMALL, "model=deep", "seed=3"])
    assert records.read(place(run)).history == records.read(cli).history
    assert weights(place(run)) == weights(cli)


def test_a_run_that_fails_raises_and_is_kept(folder):
    with pytest.raises(sg.UserError, match=r"the run failed: training diverged in epoch 1") as error:
        sg.train([*SMALL, *DIVERGES])
    (kept,) = Path("runs", "single").iterdir()
    assert str(kept) in str(error.value)
    assert records.read(kept).status == "FAILED"
    (run,) = sg.load_sweep().runs
    assert f"the run failed: {run.problem}. Its record" in str(error.value)
    with pytest.raises(sg.UserError, match=r"failed, so it has no model: training diverged"):
        run.model()


# Sweeps


def test_a_sweep_by_python_equals_one_by_the_command_line(folder, sweep):
    found = sg.sweep([*SMALL, *GRID.split()], progress=False)
    assert [run.name for run in found.runs] == [records.read(job).name for job in sweep.jobs]
    for run, job in zip(found.runs, sweep.jobs, strict=True):
        assert run.folder is not None
        assert weights(place(run)) == weights(job)
        mine, theirs = records.read(place(run)), records.read(job)
        assert (mine.history, mine.summary, mine.digest) == (theirs.history, theirs.summary, theirs.digest)
        assert mine.overrides == theirs.overrides
    assert found.folder == Path("runs", "sweeps", found.name).absolute()
    assert sweep_record.read(found.folder).command == sweep_record.read(sweep.jobs[0].parent).command
    assert found.id == found.store.sweep(found.name).run_id
    assert not found.failed


def test_the_command_line_resumes_a_sweep_of_python_and_the_other_way_round(folder):
    found = sg.sweep([*SMALL, "seed=1,2"])
    result = command("train", "-m", *SMALL, "seed=1,2")
    assert f"resuming sweep {found.name}" in result.err
    assert "2 runs had been trained before" in result.err
    again = sg.sweep([*SMALL, "seed=1,2"])
    assert again.name == found.name
    assert len(again.runs) == 2


def test_a_failed_job_is_listed_and_a_warning_is_logged(folder, caplog):
    found = sg.sweep([*SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e300"])
    assert [run.status for run in found.runs] == ["FINISHED", "FAILED"]
    (failed,) = found.failed
    assert failed.problem.startswith("training diverged in epoch 1")
    assert failed.metrics == {}
    assert "1 of 2 runs failed" in caplog.text
    assert "diverged" in sg.load_sweep().failed[0].problem
    with pytest.raises(
        sg.UserError, match="none of the 2 runs finished; the first failed: training diverged"
    ) as error:
        sg.sweep([*SMALL, *DIVERGES, "seed=1,2"])
    assert [run.status for run in getattr(error.value, "sweep").failed] == ["FAILED"] * 2  # noqa: B009


def test_a_sweep_that_ends_early_raises(folder):
    with pytest.raises(
        sg.UserError, match=r"sweep\.fail_fast: ended at the first failure; 0 of 2 runs finished"
    ):
        sg.sweep([*SMALL, *DIVERGES, "seed=1,2", "sweep.fail_fast=true"])


def test_ctrl_c_keeps_what_finished_and_the_same_call_continues(folder, monkeypatch):
    from sweepgrad.sweeps.progress import Progress

    ended = Progress.ended

    def interrupt(self, outcome):
        ended(self, outcome)
        if self.done == 2:
            raise KeyboardInterrupt

    space = [*SMALL, "seed=1,2,3,4", "train.epochs=1000"]
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "ended", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sg.sweep(space)
    assert sg.load_sweep().store.sweep(None).status == "KILLED"
    kept = {path: path.stat().st_mtime_ns for path in Path("runs", "sweeps").glob("*/*/record.json")}
    assert 2 <= len(kept) < 4
    found = sg.sweep(space)
    assert [run.status for run in found.runs] == ["FINISHED"] * 4
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def test_a_search_is_a_sweep_and_comes_back_when_it_is_done(folder):
    search = [*SMALL, "hydra/sweeper=optuna", "hydra.sweeper.trials=3", "seed=choice(1,2,3,4)"]
    found = sg.sweep(search)
    assert len(found.runs) == found.n_jobs == 3
    again = sg.sweep(search)
    assert again.name == found.name
    assert [run.metrics for run in again.runs] == [run.metrics for run in found.runs]


# Tables


def test_a_frame_is_trained_on_as_its_file_is(folder, frame):
    overrides = ["data.positive=yes", "train.epochs=2"]
    run = sg.train(overrides, data=frame, target="left")
    (table,) = Path("runs", "tables").iterdir()
    record = records.read(place(run))
    assert (record.config["data"]["path"], record.config["data"]["name"]) == (str(table.absolute()), "frame")
    assert record.data is not None
    assert record.data.digests["table"] == digest(table)
    again = sg.train([*overrides, "data.target=left"], data=frame.set_index(np.arange(3, 203)))
    assert list(Path("runs", "tables").iterdir()) == [table]
    frame.to_csv("people.csv", index=False)
    file = sg.train(overrides, data="people.csv", target="left")
    for other in (again, file):
        assert weights(place(other)) == weights(place(run))
    assert command("verify", str(run.id)).code == 0


def test_a_sweep_of_a_frame_can_be_resumed_finalized_and_verified_from_the_command_line(folder, frame):
    found = sg.sweep(["train.epochs=2", "seed=1,2"], data=frame, target="left")
    assert sg.sweep(["train.epochs=2", "seed=1,2"], data=frame.copy(), target="left").name == found.name
    assert command("finalize").code == 0
    assert command("verify", found.name).code == 0


def test_a_frame_and_its_check(folder, frame):
    report = sg.check(data=frame, target="left")
    assert report.problems == ()
    assert set(report.roles.features) == {"age", "income", "town", "member"}
    leaking = frame.assign(copy=frame["left"] == "yes")
    report = sg.check(data=leaking, target="left")
    assert any("copy" in problem for problem in report.problems)
    with pytest.raises(sg.UserError, match="copy alone predicts left"):
        sg.train(data=leaking, target="left")
    with pytest.raises(sg.UserError, match="name 2 tables or splits"):
        sg.check(["split.seed=1,2"], data=frame, target="left")


def test_a_frame_with_dates_names_the_column(folder, frame):
    dated = frame.assign(when=pd.Timestamp("2020-01-01"))
    with pytest.raises(sg.UserError, match="column 'when' "):
        sg.train(data=dated, target="left")
    assert sg.train(["data.drop=[when]", "train.epochs=1"], data=dated, target="left").status == "FINISHED"


# Wherever it is called


def test_in_another_thread(folder):
    found: list[sg.Run] = []
    threads = [
        threading.Thread(target=lambda seed=seed: found.append(sg.train([*SMALL, f"seed={seed}"])))
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert {run.config.seed for run in found} == {1, 2}
    assert {run.status for run in found} == {"FINISHED"}


def test_within_an_event_loop_as_in_jupyter(folder):
    async def cell() -> sg.Sweep:
        return sg.sweep([*SMALL, "seed=1,2"])

    assert len(asyncio.run(cell()).runs) == 2


def test_after_another_folder_became_the_current_one(folder, tmp_path_factory, monkeypatch):
    first = sg.sweep([*SMALL, "seed=1,2"])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(first.leaderboard()) == 1
    assert first.runs[0].model().columns == ("x1", "x2")
    second = sg.train(SMALL)
    assert second.folder is not None
    assert second.folder.is_relative_to(Path.cwd() / "runs")
    assert sg.finalize(first).folder == folder / "runs" / "cards" / first.name
    assert (folder / "runs" / "test_evaluations.jsonl").exists()
    assert not Path("runs", "cards").exists()
    assert not Path("runs", "test_evaluations.jsonl").exists()


def test_a_relative_table_is_found_from_another_folder(folder, frame, tmp_path_factory, monkeypatch):
    frame.to_csv("people.csv", index=False)
    run = sg.train(["train.epochs=1"], data="people.csv", target="left")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert run.config.model_dump()["data"]["path"] == str(folder / "people.csv")
    assert sg.finalize(run).sweep == run.name


def test_what_mlflow_does_not_have_is_warned_about(folder, monkeypatch):
    monkeypatch.setattr("sweepgrad.sweeps.launch.unsent", lambda outbox: "1 run (the disk is full)")
    with pytest.warns(
        UnsentWarning, match=r"1 run \(the disk is full\) could not be sent to MLflow"
    ) as caught:
        run = sg.train(SMALL)
    assert caught[0].filename == __file__
    with pytest.warns(UnsentWarning, match="sweepgrad sync"):
        found = sg.sweep([*SMALL, "seed=1,2"])
    assert (run.unsent, found.unsent) == (False, 0)
    for kept in folder.glob("runs/**/mlflow.json"):
        kept.unlink()
    assert run_in(place(run)).unsent
    assert found.folder is not None
    assert sweep_in(found.folder).unsent == 2


def test_logging_stays_as_the_application_set_it(folder):
    logger = logging.getLogger("sweepgrad")
    before = (logger.level, logger.propagate, list(logger.handlers))
    sg.train(SMALL)
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_one_line_of_progress_is_written_over(folder, capfd, monkeypatch):
    monkeypatch.setattr("sweepgrad.sweeps.progress._FRAME_SECONDS", -1.0)
    sg.sweep([*SMALL, "seed=1,2"], progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "1 of 2 done" in err
    assert err.count("\n") == 0
    assert err.endswith("\r")


def test_within_another_hydra_application(folder, monkeypatch):
    """Hydra's global state is as it was, and the application composes with it afterwards."""
    Path("conf").mkdir()
    Path("conf", "app.yaml").write_text("x: 1\n")
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    monkeypatch.setattr(sys, "argv", ["app.py", "x=2", "hydra.run.dir=.", *quiet])
    monkeypatch.setattr(VersionBase.instance(), "version_base", VersionBase.instance().version_base)
    seen = []

    @hydra.main(version_base="1.2", config_path=str(folder / "conf"), config_name="app")
    def application(cfg):
        def state():
            base = VersionBase.instance().getbase()
            return GlobalHydra.instance().hydra, HydraConfig.get().job.name, base

        before = state()
        run = sg.train(SMALL)
        found = sg.sweep([*SMALL, "seed=1,2"])
        seen.extend([before == state(), run.status, len(found.runs), cfg.x])

    application()
    assert seen == [True, "FINISHED", 2, 2]


def test_importing_costs_little():
    code = """if True:
        import sys
        import sweepgrad as sg
        assert not {"numpy", "pandas", "hydra", "mlflow", "pydantic"} & sys.modules.keys()
        assert set(sg.__all__) <= set(dir(sg))
    """
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_sweep_is_a_function_whatever_is_imported():
    first = sg.sweep
    import sweepgrad.sweeps.resume
    from sweepgrad.sweeps import reuse

    assert sweepgrad.sweeps.reuse is reuse
    for function in (first, sg.sweep):
        with pytest.raises(sg.UserError, match=r"must be a list of strings, as in \['model=wide'\]"):
            function("model=wide")


def test_types_are_shipped():
    assert Path(sg.__file__).with_name("py.typed").exists()
