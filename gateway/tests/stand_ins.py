"""Scripted stand-ins of the services behind the gateway, and the messages they answer with."""

import inspect
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import timestamp_pb2
from weir.auth.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    membership_service_pb2,
    membership_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    team_service_pb2,
    team_service_pb2_grpc,
)
from weir.cost.v1 import (
    correction_service_pb2,
    correction_service_pb2_grpc,
    cost_service_pb2,
    cost_service_pb2_grpc,
    price_book_service_pb2,
    price_book_service_pb2_grpc,
    price_service_pb2,
    report_service_pb2,
    report_service_pb2_grpc,
)
from weir.job.v1 import (
    dead_letter_service_pb2,
    dead_letter_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
)
from weir.router.v1 import router_service_pb2, router_service_pb2_grpc
from weir.worker.v1 import inference_service_pb2

from gateway.domain.credentials import checksum
from service_kit.errors import ErrorCode, ServiceError
from service_kit.signatures import SigningKey, canonical_json
from service_kit.testing.tokens import TestIssuer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USER_ID = "0192f0c0-0000-7000-8000-00000000000a"
PROJECT_ID = "0192f0c0-0000-7000-8000-0000000000b0"
OTHER_PROJECT_ID = "0192f0c0-0000-7000-8000-0000000000b1"
TEAM_ID = "0192f0c0-0000-7000-8000-0000000000e0"
JOB_ID = "0192f0c0-0000-7000-8000-0000000000c0"
ALL_PERMISSIONS = [
    "models:read",
    "jobs:read",
    "jobs:write",
    "inference",
    "costs:read",
    "budgets:write",
    "projects:read",
    "projects:write",
    "keys:write",
]

_DENIAL_KINDS = {
    "session": key_service_pb2.DENIAL_KIND_SESSION,
    "user": key_service_pb2.DENIAL_KIND_USER,
    "key": key_service_pb2.DENIAL_KIND_KEY,
    "membership": key_service_pb2.DENIAL_KIND_MEMBERSHIP,
}


def api_key(letter: str = "k") -> str:
    """Return a well-formed API key."""
    body = letter * 43
    return f"sk-{body}{checksum(body)}"


def stamp(time: datetime = NOW) -> timestamp_pb2.Timestamp:
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(time)
    return found


def refusal(code: ErrorCode, reason: str, message: str = "Refused.", **metadata: str):
    """Return an error such as a service raises."""
    error = ServiceError(message, metadata=metadata)
    error.code, error.reason = code, reason
    return error


@dataclass
class Call:
    """One RPC that a stand-in got."""

    method: str
    request: Any
    metadata: dict[str, Any]


@dataclass
class Script:
    """What the stand-ins answer, by the name of the RPC, and what they were asked.

    An answer is a response, an error to raise, or a function of (request, context) that
    returns one; for `RunJob`, `WatchJob` and exports it is an async generator function.
    """

    issuer: TestIssuer
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self):
        self.reset()

    def reset(self):
        """Be a world in which all is well and nothing has been asked."""
        self.answers = default_answers(self.issuer)
        self.calls.clear()

    def of(self, method: str) -> list[Call]:
        """Return the calls of one RPC."""
        return [call for call in self.calls if call.method == method]

    def last(self, method: str) -> Call:
        """Return the latest call of one RPC."""
        return self.of(method)[-1]


def scripted(servicer: type, pb: Any, script: Script) -> Any:
    """Return a servicer whose every method does what the script says."""

    def unary(name):
        async def method(self, request, context):
            _record(script, name, request, context)
            answer = script.answers[name]
            if callable(answer):
                answer = answer(request, context)
            if inspect.isawaitable(answer):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method

    def stream(name):
        async def method(self, request, context):
            _record(script, name, request, context)
            answer = script.answers[name]
            if isinstance(answer, Exception):
                raise answer
            async for event in answer(request, context):
                yield event

        return method

    service = pb.DESCRIPTOR.services_by_name[servicer.__name__.removesuffix("Servicer")]
    methods = {
        method.name: (stream if method.server_streaming else unary)(method.name)
        for method in service.methods
    }
    return type(f"Scripted{servicer.__name__}", (servicer,), methods)()


