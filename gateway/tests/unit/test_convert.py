"""No value of the protos is lost on its way to HTTP."""

import pytest
from weir.auth.v1 import access_service_pb2, auth_service_pb2, schedule_service_pb2
from weir.cost.v1 import cost_service_pb2
from weir.job.v1 import job_service_pb2
from weir.worker.v1 import inference_service_pb2

from gateway.adapters.budget_client import BUDGET_PERIODS, BUDGET_STATUSES
from gateway.domain.project import Budget, BudgetOwner, BudgetStatus
from gateway.entrypoints import convert
from gateway.entrypoints.routes import scheduler

ENUMS = [
    (auth_service_pb2.UserRole, convert.ROLES),
    (access_service_pb2.ApiKeyScope, convert.SCOPES),
    (job_service_pb2.JobState, convert.JOB_STATES),
    (job_service_pb2.JobKind, convert.JOB_KINDS),
    (job_service_pb2.UsageSource, convert.USAGE_SOURCES),
    (inference_service_pb2.FinishReason, convert.FINISH_REASONS),
    (inference_service_pb2.Operation, convert.OPERATIONS),
    (cost_service_pb2.BudgetStatus, BUDGET_STATUSES),
    (schedule_service_pb2.ScheduledRunOutcome, scheduler.OUTCOMES),
    (cost_service_pb2.BudgetPeriod, BUDGET_PERIODS),
]


@pytest.mark.parametrize(("enum", "names"), ENUMS, ids=lambda value: getattr(value, "name", ""))
def test_every_value_has_a_name(enum, names):
    """A value that is added to a proto must be added here."""
    for number in enum.values():
        if not enum.Name(number).endswith("_UNSPECIFIED"):
            assert enum.Name(number).lower().endswith(str(names[number]).replace(":", "_"))


@pytest.mark.parametrize(
    ("cap", "reserved", "posted", "percentage", "remaining"),
    [
        (100, 0, 85, 85.0, 15),
        (3, 1, 0, 33.33, 2),
        (0, 0, 0, 0.0, 0),
        (0, 0, 1, 100.0, -1),
        (50, 0, 100, 200.0, -50),
    ],
)
def test_share_of_a_budget(cap, reserved, posted, percentage, remaining):
    """What is reserved is used as well; a lowered cap may be passed."""
    owner = BudgetOwner("p1")
    budget = Budget(owner, "2026-01", True, cap, reserved, posted, BudgetStatus.OK)

    assert budget.percentage_used == percentage
    assert budget.remaining_nanousd == remaining
