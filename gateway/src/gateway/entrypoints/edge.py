"""Everything that routes use, opened by `bootstrap`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.adapters.auth_client import AuthClient
from gateway.adapters.budget_client import BudgetClient
from gateway.adapters.correction_client import CorrectionClient
from gateway.adapters.cost_client import CostClient
from gateway.adapters.dead_letter_client import DeadLetterClient
from gateway.adapters.job_client import JobClient
from gateway.adapters.kept_receipt_keys import KeptReceiptKeys
from gateway.adapters.price_book_client import PriceBookClient
from gateway.adapters.report_client import ReportClient
from gateway.adapters.router_client import RouterClient
from gateway.adapters.team_client import TeamClient
from gateway.domain.rate import RateLimit
from gateway.entrypoints.event_streams import EventStreams
from gateway.usecases.authenticate import Authenticate
from gateway.usecases.create_project import CreateProject
from gateway.usecases.find_in_projects import FindInProjects
from gateway.usecases.ports import RateLimiter
from service_kit.access import AccessChecks
from service_kit.clock import Clock
from service_kit.http_server import ReadinessChecks


@dataclass(frozen=True, slots=True)
class Edge:
    """What the app is made of.

    `readiness` says whether requests should come here; `dependencies` how the
    services behind are doing. `socket_origins` are the pages that may open sockets.
    """

    auth: AuthClient
    teams: TeamClient
    jobs: JobClient
    dead_letters: DeadLetterClient
    costs: CostClient
    prices: PriceBookClient
    corrections: CorrectionClient
    reports: ReportClient
    budgets: BudgetClient
    router: RouterClient
    authenticate: Authenticate
    create_project: CreateProject
    find_in_projects: FindInProjects
    receipt_keys: KeptReceiptKeys
    access: AccessChecks
    limiter: RateLimiter
    caller_limit: RateLimit
    address_limit: RateLimit
    readiness: ReadinessChecks
    dependencies: ReadinessChecks
    completion_seconds: float
    keep_alive_seconds: float
    event_streams: EventStreams
    socket_origins: frozenset[str]
    clock: Clock