def _record(script, name, request, context):
    metadata = dict(context.invocation_metadata() or ())
    script.calls.append(Call(name, request, metadata))


def default_answers(issuer: TestIssuer) -> dict[str, Any]:
    """Return answers of a world in which all is well."""
    return {
        "ListSigningKeys": lambda request, context: key_service_pb2.ListSigningKeysResponse(
            signing_keys=[
                key_service_pb2.SigningKey(kid=key.kid, public_key=key.public_bytes)
                for key in issuer.keys
            ]
        ),
        "ListDenials": lambda request, context: key_service_pb2.ListDenialsResponse(
            denials=[
                key_service_pb2.Denial(
                    sequence=denial.sequence,
                    kind=_DENIAL_KINDS[denial.kind],
                    subject=denial.subject,
                    denied_at=stamp(denial.denied_at),
                    expires_at=stamp(denial.expires_at),
                )
                for denial in issuer.denials
                if denial.sequence > request.after_sequence
            ],
            last_sequence=len(issuer.denials),
        ),
        "ExchangeApiKey": lambda request, context: access_service_pb2.ExchangeApiKeyResponse(
            internal_token=issuer.key_token(USER_ID, project_id=PROJECT_ID),
            expires_at=stamp(datetime.now(UTC) + timedelta(seconds=60)),
        ),
        "CheckAccess": lambda request, context: membership_service_pb2.CheckAccessResponse(
            project_id=request.project_id or PROJECT_ID,
            owner_user_id=USER_ID,
            is_default=True,
            permissions=ALL_PERMISSIONS,
        ),
        "Register": auth_service_pb2.RegisterResponse(user=a_user(), tokens=a_token_pair()),
        "Login": auth_service_pb2.LoginResponse(user=a_user(), tokens=a_token_pair()),
        "RefreshTokens": auth_service_pb2.RefreshTokensResponse(tokens=a_token_pair()),
        "GetCurrentUser": auth_service_pb2.GetCurrentUserResponse(user=a_user()),
        "CreateApiKey": access_service_pb2.CreateApiKeyResponse(
            api_key=an_api_key(), secret=api_key()
        ),
        "CreateProject": lambda request, context: access_service_pb2.CreateProjectResponse(
            project=a_project(OTHER_PROJECT_ID, request.name, team_id=request.team_id),
            created=True,
        ),
        "GetProject": lambda request, context: access_service_pb2.GetProjectResponse(
            project=a_project(request.project_id)
        ),
        "ListProjects": access_service_pb2.ListProjectsResponse(
            projects=[
                a_project(PROJECT_ID, "Default", is_default=True),
                a_project(OTHER_PROJECT_ID, "Other"),
            ]
        ),
        "CreateTeam": lambda request, context: team_service_pb2.CreateTeamResponse(
            team=a_team(request.name), created=True
        ),
        "GetTeam": team_service_pb2.GetTeamResponse(team=a_team()),
        "ListTeams": team_service_pb2.ListTeamsResponse(
            teams=[a_team(), a_team("Climate")], next_page_token="more"
        ),
        "DeleteProject": access_service_pb2.DeleteProjectResponse(),
        "ListScheduledTasks": schedule_service_pb2.ListScheduledTasksResponse(
            tasks=[a_scheduled_task()]
        ),
        "SetBudget": lambda request, context: cost_service_pb2.SetBudgetResponse(
            budget=a_budget(
                **owner_of(request), cap_nanousd=request.cap_nanousd, period_kind=request.period
            )
        ),
        "TopUpBudget": lambda request, context: cost_service_pb2.TopUpBudgetResponse(
            budget=a_budget(
                **owner_of(request), cap_nanousd=100_000_000_000 + request.amount_nanousd
            )
        ),
        "ClearBudget": cost_service_pb2.ClearBudgetResponse(),
        "GetBudget": lambda request, context: cost_service_pb2.GetBudgetResponse(
            budget=a_budget(**owner_of(request)),
            periods=[
                a_budget(**owner_of(request)),
                a_budget(
                    **owner_of(request),
                    period="2026-01-02",
                    period_kind=cost_service_pb2.BUDGET_PERIOD_DAILY,
                ),
            ],
        ),
        "ListBudgetAlerts": lambda request, context: cost_service_pb2.ListBudgetAlertsResponse(
            alerts=[
                cost_service_pb2.BudgetAlert(
                    alert_id=7,
                    **owner_of(request),
                    period_kind=cost_service_pb2.BUDGET_PERIOD_DAILY,
                    period="2026-01-02",
                    level=cost_service_pb2.BUDGET_STATUS_CRITICAL,
                    cap_nanousd=10_000_000_000,
                    posted_nanousd=9_600_000_000,
                    created_at=stamp(),
                )
            ],
            next_page_token="next",
        ),
        "SetAllowance": lambda request, context: cost_service_pb2.SetAllowanceResponse(
            allowance=an_allowance(request.user_id, amount_nanousd=request.amount_nanousd)
        ),
        "GetAllowance": lambda request, context: cost_service_pb2.GetAllowanceResponse(
            allowance=an_allowance(request.user_id)
        ),
        "GetProjectReport": lambda request, context: report_service_pb2.GetProjectReportResponse(
            project_id=request.project_id, report=a_cost_report(request.period_days)
        ),
        "GetTeamReport": lambda request, context: report_service_pb2.GetTeamReportResponse(
            team_id=request.team_id, report=a_cost_report(request.period_days)
        ),
        "GetPlatformReport": lambda request, context: report_service_pb2.GetPlatformReportResponse(
            report=a_cost_report(request.period_days)
        ),
        "GetSavings": lambda request, context: report_service_pb2.GetSavingsResponse(
            savings=some_savings(request.project_id, request.period_days)
        ),
        "GetSuggestions": lambda request, context: report_service_pb2.GetSuggestionsResponse(
            project_id=request.project_id,
            period_days=request.period_days,
            suggestions=[a_suggestion()],
        ),
        "ExportCosts": telling(
            report_service_pb2.ExportCostsResponse(entries=[a_cost_entry()]),
            report_service_pb2.ExportCostsResponse(entries=[a_cost_entry(entry_id=8)]),
        ),
        "ExportComputeJobs": telling(
            report_service_pb2.ExportComputeJobsResponse(jobs=[a_compute_job()]),
            report_service_pb2.ExportComputeJobsResponse(jobs=[a_compute_job(complexity=None)]),
        ),
        "GetJobCost": lambda request, context: cost_service_pb2.GetJobCostResponse(
            job_cost=cost_service_pb2.JobCost(
                job_id=request.job_id,
                project_id=PROJECT_ID,
                held_nanousd=9_000_000,
                charged_nanousd=7_000_000,
                settled=True,
                target="local",
                model="smollm2",
                tokens_input=3,
                tokens_output=4,
                price_version="1",
                settled_at=stamp(),
            )
        ),
        "GetPriceVersion": lambda request, context: price_book_service_pb2.GetPriceVersionResponse(
            price_version=a_price_version(request.price_version or "1")
        ),
        "ListPriceVersions": price_book_service_pb2.ListPriceVersionsResponse(
            price_versions=[a_price_version(prices=[])], next_page_token="next"
        ),
        "AddPriceVersion": lambda request, context: price_book_service_pb2.AddPriceVersionResponse(
            price_version=a_price_version(request.price_version, prices=request.prices),
            lost_prices=request.prices[:1],
        ),
        "RefundJob": lambda request, context: correction_service_pb2.RefundJobResponse(
            entry=an_entry(
                kind=correction_service_pb2.LEDGER_ENTRY_KIND_REFUND,
                amount_nanousd=request.amount_nanousd,
                reason=request.reason,
            )
        ),
        "SurchargeJob": lambda request, context: correction_service_pb2.SurchargeJobResponse(
            entry=an_entry(
                kind=correction_service_pb2.LEDGER_ENTRY_KIND_SURCHARGE,
                amount_nanousd=request.amount_nanousd,
                reason=request.reason,
            )
        ),
        "ListJobEntries": correction_service_pb2.ListJobEntriesResponse(
            entries=[an_entry()], next_page_token="next"
        ),
        "CreateJob": lambda request, context: job_service_pb2.CreateJobResponse(
            job=a_job(state=job_service_pb2.JOB_STATE_PENDING, result_text="")
        ),
        "GetJob": lambda request, context: job_service_pb2.GetJobResponse(job=a_job()),
        "CancelJob": lambda request, context: job_service_pb2.CancelJobResponse(
            job=a_job(state=job_service_pb2.JOB_STATE_RUNNING, cancel_requested=True)
        ),
        "RetryJob": lambda request, context: job_service_pb2.RetryJobResponse(job=a_retried_job()),
        "ListDeadLetters": dead_letter_service_pb2.ListDeadLettersResponse(
            jobs=[a_dead_job()], next_page_token="next"
        ),
        "GetDeadLetter": lambda request, context: dead_letter_service_pb2.GetDeadLetterResponse(
            dead_letter=a_dead_letter()
        ),
        "RedriveDeadLetter": dead_letter_service_pb2.RedriveDeadLetterResponse(job=a_retried_job()),
        "RedriveDeadLetters": dead_letter_service_pb2.RedriveDeadLettersResponse(
            job_ids=[JOB_ID], refusals=[{"job_id": PROJECT_ID, "reason": "MODEL_NOT_FOUND"}]
        ),
        "PurgeDeadLetter": dead_letter_service_pb2.PurgeDeadLetterResponse(),
        "ListJobs": job_service_pb2.ListJobsResponse(
            jobs=[a_job(result_text="")], next_page_token="next"
        ),
        "RunJob": answering("Hello", " world"),
        "WatchJob": telling(*a_story()),
        "GetReceipt": job_service_pb2.GetReceiptResponse(receipt=a_receipt()),
        "ListReceiptKeys": job_service_pb2.ListReceiptKeysResponse(keys=[a_receipt_key()]),
        "ExplainRoute": router_service_pb2.ExplainRouteResponse(decision=a_decision()),
        "ListTargets": router_service_pb2.ListTargetsResponse(
            targets=[
                router_service_pb2.Target(
                    target="local",
                    available=True,
                    models=[
                        router_service_pb2.Model(
                            model="smollm2",
                            context_tokens=2048,
                            operations=[
                                inference_service_pb2.OPERATION_CHAT,
                                inference_service_pb2.OPERATION_COMPLETION,
                                inference_service_pb2.OPERATION_EMBEDDING,
                            ],
                        )
                    ],
                )
            ]
        ),
    }


