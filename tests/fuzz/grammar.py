"""Strategies for text: values as overrides and YAML write them, and small changes of valid text."""

import json

from hypothesis import strategies as st

KEYS = (
    "seed", "data", "model", "optimizer", "schedule", "experiment", "data.rows", "data.path", "data.target",
    "data.drop", "data.group", "data.transform", "data.noise", "data.features", "split.train", "split.fold",
    "split.folds", "split.outer_fold", "split.outer_folds", "model.hidden", "model.activation",
    "model.dropout", "model.scale", "optimizer.lr", "optimizer.name", "schedule.every", "train",
    "train.epochs",
    "train.batch_size", "train.clip", "train.class_weight", "train.patience", "engine.dtype", "tracking.uri",
    "tracking.experiment", "sweep", "sweep.halving", "sweep.halving.first", "sweep.id", "select.metric",
    "select.threshold", "select.ensemble", "select.ensemble.size", "foo", "foo.bar", "data.rows.x",
    "model.hidden.0", "model.hidden[0]", "", "data@x", "model@_global_", "optimizer@optimizer.a",
)  # fmt: skip
HYDRA = (
    "hydra", "hydra.mode", "hydra.verbose", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir",
    "hydra.sweeper", "hydra.sweeper.params", "hydra.sweeper.params.seed", "hydra.sweeper.max_batch_size",
    "hydra.sweeper.trials", "hydra.launcher", "hydra.launcher.workers", "hydra.launcher.address", "hydra.job",
    "hydra.job.name", "hydra.job.num", "hydra.job.chdir", "hydra.job.env_copy", "hydra.job.override_dirname",
    "hydra.searchpath", "hydra.runtime.choices", "hydra.runtime", "hydra.overrides", "hydra.overrides.task",
    "hydra.output_subdir", "hydra.help.template", "hydra/launcher", "hydra/sweeper", "hydra/job_logging",
    "hydra/help", "hydra.callbacks", "hydra.hydra_logging", "hydra.job_logging.root",
)  # fmt: skip
OPTIONS = (
    "csv", "simulated", "spotify", "wide", "deep", "linear", "middle", "adam", "sgd", "constant", "cosine",
    "staircase", "assignment", "spotify_sweep", "lab/sgd", "basic", "threads", "dask", "optuna", "none",
)  # fmt: skip
REFERENCES = (
    "${seed}", "${data.path}", "${data}", "${hydra:job.num}", "${hydra.job.num}", "${oc.env:HOME}",
    "${now:%Y}",
    "${oc.decode:'[1,2'}", "${oc.create:{a:1}}", "${oc.dict.values:data}", "${.x}", "${..seed}", "${...}",
    "${foo}", "${sweepgrad.keys:}", "${unknown:1}", "${${seed}}", "${hydra:}", "${oc.select:a.b,${seed}}",
    "${",
    "${oc.deprecated:seed}", "${python_version:}", "${model.hidden[0]}", "${optimizer.lr}",
)  # fmt: skip
NUMBERS = (
    "0", "1", "2", "-1", "5", "100", "1000000000", "1000000000000", "9223372036854775807",
    "9223372036854775808",
    "-0", "0.1", "1e-3", "1e-300", "1e308", "1e309", "-1e400", ".5", "nan", "inf", "-inf", "1_000", "0x10",
    "017", "0o17", "0b11", "0x7fffffffffffffff", "0x10000000000000000", "0o7777777777777777777777777", "1:30",
    "190:20:30", "-1:59", "1:30.5", "9" * 40 + ":00", "1e", "0.5", "0.25", "9" * 30, "9" * 5000,
)  # fmt: skip
WORDS = (
    "null", "true", "false", "None", "~", "???", "a", "x y", "größe", "'quoted'", '"double"', "'", '"', "\\",
    "\\,", "\t", "\n", "\0", "\x1b[31m", "{}", "[]", "()", "(", "]", "}", "*", "&a", "%", "@", "=", "a=b",
    ",",
    "..", "/", "../../x", "http://h:1", "sqlite:///x", "sqlite://", "mysql://x", "half", "f1", "cost", "none",
    "seeds", "best", "accuracy", "\ud800", "\u202e", "relu", "tanh", "balanced", "native", "float32",
)  # fmt: skip

scalars = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.sampled_from(REFERENCES),
    st.sampled_from(OPTIONS),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
    st.text(max_size=8).map(json.dumps),
)


def _joined(parts: list[str]) -> str:
    return ",".join(parts)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, max_size=4).map(_joined)
    functions = (
        "range",
        "choice",
        "interval",
        "glob",
        "sort",
        "shuffle",
        "tag",
        "int",
        "float",
        "str",
        "bool",
    )
    named = ("", "", "", "sweep=", "reverse=", "value=", "list=", "step=", "include=", "log,")
    return st.one_of(
        several,
        several.map("[{}]".format),
        st.builds("{{{}: {}}}".format, inner, inner),
        st.builds("{}({}{})".format, st.sampled_from(functions), st.sampled_from(named), several),
        st.builds("${{{}:{}}}".format, st.sampled_from(("oc.decode", "oc.env", "x", "now")), inner),
    )


ranges = st.builds(
    "range({})".format, st.lists(st.sampled_from(NUMBERS) | st.integers().map(str), max_size=4).map(_joined)
)
towers = st.builds(
    lambda opened, n, closed, m: opened * n + closed * m,
    st.sampled_from(("[", "(", "{", "{a:", "${", "'", "choice(", "[1,")),
    st.sampled_from((1, 5, 31, 33, 300, 3000)),
    st.sampled_from(("]", ")", "}", "")),
    st.sampled_from((0, 1, 31, 33, 300)),
)
values = st.one_of(scalars, scalars, st.recursive(scalars, _nested, max_leaves=6), ranges, towers)


def mutated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return text with a few small changes: parts left out, repeated or replaced."""

    def change(text: str, edits: list[tuple[float, int, str]]) -> str:
        for where, removed, inserted in edits:
            at = int(where * len(text))
            text = text[:at] + inserted + text[at + removed :]
        return text

    edit = st.tuples(
        st.floats(0, 1), st.integers(0, 4), st.sampled_from(WORDS + REFERENCES) | st.text(max_size=3)
    )
    return st.builds(change, texts, st.lists(edit, min_size=1, max_size=3))
