"""`sweepgrad check`."""

import argparse

from sweepgrad.cli.verbs.overrides import add_overrides, search_of
from sweepgrad.messages import show_json

HELP = "Check a table for leaks, duplicates and drift before training."
DESCRIPTION = """\
Check a table before training: column roles, class balance, constant columns, identifiers, leaks, duplicates,
missing values and drift between the sets of the split. Nothing is trained.
Exit code: 0 no problem found, 1 a problem that would bias the results, 2 bad input."""
EXAMPLES = """\
examples:
  sweepgrad check data=spotify
  sweepgrad check data=csv data.path=FILE data.target=COLUMN"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON: a list with one report per table")
    add_overrides(verb)


def run(options: argparse.Namespace) -> int:
    import json

    from sweepgrad.api.tables import check_tables
    from sweepgrad.data.audit import report_text
    from sweepgrad.messages.terminal import console as console_of

    reports = check_tables(options.overrides, search_of(options))
    if options.json:
        show_json(json.dumps([report.to_json() for report in reports], indent=1, allow_nan=False))
    else:
        console = console_of(highlight=False)
        if not console.is_terminal:
            console = console_of(width=100_000, highlight=False)
        for number, report in enumerate(reports):
            if number:
                console.print()
            assert report.split is not None
            report_text.show(report, report.split, console)
    return 1 if any(report.problems for report in reports) else 0