def a_user(**changes):
    values = {
        "user_id": USER_ID,
        "email": "ada@example.com",
        "username": "ada",
        "full_name": "Ada Lovelace",
        "role": auth_service_pb2.USER_ROLE_USER,
        "created_at": stamp(),
        "last_login_at": stamp(),
        "default_project_id": PROJECT_ID,
        "active_sessions_count": 2,
    }
    return auth_service_pb2.User(**{**values, **changes})


def a_token_pair():
    return auth_service_pb2.TokenPair(
        access_token="access", refresh_token="refresh", access_token_seconds=900
    )


def an_api_key(**changes):
    values = {
        "key_id": "0192f0c0-0000-7000-8000-0000000000d0",
        "project_id": PROJECT_ID,
        "name": "laptop",
        "scopes": [access_service_pb2.API_KEY_SCOPE_READ],
        "created_at": stamp(),
        "prefix": "sk-kkkkkkkk",
    }
    return access_service_pb2.ApiKey(**{**values, **changes})


def a_project(project_id=PROJECT_ID, name="Default", *, is_default=False, team_id=""):
    return access_service_pb2.Project(
        project_id=project_id,
        name=name,
        owner_user_id=USER_ID,
        is_default=is_default,
        created_at=stamp(),
        team_id=team_id,
    )


