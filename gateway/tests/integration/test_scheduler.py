"""Scheduled tasks over HTTP."""

from weir.auth.v1 import schedule_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import a_scheduled_task, refusal

PATH = "/api/v1/admin/scheduler"


async def test_tasks_with_their_last_runs(http, script, person):
    """Each task's last run, duration and error; the caller's own token goes along."""
    failed = a_scheduled_task(
        outcome=schedule_service_pb2.SCHEDULED_RUN_OUTCOME_FAILED, error="KeyError", attempt=3
    )
    new = schedule_service_pb2.ScheduledTask(
        task="archive_logs",
        schedule="daily at 02:00 UTC",
        next_due_at=failed.next_due_at,
        running_since=failed.last_run.due_at,
    )
    script.answers["ListScheduledTasks"] = schedule_service_pb2.ListScheduledTasksResponse(
        tasks=[failed, new]
    )

    answer = await http.get(PATH, headers=person)

    assert answer.status_code == 200
    assert answer.json() == {
        "tasks": [
            {
                "service": "auth-service",
                "task": "expire_sessions",
                "schedule": "every 300 s",
                "next_due_at": "2026-01-02T03:09:05Z",
                "running_since": None,
                "last_run": {
                    "due_at": "2026-01-02T03:04:05Z",
                    "started_at": "2026-01-02T03:04:05Z",
                    "finished_at": "2026-01-02T03:04:07Z",
                    "duration_seconds": 1.5,
                    "outcome": "failed",
                    "error": "KeyError",
                    "attempt": 3,
                },
            },
            {
                "service": "auth-service",
                "task": "archive_logs",
                "schedule": "daily at 02:00 UTC",
                "next_due_at": "2026-01-02T03:09:05Z",
                "running_since": "2026-01-02T03:04:05Z",
                "last_run": None,
            },
        ]
    }
    sent = script.last("ListScheduledTasks").metadata["authorization"]
    assert sent == person["authorization"]


async def test_who_is_no_administrator(http, script, person):
    """auth-service decides, and the answer is 403."""
    script.answers["ListScheduledTasks"] = refusal(ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED")

    assert (await http.get(PATH, headers=person)).status_code == 403
