"""gRPC face of reports. The use cases check the caller's access to a project or team."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from weir.cost.v1 import report_service_pb2 as pb
from weir.cost.v1 import report_service_pb2_grpc as pb_grpc

from cost_service.entrypoints import convert_reports as convert
from cost_service.usecases.export_ledger import ExportLedger
from cost_service.usecases.get_platform_report import GetPlatformReport
from cost_service.usecases.get_project_report import GetProjectReport
from cost_service.usecases.get_savings import GetSavings
from cost_service.usecases.get_suggestions import GetSuggestions
from cost_service.usecases.get_team_report import GetTeamReport
from cost_service.usecases.platform_admin import require_platform_admin
from service_kit.request_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class ReportHandlers(pb_grpc.ReportServiceServicer):
    def __init__(
        self,
        get_project_report: GetProjectReport,
        get_team_report: GetTeamReport,
        get_platform_report: GetPlatformReport,
        get_savings: GetSavings,
        get_suggestions: GetSuggestions,
        export_ledger: ExportLedger,
    ) -> None:
        self._get_project_report = get_project_report
        self._get_team_report = get_team_report
        self._get_platform_report = get_platform_report
        self._get_savings = get_savings
        self._get_suggestions = get_suggestions
        self._export_ledger = export_ledger

    async def GetProjectReport(
        self, request: pb.GetProjectReportRequest, context: Context
    ) -> pb.GetProjectReportResponse:
        project_id, report = await self._get_project_report(
            caller(), request.project_id, request.period_days
        )
        return pb.GetProjectReportResponse(
            project_id=project_id, report=convert.report_to_proto(report)
        )

    async def GetTeamReport(
        self, request: pb.GetTeamReportRequest, context: Context
    ) -> pb.GetTeamReportResponse:
        team_id, report = await self._get_team_report(
            caller(), request.team_id, request.period_days
        )
        return pb.GetTeamReportResponse(team_id=team_id, report=convert.report_to_proto(report))

    async def GetPlatformReport(
        self, request: pb.GetPlatformReportRequest, context: Context
    ) -> pb.GetPlatformReportResponse:
        require_platform_admin(caller(), "platform:admin")
        report = await self._get_platform_report(request.period_days)
        return pb.GetPlatformReportResponse(report=convert.report_to_proto(report))

    async def GetSavings(
        self, request: pb.GetSavingsRequest, context: Context
    ) -> pb.GetSavingsResponse:
        savings = await self._get_savings(caller(), request.project_id, request.period_days)
        return pb.GetSavingsResponse(savings=convert.savings_to_proto(savings))

    async def GetSuggestions(
        self, request: pb.GetSuggestionsRequest, context: Context
    ) -> pb.GetSuggestionsResponse:
        found = await self._get_suggestions(caller(), request.project_id, request.period_days)
        return pb.GetSuggestionsResponse(
            project_id=found.project_id,
            period_days=found.period_days,
            suggestions=[convert.suggestion_to_proto(one) for one in found.suggestions],
        )

    async def ExportCosts(
        self, request: pb.ExportCostsRequest, context: Context
    ) -> AsyncIterator[pb.ExportCostsResponse]:
        pages = self._export_ledger(
            caller(), request.project_id, request.first_day, request.last_day, ran_only=False
        )
        async for page in pages:
            yield pb.ExportCostsResponse(entries=[convert.entry_to_proto(one) for one in page])

    async def ExportComputeJobs(
        self, request: pb.ExportComputeJobsRequest, context: Context
    ) -> AsyncIterator[pb.ExportComputeJobsResponse]:
        pages = self._export_ledger(
            caller(), request.project_id, request.first_day, request.last_day, ran_only=True
        )
        async for page in pages:
            yield pb.ExportComputeJobsResponse(
                jobs=[convert.compute_job_to_proto(one) for one in page]
            )
