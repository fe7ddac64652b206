"""The RPCs over mutual TLS, as other services call them."""

from __future__ import annotations

import grpc
import pytest
from weir.cost.v1 import correction_service_pb2 as correction_pb
from weir.cost.v1 import correction_service_pb2_grpc as correction_grpc
from weir.cost.v1 import cost_service_pb2 as cost_pb
from weir.cost.v1 import cost_service_pb2_grpc as cost_grpc
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import ledger_service_pb2_grpc as ledger_grpc
from weir.cost.v1 import price_book_service_pb2 as book_pb
from weir.cost.v1 import price_book_service_pb2_grpc as book_grpc
from weir.cost.v1 import price_service_pb2 as price_pb
from weir.cost.v1 import price_service_pb2_grpc as price_grpc
from weir.cost.v1 import report_service_pb2 as report_pb
from weir.cost.v1 import report_service_pb2_grpc as report_grpc

from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.bootstrap import ALLOWED_CALLERS, WITH_TOKENS, handlers
from cost_service.domain.errors import ApiKeyNotFound
from cost_service.settings import Settings
from cost_service.usecases.access_ports import ApiKeyAccess, TeamAccess
from service_kit.access import AccessChecks, ProjectAccess, ProjectNotFound
from service_kit.clock import SystemClock
from service_kit.database import open_engine, sessions
from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.testing.pki import make_test_pki
from service_kit.testing.rpc import serving_loopback
from service_kit.testing.tokens import TestIssuer

SERVICES = (
    "gateway",
    "auth-service",
    "job-service",
    "cost-service",
    "compute-router",
    "gpu-worker/w1",
)
SCOPE = ledger_pb.BudgetScope(
    kind=ledger_pb.BUDGET_SCOPE_KIND_PROJECT,
    scope_id="project-1",
    owner_user_id="owner-1",
    default_cap=True,
)
HOLD = ledger_pb.PlaceHoldRequest(
    hold_id="j1:1", scopes=[SCOPE], amount_nanousd=100, price_version="1"
)
# One call of each RPC: its stub, method, request, and who may call it.
RPCS = [
    (ledger_grpc.LedgerServiceStub, "PlaceHold", HOLD),
    (ledger_grpc.LedgerServiceStub, "PostHold", ledger_pb.PostHoldRequest(hold_id="j9:1")),
    (ledger_grpc.LedgerServiceStub, "VoidHold", ledger_pb.VoidHoldRequest(hold_id="j9:1")),
    (ledger_grpc.LedgerServiceStub, "ListOpenHolds", ledger_pb.ListOpenHoldsRequest()),
    (price_grpc.PriceServiceStub, "GetPriceSnapshot", price_pb.GetPriceSnapshotRequest()),
    (cost_grpc.CostServiceStub, "SetBudget", cost_pb.SetBudgetRequest(project_id="project-1")),
    (cost_grpc.CostServiceStub, "TopUpBudget", cost_pb.TopUpBudgetRequest(project_id="project-1")),
    (
        cost_grpc.CostServiceStub,
        "ClearBudget",
        cost_pb.ClearBudgetRequest(project_id="project-1", period=cost_pb.BUDGET_PERIOD_DAILY),
    ),
    (cost_grpc.CostServiceStub, "GetBudget", cost_pb.GetBudgetRequest()),
    (cost_grpc.CostServiceStub, "ListBudgetAlerts", cost_pb.ListBudgetAlertsRequest()),
    (cost_grpc.CostServiceStub, "SetAllowance", cost_pb.SetAllowanceRequest(user_id="u1")),
    (cost_grpc.CostServiceStub, "GetAllowance", cost_pb.GetAllowanceRequest(user_id="u1")),
    (cost_grpc.CostServiceStub, "GetProjectCosts", cost_pb.GetProjectCostsRequest()),
    (cost_grpc.CostServiceStub, "GetJobCost", cost_pb.GetJobCostRequest(job_id="j1")),
    (book_grpc.PriceBookServiceStub, "ListPriceVersions", book_pb.ListPriceVersionsRequest()),
    (book_grpc.PriceBookServiceStub, "GetPriceVersion", book_pb.GetPriceVersionRequest()),
    (book_grpc.PriceBookServiceStub, "AddPriceVersion", book_pb.AddPriceVersionRequest()),
    (correction_grpc.CorrectionServiceStub, "RefundJob", correction_pb.RefundJobRequest()),
    (correction_grpc.CorrectionServiceStub, "SurchargeJob", correction_pb.SurchargeJobRequest()),
    (
        correction_grpc.CorrectionServiceStub,
        "ListJobEntries",
        correction_pb.ListJobEntriesRequest(job_id="j1"),
    ),
    (report_grpc.ReportServiceStub, "GetProjectReport", report_pb.GetProjectReportRequest()),
    (
        report_grpc.ReportServiceStub,
        "GetTeamReport",
        report_pb.GetTeamReportRequest(team_id="team-1"),
    ),
    (report_grpc.ReportServiceStub, "GetPlatformReport", report_pb.GetPlatformReportRequest()),
    (report_grpc.ReportServiceStub, "GetSavings", report_pb.GetSavingsRequest()),
    (report_grpc.ReportServiceStub, "GetSuggestions", report_pb.GetSuggestionsRequest()),
    (report_grpc.ReportServiceStub, "ExportCosts", report_pb.ExportCostsRequest()),
    (report_grpc.ReportServiceStub, "ExportComputeJobs", report_pb.ExportComputeJobsRequest()),
]
STREAMED = (report_pb.ExportCostsRequest, report_pb.ExportComputeJobsRequest)
REPORTS = [each for each in RPCS if each[0] is report_grpc.ReportServiceStub]
DAILY = cost_pb.BUDGET_PERIOD_DAILY
WORDS = {
    "user-1": frozenset({"costs:read", "budgets:write"}),
    "user-2": frozenset({"costs:read"}),
}
# What can be done with a budget, and what it takes beside whose it is.
BUDGET_CALLS = {
    "SetBudget": {},
    "TopUpBudget": {"amount_nanousd": 1},
    "ClearBudget": {"period": DAILY},
    "GetBudget": {},
    "ListBudgetAlerts": {},
}
CALLERS = {
    "LedgerServiceStub": {"job-service"},
    "PriceServiceStub": {"job-service", "compute-router"},
    "CostServiceStub": {"gateway"},
    "PriceBookServiceStub": {"gateway"},
    "CorrectionServiceStub": {"gateway"},
    "ReportServiceStub": {"gateway"},
}


