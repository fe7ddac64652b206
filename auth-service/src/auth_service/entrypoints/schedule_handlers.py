"""gRPC face of scheduled work, for administrators."""

from __future__ import annotations

from typing import Any, Final

import grpc
from weir.auth.v1 import schedule_service_pb2 as pb
from weir.auth.v1 import schedule_service_pb2_grpc as pb_grpc

from auth_service.entrypoints import convert
from auth_service.usecases.list_scheduled_tasks import ListScheduledTasks
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

RPC_SERVICE: Final = "weir.auth.v1.ScheduleService"


class ScheduleHandlers(pb_grpc.ScheduleServiceServicer):
    """Serves `ScheduleService`."""

    def __init__(self, list_scheduled_tasks: ListScheduledTasks) -> None:
        self._list_scheduled_tasks = list_scheduled_tasks

    async def ListScheduledTasks(
        self, request: pb.ListScheduledTasksRequest, context: Context
    ) -> pb.ListScheduledTasksResponse:
        statuses = await self._list_scheduled_tasks(caller())
        return pb.ListScheduledTasksResponse(
            tasks=[convert.task_status_to_proto(status) for status in statuses]
        )
