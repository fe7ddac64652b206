"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Final

import grpc
from prometheus_client import CollectorRegistry
from weir.cost.v1 import (
    correction_service_pb2_grpc,
    cost_service_pb2_grpc,
    ledger_service_pb2_grpc,
    price_book_service_pb2_grpc,
    price_service_pb2_grpc,
    report_service_pb2_grpc,
)

from cost_service.adapters.audit_readers import PostgresCostBooks, PostgresJobBooks
from cost_service.adapters.auth_client import AuthClient
from cost_service.adapters.cost_metrics import CostMetrics
from cost_service.adapters.grants import role_of, set_grants
from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.domain.budget import BudgetDefaults
from cost_service.domain.prices import NewPriceVersion
from cost_service.entrypoints.correction_handlers import CorrectionHandlers
from cost_service.entrypoints.cost_handlers import BudgetUseCases, CostHandlers
from cost_service.entrypoints.ledger_handlers import LedgerHandlers
from cost_service.entrypoints.price_book_handlers import PriceBookHandlers
from cost_service.entrypoints.price_handlers import PriceHandlers
from cost_service.entrypoints.report_handlers import ReportHandlers
from cost_service.settings import AuditSettings, Settings
from cost_service.usecases.access_ports import TeamsAndKeys
from cost_service.usecases.add_price_version import AddPriceVersion
from cost_service.usecases.budget_owner import OwnerChecks
from cost_service.usecases.check_ledger import CheckLedger
from cost_service.usecases.clear_budget import ClearBudget
from cost_service.usecases.correct_charge import CorrectCharge
from cost_service.usecases.export_ledger import ExportLedger
from cost_service.usecases.get_allowance import GetAllowance
from cost_service.usecases.get_budget import GetBudget
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.get_platform_report import GetPlatformReport
from cost_service.usecases.get_price_snapshot import GetPriceSnapshot
from cost_service.usecases.get_price_version import GetPriceVersion
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.get_project_report import GetProjectReport
from cost_service.usecases.get_savings import GetSavings
from cost_service.usecases.get_suggestions import GetSuggestions
from cost_service.usecases.get_team_report import GetTeamReport
from cost_service.usecases.list_budget_alerts import ListBudgetAlerts
from cost_service.usecases.list_job_entries import ListJobEntries
from cost_service.usecases.list_open_holds import ListOpenHolds
from cost_service.usecases.list_price_versions import ListPriceVersions
from cost_service.usecases.load_prices import LoadedVersion, LoadPrices, PricesRefused
from cost_service.usecases.open_budgets import OpenBudgets
from cost_service.usecases.place_hold import PlaceHold
from cost_service.usecases.set_allowance import SetAllowance
from cost_service.usecases.set_budget import SetBudget
from cost_service.usecases.settle_hold import SettleHold
from cost_service.usecases.top_up_budget import TopUpBudget
from service_kit.access import AccessChecks
from service_kit.clock import SystemClock
from service_kit.database import check_database, open_engine, sessions
from service_kit.grpc_client import open_channel
from service_kit.grpc_server import serving
from service_kit.http_server import ReadinessChecks, serving_side_http
from service_kit.loop import PeriodicLoop, running
from service_kit.metrics import new_registry
from service_kit.settings import MigrationSettings
from service_kit.tokens import Denial, TokenVerifier