class Directory:
    """user-1 owns project-1 and may do everything, user-2 may read there, nobody else is known.

    The same goes for team-1, and for key-1 and key-2 of that project.
    """

    async def project_access(self, user_id, project_id, scopes):
        if project_id not in ("", "project-1") or user_id not in WORDS:
            raise ProjectNotFound(project_id)
        return ProjectAccess("project-1", "owner-1", True, WORDS[user_id])

    async def team_access(self, user_id, team_id):
        if team_id != "team-1" or user_id not in WORDS:
            raise TeamNotFound("It does not exist.")
        return TeamAccess(team_id, WORDS[user_id])

    async def api_key_access(self, user_id, api_key_id, scopes):
        if api_key_id not in ("key-1", "key-2") or user_id not in WORDS:
            raise ApiKeyNotFound(api_key_id)
        return ApiKeyAccess(api_key_id, "project-1", WORDS[user_id])


class TeamNotFound(ServiceError):
    """As auth-service says it."""

    code = ErrorCode.NOT_FOUND
    reason = "TEAM_NOT_FOUND"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_test_pki(tmp_path_factory.mktemp("pki"), SERVICES)


@pytest.fixture
def issuer():
    return TestIssuer()


@pytest.fixture
async def loopback(database, pki, issuer):
    files = pki["cost-service"]
    settings = Settings(
        database_url=database,
        auth_service_addresses="127.0.0.1:1",
        tls_ca_file=files.ca_file,
        tls_cert_file=files.cert_file,
        tls_key_file=files.key_file,
    )
    engine = open_engine(database, application_name="test")
    registry = new_registry("cost-service")
    work = PostgresUnitOfWork(sessions(engine))
    directory = Directory()
    access = AccessChecks(directory, SystemClock())
    served = handlers(settings, work, access, directory, registry, reports=work)
    async with serving_loopback(
        pki,
        "cost-service",
        served.register,
        ALLOWED_CALLERS,
        authenticate=dict.fromkeys(WITH_TOKENS, await issuer.verifier()),
        registry=registry,
    ) as server:
        yield server
    await engine.dispose()


def as_user(issuer, user_id="user-1", **claims):
    return (("authorization", f"Bearer {issuer.person_token(user_id, **claims)}"),)


