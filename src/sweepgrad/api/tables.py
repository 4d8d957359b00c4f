"""`check`: look at a table before training."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from sweepgrad.api import display
from sweepgrad.api.arguments import overrides_for, search_path
from sweepgrad.data.audit import report
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sweepgrad.config.split import Split


@dataclass(frozen=True, repr=False)
class CheckReport(report.CheckReport):
    """The report of `check` on a table.

    Attributes:
        split: the split that was checked.
    """

    split: "Split | None" = field(default=None, compare=False)

    def __str__(self) -> str:
        from io import StringIO

        from sweepgrad.data.audit import report_text
        from sweepgrad.messages.terminal import console

        assert self.split is not None
        text = StringIO()
        report_text.show(self, self.split, console(file=text, width=100_000, highlight=False))
        return text.getvalue()

    def __repr__(self) -> str:
        found = f"{len(self.problems)} problems" if self.problems else "no problems found"
        return f"CheckReport({self.name!r}, {found})"

    def _repr_html_(self) -> str:
        return display.page(f"Check of {self.name}", display.preformatted(str(self)))


def check(
    overrides: Sequence[str] = (),
    *,
    data: "pd.DataFrame | str | Path | None" = None,
    target: str | None = None,
    config_dir: str | Path | None = None,
) -> CheckReport:
    """Check a table for leaks, duplicates, identifiers and drift, as `sweepgrad check` does. Train nothing.

    Arguments:
        overrides, data, target, config_dir: as for `load_config`.

    Returns:
        The report. Its `problems` would make validation or test metrics misleading.

    Raises:
        UserError: the configuration is wrong, the table cannot be read, or there are several tables.
    """
    reports = check_tables(overrides_for(overrides, data, target), search_path(config_dir))
    if len(reports) > 1:
        raise UserError(f"check: the overrides name {len(reports)} tables or splits; check them one by one")
    return reports[0]


def check_tables(overrides: Sequence[str], search: Sequence[str] = ()) -> list[CheckReport]:
    """Check every table and split that overrides name.

    Arguments:
        search: more folders of YAML files.

    Raises:
        UserError: as `check`.
    """
    from sweepgrad.compose.plan import plan
    from sweepgrad.data.access import open_check

    configs = [job.config for job in plan(overrides, multirun=True, search=search).jobs]
    found = []
    for data, split in dict.fromkeys((config.data, config.split) for config in configs):
        checked = open_check(data, split)
        values = {each.name: getattr(checked, each.name) for each in fields(checked)}
        found.append(CheckReport(**values, split=split))
    return found