def a_team(name="Weather", **changes):
    values = {
        "team_id": TEAM_ID,
        "name": name,
        "owner_user_id": USER_ID,
        "team_role": membership_service_pb2.TEAM_ROLE_OWNER,
        "created_at": stamp(),
    }
    return team_service_pb2.Team(**{**values, **changes})


def a_scheduled_task(**run):
    values = {
        "due_at": stamp(),
        "started_at": stamp(),
        "finished_at": stamp(NOW + timedelta(seconds=2)),
        "duration": timedelta(seconds=1.5),
        "outcome": schedule_service_pb2.SCHEDULED_RUN_OUTCOME_SUCCEEDED,
        "attempt": 1,
    }
    return schedule_service_pb2.ScheduledTask(
        task="expire_sessions",
        schedule="every 300 s",
        next_due_at=stamp(NOW + timedelta(minutes=5)),
        last_run=schedule_service_pb2.ScheduledRun(**{**values, **run}),
    )


def owner_of(request):
    """Whose budget a request names."""
    return {
        "project_id": request.project_id,
        "team_id": request.team_id,
        "api_key_id": request.api_key_id,
    }


def a_budget(project_id=PROJECT_ID, **changes):
    values = {
        "project_id": project_id,
        "period": "2026-01",
        "has_budget": True,
        "cap_nanousd": 100_000_000_000,
        "reserved_nanousd": 500_000_000,
        "posted_nanousd": 85_000_000_000,
        "status": cost_service_pb2.BUDGET_STATUS_WARNING,
        "period_kind": cost_service_pb2.BUDGET_PERIOD_MONTHLY,
    }
    return cost_service_pb2.Budget(**{**values, **changes})