NAME: Final = "cost-service"
COST: Final = "weir.cost.v1.CostService"
LEDGER: Final = "weir.cost.v1.LedgerService"
PRICE: Final = "weir.cost.v1.PriceService"
PRICE_BOOK: Final = "weir.cost.v1.PriceBookService"
CORRECTION: Final = "weir.cost.v1.CorrectionService"
REPORT: Final = "weir.cost.v1.ReportService"
ALLOWED_CALLERS: Final = {
    COST: ["gateway"],
    LEDGER: ["job-service"],
    PRICE: ["job-service", "compute-router"],
    PRICE_BOOK: ["gateway"],
    CORRECTION: ["gateway"],
    REPORT: ["gateway"],
}
# These want the caller's token besides.
WITH_TOKENS: Final = (COST, PRICE_BOOK, CORRECTION, REPORT)
# What kinds of token are good here: those of people, and those exchanged for an API key.
AUDIENCES: Final = ("weir", "weir-internal")
POLL_SECONDS: Final = 2.0
REPORT_CONNECTIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Handlers:
    """The RPC services."""

    cost: CostHandlers
    ledger: LedgerHandlers
    price: PriceHandlers
    price_book: PriceBookHandlers
    correction: CorrectionHandlers
    report: ReportHandlers

    def register(self, server: grpc.aio.Server) -> None:
        cost_service_pb2_grpc.add_CostServiceServicer_to_server(self.cost, server)
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(self.ledger, server)
        price_service_pb2_grpc.add_PriceServiceServicer_to_server(self.price, server)
        price_book_service_pb2_grpc.add_PriceBookServiceServicer_to_server(self.price_book, server)
        correction_service_pb2_grpc.add_CorrectionServiceServicer_to_server(self.correction, server)
        report_service_pb2_grpc.add_ReportServiceServicer_to_server(self.report, server)


def handlers(
    settings: Settings,
    unit_of_work: PostgresUnitOfWork,
    access: AccessChecks,
    teams_and_keys: TeamsAndKeys,
    registry: CollectorRegistry,
    *,
    reports: PostgresUnitOfWork,
) -> Handlers:
    """Return the RPC services over a database and what is known of projects, teams and keys.

    `reports` is the same database for those that may read very much.
    """
    meter = CostMetrics(registry)
    owners = OwnerChecks(access, teams_and_keys)
    defaults = BudgetDefaults(
        settings.default_allowance_nanousd,
        settings.default_project_cap_nanousd,
        settings.default_team_cap_nanousd,
    )
    get_project_report = GetProjectReport(access, reports)
    open_budgets = OpenBudgets(unit_of_work, defaults)
    return Handlers(
        cost=CostHandlers(
            BudgetUseCases(
                SetBudget(owners, unit_of_work, defaults),
                TopUpBudget(owners, unit_of_work, defaults),
                ClearBudget(owners, unit_of_work, defaults),
                GetBudget(owners, unit_of_work, defaults),
                ListBudgetAlerts(owners, unit_of_work),
                SetAllowance(unit_of_work, defaults.allowance_nanousd),
                GetAllowance(unit_of_work, defaults.allowance_nanousd),
            ),
            GetProjectCosts(get_project_report),
            GetJobCost(access, unit_of_work),
        ),
        ledger=LedgerHandlers(
            PlaceHold(unit_of_work, open_budgets, meter),
            SettleHold(unit_of_work, meter),
            ListOpenHolds(unit_of_work),
        ),
        price=PriceHandlers(GetPriceSnapshot(unit_of_work)),
        price_book=PriceBookHandlers(
            ListPriceVersions(unit_of_work),
            GetPriceVersion(unit_of_work),
            AddPriceVersion(unit_of_work),
        ),
        correction=CorrectionHandlers(
            CorrectCharge(unit_of_work, meter), ListJobEntries(access, unit_of_work)
        ),
        report=ReportHandlers(
            get_project_report,
            GetTeamReport(owners, reports),
            GetPlatformReport(reports),
            GetSavings(access, reports),
            GetSuggestions(access, reports),
            ExportLedger(access, reports, SystemClock()),
        ),
    )


