"""cost-service: budgets, their alerts, and allowances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from gateway.domain.project import Budget, BudgetOwner, BudgetPeriod, BudgetStatus
from service_kit.grpc_errors import rpc_errors

BUDGET_STATUSES: Final = {
    pb.BUDGET_STATUS_NO_BUDGET_SET: BudgetStatus.NO_BUDGET_SET,
    pb.BUDGET_STATUS_OK: BudgetStatus.OK,
    pb.BUDGET_STATUS_WARNING: BudgetStatus.WARNING,
    pb.BUDGET_STATUS_CRITICAL: BudgetStatus.CRITICAL,
    pb.BUDGET_STATUS_EXCEEDED: BudgetStatus.EXCEEDED,
}
BUDGET_PERIODS: Final = {
    # A cost-service of before has months only, and does not say so.
    pb.BUDGET_PERIOD_UNSPECIFIED: BudgetPeriod.MONTHLY,
    pb.BUDGET_PERIOD_MONTHLY: BudgetPeriod.MONTHLY,
    pb.BUDGET_PERIOD_DAILY: BudgetPeriod.DAILY,
    pb.BUDGET_PERIOD_TOTAL: BudgetPeriod.TOTAL,
}
PERIODS_TO_PROTO: Final = {period: value for value, period in BUDGET_PERIODS.items() if value}


class BudgetClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._costs = pb_grpc.CostServiceStub(channel)

    async def set_budget(
        self, owner: BudgetOwner, cap_nanousd: int, period: BudgetPeriod = BudgetPeriod.MONTHLY
    ) -> Budget:
        with rpc_errors():
            response = await self._costs.SetBudget(
                pb.SetBudgetRequest(
                    project_id=owner.project_id,
                    team_id=owner.team_id,
                    api_key_id=owner.api_key_id,
                    cap_nanousd=cap_nanousd,
                    period=PERIODS_TO_PROTO[period],
                )
            )
        return _budget(response.budget)

    async def top_up_budget(
        self, owner: BudgetOwner, amount_nanousd: int, period: BudgetPeriod, request_id: str
    ) -> Budget:
        with rpc_errors():
            response = await self._costs.TopUpBudget(
                pb.TopUpBudgetRequest(
                    project_id=owner.project_id,
                    team_id=owner.team_id,
                    api_key_id=owner.api_key_id,
                    amount_nanousd=amount_nanousd,
                    period=PERIODS_TO_PROTO[period],
                    request_id=request_id,
                )
            )
        return _budget(response.budget)

    async def clear_budget(self, owner: BudgetOwner, period: BudgetPeriod) -> None:
        with rpc_errors():
            await self._costs.ClearBudget(
                pb.ClearBudgetRequest(
                    project_id=owner.project_id,
                    team_id=owner.team_id,
                    api_key_id=owner.api_key_id,
                    period=PERIODS_TO_PROTO[period],
                )
            )

    async def get_budget(self, owner: BudgetOwner) -> Budget:
        month, _ = await self.get_budgets(owner)
        return month

    async def get_budgets(self, owner: BudgetOwner) -> tuple[Budget, Sequence[Budget]]:
        """Return the month's budget, set or not, and all that are set."""
        with rpc_errors():
            response = await self._costs.GetBudget(
                pb.GetBudgetRequest(
                    project_id=owner.project_id,
                    team_id=owner.team_id,
                    api_key_id=owner.api_key_id,
                )
            )
        return _budget(response.budget), [_budget(one) for one in response.periods]

    async def list_alerts(
        self, owner: BudgetOwner, page_size: int, page_token: str
    ) -> pb.ListBudgetAlertsResponse:
        with rpc_errors():
            return await self._costs.ListBudgetAlerts(
                pb.ListBudgetAlertsRequest(
                    project_id=owner.project_id,
                    team_id=owner.team_id,
                    api_key_id=owner.api_key_id,
                    page_size=page_size,
                    page_token=page_token,
                )
            )

    async def set_allowance(self, user_id: str, amount_nanousd: int) -> pb.Allowance:
        with rpc_errors():
            response = await self._costs.SetAllowance(
                pb.SetAllowanceRequest(user_id=user_id, amount_nanousd=amount_nanousd)
            )
        return response.allowance

    async def get_allowance(self, user_id: str) -> pb.Allowance:
        with rpc_errors():
            response = await self._costs.GetAllowance(pb.GetAllowanceRequest(user_id=user_id))
        return response.allowance


def _budget(budget: pb.Budget) -> Budget:
    return Budget(
        owner=BudgetOwner(budget.project_id, budget.team_id, budget.api_key_id),
        period=budget.period,
        has_budget=budget.has_budget,
        cap_nanousd=budget.cap_nanousd,
        reserved_nanousd=budget.reserved_nanousd,
        posted_nanousd=budget.posted_nanousd,
        status=BUDGET_STATUSES[budget.status],
        period_kind=BUDGET_PERIODS[budget.period_kind],
    )