def a_price_version(price_version="1", **changes):
    values = {
        "price_version": price_version,
        "valid_from": stamp(),
        "note": "The documents' rates.",
        "is_current": True,
        "prices": [
            price_service_pb2.Price(
                target="local",
                model="*",
                input_nanousd_per_million=10**12,
                output_nanousd_per_million=75_000_000,
            )
        ],
    }
    return price_book_service_pb2.PriceVersion(**{**values, **changes})


def an_entry(**changes):
    values = {
        "entry_id": 7,
        "kind": correction_service_pb2.LEDGER_ENTRY_KIND_POST,
        "hold_id": f"{JOB_ID}:2",
        "job_id": JOB_ID,
        "project_id": PROJECT_ID,
        "amount_nanousd": 7_000_000,
        "period": "2026-01",
        "price_version": "1",
        "created_at": stamp(),
    }
    return correction_service_pb2.LedgerEntry(**{**values, **changes})


def some_sums(**changes):
    values = {
        "cost_nanousd": 45_670_000_000,
        "provider_cost_nanousd": 1_000_000_000,
        "jobs": 123,
        "completed_jobs": 117,
        "failed_jobs": 5,
        "cancelled_jobs": 1,
        "tokens_input": 30,
        "tokens_output": 40,
    }
    return report_service_pb2.CostSums(**{**values, **changes})


def a_share(name, **changes):
    return report_service_pb2.CostShare(name=name, sums=some_sums(**changes))


def a_cost_report(period_days):
    return report_service_pb2.CostReport(
        total=some_sums(),
        period_days=period_days,
        begins_at=stamp(NOW - timedelta(days=period_days)),
        ends_at=stamp(),
        days=[a_share("2026-01-02", cost_nanousd=1, jobs=2)],
        targets=[a_share("local")],
        models=[a_share("smollm2")],
        job_types=[a_share("chat_completion")],
        api_keys=[a_share("key-1")],
        projects=[a_share(PROJECT_ID)],
        teams=[a_share("team-1")],
    )


