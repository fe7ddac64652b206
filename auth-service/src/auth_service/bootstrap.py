"""Composition root: the only module that knows every concrete class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import structlog
from weir.auth.v1 import (
    access_service_pb2_grpc,
    auth_service_pb2_grpc,
    key_service_pb2_grpc,
    membership_service_pb2_grpc,
    schedule_service_pb2_grpc,
    team_service_pb2_grpc,
)

from auth_service.adapters.argon2_hasher import Argon2Hasher
from auth_service.adapters.own_key_source import OwnKeySource
from auth_service.adapters.signing_keys import SigningKeyFiles
from auth_service.adapters.token_signer import (
    EDGE_AUDIENCE,
    INTERNAL_AUDIENCE,
    INTERNAL_TOKEN_LIFE,
    Ed25519TokenSigner,
)
from auth_service.adapters.unit_of_work import PostgresUnitOfWork
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.domain.refresh_token import RefreshTokenMint
from auth_service.entrypoints import (
    access_handlers,
    auth_handlers,
    key_handlers,
    membership_handlers,
    schedule_handlers,
    team_handlers,
)
from auth_service.entrypoints.scheduled_tasks import ScheduledUseCases, scheduled_tasks
from auth_service.settings import Settings
from auth_service.usecases.archive_audit_entries import ArchiveAuditEntries
from auth_service.usecases.bootstrap_administrator import BootstrapAdministrator
from auth_service.usecases.check_access import CheckAccess
from auth_service.usecases.check_key_access import CheckKeyAccess
from auth_service.usecases.check_team_access import CheckTeamAccess
from auth_service.usecases.create_api_key import CreateApiKey
from auth_service.usecases.create_project import CreateProject
from auth_service.usecases.create_team import CreateTeam
from auth_service.usecases.delete_project import DeleteProject
from auth_service.usecases.exchange_api_key import ExchangeApiKey
from auth_service.usecases.expire_denials import ExpireDenials
from auth_service.usecases.expire_sessions import ExpireSessions
from auth_service.usecases.get_current_user import GetCurrentUser
from auth_service.usecases.get_project import GetProject
from auth_service.usecases.get_team import GetTeam
from auth_service.usecases.list_denials import ListDenials
from auth_service.usecases.list_projects import ListProjects
from auth_service.usecases.list_scheduled_tasks import ListScheduledTasks
from auth_service.usecases.list_teams import ListTeams
from auth_service.usecases.log_in import LogIn
from auth_service.usecases.open_session import OpenSession
from auth_service.usecases.ports import PasswordHasher, SigningKeys, TokenSigner, UnitOfWorkFactory
from auth_service.usecases.recount_sessions import RecountSessions
from auth_service.usecases.refresh_tokens import RefreshTokens
from auth_service.usecases.register import Register
from service_kit.clock import Clock, SystemClock
from service_kit.database import check_database, open_engine, sessions
from service_kit.grpc_server import serving
from service_kit.http_server import ReadinessChecks, serving_side_http
from service_kit.loop import PeriodicLoop, running
from service_kit.metrics import new_registry
from service_kit.schedule import ScheduledTask
from service_kit.scheduled_runs import PostgresRuns
from service_kit.scheduler import Runs, Scheduler
from service_kit.tokens import TokenVerifier

log = structlog.get_logger(__name__)

SERVICE = "auth-service"
VERIFIER_REFRESH_SECONDS = 2.0
_VERIFYING_SERVICES = ("gateway", "job-service", "cost-service")
ALLOWED_CALLERS = {
    auth_handlers.RPC_SERVICE: ("gateway",),
    access_handlers.RPC_SERVICE: ("gateway",),
    team_handlers.RPC_SERVICE: ("gateway",),
    schedule_handlers.RPC_SERVICE: ("gateway",),
    membership_handlers.RPC_SERVICE: _VERIFYING_SERVICES,
    key_handlers.RPC_SERVICE: _VERIFYING_SERVICES,
}
UNAUTHENTICATED_METHODS = (
    *auth_handlers.UNAUTHENTICATED_METHODS,
    *access_handlers.UNAUTHENTICATED_METHODS,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the use cases are made of."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    signer: TokenSigner
    signing_keys: SigningKeys
    runs: Runs


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service listens."""

    grpc: int
    http: int


