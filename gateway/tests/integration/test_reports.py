"""Reports and exports over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io

import httpx
import pytest
from weir.cost.v1 import report_service_pb2 as pb

from gateway.entrypoints.report_views import SUGGESTION_KINDS
from service_kit.errors import ErrorCode

from ..stand_ins import PROJECT_ID, a_cost_entry, a_suggestion, refusal, some_sums, telling

COSTS = f"/api/v1/costs/projects/{PROJECT_ID}"
DAYS = {"first_day": "2026-01-01", "last_day": "2026-01-31"}


def sums_of(**changes):
    return {
        "cost": 45.67,
        "cost_nanousd": 45_670_000_000,
        "provider_cost": 1.0,
        "provider_cost_nanousd": 1_000_000_000,
        "jobs": 123,
        "completed_jobs": 117,
        "failed_jobs": 5,
        "cancelled_jobs": 1,
        "tokens_used_input": 30,
        "tokens_used_output": 40,
        "tokens_used_total": 70,
        **changes,
    }


REPORT = {
    "period_days": 7,
    "begins_at": "2025-12-26T03:04:05Z",
    "ends_at": "2026-01-02T03:04:05Z",
    "total_cost": 45.67,
    "total_cost_nanousd": 45_670_000_000,
    "total_jobs": 123,
    "completed_jobs": 117,
    "failed_jobs": 5,
    "cancelled_jobs": 1,
    "average_cost_per_job": 0.371300813,
    "average_cost_per_job_nanousd": 371_300_813,
    "provider_cost": 1.0,
    "provider_cost_nanousd": 1_000_000_000,
    "tokens_used_input": 30,
    "tokens_used_output": 40,
    "tokens_used_total": 70,
    "trend": [{"day": "2026-01-02", **sums_of(cost=1e-9, cost_nanousd=1, jobs=2)}],
    "targets": [{"name": "local", **sums_of()}],
    "models": [{"name": "smollm2", **sums_of()}],
    "job_types": [{"name": "chat_completion", **sums_of()}],
}
KEYS = {"api_keys": [{"name": "key-1", **sums_of()}]}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (COSTS, {"project_id": PROJECT_ID, **KEYS}),
        (f"/api/v1/costs/teams/{PROJECT_ID}", {"team_id": PROJECT_ID}),
        (
            "/api/v1/costs/report",
            {
                "top_projects": [{"name": PROJECT_ID, **sums_of()}],
                "top_teams": [{"name": "team-1", **sums_of()}],
            },
        ),
    ],
)
async def test_reports_have_the_documented_shape(http, person, path, more):
    """Totals, average, and the trends by day, target, model, job type and key (D5)."""
    answer = await http.get(path, headers=person, params={"period_days": 7})

    assert answer.json() == {**REPORT, **more}


async def test_average_of_no_jobs(http, script, person):
    """Without jobs the average is 0."""
    script.answers["GetProjectReport"] = pb.GetProjectReportResponse(
        report=pb.CostReport(total=some_sums(jobs=0, cost_nanousd=-5))
    )

    found = (await http.get(COSTS, headers=person)).json()

    assert (found["average_cost_per_job_nanousd"], found["total_cost_nanousd"]) == (0, -5)


@pytest.mark.parametrize("days", ["0", "367", "-1", "x", "1.5"])
@pytest.mark.parametrize(
    "path", [COSTS, f"{COSTS}/savings", f"{COSTS}/suggestions", "/api/v1/costs/report"]
)
async def test_periods_are_bounded(http, script, person, path, days):
    """A period is 1 to 366 days."""
    answer = await http.get(path, headers=person, params={"period_days": days})

    assert answer.status_code == 422
    assert not [call for call in script.calls if call.method.startswith("Get")]


@pytest.mark.parametrize("path", ["/api/v1/costs/report", f"/api/v1/costs/teams/{PROJECT_ID}"])
async def test_platform_is_for_administrators(http, script, person, path):
    """cost-service knows who is one; its refusal is shown."""
    denied = refusal(ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", permission="platform:admin")
    script.answers["GetPlatformReport"] = script.answers["GetTeamReport"] = denied

    answer = await http.get(path, headers=person)

    assert (answer.status_code, answer.json()["title"]) == (403, "PERMISSION_DENIED")


async def test_savings_show_figures_and_method(http, person):
    """What was charged, what it would have cost on each target, and how that was made (D6)."""
    answer = await http.get(f"{COSTS}/savings", headers=person, params={"period_days": 7})

    found = answer.json()
    compared = {
        "model": "*",
        "jobs": 2,
        "not_comparable_jobs": 1,
        "charged": 0.007,
        "charged_nanousd": 7_000_000,
        "price_versions": ["1"],
    }
    assert found.pop("all_local") == [
        {
            **compared,
            "target": "local",
            "cost": 0.007,
            "cost_nanousd": 7_000_000,
            "saved": 0.0,
            "saved_nanousd": 0,
        }
    ]
    assert found.pop("all_cloud") == [
        {
            **compared,
            "target": "yotta",
            "cost": 0.07,
            "cost_nanousd": 70_000_000,
            "saved": 0.063,
            "saved_nanousd": 63_000_000,
        }
    ]
    assert found.pop("not_comparable") == [
        {
            "target": "yotta",
            "model": "m",
            "price_version": "",
            "jobs": 1,
            "charged": 0.001,
            "charged_nanousd": 1_000_000,
        }
    ]
    assert "ceil(" in found.pop("method")["formula"]
    assert found == {
        "project_id": PROJECT_ID,
        "period_days": 7,
        "begins_at": "2025-12-26T03:04:05Z",
        "ends_at": "2026-01-02T03:04:05Z",
        "jobs": 3,
        "tokens_used_input": 3,
        "tokens_used_output": 4,
        "tokens_used_total": 7,
        "charged": 0.008,
        "charged_nanousd": 8_000_000,
        "corrections": -0.001,
        "corrections_nanousd": -1_000_000,
        "provider_cost": 0.0005,
        "provider_cost_nanousd": 500_000,
    }


async def test_suggestions_show_their_figures(http, person):
    """Each with what it is made from (D7)."""
    answer = await http.get(f"{COSTS}/suggestions", headers=person, params={"period_days": 7})

    assert answer.json() == {
        "project_id": PROJECT_ID,
        "period_days": 7,
        "suggestions": [
            {
                "kind": "cheaper_target",
                "subject": "local/*",
                "text": "Run it at home.",
                "figures": {"charged_nanousd": 9, "jobs": 20},
                "monthly_saving": 1.5,
                "monthly_saving_nanousd": 1_500_000_000,
            }
        ],
    }


async def test_every_kind_of_suggestion_has_a_name(http, script, person):
    """No kind in the proto is unknown here."""
    kinds = [value for value in pb.SuggestionKind.values() if value]
    script.answers["GetSuggestions"] = pb.GetSuggestionsResponse(
        suggestions=[a_suggestion(kind=kind, subject="") for kind in kinds]
    )

    found = (await http.get(f"{COSTS}/suggestions", headers=person)).json()["suggestions"]

    assert set(SUGGESTION_KINDS) == set(kinds)
    assert [f"SUGGESTION_KIND_{one['kind'].upper()}" for one in found] == [
        pb.SuggestionKind.Name(kind) for kind in kinds
    ]
    assert {one["subject"] for one in found} == {None}


async def test_costs_as_csv(http, script, person):
    """A header, then the entries of all pages; the days go along as they were asked."""
    answer = await http.get(f"{COSTS}/export.csv", headers=person, params=DAYS)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="costs.csv"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\r\n")
    header, first, second = csv.reader(io.StringIO(answer.text, newline=""), strict=True)
    assert dict(zip(header, first, strict=True)) == {
        "booked_at": "2026-01-02T03:04:05+00:00",
        "finished_at": "2026-01-02T03:04:05+00:00",
        "entry_id": "7",
        "kind": "post",
        "job_id": a_cost_entry().job_id,
        "job_type": "chat_completion",
        "job_state": "completed",
        "target": "local",
        "model": "smollm2",
        "complexity": "6",
        "tokens_input": "3",
        "tokens_output": "4",
        "usage_source": "reported",
        "cost_usd": "0.007000000",
        "cost_nanousd": "7000000",
        "provider_cost_nanousd": "0",
        "price_version": "1",
        "api_key_id": "",
    }
    assert second[2] == "8"
    asked = script.last("ExportCosts").request
    assert (asked.project_id, asked.first_day, asked.last_day) == (PROJECT_ID, *DAYS.values())


async def test_cells_that_look_like_formulas(http, script, person):
    """No text of a tenant's or a provider's runs in a spreadsheet, and none breaks a line."""
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a,"b"\r\n=1', "'", "−1", "plain"]
    script.answers["ExportCosts"] = telling(
        pb.ExportCostsResponse(
            entries=[a_cost_entry(model=text, target=text, cost_nanousd=-1) for text in evil]
        )
    )

    answer = await http.get(f"{COSTS}/export.csv", headers=person)

    rows = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
    guarded = [f"'{text}" for text in evil[:6]]
    assert [row["model"] for row in rows] == guarded + evil[6:]
    assert [row["target"] for row in rows] == guarded + evil[6:]
    # A refund is a number, which is no formula.
    assert {row["cost_usd"] for row in rows} == {"-0.000000001"}


async def test_compute_jobs_have_the_documents_shape(http, person):
    """K18: timestamp, type, complexity, where it ran, and the cost; nothing else."""
    answer = await http.get(f"{COSTS}/compute-jobs", headers=person, params=DAYS)

    job = {
        "timestamp": "2026-01-02T03:04:05Z",
        "job_type": "generation_v2",
        "complexity": 0,
        "compute_type": "local",
        "cost": 0.007,
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [job, {**job, "complexity": None}]


async def test_nothing_to_export(http, script, person):
    """A project without entries gets a header, or an empty array."""
    script.answers["ExportCosts"] = script.answers["ExportComputeJobs"] = telling()

    lines = (await http.get(f"{COSTS}/export.csv", headers=person)).text.splitlines()
    jobs = (await http.get(f"{COSTS}/compute-jobs", headers=person)).json()

    assert (len(lines), jobs) == (1, [])


@pytest.mark.parametrize("export", ["export.csv", "compute-jobs"])
@pytest.mark.parametrize("day", ["2026-1-1", "20260101", "today", "2026-01-01T00:00:00"])
async def test_days_have_one_form(http, script, person, export, day):
    """What is not written as a day is refused at the edge."""
    answer = await http.get(f"{COSTS}/{export}", headers=person, params={"first_day": day})

    assert answer.status_code == 422
    assert not script.of("ExportCosts")


@pytest.mark.parametrize(
    ("export", "rpc"), [("export.csv", "ExportCosts"), ("compute-jobs", "ExportComputeJobs")]
)
class TestExportsThatFail:
    async def test_refusal_is_a_problem(self, http, script, person, export, rpc):
        """What refuses an export has its own status, as nothing was sent before."""
        script.answers[rpc] = refusal(ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")

        answer = await http.get(f"{COSTS}/{export}", headers=person)

        assert (answer.status_code, answer.json()["title"]) == (404, "PROJECT_NOT_FOUND")

    async def test_broken_export_is_not_whole(self, http, script, person, export, rpc):
        """A failure midway breaks the connection off, so no part is taken for the whole."""

        async def breaking(request, context):
            yield getattr(pb, f"{rpc}Response")()
            raise refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

        script.answers[rpc] = breaking

        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"{COSTS}/{export}", headers=person)

    async def test_client_that_leaves_ends_it(self, http, script, person, export, rpc):
        """Nothing is read for somebody who has gone."""
        ended = asyncio.Event()

        async def endless(request, context):
            try:
                yield getattr(pb, f"{rpc}Response")()
                await asyncio.Event().wait()
            finally:
                ended.set()

        script.answers[rpc] = endless

        async with http.stream("GET", f"{COSTS}/{export}", headers=person) as answer:
            assert answer.status_code == 200
        async with asyncio.timeout(10):
            await ended.wait()
