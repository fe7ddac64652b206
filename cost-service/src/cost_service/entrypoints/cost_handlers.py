"""gRPC face of budgets and costs. The use cases check the caller's access to the project."""

from __future__ import annotations

from typing import Any

import grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert
from cost_service.usecases.get_budget import GetBudget
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.set_budget import SetBudget
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class CostHandlers(pb_grpc.CostServiceServicer):
    def __init__(
        self,
        set_budget: SetBudget,
        get_budget: GetBudget,
        get_project_costs: GetProjectCosts,
        get_job_cost: GetJobCost,
    ) -> None:
        self._set_budget = set_budget
        self._get_budget = get_budget
        self._get_project_costs = get_project_costs
        self._get_job_cost = get_job_cost

    async def SetBudget(
        self, request: pb.SetBudgetRequest, context: Context
    ) -> pb.SetBudgetResponse:
        budget = await self._set_budget(caller(), request.project_id, request.cap_nanousd)
        return pb.SetBudgetResponse(budget=convert.budget_to_proto(budget))

    async def GetBudget(
        self, request: pb.GetBudgetRequest, context: Context
    ) -> pb.GetBudgetResponse:
        budget = await self._get_budget(caller(), request.project_id)
        return pb.GetBudgetResponse(budget=convert.budget_to_proto(budget))

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