@asynccontextmanager
async def cost_service(settings: Settings) -> AsyncIterator[int]:
    """Open everything the service needs; close it in the opposite order."""
    async with AsyncExitStack() as stack:
        registry = new_registry(NAME)
        engine = open_engine(
            settings.database_url, application_name=NAME, pool_size=settings.database_pool_size
        )
        stack.push_async_callback(engine.dispose)
        # Of their own: reports over very much may take all of these, and no hold waits for that.
        report_engine = open_engine(
            settings.database_url, application_name=NAME, pool_size=REPORT_CONNECTIONS
        )
        stack.push_async_callback(report_engine.dispose)
        channel = open_channel(
            settings.auth_service_addresses,
            service="auth-service",
            tls=settings.tls,
            registry=registry,
            forward_token=True,
        )
        auth = AuthClient(await stack.enter_async_context(channel))
        verifier = TokenVerifier(settings.auth_issuer, AUDIENCES, auth)
        access = AccessChecks(auth, SystemClock())
        verifier.on_denial(lambda denial: _forget(access, denial))
        checks = ReadinessChecks()
        checks.add("database", lambda: check_database(engine))
        checks.add("tokens", lambda: _answer(verifier.ready()))
        await stack.enter_async_context(
            serving_side_http(settings.http_address, service=NAME, checks=checks, registry=registry)
        )
        await stack.enter_async_context(
            running(PeriodicLoop("denials", POLL_SECONDS, verifier.refresh, registry=registry))
        )
        served = handlers(
            settings,
            PostgresUnitOfWork(sessions(engine)),
            access,
            auth,
            registry,
            reports=PostgresUnitOfWork(sessions(report_engine)),
        )
        yield await stack.enter_async_context(
            serving(
                settings.grpc_address,
                service=NAME,
                register=served.register,
                allowed_callers=ALLOWED_CALLERS,
                tls=settings.tls,
                drain_seconds=settings.drain_seconds,
                registry=registry,
                authenticate=dict.fromkeys(WITH_TOKENS, verifier),
            )
        )


async def migrated(settings: MigrationSettings) -> None:
    """Bring the database to the newest schema, load the price book, set what the role may do.

    Raises:
        PricesRefused: A version is stored with other content than the file's.
    """
    # Here, since serving needs no Alembic, which is a tenth of what a start takes.
    from service_kit.migrate import run_migrations

    await run_migrations("cost_service", settings.url)
    # Before the prices: whatever is wrong with those, the service may work with what is stored.
    await set_grants(settings.url, role_of(settings.database_url or settings.url))
    loaded = await prices_loaded(settings, shipped_prices(), dry_run=False)
    if any(one.refused for one in loaded):
        raise PricesRefused(one.price_version for one in loaded if one.refused)


def shipped_prices() -> str:
    """Return the price file of this release."""
    return files("cost_service").joinpath("price_book.yaml").read_text(encoding="utf-8")


async def prices_loaded(
    settings: MigrationSettings, price_file: str, *, dry_run: bool
) -> tuple[LoadedVersion, ...]:
    """Bring the versions of a price file into the database, and return what became of each.

    Raises:
        PriceFileInvalid: The file can't be used; nothing is read or changed then.
    """
    from cost_service.adapters.yaml_price_file import read_price_file

    versions = read_price_file(price_file)
    engine = open_engine(settings.url, application_name=f"{NAME}-prices", pool_size=1)
    try:
        load = LoadPrices(PostgresUnitOfWork(sessions(engine)))
        return await load(versions, dry_run=dry_run)
    finally:
        await engine.dispose()


def imported_prices(
    provider: str, target: str, price_version: str, models: Collection[str], now: datetime
) -> str:
    """Return a price file with what the genai-prices package knows of a provider.

    Raises:
        NotInCatalog: The package does not know the provider.
        InvalidArgument: The version's name is none, or no price is left.
        ModuleNotFoundError: The package is not installed.
    """
    from cost_service.adapters.genai_catalog import catalog_prices
    from cost_service.adapters.yaml_price_file import write_price_file

    found = catalog_prices(provider, target, now, models)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    note = f"Prices of {provider} by {found.source}."
    version = NewPriceVersion(price_version, midnight, note, found.prices)
    comments = [
        f"From {found.source}, for review: check each price against the provider's page, add the",
        "prices of all other targets (a version holds all of them), and set valid_from.",
        *(f"left out: {one}" for one in found.left_out),
    ]
    return write_price_file(version, comments)


def ledger_checker(settings: AuditSettings) -> CheckLedger:
    """Return the checker over the two databases."""
    return CheckLedger(
        PostgresCostBooks(settings.audit_cost_database_url),
        PostgresJobBooks(settings.audit_job_database_url),
    )


async def _answer(value: bool) -> bool:
    return value


def _forget(access: AccessChecks, denial: Denial) -> None:
    """Drop what is kept about the user whom a denial names, whatever its kind."""
    if denial.kind in ("user", "membership"):
        access.forget(denial.subject.partition(":")[0])
