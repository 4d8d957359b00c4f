"""Hydra's sweep syntax as a space: each value reaches the job as the grid sweeper would hand it over."""

import math

import pytest
import yaml
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sweepgrad.errors import UserError
from sweepgrad.paths import config_dir
from sweepgrad.sweeps.search.space import Choices, Interval, Space, Steps, digest, parse, setting


def the_loader() -> ConfigLoader:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return hydra.config_loader


@pytest.fixture(scope="module")
def loader() -> ConfigLoader:
    """Return the loader of this package's configuration."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return the_loader()


def read_back(line: str) -> object:
    (override,) = OverridesParser.create().parse_overrides([line])
    assert not override.is_sweep_override(), line
    return override.value()


def values_of(space: Space, key: str) -> list[object]:
    dimension = space.dimensions[key]
    assert not isinstance(dimension, Interval)
    return [read_back(f"{key}={value}") for value in dimension.values]


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("k=a,b", ["a", "b"]),
        ("k=choice(wide,deep)", ["deep", "wide"]),
        ("k=1,null", [1, None]),
        ("k=choice(16,32,64)", [16, 32, 64]),
        ("k=0.5,1e-05,true", [0.5, 1e-05, True]),
        ("k='1','true','null'", ["1", "null", "true"]),  # strings that look otherwise
        ("k=choice('1','2')", ["1", "2"]),
        ("k=str(choice(1,2))", ["1", "2"]),
        ("k='a b','c,d','e=f'", ["a b", "c,d", "e=f"]),
        ("k='it\\'s','back\\\\'", ["back\\", "it's"]),
        ("k='','[x]'", ["", "[x]"]),
        ("k='größe',x", ["größe", "x"]),
        ("k=choice([8,4],[16])", [[16], [8, 4]]),
        ("k=[a,'1'],[b]", [["a", "1"], ["b"]]),
        ("k={x:1,y:[2,'3']},{x:2}", [{"x": 1, "y": [2, "3"]}, {"x": 2}]),
        ("k=range(3)", [0, 1, 2]),
        ("k=range(2,11,3)", [2, 5, 8]),
        ("k=range(3,0,-1)", [1, 2, 3]),
        ("k=range(0,1,0.25)", [0.0, 0.25, 0.5, 0.75]),
        ("k=shuffle(range(3))", [0, 1, 2]),
        ("k=shuffle(a,b,c)", ["a", "b", "c"]),
        ("k=sort(3,1,2,reverse=true)", [1, 2, 3]),
    ],
)
def test_values_come_back_as_they_were_given(loader, override, values):
    space = parse({}, [override], loader)
    found = values_of(space, "k")
    assert sorted(map(repr, found)) == sorted(map(repr, values))
    assert space.size == len(values)


printable = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="$"))


@settings(max_examples=40, deadline=None)
@given(st.lists(printable, unique=True, min_size=2, max_size=4))
@example(["", "İ"])
def test_any_texts_come_back(loader, texts):
    line = "k=" + ",".join(QuotedString(text, Quote.double).with_quotes() for text in texts)
    assert sorted(map(str, values_of(parse({}, [line], loader), "k"))) == sorted(texts)


@pytest.mark.parametrize("override", ["k=range(0,1,0.1)", "k=range(-0.3,0.31,0.1)", "k=range(1,2,0.3)"])
def test_steps_are_the_numbers_of_hydras_grid(loader, override):
    (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides([override]), None)
    dimension = parse({}, [override], loader).dimensions["k"]
    assert isinstance(dimension, Steps)
    assert [f"k={value!r}" for value in dimension.values] == [word for (word,) in batch]


@pytest.mark.parametrize(
    ("override", "dimension"),
    [
        ("k=interval(0,0.6)", Interval(0.0, 0.6, log=False)),
        ("k=interval(1,3)", Interval(1.0, 3.0, log=False)),
        ("k=int(interval(1,3))", Interval(1, 3, log=False)),
        ("k=tag(log,interval(1e-4,1e-1))", Interval(1e-4, 1e-1, log=True)),
        ("k=int(tag(log,interval(1,64)))", Interval(1, 64, log=True)),
        ("k=tag(log,int(interval(1,64)))", Interval(1, 64, log=True)),
    ],
)
def test_intervals(loader, override, dimension):
    found = parse({}, [override], loader).dimensions["k"]
    assert found == dimension
    assert isinstance(found, Interval)
    assert (type(found.low), type(found.high)) == (type(dimension.low), type(dimension.high))


def test_sizes(loader):
    assert parse({}, ["a=1,2", "b=range(5)", "c=int(interval(1,3))"], loader).size == 2 * 5 * 3
    assert parse({}, ["a=1,2", "b=interval(0,1)"], loader).size == math.inf


def test_glob_matches_options(loader):
    space = parse({}, ["model=glob(*,exclude=linear)"], loader)
    assert space.dimensions == {"model": Choices(("deep", "middle", "wide"))}


def test_a_point_becomes_overrides_in_the_order_given(loader):
    space = parse(
        {"seed": "1,2"}, ["data=simulated", "+model.extra=a,b", "~train.clip", "train.epochs=3"], loader
    )
    assert space.overrides({"seed": "2", "+model.extra": "b"}) == [
        "seed=2",
        "data=simulated",
        "+model.extra=b",
        "~train.clip",
        "train.epochs=3",
    ]


def test_the_command_line_wins_over_an_experiment(loader):
    params = {"model": "wide,deep", "model.dropout": "0.5", "seed": "1,2,3"}
    space = parse(params, ["model=middle", "+model.dropout=interval(0,0.6)"], loader)
    assert space.fixed == {"model": "model=middle"}
    assert set(space.dimensions) == {"seed", "+model.dropout"}


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([], "nothing to search"),
        (["model=wide"], "nothing to search"),
        (["seed=1,2", "seed=3"], "seed=1,2 seed=3: seed is given twice"),
        (["seed=1,2", "+seed=range(3)"], "seed is given twice"),
        (["seed=1,2,1"], "seed=1,2,1: 1 is given twice"),
        (["seed=range(3,1)"], "range(3,1): the range is empty"),
        (["k=range(0,1,0)"], "the step must not be 0"),
        (["k=interval(2,1)"], "the lower one first"),
        (["k=interval(0,inf)"], "must be finite numbers"),
        (["k=tag(log,interval(0,1))"], "must be positive"),
        (["k=tag(log,range(1,5))"], "tag log has no effect"),
        (["k=tag(foo,interval(1,5))"], "tag foo has no effect"),
        (["model=glob(x*)"], "no option matches"),
    ],
)
def test_invalid_spaces_are_refused(loader, overrides, problem):
    with pytest.raises(UserError) as error:
        parse({}, overrides, loader)
    assert problem in str(error.value)


def settings_of(loader: ConfigLoader, *overrides: str) -> dict[str, str]:
    config = loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)
    return setting(parse({}, overrides, loader), config, loader, {})


def test_what_results_depend_on_is_told_apart(loader):
    base = ("model=choice(wide,deep)", "data=simulated", "train.epochs=3")
    same = settings_of(loader, *base)
    assert settings_of(loader, *reversed(base)) == same
    assert settings_of(loader, *base, "sweep.id=other", "tracking.experiment=x") == same
    for other in (
        ("model=choice(wide,middle)", *base[1:]),
        (*base[:2], "train.epochs=4"),
        (*base, "select.metric=nll"),
        (*base, "sweep.halving={first: 1, factor: 2}"),
        (*base, "sweep.halving={first: 1, factor: 3}"),
    ):
        assert digest(settings_of(loader, *other)) != digest(same), other


def test_tables_and_code_are_told_apart(loader, monkeypatch):
    overrides = ("model=choice(wide,deep)",)
    config = loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)
    space = parse({}, overrides, loader)
    before = setting(space, config, loader, {"spotify": "abc"})
    assert digest(setting(space, config, loader, {"spotify": "abd"})) != digest(before)
    monkeypatch.setattr("sweepgrad.runs.provenance.code", lambda: "other")
    assert digest(setting(space, config, loader, {"spotify": "abc"})) != digest(before)


def test_the_yaml_of_each_option_counts(tmp_path):
    def digests() -> str:
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            return digest(settings_of(the_loader(), "model=choice(a,b)"))

    (tmp_path / "model").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.dump({"defaults": ["_self_", {"model": "a"}], "x": 1}))
    for option in "ab":
        (tmp_path / "model" / f"{option}.yaml").write_text(f"units: {option}")
    before = digests()
    assert digests() == before
    (tmp_path / "model" / "b.yaml").write_text("units: c")
    assert digests() != before
