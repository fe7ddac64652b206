"""What a chaos run did, in figures and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaos_blows import Dealt
from chaos_books import Attempt, Evidence
from chaos_plan import ChaosPlan, Freeze, Kill, RestartPostgres
from chaos_run import ChaosRun

# What the reaper notes of an execution whose job-service was not heard of again.
REAPED = "The replica that ran the job went away."
FREEZE, POSTGRES, REDIS = "job-service frozen", "Postgres crashed", "Redis emptied"
# Who may have ended an execution that nobody was heard of again; else it was the rest.
_SILENCING = ("job-service killed", FREEZE, POSTGRES)
_CUTTING = ("compute-router killed", "gpu-worker killed")


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
    names = _SILENCING if attempt.error == REAPED else _CUTTING
    for each in reversed(dealt):
        met = (attempt.job_id, attempt.attempt) in each.running.attempts
        if met and name_of(each) in names:
            return each
    return None


def name_of(dealt: Dealt) -> str:
    """Return what a blow is called in the table."""
    match dealt.blow:
        case Kill(service=service):
            return f"{service} killed"
        case Freeze():
            return FREEZE
        case RestartPostgres():
            return POSTGRES
    return REDIS


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def recoveries(interrupted: Sequence[Interruption]) -> list[float]:
    """Return how long jobs waited whose replica was killed or frozen; Postgres takes longer."""
    return [each.recovery_seconds for each in interrupted if each.by != POSTGRES]


def table_of(plan: ChaosPlan, run: ChaosRun, interrupted: Sequence[Interruption]) -> str:
    """Return the whole run as a table in Markdown."""
    blows = Counter(name_of(each) for each in run.dealt)
    held = Counter[str]()
    for each in run.dealt:
        held[name_of(each)] += each.held
    ended = Counter(each.by for each in interrupted)
    rows = [(f"{plan.jobs} jobs, seed {plan.seed}", "blows", "work met", "executions interrupted")]
    rows += [
        (name, f"{count}", f"{held[name]}", f"{ended[name]}")
        for name, count in sorted(blows.items())
    ]
    rows += [("", "p50", "p99 or worst", "limit")]
    rows += _times(plan, run, interrupted)
    rows += [("", "number", "", "")]
    rows += [(f"request repeated: {why}", f"{n}", "", "") for why, n in run.repeats.most_common()]
    rows += [("broken promises", f"{len(run.broken)}", "", "0")]
    rows += [
        ("wall time", f"{run.wall_seconds:.0f} s", f"{plan.jobs / run.wall_seconds:.1f} jobs/s", "")
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|---|---|---|", *lines[1:]])


def _times(
    plan: ChaosPlan, run: ChaosRun, interrupted: Sequence[Interruption]
) -> list[tuple[str, str, str, str]]:
    waits = recoveries(interrupted)
    after_crash = [each.recovery_seconds for each in interrupted if each.by == POSTGRES]
    ready = [each.ready_seconds for each in run.outages]

    def row(name: str, values: Sequence[float], share: float, limit: str) -> tuple[str, ...]:
        middle, top = percentile(values, 0.5), percentile(values, share)
        return (name, f"{middle:.2f} s", f"{top:.2f} s", limit)

    return [
        row("recovery after a kill or freeze", waits, 0.99, f"{recovery_limit(plan, run):.2f} s"),
        row("restart of what was killed", run.restarts, 0.99, ""),
        row("recovery after a crash of Postgres", after_crash, 1.0, ""),
        row("ready after Postgres", ready, 1.0, "5 s"),
        row("catch-up after FLUSHALL", run.catch_ups, 1.0, f"{catch_up_limit(plan):.1f} s"),
    ]


def recovery_limit(plan: ChaosPlan, run: ChaosRun) -> float:
    """Return what X-R1 allows: the lease, the restart, and 2 s."""
    return plan.lease_seconds + percentile(run.restarts, 0.99) + 2.0


def catch_up_limit(plan: ChaosPlan) -> float:
    """Return what X-R13 allows: the poll and 1 s."""
    return plan.longest_poll_seconds + 1.0
