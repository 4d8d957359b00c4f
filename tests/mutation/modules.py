"""The modules whose mutants are tested, in groups, each with the tests that have to kill them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Modules that share a sample of mutants.

    Attributes:
        modules: files below `src/sweepgrad`.
        tests: files and folders below `tests`; only fast tests are run.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


SAMPLE = 60  # mutants of a group

GROUPS = (
    Group("split", ("data/split.py",), ("data/test_split.py", "data/test_access.py")),
    Group(
        "preprocessing",
        ("data/preprocess/fit.py", "data/preprocess/normal_scores.py", "data/preprocess/transforms.py"),
        ("data/preprocess",),
    ),
    Group(
        "access", ("data/access.py",), ("data/test_access.py", "data/test_arrays.py", "data/test_reads.py")
    ),
    Group(
        "leakage",
        (
            *("data/leakage/check.py", "data/leakage/columns.py", "data/leakage/constant.py"),
            *("data/leakage/drift.py", "data/leakage/duplicates.py", "data/leakage/identifying.py"),
            *("data/leakage/perturbation.py", "data/leakage/revealing.py", "data/leakage/target_copies.py"),
        ),
        ("data/leakage",),
    ),
    Group(
        "audit",
        ("data/audit/certificate.py", "data/audit/report.py"),
        ("data/audit",),
    ),
    Group("ledger", ("runs/ledger.py",), ("runs/test_ledger.py",)),
    Group(
        "evidence",
        ("selection/evidence.py", "selection/standings.py", "selection/candidates.py"),
        (
            *("selection/test_candidates.py", "selection/test_decide.py", "selection/test_evidence.py"),
            *("selection/test_leaderboard.py", "sweeps/test_launch.py"),
        ),
    ),
    Group(
        "selection",
        ("selection/leaderboard.py", "selection/finalize.py"),
        ("selection/test_leaderboard.py", "selection/test_finalize.py", "selection/test_evidence.py"),
    ),
    Group("rewriting", ("engine/rewrite.py",), ("engine/test_rewrite.py",)),
    Group("allocation", ("engine/allocate.py",), ("engine/test_tape.py", "engine/test_agreement.py")),
    Group("outbox", ("tracking/outbox.py",), ("tracking/test_outbox.py",)),
)
