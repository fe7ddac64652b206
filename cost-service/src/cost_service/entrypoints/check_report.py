"""Prints what the ledger checker found, for an operator, for `grep`, and for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from cost_service.domain.books import Finding
from cost_service.domain.ledger_check import RULES, SETTLED_RULES
from cost_service.usecases.check_ledger import CheckedBooks


def print_report(
    checked: CheckedBooks, *, require_settled: bool = False, console: Console | None = None
) -> None:
    """Print one row for each rule, then each finding on a line of its own."""
    out = console or Console(soft_wrap=True, highlight=False)
    findings = checked.findings
    table = Table("rule", "drifts")
    for rule, count in _drifts_by_rule(checked, require_settled).items():
        table.add_row(rule, str(count))
    out.print(table)
    out.print(
        ", ".join(f"{count} {what}" for what, count in _counts(checked).items()), markup=False
    )
    for word, some in (
        ("drift", findings.drifts),
        ("in flight", findings.in_flight),
        ("note", findings.notes),
    ):
        for finding in some:
            out.print(_line(word, finding), markup=False)
    out.print("drift found" if findings.drifts else "no drift", markup=False)


def json_report(checked: CheckedBooks, *, require_settled: bool = False) -> str:
    """Return the same as a JSON document."""
    findings = checked.findings
    return json.dumps(
        {
            "consistent": not findings.drifts,
            "counts": _counts(checked),
            "rules": _drifts_by_rule(checked, require_settled),
            "drifts": [asdict(finding) for finding in findings.drifts],
            "in_flight": [asdict(finding) for finding in findings.in_flight],
            "notes": [asdict(finding) for finding in findings.notes],
        },
        indent=2,
    )


def _drifts_by_rule(checked: CheckedBooks, require_settled: bool) -> dict[str, int]:
    drifts = Counter(finding.rule for finding in checked.findings.drifts)
    asked = RULES + SETTLED_RULES if require_settled else RULES
    return {rule: drifts[rule] for rule in asked}


def _line(word: str, finding: Finding) -> str:
    return f"{word}: {finding.rule}: {finding.subject}: {finding.detail}"


def _counts(checked: CheckedBooks) -> dict[str, int]:
    cost, jobs = checked.cost, checked.jobs
    return {
        "jobs": len(jobs.jobs),
        "attempts": len(jobs.attempts),
        "settlements": len(jobs.outbox),
        "holds": len(cost.holds),
        "ledger entries": len(cost.entries),
        "budgets": len(cost.budgets),
        "in flight": len(checked.findings.in_flight),
    }
