"""What a chaos run did, in figures and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaos_blows import Dealt
from chaos_books import Attempt, Evidence
from chaos_plan import VICTIMS, ChaosPlan, Kill
from rich.table import Table

# What the reaper notes of an execution whose job-service was not heard of again.
REAPED = "The replica that ran the job went away."


@dataclass(frozen=True, slots=True)
class Interruption:
    """An execution that a blow ended, and how long its job waited for the next one."""

    by: str
    recovery_seconds: float


def interruptions(dealt: Sequence[Dealt], evidence: Evidence) -> list[Interruption]:
    """Return what the blows interrupted, each execution by the last blow that may have done it."""
    started = {(each.job_id, each.attempt): each.started_at for each in evidence.attempts}
    found = []
    for each in evidence.attempts:
        blow = _cause(each, dealt) if each.outcome != "completed" else None
        if blow is not None:
            again = started[each.job_id, each.attempt + 1]
            found.append(Interruption(name_of(blow), (again - blow.running.at).total_seconds()))
    return found


def _cause(attempt: Attempt, dealt: Sequence[Dealt]) -> Dealt | None:
    """Return the blow; `None` where an execution ended by itself, such as for want of a slot."""
    names = (
        ("job-service", "freeze") if attempt.error == REAPED else ("compute-router", "gpu-worker")
    )
    for each in reversed(dealt):
        met = (attempt.job_id, attempt.attempt) in each.running.attempts
        if met and name_of(each) in names:
            return each
    return None


def name_of(dealt: Dealt) -> str:
    """Return the service that was killed, or `freeze`."""
    return dealt.blow.service if isinstance(dealt.blow, Kill) else "freeze"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def table_of(
    plan: ChaosPlan,
    dealt: Sequence[Dealt],
    interrupted: Sequence[Interruption],
    restarts: Sequence[float],
    repeats: Counter[str],
    wall_seconds: float,
) -> Table:
    """Return the whole run as a table."""
    table = Table(title=f"Chaos: {plan.jobs} jobs, seed {plan.seed}", show_header=False)
    blows = Counter(name_of(each) for each in dealt)
    ended = Counter(each.by for each in interrupted)
    for name in (*VICTIMS, "freeze"):
        what = "job-service frozen" if name == "freeze" else f"{name} killed"
        table.add_row(what, f"{blows[name]}", f"{ended[name]} executions interrupted")
    waits = [each.recovery_seconds for each in interrupted]
    table.add_section()
    table.add_row("recovery p50, p99", *_seconds(waits))
    table.add_row("restart p50, p99", *_seconds(restarts))
    for reason, count in repeats.most_common():
        table.add_row("request repeated", f"{count}", reason)
    table.add_row("wall time", f"{wall_seconds:.1f} s", f"{plan.jobs / wall_seconds:.1f} jobs/s")
    return table


def _seconds(values: Sequence[float]) -> tuple[str, str]:
    return f"{percentile(values, 0.5):.2f} s", f"{percentile(values, 0.99):.2f} s"
