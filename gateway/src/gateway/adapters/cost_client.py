"""cost-service: budgets and costs as people see them."""

from __future__ import annotations

from typing import Final

import grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from gateway.domain.project import Budget, BudgetStatus
from service_kit.grpc_errors import rpc_errors

BUDGET_STATUSES: Final = {
    pb.BUDGET_STATUS_NO_BUDGET_SET: BudgetStatus.NO_BUDGET_SET,
    pb.BUDGET_STATUS_OK: BudgetStatus.OK,
    pb.BUDGET_STATUS_WARNING: BudgetStatus.WARNING,
    pb.BUDGET_STATUS_CRITICAL: BudgetStatus.CRITICAL,
    pb.BUDGET_STATUS_EXCEEDED: BudgetStatus.EXCEEDED,
}


class CostClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._costs = pb_grpc.CostServiceStub(channel)

    async def set_budget(self, project_id: str, cap_nanousd: int) -> Budget:
        with rpc_errors():
            response = await self._costs.SetBudget(
                pb.SetBudgetRequest(project_id=project_id, cap_nanousd=cap_nanousd)
            )
        return _budget(response.budget)

    async def get_budget(self, project_id: str) -> Budget:
        with rpc_errors():
            response = await self._costs.GetBudget(pb.GetBudgetRequest(project_id=project_id))
        return _budget(response.budget)

    async def job_cost(self, project_id: str, job_id: str) -> pb.JobCost:
        with rpc_errors():
            response = await self._costs.GetJobCost(
                pb.GetJobCostRequest(project_id=project_id, job_id=job_id)
            )
        return response.job_cost


def _budget(budget: pb.Budget) -> Budget:
    return Budget(
        project_id=budget.project_id,
        period=budget.period,
        has_budget=budget.has_budget,
        cap_nanousd=budget.cap_nanousd,
        reserved_nanousd=budget.reserved_nanousd,
        posted_nanousd=budget.posted_nanousd,
        status=BUDGET_STATUSES[budget.status],
    )
