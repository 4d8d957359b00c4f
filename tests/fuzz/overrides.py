"""Fuzz target: the overrides of a command line, as `sweepgrad train` plans them."""

import json
from contextlib import ExitStack

from hypothesis import strategies as st
from tests.fuzz.grammar import HYDRA, KEYS, OPTIONS, mutated, values
from tests.fuzz.property import MOST_SAID, check_message

from sweepgrad.compose.internals import Hydra
from sweepgrad.compose.loader import composer_for
from sweepgrad.compose.plan import plan_with
from sweepgrad.errors import UserError

SHORT = 15  # examples in `make test`: each takes as long as a plan

VALID = (
    "model=wide,deep", "seed=range(0,3)", "data=simulated", "optimizer.lr=0.01,0.1", "train.epochs=3",
    "model.hidden=[4,4]", "data.drop=[a,b]", "'data.transform={x: quantile_normal}'", "experiment=assignment",
    "sweep.halving={first: 2, factor: 3}", "select.threshold={rule: cost, false_positive: 1}", "~data.drop",
    "optimizer.lr=tag(log,interval(1e-4,0.1))", "hydra/sweeper=optuna", "hydra.sweeper.trials=4",
    "+hydra.sweeper.params.seed='1,2'",
    "+hydra.sweeper.params={hydra.job.num: '1,2'}", "+hydra.sweeper.params={hydra/launcher: basic}",
    "hydra/launcher=basic", "split.fold=range(5)",
)  # fmt: skip
_A_COMPOSER_FOR = 200  # attacks: it caches what it has parsed


def examples() -> st.SearchStrategy[bytes]:
    """Return command lines: few valid overrides, and some that are made by a grammar or changed."""
    keys = st.sampled_from(KEYS + KEYS + HYDRA) | st.text(max_size=6)
    prefix = st.sampled_from(("", "", "", "+", "++", "~"))
    options = st.builds(
        "{}={}".format, st.sampled_from(("model", "data", "optimizer")), st.sampled_from(OPTIONS)
    )
    made = st.builds("{}{}={}".format, prefix, keys, values)
    lines = st.one_of(
        made, made, options, mutated(st.sampled_from(VALID)), prefix.flatmap(lambda p: keys.map(p.__add__))
    )
    given = st.tuples(
        st.booleans(), st.lists(st.sampled_from(VALID), max_size=1), st.lists(lines, min_size=1, max_size=2)
    )
    return given.map(lambda it: json.dumps({"multirun": it[0], "overrides": it[1] + it[2]}).encode())


def attack(data: bytes) -> None:
    """Plan the runs of a command line.

    Raises:
        Failed: it is refused by a message that is empty, too long, or not for users.
    """
    given = json.loads(data)
    try:
        plan_with(_composer(), given["overrides"], multirun=given["multirun"], max_jobs=100)
    except UserError as error:
        check_message(str(error), MOST_SAID, given["overrides"])
        raise


_open = ExitStack()
_composers: list[Hydra] = []
_n_used = 0


def _composer() -> Hydra:
    """Return a composer that is used for many attacks: making one takes as long as an attack."""
    global _n_used
    if _n_used % _A_COMPOSER_FOR == 0:
        _open.close()
        _composers[:] = [_open.enter_context(composer_for())]
    _n_used += 1
    return _composers[0]
