"""Print the report on a table."""

import shlex
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from sweepgrad.config.split import Split
from sweepgrad.data.audit.certificate import PART_NAMES, Certificate
from sweepgrad.data.audit.report import RARE, RARE_CLASS, CheckReport
from sweepgrad.data.leakage.duplicates import PAIRS, Duplicates
from sweepgrad.data.schema.roles import InferredColumns
from sweepgrad.messages import escape
from sweepgrad.messages.terminal import text as shown
from sweepgrad.tasks.binary import BINARY

_MANY = 8  # columns are listed at most


def show(report: CheckReport, split: Split, console: Console) -> None:
    """Print a report: a table on a terminal, plain lines elsewhere."""
    title = f"{report.name}: {sum(report.certificate.rows.values()):,} rows, {report.source}"
    lines = list(findings(report, split))
    if console.is_terminal:
        table = Table(title=shown(title), title_justify="left", show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        for topic, text in lines:
            table.add_row(shown(topic), shown(text))
        console.print(table)
    else:
        console.print(shown(title))
        for topic, text in lines:
            console.print(shown(f"  {topic}: {text}"))
    for problem in report.problems:
        console.print(shown(f"finding: {problem}", style="bold red"))
    if report.remedies:
        console.print(shown(f"remedy: {shlex.join(report.remedies)}"))
    elif report.problems:
        console.print(shown(f"remedy: {_by_hand(report)}"))
    else:
        console.print(shown("no problems found", style="bold green"))


def findings(report: CheckReport, split: Split) -> Iterator[tuple[str, str]]:
    """Yield the lines of a report as topic and text, without its problems."""
    roles, certificate = report.roles, report.certificate
    yield "split", ", ".join(f"{n:,} {PART_NAMES[part]}" for part, n in certificate.rows.items())
    inferred = [notice.role for notice in report.notices if isinstance(notice, InferredColumns)]
    for kind, names in (("numeric", roles.numeric), ("categorical", roles.categorical)):
        if names:
            yield kind, _listed(names) + (" (by column type)" if kind in inferred else "")
    if roles.dropped:
        yield "dropped", _listed(roles.dropped)
    for notice in report.notices:
        if not isinstance(notice, InferredColumns):
            yield "notice", notice
    rare = min(report.positives, 1 - report.positives)
    majority = roles.positive if report.positives > 0.5 else roles.negative
    instead = " or ".join(f"select.metric={metric}" for metric in BINARY.when_rare)
    yield (
        f"target {roles.target}",
        f"{roles.positive!r} in {report.positives:.1%} of all rows; always predicting {majority!r} has an"
        f" accuracy of {report.majority:.1%}"
        + (f". One class is rare: use {instead}" if rare < RARE_CLASS else ""),
    )
    for finding in report.findings:
        if not finding.refused:
            yield finding.kind, f"{finding.reason}; training drops it"
    yield "missing", _shares(report.missing) or "no values"
    if report.rare:
        columns = ", ".join(f"{name} ({n})" for name, n in list(report.rare.items())[:_MANY])
        yield "rare levels", f"levels with fewer than {RARE} training rows: {columns}"
    if report.unseen:
        columns = ", ".join(f"{name} ({n})" for name, n in list(report.unseen.items())[:_MANY])
        yield "unseen levels", f"validation and test rows with a level that no training row has: {columns}"
    if report.groups:
        across = sum(certificate.groups.values())
        yield (
            "groups",
            f"{report.groups.number:,}, the largest with {report.groups.largest} rows;"
            f" {across or 'none'} in more than one set",
        )
    else:
        yield "groups", "data.group is not set: every row is treated as independent"
    yield "duplicates", counted(certificate.duplicates)
    yield "near-duplicates", counted(certificate.near_duplicates)
    yield "drift", _drift(report)
    for text in certificate.to_json()["left_out"]:
        yield "limits", text


def certificate_text(certificate: Certificate, *, weights_isolated: bool) -> str:
    """Return a certificate as one or two sentences, for the card of a run.

    Arguments:
        weights_isolated: whether the run's isolation test passed: its weights do not depend on validation
            rows.
    """
    sentences = (
        [f"**Leaks were found**: {'; '.join(map(escape.in_markdown, certificate.found))}."]
        if certificate.found
        else []
    )
    if not certificate.found:
        groups = ["no group is in more than one set"] if certificate.groups else []
        facts = [*groups, "no column reveals the target", *_irrelevant_duplicates(certificate)]
        sentences.append(f"No leaks were found: {', '.join(facts)}.")
    isolated = ["the preprocessing"] * (certificate.moved == ()) + ["the weights"] * weights_isolated
    if isolated:
        sentences.append(
            f"The isolation test passed: held-out rows do not influence {' or '.join(isolated)}."
        )
    return " ".join(sentences)


def _irrelevant_duplicates(certificate: Certificate) -> Iterator[str]:
    kinds = (
        ("equal in every feature to", certificate.duplicates),
        ("nearly equal to", certificate.near_duplicates),
    )
    if not any(any(found.rows.values()) for _, found in kinds):
        yield "no row has a duplicate in another set"
    for relation, found in kinds:
        if found.beyond_chance:
            yield f"too few rows are {relation} one in another set to matter ({counted(found)})"
        elif any(found.rows.values()):
            yield f"rows are {relation} one in another set no more often than by chance"


def counted(found: Duplicates) -> str:
    """Return the number of rows with a duplicate in another set, as text."""
    rows = [
        f"{n} {PART_NAMES[other]} rows with one in the {PART_NAMES[one]} set ({found.shares[pair]:.1%})"
        for pair in PAIRS
        if (n := found.rows[pair])
        for one, other in [pair.split("-")]
    ]
    if not rows:
        return "none in different sets"
    return "; ".join(rows) if found.beyond_chance else "no more in different sets than expected by chance"


def _drift(report: CheckReport) -> str:
    if not report.drift:
        return "no column differs significantly between the sets"
    return "; ".join(
        f"{found.column} differs between training and {PART_NAMES[found.part]} rows (p = {found.p:.1g})"
        for found in report.drift[:_MANY]
    )


def _shares(shares: dict[str, float]) -> str:
    some = sorted(shares.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {share:.1%}" for name, share in some[:_MANY])
    return f"{text}, …" if len(some) > _MANY else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MANY]) + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")


def _by_hand(report: CheckReport) -> str:
    if report.certificate.moved:
        return "this is a bug in sweepgrad's preprocessing; please report it"
    return "set data.group to a column that duplicates share, such as a customer; or delete repeated rows"