def some_savings(project_id, period_days):
    def scenario(target, model, cost_nanousd):
        return report_service_pb2.SavingsScenario(
            target=target,
            model=model,
            jobs=2,
            charged_nanousd=7_000_000,
            cost_nanousd=cost_nanousd,
            not_comparable_jobs=1,
            price_versions=["1"],
        )

    return report_service_pb2.Savings(
        project_id=project_id,
        period_days=period_days,
        begins_at=stamp(NOW - timedelta(days=period_days)),
        ends_at=stamp(),
        jobs=3,
        tokens_input=3,
        tokens_output=4,
        charged_nanousd=8_000_000,
        corrections_nanousd=-1_000_000,
        provider_cost_nanousd=500_000,
        scenarios=[scenario("local", "*", 7_000_000), scenario("yotta", "*", 70_000_000)],
        not_comparable=[
            report_service_pb2.NotComparable(
                target="yotta", model="m", price_version="", jobs=1, charged_nanousd=1_000_000
            )
        ],
    )


def a_suggestion(**changes):
    values = {
        "kind": report_service_pb2.SUGGESTION_KIND_CHEAPER_TARGET,
        "subject": "local/*",
        "text": "Run it at home.",
        "figures": {"jobs": 20, "charged_nanousd": 9},
        "monthly_saving_nanousd": 1_500_000_000,
    }
    return report_service_pb2.Suggestion(**{**values, **changes})


def a_cost_entry(**changes):
    values = {
        "entry_id": 7,
        "booked_at": stamp(),
        "finished_at": stamp(),
        "kind": "post",
        "job_id": JOB_ID,
        "job_type": "chat_completion",
        "job_state": "completed",
        "target": "local",
        "model": "smollm2",
        "complexity": 6,
        "tokens_input": 3,
        "tokens_output": 4,
        "usage_source": "reported",
        "cost_nanousd": 7_000_000,
        "provider_cost_nanousd": 0,
        "price_version": "1",
        "api_key_id": "",
    }
    return report_service_pb2.CostEntry(**{**values, **changes})


def a_compute_job(**changes):
    values = {
        "timestamp": stamp(),
        "job_type": "generation_v2",
        "complexity": 0,
        "compute_type": "local",
        "cost_nanousd": 7_000_000,
    }
    return report_service_pb2.ComputeJob(**{**values, **changes})


def an_allowance(user_id=USER_ID, **changes):
    values = {
        "user_id": user_id,
        "amount_nanousd": 100_000_000_000,
        "allocated_nanousd": 60_000_000_000,
        "left_nanousd": 40_000_000_000,
    }
    return cost_service_pb2.Allowance(**{**values, **changes})


def a_decision(**changes):
    values = {
        "target": "local",
        "model": "smollm2",
        "reason": "complexity_below_threshold",
        "complexity": router_service_pb2.Complexity(
            score=6, threshold=100, words=6, context_characters=0, keywords=["complex"]
        ),
        "explanation": ["local can serve smollm2", "complexity 6 < 100"],
        "alternatives": [
            router_service_pb2.Alternative(
                target="yotta", eligible=True, reason="dearer", estimated_cost_nanousd=90
            )
        ],
        "estimated_cost_nanousd": 9_000_000,
    }
    return router_service_pb2.RouteDecision(**{**values, **changes})


def a_job(**changes):
    values = {
        "job_id": JOB_ID,
        "project_id": PROJECT_ID,
        "type": "chat_completion",
        "kind": job_service_pb2.JOB_KIND_INTERACTIVE,
        "state": job_service_pb2.JOB_STATE_COMPLETED,
        "attempt": 1,
        "max_retries": 3,
        "priority": 7,
        "created_at": stamp(),
        "started_at": stamp(NOW + timedelta(seconds=1)),
        "completed_at": stamp(NOW + timedelta(seconds=3)),
        "model": "auto",
        "decision": a_decision(),
        "executed_target": "local",
        "executed_model": "smollm2",
        "usage": inference_service_pb2.Usage(
            tokens_input=3, tokens_output=4, tokens_input_cached=1
        ),
        "usage_source": job_service_pb2.USAGE_SOURCE_REPORTED,
        "estimated_cost_nanousd": 9_000_000,
        "actual_cost_nanousd": 7_000_000,
        "price_version": "1",
        "finish_reason": inference_service_pb2.FINISH_REASON_STOP,
        "result_text": "Hello world",
    }
    return job_service_pb2.Job(**{**values, **changes})