@asynccontextmanager
async def auth_service(settings: Settings) -> AsyncIterator[Ports]:
    """Open everything the service needs; close it in the opposite order."""
    async with AsyncExitStack() as stack:
        registry = new_registry(SERVICE)
        signing_keys = SigningKeyFiles(settings.signing_keys_dir)
        engine = open_engine(
            settings.database_url,
            application_name=SERVICE,
            pool_size=settings.database_pool_size,
        )
        stack.push_async_callback(engine.dispose)
        parts = Parts(
            unit_of_work=PostgresUnitOfWork(sessions(engine)),
            clock=SystemClock(),
            hasher=await stack.enter_async_context(Argon2Hasher()),
            signer=Ed25519TokenSigner(
                signing_keys, settings.auth_issuer, settings.access_token_life
            ),
            signing_keys=signing_keys,
            runs=PostgresRuns(engine),
        )
        await _bootstrap_administrator(settings, parts)
        verifier = own_verifier(settings.auth_issuer, parts)
        refreshing = PeriodicLoop(
            "token-verifier", VERIFIER_REFRESH_SECONDS, verifier.refresh, registry=registry
        )
        scheduler = Scheduler(own_tasks(settings, parts), parts.runs, registry=registry)
        await stack.enter_async_context(running(refreshing, scheduler))
        checks = ReadinessChecks()
        checks.add("database", lambda: check_database(engine))
        checks.add("token_verifier", _ready(verifier))
        http_port = await stack.enter_async_context(
            serving_side_http(
                settings.http_address, service=SERVICE, checks=checks, registry=registry
            )
        )
        grpc_port = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                service=SERVICE,
                register=lambda server: register_handlers(server, settings, parts),
                allowed_callers=ALLOWED_CALLERS,
                tls=settings.tls,
                drain_seconds=settings.drain_seconds,
                registry=registry,
                authenticate=authenticated_by(verifier),
                unauthenticated_methods=UNAUTHENTICATED_METHODS,
            )
        )
        # Readiness goes first when the service stops, before running calls are waited for.
        stack.callback(checks.drain)
        yield Ports(grpc_port, http_port)


def own_verifier(issuer: str, parts: Parts) -> TokenVerifier:
    """Return a verifier over our own keys and denials, which knows none before `refresh`."""
    source = OwnKeySource(parts.signing_keys, ListDenials(parts.unit_of_work, parts.clock))
    return TokenVerifier(issuer, (EDGE_AUDIENCE, INTERNAL_AUDIENCE), source, clock=parts.clock)


def authenticated_by(verifier: TokenVerifier) -> dict[str, TokenVerifier]:
    """Name the RPC services that ask for a user's token."""
    return dict.fromkeys(
        (
            auth_handlers.RPC_SERVICE,
            access_handlers.RPC_SERVICE,
            team_handlers.RPC_SERVICE,
            schedule_handlers.RPC_SERVICE,
        ),
        verifier,
    )


def register_handlers(server: grpc.aio.Server, settings: Settings, parts: Parts) -> None:
    """Add our six RPC services to a server."""
    list_denials = ListDenials(parts.unit_of_work, parts.clock)
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(
        auth_handlers.AuthHandlers(auth_use_cases(settings, parts)), server
    )
    access_service_pb2_grpc.add_AccessServiceServicer_to_server(
        access_handlers.AccessHandlers(access_use_cases(settings, parts)), server
    )
    team_service_pb2_grpc.add_TeamServiceServicer_to_server(
        team_handlers.TeamHandlers(team_use_cases(parts)), server
    )
    membership_service_pb2_grpc.add_MembershipServiceServicer_to_server(
        membership_handlers.MembershipHandlers(membership_use_cases(parts)), server
    )
    key_service_pb2_grpc.add_KeyServiceServicer_to_server(
        key_handlers.KeyHandlers(parts.signing_keys, list_denials), server
    )
    list_scheduled_tasks = ListScheduledTasks(
        parts.unit_of_work, parts.runs, own_tasks(settings, parts)
    )
    schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(
        schedule_handlers.ScheduleHandlers(list_scheduled_tasks), server
    )


