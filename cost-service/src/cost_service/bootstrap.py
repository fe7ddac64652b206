"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from prometheus_client import CollectorRegistry
from weir.cost.v1 import (
    cost_service_pb2_grpc,
    ledger_service_pb2_grpc,
    price_service_pb2_grpc,
)

from cost_service.adapters.audit_readers import PostgresCostBooks, PostgresJobBooks
from cost_service.adapters.auth_client import AuthClient
from cost_service.adapters.cost_metrics import CostMetrics
from cost_service.adapters.grants import role_of, set_grants
from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.entrypoints.cost_handlers import BudgetUseCases, CostHandlers
from cost_service.entrypoints.ledger_handlers import LedgerHandlers
from cost_service.entrypoints.price_handlers import PriceHandlers
from cost_service.settings import AuditSettings, Settings
from cost_service.usecases.check_ledger import CheckLedger
from cost_service.usecases.clear_budget import ClearBudget
from cost_service.usecases.get_allowance import GetAllowance
from cost_service.usecases.get_budget import GetBudget
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.get_price_snapshot import GetPriceSnapshot
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.list_budget_alerts import ListBudgetAlerts
from cost_service.usecases.list_open_holds import ListOpenHolds
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
ALLOWED_CALLERS: Final = {
    COST: ["gateway"],
    LEDGER: ["job-service"],
    PRICE: ["job-service", "compute-router"],
}
# What kinds of token are good here: those of people, and those exchanged for an API key.
AUDIENCES: Final = ("weir", "weir-internal")
POLL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Handlers:
    """The three RPC services."""

    cost: CostHandlers
    ledger: LedgerHandlers
    price: PriceHandlers

    def register(self, server: grpc.aio.Server) -> None:
        cost_service_pb2_grpc.add_CostServiceServicer_to_server(self.cost, server)
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(self.ledger, server)
        price_service_pb2_grpc.add_PriceServiceServicer_to_server(self.price, server)


def handlers(
    settings: Settings,
    unit_of_work: PostgresUnitOfWork,
    access: AccessChecks,
    registry: CollectorRegistry,
) -> Handlers:
    """Return the RPC services over a database and what is known of projects."""
    meter = CostMetrics(registry)
    allowance = settings.default_allowance_nanousd
    open_budgets = OpenBudgets(
        unit_of_work,
        allowance,
        settings.default_project_cap_nanousd,
        settings.default_team_cap_nanousd,
    )
    return Handlers(
        cost=CostHandlers(
            BudgetUseCases(
                SetBudget(access, unit_of_work, allowance),
                TopUpBudget(access, unit_of_work, allowance),
                ClearBudget(access, unit_of_work),
                GetBudget(access, unit_of_work),
                ListBudgetAlerts(access, unit_of_work),
                SetAllowance(unit_of_work, allowance),
                GetAllowance(unit_of_work, allowance),
            ),
            GetProjectCosts(access, unit_of_work),
            GetJobCost(access, unit_of_work),
        ),
        ledger=LedgerHandlers(
            PlaceHold(unit_of_work, open_budgets, meter),
            SettleHold(unit_of_work, meter),
            ListOpenHolds(unit_of_work),
        ),
        price=PriceHandlers(GetPriceSnapshot(unit_of_work)),
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
        served = handlers(settings, PostgresUnitOfWork(sessions(engine)), access, registry)
        yield await stack.enter_async_context(
            serving(
                settings.grpc_address,
                service=NAME,
                register=served.register,
                allowed_callers=ALLOWED_CALLERS,
                tls=settings.tls,
                drain_seconds=settings.drain_seconds,
                registry=registry,
                authenticate={COST: verifier},
            )
        )


async def migrated(settings: MigrationSettings) -> None:
    """Bring the database to the newest schema and set what the login role may do."""
    # Here, since serving needs no Alembic, which is a tenth of what a start takes.
    from service_kit.migrate import run_migrations

    await run_migrations("cost_service", settings.url)
    await set_grants(settings.url, role_of(settings.database_url or settings.url))


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
