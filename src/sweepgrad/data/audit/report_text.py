"""What a look at a table came to, as a doctor's note for people."""

import shlex
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweepgrad.config.split import Split
from sweepgrad.data.audit.certificate import PART_NAMES, Certificate
from sweepgrad.data.audit.report import LOPSIDED, RARE, CheckReport
from sweepgrad.data.leakage.duplicates import PAIRS, Duplicates
from sweepgrad.tasks.binary import BINARY

_MANY = 8  # columns that are listed


def show(report: CheckReport, split: Split, console: Console) -> None:
    """Print the note: a table on a terminal, plain lines elsewhere."""
    title = f"{report.name}: {sum(report.certificate.rows.values()):,} rows, {report.source}"
    lines = list(findings(report, split))
    if console.is_terminal:
        table = Table(title=Text(title), title_justify="left", show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        for topic, text in lines:
            table.add_row(topic, Text(text))
        console.print(table)
    else:
        console.print(Text(title))
        for topic, text in lines:
            console.print(Text(f"  {topic}: {text}"))
    for leak in report.problems:
        console.print(Text(f"finding: {leak}", style="bold red"))
    if report.remedies:
        console.print(Text(f"remedy: {shlex.join(report.remedies)}"))
    elif report.problems:
        console.print(Text(f"remedy: {_by_hand(report)}"))
    else:
        console.print(Text("nothing to object to", style="bold green"))


def findings(report: CheckReport, split: Split) -> Iterator[tuple[str, str]]:
    """What there is to say, by topic; findings apart, which come last and loudest."""
    roles, certificate = report.roles, report.certificate
    yield "parts", ", ".join(f"{n:,} {PART_NAMES[part]}" for part, n in certificate.rows.items())
    for kind, names in (("numeric", roles.numeric), ("categorical", roles.categorical)):
        guessed = any(notice.startswith(f"data.{kind} is null") for notice in report.notices)
        if names:
            yield kind, _listed(names) + (" (guessed by type)" if guessed else "")
    if roles.dropped:
        yield "dropped", _listed(roles.dropped)
    for notice in report.notices:
        if " is null, so by their type" not in notice:
            yield "notice", notice
    rare = min(report.positives, 1 - report.positives)
    answer = roles.positive if report.positives > 0.5 else roles.negative
    instead = " or ".join(BINARY.when_rare)
    yield (
        f"target {roles.target}",
        f"{roles.positive!r} in {report.positives:.1%} of all rows; always answering {answer!r} is right on"
        f" {report.majority:.1%}"
        + (f". Few rows of one class: go by select.metric={instead}" if rare < LOPSIDED else ""),
    )
    for finding in report.findings:
        if not finding.refused:
            yield finding.kind, f"{finding.reason}; training drops it"
    yield "missing", _shares(report.missing) or "nothing"
    if report.rare:
        told = ", ".join(f"{name} ({n})" for name, n in list(report.rare.items())[:_MANY])
        yield "rare levels", f"with fewer than {RARE} training rows: {told}"
    if report.unseen:
        told = ", ".join(f"{n} of {name}" for name, n in list(report.unseen.items())[:_MANY])
        yield "unseen levels", f"validation and test rows whose level no training row has: {told}"
    if report.groups:
        crossing = sum(certificate.groups.values())
        yield (
            "groups",
            f"{report.groups.number:,}, the largest of {report.groups.largest} rows;"
            f" {crossing or 'none'} in more than one part",
        )
    else:
        yield "groups", "no data.group: every row counts as independent of the others"
    yield "twins", _equal(certificate.twins)
    yield "near twins", f"all but equal: {counted(certificate.near)}"
    yield "drift", _drift(report)
    for text in certificate.to_json()["left_out"]:
        yield "left out", text


def in_words(certificate: Certificate, *, blind: bool) -> str:
    """A certificate in a sentence or two, for the card of a run.

    Arguments:
        blind: whether it was proven of the run that validation rows have no say in its weights.
    """
    words = [f"**Leaks were found**: {'; '.join(certificate.found)}."] if certificate.found else []
    if not certificate.found:
        groups = ["no group crosses the split"] if certificate.groups else []
        looked = [*groups, "no column gives the target away", *_harmless(certificate)]
        words.append(f"No leak was found: {', '.join(looked)}.")
    proven = ["the preprocessing"] * (certificate.moved == ()) + ["the weights"] * blind
    if proven:
        words.append(f"By perturbation, held-out rows were shown to have no say in {' and '.join(proven)}.")
    return " ".join(words)


def _harmless(certificate: Certificate) -> Iterator[str]:
    """What there is of twins where they do not count."""
    sorts = (("equal in every feature to", certificate.twins), ("all but equal to", certificate.near))
    if not any(any(twins.rows.values()) for _, twins in sorts):
        yield "no row has a twin in another part"
    for how, twins in sorts:
        if twins.beyond_chance:
            yield f"too few rows are {how} one of another part to move a figure ({counted(twins)})"
        elif any(twins.rows.values()):
            yield f"rows are {how} one of another part no more often than chance makes of such columns"


def _equal(twins: Duplicates) -> str:
    return f"equal in every feature: {counted(twins)}"


def counted(twins: Duplicates) -> str:
    """How many rows have a twin in another part, and whether that is chance."""
    rows = [
        f"{n} of {PART_NAMES[other]} with one in {PART_NAMES[one]} ({twins.shares[pair]:.1%})"
        for pair in PAIRS
        if (n := twins.rows[pair])
        for one, other in [pair.split("-")]
    ]
    if not rows:
        return "none in another part"
    return "; ".join(rows) if twins.beyond_chance else "none beyond what chance makes of such columns"


def _drift(report: CheckReport) -> str:
    if not report.drift:
        return "no column differs between the parts by more than chance"
    return "; ".join(
        f"{found.column} differs in the {PART_NAMES[found.part]} rows (p = {found.p:.1g})"
        for found in report.drift[:_MANY]
    )


def _shares(shares: dict[str, float]) -> str:
    some = sorted(shares.items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} {share:.1%}" for name, share in some[:_MANY])
    return f"{told}, …" if len(some) > _MANY else told


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MANY]) + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")


def _by_hand(report: CheckReport) -> str:
    if report.certificate.moved:
        return "the preprocessing is at fault: this is a bug of sweepgrad's, please report it"
    return (
        "name what twins share, such as a customer or a song, as data.group; or delete rows that are there"
        " twice"
    )