async def test_a_job_from_hold_to_report(loopback, issuer):
    """A hold, its post, and what the owner then sees of budget, job and project."""
    async with loopback.channel_as("job-service") as channel:
        ledger = ledger_grpc.LedgerServiceStub(channel)
        hold = (await ledger.PlaceHold(HOLD)).hold
        opened = await ledger.ListOpenHolds(ledger_pb.ListOpenHoldsRequest())
        outcome = ledger_pb.OutcomeSummary(
            job_id="j1", project_id="project-1", job_state="completed", target="local"
        )
        post = ledger_pb.PostHoldRequest(
            hold_id="j1:1", amount_nanousd=60, scopes=[SCOPE], outcome=outcome
        )
        booked = [(await ledger.PostHold(post)).booked for _ in range(2)]
        with pytest.raises(ServiceError) as refused, rpc_errors():
            await ledger.PlaceHold(HOLD)

    assert hold.state == ledger_pb.HOLD_STATE_HELD
    assert [one.hold_id for one in opened.holds] == ["j1:1"]
    assert booked == [True, False]
    assert refused.value.reason == "HOLD_SETTLED"

    async with loopback.channel_as("gateway") as channel:
        costs = cost_grpc.CostServiceStub(channel)
        me = as_user(issuer)
        budget = (await costs.GetBudget(cost_pb.GetBudgetRequest(), metadata=me)).budget
        job = (await costs.GetJobCost(cost_pb.GetJobCostRequest(job_id="j1"), metadata=me)).job_cost
        project = (
            await costs.GetProjectCosts(cost_pb.GetProjectCostsRequest(), metadata=me)
        ).project_costs

    assert (budget.cap_nanousd, budget.posted_nanousd) == (10 * 10**9, 60)
    assert (job.charged_nanousd, job.settled, job.target) == (60, True, "local")
    assert (project.total_cost_nanousd, project.completed_jobs) == (60, 1)


async def test_refusal_travels_with_its_figures(loopback):
    """The caller learns which budget refused a hold, and by how much."""
    async with loopback.channel_as("job-service") as channel:
        ledger = ledger_grpc.LedgerServiceStub(channel)
        request = ledger_pb.PlaceHoldRequest()
        request.CopyFrom(HOLD)
        request.amount_nanousd = 10 * 10**9 + 1
        with pytest.raises(ServiceError) as refused, rpc_errors():
            await ledger.PlaceHold(request)

    assert refused.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert refused.value.reason == "BUDGET_EXCEEDED"
    assert refused.value.metadata["cap_nanousd"] == str(10 * 10**9)
    assert refused.value.metadata["requested_nanousd"] == str(10 * 10**9 + 1)