def auth_use_cases(settings: Settings, parts: Parts) -> auth_handlers.AuthUseCases:
    """Wire what `AuthService` does."""
    mint = RefreshTokenMint(settings.refresh_token_secret.get_secret_value().encode())
    open_session = OpenSession(mint, parts.signer, settings.session_life)
    return auth_handlers.AuthUseCases(
        register=Register(
            unit_of_work=parts.unit_of_work,
            clock=parts.clock,
            hasher=parts.hasher,
            open_session=open_session,
            policy=PasswordPolicy(settings.password_min_length),
            allowed=settings.registration_allowed,
        ),
        log_in=LogIn(parts.unit_of_work, parts.clock, parts.hasher, open_session),
        refresh_tokens=RefreshTokens(
            parts.unit_of_work, parts.clock, mint, open_session, settings.access_token_life
        ),
        get_current_user=GetCurrentUser(parts.unit_of_work, parts.clock),
    )


def access_use_cases(settings: Settings, parts: Parts) -> access_handlers.AccessUseCases:
    """Wire what `AccessService` does."""
    return access_handlers.AccessUseCases(
        create_project=CreateProject(parts.unit_of_work, parts.clock),
        get_project=GetProject(parts.unit_of_work),
        list_projects=ListProjects(parts.unit_of_work),
        delete_project=DeleteProject(
            parts.unit_of_work, parts.clock, settings.access_token_life, INTERNAL_TOKEN_LIFE
        ),
        create_api_key=CreateApiKey(parts.unit_of_work, parts.clock),
        exchange_api_key=ExchangeApiKey(parts.unit_of_work, parts.clock, parts.signer),
    )


def team_use_cases(parts: Parts) -> team_handlers.TeamUseCases:
    """Wire what `TeamService` does."""
    return team_handlers.TeamUseCases(
        create_team=CreateTeam(parts.unit_of_work, parts.clock),
        get_team=GetTeam(parts.unit_of_work),
        list_teams=ListTeams(parts.unit_of_work),
    )


def membership_use_cases(parts: Parts) -> membership_handlers.MembershipUseCases:
    """Wire what `MembershipService` does."""
    return membership_handlers.MembershipUseCases(
        check_access=CheckAccess(parts.unit_of_work),
        check_team_access=CheckTeamAccess(parts.unit_of_work),
        check_key_access=CheckKeyAccess(parts.unit_of_work),
    )


def own_tasks(settings: Settings, parts: Parts) -> Sequence[ScheduledTask]:
    """Return what this service does by itself."""
    use_cases = ScheduledUseCases(
        expire_sessions=ExpireSessions(parts.unit_of_work, parts.clock),
        expire_denials=ExpireDenials(parts.unit_of_work, parts.clock),
        recount_sessions=RecountSessions(parts.unit_of_work, parts.clock),
        archive_audit_entries=ArchiveAuditEntries(
            parts.unit_of_work, parts.clock, settings.audit_retention
        ),
    )
    return scheduled_tasks(
        use_cases,
        expire_sessions_every=settings.expire_sessions_every,
        recount_sessions_every=settings.recount_sessions_every,
        archive_logs_at=settings.archive_time,
    )


async def _bootstrap_administrator(settings: Settings, parts: Parts) -> None:
    if settings.bootstrap_admin_password is None:
        return
    bootstrap = BootstrapAdministrator(
        parts.unit_of_work, parts.clock, parts.hasher, PasswordPolicy(settings.password_min_length)
    )
    if await bootstrap(settings.bootstrap_admin_password.get_secret_value()):
        log.info("administrator.bootstrapped", username="admin")


def _ready(verifier: TokenVerifier) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return verifier.ready()

    return check
