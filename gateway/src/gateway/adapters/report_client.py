"""cost-service: reports over the ledger."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast

import grpc
from weir.cost.v1 import report_service_pb2 as pb
from weir.cost.v1 import report_service_pb2_grpc as pb_grpc

from service_kit.grpc_errors import rpc_errors

# As long as the longest download may take; who reads slower is cut off.
EXPORT_SECONDS: Final = 600.0

Page = TypeVar("Page")


class ReportClient:
    """Calls cost-service; the channel forwards the current caller's token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._reports = pb_grpc.ReportServiceStub(channel)

    async def project_report(
        self, project_id: str, period_days: int
    ) -> pb.GetProjectReportResponse:
        with rpc_errors():
            return await self._reports.GetProjectReport(
                pb.GetProjectReportRequest(project_id=project_id, period_days=period_days)
            )

    async def team_report(self, team_id: str, period_days: int) -> pb.GetTeamReportResponse:
        with rpc_errors():
            return await self._reports.GetTeamReport(
                pb.GetTeamReportRequest(team_id=team_id, period_days=period_days)
            )

    async def platform_report(self, period_days: int) -> pb.CostReport:
        with rpc_errors():
            response = await self._reports.GetPlatformReport(
                pb.GetPlatformReportRequest(period_days=period_days)
            )
        return response.report

    async def savings(self, project_id: str, period_days: int) -> pb.Savings:
        with rpc_errors():
            response = await self._reports.GetSavings(
                pb.GetSavingsRequest(project_id=project_id, period_days=period_days)
            )
        return response.savings

    async def suggestions(self, project_id: str, period_days: int) -> pb.GetSuggestionsResponse:
        with rpc_errors():
            return await self._reports.GetSuggestions(
                pb.GetSuggestionsRequest(project_id=project_id, period_days=period_days)
            )

    def export_costs(self, request: pb.ExportCostsRequest) -> ExportCall[pb.ExportCostsResponse]:
        """Start an export. Whoever does has to close it."""
        return ExportCall(self._reports.ExportCosts(request, timeout=EXPORT_SECONDS))

    def export_compute_jobs(
        self, request: pb.ExportComputeJobsRequest
    ) -> ExportCall[pb.ExportComputeJobsResponse]:
        """Start an export. Whoever does has to close it."""
        return ExportCall(self._reports.ExportComputeJobs(request, timeout=EXPORT_SECONDS))


class ExportCall(Generic[Page]):
    """The pages of an export, as they come."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[Any, Page]) -> None:
        self._call = call

    async def next_page(self) -> Page | None:
        """Return the next page, or `None` when there are no more.

        Raises:
            ServiceError: As cost-service refused or failed it.
        """
        with rpc_errors():
            page = await self._call.read()
        return None if page is grpc.aio.EOF else cast(Page, page)

    def close(self) -> None:
        """End it, if it has not ended."""
        self._call.cancel()
