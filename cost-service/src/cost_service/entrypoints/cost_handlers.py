"""gRPC face of budgets and costs. The use cases check what the caller may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert
from cost_service.usecases.clear_budget import ClearBudget
from cost_service.usecases.get_allowance import GetAllowance
from cost_service.usecases.get_budget import GetBudget
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.list_budget_alerts import ListBudgetAlerts
from cost_service.usecases.set_allowance import SetAllowance
from cost_service.usecases.set_budget import SetBudget
from cost_service.usecases.top_up_budget import TopUpBudget
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class BudgetUseCases:
    """What can be done with budgets and allowances."""

    set_budget: SetBudget
    top_up_budget: TopUpBudget
    clear_budget: ClearBudget
    get_budget: GetBudget
    list_budget_alerts: ListBudgetAlerts
    set_allowance: SetAllowance
    get_allowance: GetAllowance


class CostHandlers(pb_grpc.CostServiceServicer):
    def __init__(
        self,
        budgets: BudgetUseCases,
        get_project_costs: GetProjectCosts,
        get_job_cost: GetJobCost,
    ) -> None:
        self._budgets = budgets
        self._get_project_costs = get_project_costs
        self._get_job_cost = get_job_cost

    async def SetBudget(
        self, request: pb.SetBudgetRequest, context: Context
    ) -> pb.SetBudgetResponse:
        period_kind = convert.period_kind_from_proto(request.period)
        budget = await self._budgets.set_budget(
            caller(), convert.budget_owner_from_proto(request), request.cap_nanousd, period_kind
        )
        return pb.SetBudgetResponse(budget=convert.budget_to_proto(budget))

    async def TopUpBudget(
        self, request: pb.TopUpBudgetRequest, context: Context
    ) -> pb.TopUpBudgetResponse:
        budget = await self._budgets.top_up_budget(
            caller(),
            convert.budget_owner_from_proto(request),
            request.amount_nanousd,
            convert.period_kind_from_proto(request.period),
            request.request_id,
        )
        return pb.TopUpBudgetResponse(budget=convert.budget_to_proto(budget))

    async def ClearBudget(
        self, request: pb.ClearBudgetRequest, context: Context
    ) -> pb.ClearBudgetResponse:
        period_kind = convert.period_kind_from_proto(request.period)
        owner = convert.budget_owner_from_proto(request)
        await self._budgets.clear_budget(caller(), owner, period_kind)
        return pb.ClearBudgetResponse()

    async def GetBudget(
        self, request: pb.GetBudgetRequest, context: Context
    ) -> pb.GetBudgetResponse:
        owner = convert.budget_owner_from_proto(request)
        budgets = await self._budgets.get_budget(caller(), owner)
        return convert.budgets_to_proto(budgets)

    async def ListBudgetAlerts(
        self, request: pb.ListBudgetAlertsRequest, context: Context
    ) -> pb.ListBudgetAlertsResponse:
        alerts, next_page_token = await self._budgets.list_budget_alerts(
            caller(),
            convert.budget_owner_from_proto(request),
            request.page_size,
            request.page_token,
        )
        return pb.ListBudgetAlertsResponse(
            alerts=[convert.alert_to_proto(alert) for alert in alerts],
            next_page_token=next_page_token,
        )

    async def SetAllowance(
        self, request: pb.SetAllowanceRequest, context: Context
    ) -> pb.SetAllowanceResponse:
        allowance = await self._budgets.set_allowance(
            caller(), request.user_id, request.amount_nanousd
        )
        return pb.SetAllowanceResponse(allowance=convert.allowance_to_proto(allowance))

    async def GetAllowance(
        self, request: pb.GetAllowanceRequest, context: Context
    ) -> pb.GetAllowanceResponse:
        allowance = await self._budgets.get_allowance(caller(), request.user_id)
        return pb.GetAllowanceResponse(allowance=convert.allowance_to_proto(allowance))

    async def GetProjectCosts(
        self, request: pb.GetProjectCostsRequest, context: Context
    ) -> pb.GetProjectCostsResponse:
        costs = await self._get_project_costs(caller(), request.project_id, request.period_days)
        return pb.GetProjectCostsResponse(project_costs=convert.project_costs_to_proto(costs))

    async def GetJobCost(
        self, request: pb.GetJobCostRequest, context: Context
    ) -> pb.GetJobCostResponse:
        cost = await self._get_job_cost(caller(), request.project_id, request.job_id)
        return pb.GetJobCostResponse(job_cost=convert.job_cost_to_proto(cost))
