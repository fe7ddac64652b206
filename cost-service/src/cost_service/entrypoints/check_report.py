"""Prints what the ledger checker found, for an operator and for `grep`."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from cost_service.domain.ledger_check import RULES, Finding
from cost_service.usecases.check_ledger import CheckedBooks


def print_report(checked: CheckedBooks, console: Console | None = None) -> None:
    """Print one row for each rule, then each finding on a line of its own."""
    out = console or Console(soft_wrap=True, highlight=False)
    findings = checked.findings
    drifts = Counter(finding.rule for finding in findings.drifts)
    table = Table("rule", "drifts")
    for rule in RULES:
        table.add_row(rule, str(drifts[rule]))
    out.print(table)
    out.print(_counts(checked), markup=False)
    for word, some in (
        ("drift", findings.drifts),
        ("in flight", findings.in_flight),
        ("note", findings.notes),
    ):
        for finding in some:
            out.print(_line(word, finding), markup=False)
    out.print("drift found" if findings.drifts else "no drift", markup=False)


def _line(word: str, finding: Finding) -> str:
    return f"{word}: {finding.rule}: {finding.subject}: {finding.detail}"


def _counts(checked: CheckedBooks) -> str:
    cost, jobs = checked.cost, checked.jobs
    return (
        f"{len(jobs.jobs)} jobs, {len(jobs.outbox)} settlements, {len(cost.holds)} holds, "
        f"{len(cost.entries)} ledger entries, {len(cost.budgets)} budgets, "
        f"{len(checked.findings.in_flight)} in flight"
    )