def a_retried_job():
    return a_job(
        kind=job_service_pb2.JOB_KIND_QUEUED,
        state=job_service_pb2.JOB_STATE_PENDING,
        result_text="",
    )


def a_dead_job():
    return a_job(
        type="generation_v2",
        kind=job_service_pb2.JOB_KIND_QUEUED,
        state=job_service_pb2.JOB_STATE_DEAD_LETTER,
        failure_reason="LOST_TOO_OFTEN",
        last_error="The worker went away.",
        result_text="",
    )


def a_dead_letter():
    return dead_letter_service_pb2.DeadLetter(
        job=a_dead_job(),
        attempts=[
            dead_letter_service_pb2.DeadLetter.Attempt(
                attempt=1,
                admission=1,
                target="yotta",
                model="big",
                client_task_id="c1",
                started_at=stamp(),
                dispatched_at=stamp(),
                finished_at=stamp(),
                outcome="lost",
                error="The worker went away.",
                tokens_input=3,
                tokens_output=4,
                usage_source=job_service_pb2.USAGE_SOURCE_COUNTED,
                provider_cost_nanousd=5,
            )
        ],
        attempts_total=12,
        events=[
            job_service_pb2.WatchJobResponse.Lifecycle(
                seq=9, type="dead_letter", details={"attempt": "1"}, occurred_at=stamp()
            )
        ],
        events_total=9,
        charges=[
            dead_letter_service_pb2.DeadLetter.AdmissionCharge(
                admission=1,
                state=job_service_pb2.JOB_STATE_DEAD_LETTER,
                voided=True,
                provider_cost_nanousd=5,
                price_version="1",
                ended_at=stamp(),
                booked=True,
            )
        ],
    )


class Events:
    """The events of `RunJob`."""

    @staticmethod
    def admitted():
        return job_service_pb2.RunJobResponse(
            admitted=job_service_pb2.RunJobResponse.Admitted(job_id=JOB_ID, created_at=stamp())
        )

    @staticmethod
    def decision(**changes):
        return job_service_pb2.RunJobResponse(decision=a_decision(**changes))

    @staticmethod
    def started():
        return job_service_pb2.RunJobResponse(
            started=job_service_pb2.RunJobResponse.Started(target="local", model="smollm2")
        )

    @staticmethod
    def delta(text):
        return job_service_pb2.RunJobResponse(delta=job_service_pb2.RunJobResponse.Delta(text=text))

    @staticmethod
    def embedding(index, values):
        return job_service_pb2.RunJobResponse(
            embedding=inference_service_pb2.Embedding(index=index, values=values)
        )

    @staticmethod
    def finished(**changes):
        return job_service_pb2.RunJobResponse(
            finished=job_service_pb2.RunJobResponse.Finished(job=a_job(**changes))
        )


def answering(*texts: str, **changes):
    """Return a `RunJob` that answers with these deltas."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        for text in texts:
            yield Events.delta(text)
        yield Events.finished(result_text="".join(texts), **changes)

    return run


def embedding(*vectors):
    """Return a `RunJob` that answers with these vectors."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        for index, values in enumerate(vectors):
            yield Events.embedding(index, values)
        usage = inference_service_pb2.Usage(tokens_input=3)
        yield Events.finished(type="embedding", usage=usage, result_text="")

    return run


