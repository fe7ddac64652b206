"""What the services do by themselves, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from weir.auth.v1 import schedule_service_pb2 as schedule_pb

from gateway.entrypoints.convert import find_time, time_of
from gateway.entrypoints.dependencies import SECURITY, CurrentCaller, EdgeParts
from gateway.entrypoints.schemas.scheduler import (
    RunOutcome,
    ScheduledRunView,
    ScheduledTaskView,
    SchedulerView,
)

router = APIRouter(prefix="/api/v1/admin", tags=["admin"], dependencies=list(SECURITY))

OUTCOMES: Final[dict[int, RunOutcome]] = {
    schedule_pb.SCHEDULED_RUN_OUTCOME_SUCCEEDED: "succeeded",
    schedule_pb.SCHEDULED_RUN_OUTCOME_FAILED: "failed",
    schedule_pb.SCHEDULED_RUN_OUTCOME_TIMED_OUT: "timed_out",
    schedule_pb.SCHEDULED_RUN_OUTCOME_ABANDONED: "abandoned",
}


@router.get("/scheduler")
async def list_scheduled_tasks(edge: EdgeParts, _: CurrentCaller) -> SchedulerView:
    """List what the services do by themselves, with each task's last run, on whichever replica.

    Only for people who are administrators of the installation.
    """
    return SchedulerView(tasks=_tasks("auth-service", await edge.auth.list_scheduled_tasks()))


def _tasks(service: str, tasks: Sequence[schedule_pb.ScheduledTask]) -> list[ScheduledTaskView]:
    return [
        ScheduledTaskView(
            service=service,
            task=task.task,
            schedule=task.schedule,
            next_due_at=time_of(task.next_due_at),
            running_since=find_time(task, "running_since"),
            last_run=_run(task.last_run) if task.HasField("last_run") else None,
        )
        for task in tasks
    ]


def _run(run: schedule_pb.ScheduledRun) -> ScheduledRunView:
    return ScheduledRunView(
        due_at=time_of(run.due_at),
        started_at=time_of(run.started_at),
        finished_at=time_of(run.finished_at),
        duration_seconds=(
            run.duration.ToTimedelta().total_seconds() if run.HasField("duration") else None
        ),
        outcome=OUTCOMES[run.outcome],
        error=run.error or None,
        attempt=run.attempt,
    )
