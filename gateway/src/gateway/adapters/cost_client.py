"""cost-service: what work has cost."""

from __future__ import annotations

import grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors


class CostClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._costs = pb_grpc.CostServiceStub(channel)

    async def job_cost(self, project_id: str, job_id: str) -> pb.JobCost:
        with rpc_errors():
            response = await self._costs.GetJobCost(
                pb.GetJobCostRequest(project_id=project_id, job_id=job_id)
            )
        return response.job_cost
