"""The measurements: libraries and workloads."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.peers import task

OURS_NATIVE, OURS_NUMPY, EAGER, SCALAR = "ours, native", "ours, NumPy", "eager Value", "scalar Value"
PYTORCH, COMPILED = "PyTorch eager", "PyTorch compiled"
JAX, JAX_TUNED = "JAX scan", "JAX scan, tuned"
SKLEARN = "scikit-learn"
JAX_VMAP, JAX_PADDED = "JAX vmap", "JAX, padded and vmapped"
JAX_EACH, JAX_EACH_QUICK = "JAX, each shape compiled", "JAX, each shape compiled quickly"
MACHINE = "the machine"

PEERS = (OURS_NATIVE, OURS_NUMPY, EAGER, SCALAR, PYTORCH, COMPILED, JAX, JAX_TUNED, SKLEARN)

# The distribution that a library needs, if sweepgrad does not need it itself.
NEEDS = {
    PYTORCH: "torch",
    COMPILED: "torch",
    **dict.fromkeys((JAX, JAX_TUNED, JAX_VMAP, JAX_EACH, JAX_EACH_QUICK, JAX_PADDED), "jax"),
}

STEP, POPULATION, SHAPES, FIRST_STEP, RATE = (
    "step",
    "64 models of one shape",
    "64 models of 64 shapes",
    "first step",
    "sgemm rate",
)
MODELS, EPOCHS = 64, 25
SMALL = (8, 4)
POPULATION_EPOCHS = 10  # enough that the steps dominate, since ours includes the start
# Depth 1 to 3, all combinations of widths, the last depth in part: 4 + 16 + 44 shapes.
DIFFERENT = [shape for depth in (1, 2, 3) for shape in product((8, 16, 32, 64), repeat=depth)][:MODELS]

TABLE = [
    ((8, 4), 1),
    ((8, 4), 32),
    ((8, 4), 256),
    ((64, 64), 1),
    ((64, 64), 32),
    ((64, 64), 256),
    ((256, 256), 32),
    ((256, 256), 256),
]
CHARTED = (OURS_NATIVE, PYTORCH, COMPILED, JAX, JAX_TUNED, SKLEARN)
CHART_WIDTHS = (5, 10, 20, 32, 64, 128, 256, 560, 992)  # of two layers, batch 32: 111 to a million parameters
CHART_BATCH = 32
CHART_HIDDEN = ((8, 4), (64, 64))
CHART_BATCHES = (1, 8, 32, 128, 256, 1024)


@dataclass(frozen=True)
class Measurement:
    """One library with one workload, timed in its own process.

    Arguments:
        function: "module:function" under benchmarks that returns seconds (or operations per second).
        arguments: of the function.
        once: measured in the first round only, for charts or because it takes long.
        flags: for XLA.
        divide: divide the function's number by this, to get the time per model and step.
    """

    peer: str
    work: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    batch: int = 0
    dtype: str = ""
    cores: int = 1
    once: bool = False
    flags: str = ""
    divide: int = 1

    @property
    def name(self) -> str:
        if self.work == STEP:
            return f"{self.peer}, {network(self.hidden)}, batch {self.batch}, {self.dtype}"
        return f"{self.peer}, {self.work}, {self.cores} core{'s' if self.cores > 1 else ''}"


def network(hidden: tuple[int, ...]) -> str:
    """Return the name of a network in tables, such as 14-8-4-1."""
    return "-".join(map(str, (task.FEATURES, *hidden, 1)))


def step(peer: str, hidden: tuple[int, ...], batch: int, dtype: str, once: bool = False) -> Measurement:
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        OURS_NATIVE: ("ours:step_seconds", {"engine": "native"}),
        OURS_NUMPY: ("ours:step_seconds", {"engine": "numpy"}),
        EAGER: ("peers.eager:step_seconds", {}),
        SCALAR: ("peers.scalar:step_seconds", {}),
        PYTORCH: ("peers.pytorch:eager_step_seconds", {}),
        COMPILED: ("peers.pytorch:compiled_step_seconds", {}),
        JAX: ("peers.jax_scan:step_seconds", {"tuned": False}),
        JAX_TUNED: ("peers.jax_scan:step_seconds", {"tuned": True}),
        SKLEARN: ("peers.sklearn_mlp:step_seconds", {}),
    }
    function, extra = ways[peer]
    arguments = {"hidden": hidden, "batch": batch, "dtype": dtype, **extra}
    return Measurement(peer, STEP, function, arguments, hidden, batch, dtype, once=once)


def in_table() -> list[Measurement]:
    """Return the steps of the table; libraries alternate, so that a slow phase of the machine hits all."""
    both = {OURS_NATIVE, JAX, JAX_TUNED}
    single = {PYTORCH: "float32", COMPILED: "float32"}
    steps = []
    for hidden, batch in TABLE:
        for peer in PEERS:
            if peer == SCALAR and (hidden, batch) != (SMALL, 1):
                continue  # takes minutes and adds nothing
            dtypes = ("float64", "float32") if peer in both else (single.get(peer, "float64"),)
            steps += [step(peer, hidden, batch, dtype) for dtype in dtypes]
    return steps


def in_charts() -> list[Measurement]:
    """Return the steps that only the charts need."""
    points = [((width, width), CHART_BATCH) for width in CHART_WIDTHS]
    points += [(hidden, batch) for hidden in CHART_HIDDEN for batch in CHART_BATCHES]
    steps = [
        step(peer, hidden, batch, dtype, once=True)
        for hidden, batch in points
        for peer in CHARTED
        for dtype in (("float64", "float32") if peer == OURS_NATIVE else (chart_dtype(peer),))
    ]
    known = {measurement.name for measurement in in_table()}
    return [measurement for measurement in steps if measurement.name not in known]


def chart_dtype(peer: str) -> str:
    return "float64" if peer == SKLEARN else "float32"


def of_many() -> list[Measurement]:
    """Return all other measurements: many models, the first step, and the speed of the machine."""
    population = {"shapes": [SMALL] * MODELS, "batch": 1, "epochs": POPULATION_EPOCHS}
    shapes = {"shapes": DIFFERENT, "batch": 32, "epochs": EPOCHS}
    jax = "peers.jax_population:"
    quick = "--xla_cpu_use_fusion_emitters=false"  # halves the time to compile; steps are somewhat slower
    return [
        Measurement(MACHINE, RATE, "peers.sgemm:flops_per_second"),
        Measurement(
            OURS_NATIVE,
            POPULATION,
            "ours:population_seconds",
            {**population, "threads": 2},
            cores=2,
            divide=MODELS * task.ROWS * POPULATION_EPOCHS,
        ),
        Measurement(
            JAX_VMAP,
            POPULATION,
            f"{jax}same_shape_seconds",
            {"hidden": SMALL, "models": MODELS, "batch": 1},
            cores=2,
        ),
        Measurement(OURS_NATIVE, SHAPES, "ours:population_seconds", {**shapes, "threads": 2}, cores=2),
        Measurement(OURS_NATIVE, SHAPES, "ours:population_seconds", {**shapes, "threads": 1}, cores=1),
        Measurement(JAX_EACH, SHAPES, f"{jax}compiled_each_seconds", shapes, cores=2, once=True),
        Measurement(
            JAX_EACH_QUICK, SHAPES, f"{jax}compiled_each_seconds", shapes, cores=2, once=True, flags=quick
        ),
        Measurement(JAX_PADDED, SHAPES, f"{jax}padded_seconds", shapes, cores=2, once=True, flags=quick),
        Measurement(OURS_NATIVE, FIRST_STEP, "measure:our_first_step"),
        Measurement(PYTORCH, FIRST_STEP, "peers.pytorch:first_step_seconds"),
        Measurement(JAX, FIRST_STEP, "peers.jax_scan:first_step_seconds"),
    ]


def quick() -> list[Measurement]:
    """Return enough measurements to check that everything works, in a minute or two."""
    steps = [m for m in in_table() if (m.hidden, m.batch) in (((8, 4), 1), ((64, 64), 32))]
    slow = {COMPILED, JAX_EACH, JAX_EACH_QUICK, JAX_PADDED}
    return [m for m in (*of_many(), *steps) if m.peer not in slow]