@pytest.mark.parametrize("caller", SERVICES)
async def test_only_named_services_may_call(loopback, issuer, caller):
    """X-Z4: each RPC refuses every service that it is not open to, whatever token comes along."""
    async with loopback.channel_as(caller) as channel:
        for stub, method, request in RPCS:
            answer = await outcome_of(getattr(stub(channel), method), request, as_user(issuer))
            if caller in CALLERS[stub.__name__]:
                assert answer[1] != "CALLER_NOT_ALLOWED", method
            else:
                assert answer == (ErrorCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED"), method


def test_every_rpc_is_called_here():
    """An RPC that is added has to be added to the tests above."""
    declared = {
        method.name
        for file in (book_pb, correction_pb, cost_pb, ledger_pb, price_pb, report_pb)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert {method for _, method, _ in RPCS} == declared


async def outcome_of(call, request, metadata=()):
    try:
        with rpc_errors():
            answer = call(request, metadata=metadata)
            if isinstance(request, STREAMED):
                async for _ in answer:
                    pass
            else:
                await answer
    except ServiceError as error:
        return error.code, error.reason
    return "OK", ""


async def test_no_certificate_no_conversation(loopback, pki, tmp_path):
    """Without a certificate of our authority nothing answers."""
    strangers = make_test_pki(tmp_path, ["job-service"])
    credentials = [
        grpc.ssl_channel_credentials(pki["gateway"].ca_file.read_bytes()),
        grpc.ssl_channel_credentials(
            pki["gateway"].ca_file.read_bytes(),
            strangers["job-service"].key_file.read_bytes(),
            strangers["job-service"].cert_file.read_bytes(),
        ),
    ]
    for each in credentials:
        async with grpc.aio.secure_channel(loopback.address, each) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ledger_grpc.LedgerServiceStub(channel).PlaceHold(HOLD, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


class TestUsers:
    @pytest.fixture
    async def costs(self, loopback):
        async with loopback.channel_as("gateway") as channel:
            yield cost_grpc.CostServiceStub(channel)

    async def test_token_is_needed(self, costs):
        """Without a token, or with somebody else's signature, nobody is known."""
        forged = TestIssuer().person_token("user-1")

        for metadata in ((), (("authorization", f"Bearer {forged}"),)):
            code, _ = await outcome_of(costs.GetBudget, cost_pb.GetBudgetRequest(), metadata)
            assert code is ErrorCode.UNAUTHENTICATED

    async def test_reader_may_not_set(self, costs, issuer):
        """Who may read costs may not thereby change budgets."""
        reader, project = as_user(issuer, "user-2"), "project-1"
        requests = [
            (costs.SetBudget, cost_pb.SetBudgetRequest(project_id=project, cap_nanousd=1)),
            (costs.TopUpBudget, cost_pb.TopUpBudgetRequest(project_id=project, amount_nanousd=1)),
            (costs.ClearBudget, cost_pb.ClearBudgetRequest(project_id=project, period=DAILY)),
        ]

        assert await outcome_of(costs.GetBudget, cost_pb.GetBudgetRequest(), reader) == ("OK", "")
        for call, request in requests:
            assert await outcome_of(call, request, reader) == (
                ErrorCode.PERMISSION_DENIED,
                "PERMISSION_DENIED",
            )

    async def test_periods_side_by_side(self, costs, issuer):
        """Caps of several periods are set, topped up, shown together, and taken away."""
        me, project = as_user(issuer), "project-1"
        await costs.SetBudget(
            cost_pb.SetBudgetRequest(project_id=project, cap_nanousd=500), metadata=me
        )
        await costs.SetBudget(
            cost_pb.SetBudgetRequest(project_id=project, cap_nanousd=10, period=DAILY), metadata=me
        )
        top_up = cost_pb.TopUpBudgetRequest(
            project_id=project, amount_nanousd=5, period=DAILY, request_id="r1"
        )
        answers = [await costs.TopUpBudget(top_up, metadata=me) for _ in range(2)]

        shown = await costs.GetBudget(cost_pb.GetBudgetRequest(), metadata=me)
        assert answers[0] == answers[1]
        assert shown.budget.cap_nanousd == 500
        assert [(one.period_kind, one.cap_nanousd) for one in shown.periods] == [
            (cost_pb.BUDGET_PERIOD_MONTHLY, 500),
            (DAILY, 15),
        ]

        for _ in range(2):
            await costs.ClearBudget(
                cost_pb.ClearBudgetRequest(project_id=project, period=DAILY), metadata=me
            )
        shown = await costs.GetBudget(cost_pb.GetBudgetRequest(), metadata=me)
        assert [one.cap_nanousd for one in shown.periods] == [500]

    async def test_allowance_by_administrators_alone(self, costs, issuer):
        """An administrator changes anybody's allowance; others see their own and change none."""
        admin, me = as_user(issuer, "boss", role="admin"), as_user(issuer)
        raised = cost_pb.SetAllowanceRequest(user_id="user-1", amount_nanousd=7)
        own = cost_pb.GetAllowanceRequest(user_id="user-1")
        denied = (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED")

        assert await outcome_of(costs.SetAllowance, raised, me) == denied
        assert (await costs.GetAllowance(own, metadata=me)).allowance.amount_nanousd == 100 * 10**9
        assert await outcome_of(costs.SetAllowance, raised, admin) == ("OK", "")
        for caller in (me, admin):
            assert (await costs.GetAllowance(own, metadata=caller)).allowance.amount_nanousd == 7
        assert await outcome_of(costs.GetAllowance, own, as_user(issuer, "user-2")) == denied

    @pytest.mark.parametrize("user_id", ["user-1", "stranger"])
    async def test_foreign_project_looks_absent(self, costs, issuer, user_id):
        """A project one has no part in reads like one that never was."""
        project = "project-2" if user_id == "user-1" else "project-1"
        me = as_user(issuer, user_id)
        requests = [
            (costs.SetBudget, cost_pb.SetBudgetRequest(project_id=project)),
            (costs.TopUpBudget, cost_pb.TopUpBudgetRequest(project_id=project, amount_nanousd=1)),
            (costs.ClearBudget, cost_pb.ClearBudgetRequest(project_id=project, period=DAILY)),
            (costs.GetBudget, cost_pb.GetBudgetRequest(project_id=project)),
            (costs.ListBudgetAlerts, cost_pb.ListBudgetAlertsRequest(project_id=project)),
            (costs.GetProjectCosts, cost_pb.GetProjectCostsRequest(project_id=project)),
            (costs.GetJobCost, cost_pb.GetJobCostRequest(project_id=project, job_id="j1")),
        ]

        for call, request in requests:
            assert await outcome_of(call, request, me) == (
                ErrorCode.NOT_FOUND,
                "PROJECT_NOT_FOUND",
            )

    async def test_key_sees_its_own_project_alone(self, costs, issuer):
        """An API key belongs to one project; any other looks absent to it."""
        own = (("authorization", f"Bearer {issuer.key_token(project_id='project-1')}"),)
        other = (("authorization", f"Bearer {issuer.key_token(project_id='project-9')}"),)
        request = cost_pb.GetBudgetRequest(project_id="project-1")

        assert await outcome_of(costs.GetBudget, request, own) == ("OK", "")
        assert (await outcome_of(costs.GetBudget, request, other))[1] == "PROJECT_NOT_FOUND"

    @pytest.mark.parametrize("name", ["team_id", "api_key_id"])
    async def test_budget_of_a_team_or_key(self, costs, issuer, name):
        """Set, topped up, shown and taken away by the id it is named by, without a project's."""
        me, owner = as_user(issuer), {name: {"team_id": "team-1", "api_key_id": "key-1"}[name]}
        await costs.SetBudget(cost_pb.SetBudgetRequest(cap_nanousd=9, **owner), metadata=me)
        await costs.SetBudget(
            cost_pb.SetBudgetRequest(cap_nanousd=5, period=DAILY, **owner), metadata=me
        )
        topped_up = await costs.TopUpBudget(
            cost_pb.TopUpBudgetRequest(amount_nanousd=1, **owner), metadata=me
        )
        await costs.ClearBudget(cost_pb.ClearBudgetRequest(period=DAILY, **owner), metadata=me)
        shown = await costs.GetBudget(cost_pb.GetBudgetRequest(**owner), metadata=me)

        assert shown.budget == topped_up.budget == shown.periods[0]
        assert (shown.budget.cap_nanousd, len(shown.periods)) == (10, 1)
        fields = ("project_id", "team_id", "api_key_id")
        ids = {field: getattr(shown.budget, field) for field in fields}
        assert ids == {**dict.fromkeys(fields, ""), **owner}

    @pytest.mark.parametrize(
        ("owner", "expected"),
        [
            ({"team_id": "x"}, (ErrorCode.NOT_FOUND, "TEAM_NOT_FOUND")),
            ({"api_key_id": "x"}, (ErrorCode.NOT_FOUND, "API_KEY_NOT_FOUND")),
            (
                {"project_id": "project-1", "team_id": "team-1"},
                (ErrorCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
            ),
        ],
        ids=["foreign team", "foreign key", "two owners"],
    )
    async def test_whose_budget_is_checked_by_each_call(self, costs, issuer, owner, expected):
        """What the caller has no part in looks absent; two owners at once are none."""
        for method, more in BUDGET_CALLS.items():
            request = getattr(cost_pb, f"{method}Request")(**owner, **more)

            found = await outcome_of(getattr(costs, method), request, as_user(issuer))

            assert found == expected, method

    async def test_key_moves_other_caps_not_its_own(self, costs, issuer):
        """A key is held to its cap; it sees it, and sets those of its project's other keys."""
        key = bearer(issuer.key_token())
        foreign = bearer(issuer.key_token(project_id="project-9"))
        own = cost_pb.SetBudgetRequest(api_key_id="key-1", cap_nanousd=1)
        other = cost_pb.SetBudgetRequest(api_key_id="key-2", cap_nanousd=1)
        seen = cost_pb.GetBudgetRequest(api_key_id="key-1")

        assert (await outcome_of(costs.SetBudget, own, key))[1] == "PERMISSION_DENIED"
        assert await outcome_of(costs.SetBudget, other, key) == ("OK", "")
        assert await outcome_of(costs.GetBudget, seen, key) == ("OK", "")
        assert (await outcome_of(costs.GetBudget, seen, foreign))[1] == "API_KEY_NOT_FOUND"

    async def test_allowance_is_told(self, costs, issuer):
        """More than the allowance is refused with its figures."""
        request = cost_pb.SetBudgetRequest(project_id="project-1", cap_nanousd=101 * 10**9)

        assert await outcome_of(costs.SetBudget, request, as_user(issuer)) == (
            ErrorCode.FAILED_PRECONDITION,
            "ALLOWANCE_EXCEEDED",
        )


class TestAdministrators:
    """What only they may do, by the role in their verified token."""

    PRICE = price_pb.Price(target="local", model="*", output_nanousd_per_million=2**40)
    REFUND = correction_pb.RefundJobRequest(
        request_id="r1", job_id="j1", amount_nanousd=20, reason="sorry"
    )

    async def test_version_is_added_and_handed_out(self, loopback, issuer):
        """X-M6: what an administrator adds is in the next snapshot that services fetch."""
        request = book_pb.AddPriceVersionRequest(
            request_id="r1", price_version="2", note="new", prices=[self.PRICE]
        )
        async with loopback.channel_as("gateway") as channel:
            book = book_grpc.PriceBookServiceStub(channel)
            refused = await outcome_of(book.AddPriceVersion, request, as_user(issuer))
            admin = as_user(issuer, "admin-1", role="admin")
            added = (await book.AddPriceVersion(request, metadata=admin)).price_version
            listed = await book.ListPriceVersions(
                book_pb.ListPriceVersionsRequest(page_size=1), metadata=as_user(issuer)
            )
            first = await book.GetPriceVersion(
                book_pb.GetPriceVersionRequest(price_version="1"), metadata=as_user(issuer)
            )
        async with loopback.channel_as("compute-router") as channel:
            snapshot = await price_grpc.PriceServiceStub(channel).GetPriceSnapshot(
                price_pb.GetPriceSnapshotRequest()
            )

        assert refused == (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert (added.price_version, added.is_current) == ("2", True)
        assert [one.price_version for one in listed.price_versions] == ["2"]
        assert listed.next_page_token
        assert len(first.price_version.prices) == 8
        assert snapshot.price_snapshot.price_version == "2"
        assert list(snapshot.price_snapshot.prices) == [self.PRICE]

    async def test_charge_is_corrected(self, loopback, issuer):
        """An administrator refunds; the tenant sees the entries, and can't do it himself."""
        async with loopback.channel_as("job-service") as channel:
            ledger = ledger_grpc.LedgerServiceStub(channel)
            await ledger.PlaceHold(HOLD)
            outcome = ledger_pb.OutcomeSummary(job_id="j1", project_id="project-1")
            await ledger.PostHold(
                ledger_pb.PostHoldRequest(hold_id="j1:1", amount_nanousd=60, outcome=outcome)
            )
        async with loopback.channel_as("gateway") as channel:
            corrections = correction_grpc.CorrectionServiceStub(channel)
            surcharge = correction_pb.SurchargeJobRequest(
                request_id="r2", job_id="j1", amount_nanousd=5, reason="more"
            )
            tenant, admin = as_user(issuer), as_user(issuer, "admin-1", role="super_admin")
            refused = await outcome_of(corrections.RefundJob, self.REFUND, tenant)
            refunded = (await corrections.RefundJob(self.REFUND, metadata=admin)).entry
            await corrections.SurchargeJob(surcharge, metadata=admin)
            listed = await corrections.ListJobEntries(
                correction_pb.ListJobEntriesRequest(job_id="j1"), metadata=tenant
            )
            seen = await corrections.ListJobEntries(
                correction_pb.ListJobEntriesRequest(job_id="j1"), metadata=admin
            )
            foreign = await outcome_of(
                corrections.ListJobEntries,
                correction_pb.ListJobEntriesRequest(project_id="project-1", job_id="j1"),
                as_user(issuer, "somebody-else"),
            )

        assert refused == (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert refunded.kind == correction_pb.LEDGER_ENTRY_KIND_REFUND
        assert [one.amount_nanousd for one in listed.entries] == [60, 20, 5]
        assert seen == listed
        assert foreign == (ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")


async def test_empty_requests_get_an_answer(loopback, issuer):
    """An empty message of every RPC gets a clean status, never INTERNAL."""
    for stub, method, request in RPCS:
        caller = min(CALLERS[stub.__name__])
        async with loopback.channel_as(caller) as channel:
            code, _ = await outcome_of(
                getattr(stub(channel), method), type(request)(), as_user(issuer)
            )
        assert code not in (ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE), method


class TestReports:
    """Who may ask for which report, and what an export says."""

    @pytest.fixture
    async def reports(self, loopback):
        async with loopback.channel_as("gateway") as channel:
            yield report_grpc.ReportServiceStub(channel)

    @pytest.mark.parametrize(("_stub", "method", "request_"), REPORTS)
    async def test_who_may_ask(self, reports, issuer, _stub, method, request_):
        """Members with `costs:read`, administrators in person, and keys only for their project."""
        call = getattr(reports, method)
        asked = {
            "nobody": (),
            "member": as_user(issuer),
            "stranger": as_user(issuer, "stranger"),
            "administrator": bearer(issuer.person_token("root", role="admin")),
            "super": bearer(issuer.person_token("root", role="super_admin")),
            "key of one": bearer(issuer.key_token("user-1", role="super_admin")),
        }
        codes = {
            name: (await outcome_of(call, request_, metadata))[0]
            for name, metadata in asked.items()
        }

        assert codes.pop("nobody") is ErrorCode.UNAUTHENTICATED
        allowed = {name for name, code in codes.items() if code == "OK"}
        if method == "GetTeamReport":
            assert allowed == {"administrator", "super", "member"}
            assert codes["stranger"] is ErrorCode.NOT_FOUND
            assert codes["key of one"] is ErrorCode.PERMISSION_DENIED
        elif method == "GetPlatformReport":
            assert allowed == {"administrator", "super"}
            assert codes["member"] is codes["key of one"] is ErrorCode.PERMISSION_DENIED
        else:
            assert allowed == {"member", "key of one"}
            assert codes["stranger"] is codes["administrator"] is ErrorCode.NOT_FOUND

    @pytest.mark.parametrize(
        "method",
        [
            "GetProjectReport",
            "GetSavings",
            "GetSuggestions",
            "ExportCosts",
            "ExportComputeJobs",
        ],
    )
    async def test_foreign_project_looks_absent(self, reports, issuer, method):
        """Another project reads like one that never was."""
        request = getattr(report_pb, f"{method}Request")(project_id="project-2")

        found = await outcome_of(getattr(reports, method), request, as_user(issuer))

        assert found == (ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")

    async def test_impossible_days_are_refused(self, reports, issuer):
        """An export refuses its days before it says anything."""
        request = report_pb.ExportCostsRequest(first_day="yesterday")

        code, _ = await outcome_of(reports.ExportCosts, request, as_user(issuer))

        assert code is ErrorCode.INVALID_ARGUMENT

    async def test_entries_arrive(self, loopback, reports, issuer):
        """What job-service told of a job is in both exports, and in the report."""
        outcome = ledger_pb.OutcomeSummary(
            job_id="j1",
            project_id="project-1",
            job_state="completed",
            target="local",
            model="m",
            job_type="generation_v2",
            complexity=6,
            complexity_threshold=100,
        )
        post = ledger_pb.PostHoldRequest(
            hold_id="j1:1", amount_nanousd=60, scopes=[SCOPE], outcome=outcome
        )
        async with loopback.channel_as("job-service") as channel:
            await ledger_grpc.LedgerServiceStub(channel).PostHold(post)
        me = as_user(issuer)

        pages = [p async for p in reports.ExportCosts(report_pb.ExportCostsRequest(), metadata=me)]
        export = reports.ExportComputeJobs(report_pb.ExportComputeJobsRequest(), metadata=me)
        jobs = [job async for page in export for job in page.jobs]
        report = await reports.GetProjectReport(report_pb.GetProjectReportRequest(), metadata=me)

        ((entry,),) = [page.entries for page in pages]
        assert (entry.kind, entry.job_id, entry.cost_nanousd) == ("post", "j1", 60)
        (job,) = jobs
        assert (job.job_type, job.complexity, job.compute_type) == ("generation_v2", 6, "local")
        assert (report.project_id, report.report.total.cost_nanousd) == ("project-1", 60)
        assert [share.name for share in report.report.job_types] == ["generation_v2"]


def bearer(token):
    return (("authorization", f"Bearer {token}"),)