class Told:
    """The events of `WatchJob`."""

    @staticmethod
    def lifecycle(seq, kind, **details):
        return job_service_pb2.WatchJobResponse(
            cursor=f"{seq}.0-0",
            lifecycle=job_service_pb2.WatchJobResponse.Lifecycle(
                seq=seq, type=kind, details=details, occurred_at=stamp()
            ),
        )

    @staticmethod
    def delta(number, text, attempt=1):
        return job_service_pb2.WatchJobResponse(
            cursor=f"2.{attempt}-{number}",
            delta=job_service_pb2.WatchJobResponse.Delta(attempt=attempt, number=number, text=text),
        )

    @staticmethod
    def gap(first, last):
        return job_service_pb2.WatchJobResponse(
            gap=job_service_pb2.WatchJobResponse.Gap(
                attempt=1, first_missing=first, last_missing=last
            )
        )

    @staticmethod
    def snapshot(number, text):
        return job_service_pb2.WatchJobResponse(
            cursor=f"2.1-{number}",
            snapshot=job_service_pb2.WatchJobResponse.Snapshot(attempt=1, number=number, text=text),
        )

    @staticmethod
    def ended(**changes):
        return job_service_pb2.WatchJobResponse(
            cursor="3.1-9", ended=job_service_pb2.WatchJobResponse.Ended(job=a_job(**changes))
        )


def a_story():
    """Return one event of each kind, in an order that can happen."""
    return [
        Told.lifecycle(1, "created"),
        Told.lifecycle(2, "running", worker="w1"),
        Told.delta(1, "Hel"),
        Told.gap(2, 3),
        Told.snapshot(4, "Hello wor"),
        Told.delta(5, "ld\n\n\u2028"),
        Told.ended(),
    ]


def telling(*events):
    """Return a `WatchJob`, or an export, that tells these events."""

    async def watch(request, context):
        for event in events:
            yield event

    return watch


SIGNING_KEY = SigningKey.generate()


def a_receipt_key(owner="job-service"):
    return job_service_pb2.ReceiptKey(
        key_id=SIGNING_KEY.key_id,
        public_key=SIGNING_KEY.public_key,
        owner=owner,
        created_at=stamp(),
    )


def a_receipt(**changes):
    statement = canonical_json(
        {
            "type": "weir.receipt.v1",
            "job_id": JOB_ID,
            "model": "größer",
            "charge_nanousd": 2**60,
            "output_digest": None,
            "result": {"statement": {"tokens_output": 4}},
            **changes,
        }
    )
    return job_service_pb2.Receipt(
        statement=statement,
        key_id=SIGNING_KEY.key_id,
        signature=SIGNING_KEY.sign(statement),
        keys=[a_receipt_key()],
    )


SERVICES = {
    "auth-service": [
        (auth_service_pb2, auth_service_pb2_grpc, "AuthService"),
        (access_service_pb2, access_service_pb2_grpc, "AccessService"),
        (membership_service_pb2, membership_service_pb2_grpc, "MembershipService"),
        (key_service_pb2, key_service_pb2_grpc, "KeyService"),
        (schedule_service_pb2, schedule_service_pb2_grpc, "ScheduleService"),
        (team_service_pb2, team_service_pb2_grpc, "TeamService"),
    ],
    "job-service": [
        (job_service_pb2, job_service_pb2_grpc, "JobService"),
        (dead_letter_service_pb2, dead_letter_service_pb2_grpc, "DeadLetterService"),
    ],
    "cost-service": [
        (cost_service_pb2, cost_service_pb2_grpc, "CostService"),
        (price_book_service_pb2, price_book_service_pb2_grpc, "PriceBookService"),
        (correction_service_pb2, correction_service_pb2_grpc, "CorrectionService"),
        (report_service_pb2, report_service_pb2_grpc, "ReportService"),
    ],
    "compute-router": [(router_service_pb2, router_service_pb2_grpc, "RouterService")],
}
WITH_TOKENS = {
    "AuthService",
    "AccessService",
    "ScheduleService",
    "TeamService",
    "JobService",
    "DeadLetterService",
    "CostService",
    "PriceBookService",
    "CorrectionService",
    "ReportService",
}
WITHOUT_TOKENS = [
    "/weir.auth.v1.AuthService/Register",
    "/weir.auth.v1.AuthService/Login",
    "/weir.auth.v1.AuthService/RefreshTokens",
    "/weir.auth.v1.AccessService/ExchangeApiKey",
    "/weir.job.v1.JobService/ListReceiptKeys",
]
