"""The RPC services over real mutual TLS: who is let in, and what callers are told."""

import asyncio
import base64
import hashlib
import hmac
import json
from types import SimpleNamespace

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.timestamp_pb2 import Timestamp
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

from auth_service.bootstrap import (
    ALLOWED_CALLERS,
    UNAUTHENTICATED_METHODS,
    authenticated_by,
    own_tasks,
    own_verifier,
    register_handlers,
)
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.usecases.bootstrap_administrator import BootstrapAdministrator
from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_errors import rpc_errors
from service_kit.loop import running
from service_kit.metrics import new_registry
from service_kit.scheduler import Scheduler
from service_kit.testing.rpc import serving_loopback

MODULES = [
    access_service_pb2,
    auth_service_pb2,
    key_service_pb2,
    membership_service_pb2,
    schedule_service_pb2,
    team_service_pb2,
]
METHODS = [
    method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
SERVICES = ["gateway", "auth-service", "job-service", "cost-service", "compute-router"]
PASSWORD = "correct horse battery"


def path_of(method):
    return f"/{method.containing_service.full_name}/{method.name}"


def with_token(token):
    return (("authorization", f"Bearer {token}"),)


class Client:
    """Everything auth-service serves, as one other service calls it."""

    def __init__(self, channel):
        self.channel = channel
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.access = access_service_pb2_grpc.AccessServiceStub(channel)
        self.keys = key_service_pb2_grpc.KeyServiceStub(channel)
        self.membership = membership_service_pb2_grpc.MembershipServiceStub(channel)
        self.teams = team_service_pb2_grpc.TeamServiceStub(channel)
        self.schedule = schedule_service_pb2_grpc.ScheduleServiceStub(channel)

    async def reason_of_empty(self, method):
        """Call any method with an empty request and return why it was refused, or ""."""
        call = self.channel.unary_unary(
            path_of(method),
            request_serializer=lambda _: b"",
            response_deserializer=lambda raw: raw,
        )
        try:
            with rpc_errors():
                await call(None)
        except ServiceError as error:
            return error.reason
        return ""

    async def register(self, email="ann@example.org"):
        with rpc_errors():
            return await self.auth.Register(
                auth_service_pb2.RegisterRequest(email=email, password=PASSWORD)
            )

    async def current_user(self, token):
        with rpc_errors():
            request = auth_service_pb2.GetCurrentUserRequest()
            return (await self.auth.GetCurrentUser(request, metadata=with_token(token))).user


@pytest.fixture
async def served(world, pki):
    """The service, with the fixed clock, and a client for each other service."""
    verifier = own_verifier(world.settings.auth_issuer, world.parts)
    await verifier.refresh()
    async with serving_loopback(
        pki,
        "auth-service",
        lambda server: register_handlers(server, world.settings, world.parts),
        ALLOWED_CALLERS,
        authenticate=authenticated_by(verifier),
        unauthenticated_methods=UNAUTHENTICATED_METHODS,
    ) as server:
        channels = {name: server.channel_as(name) for name in SERVICES}
        clients = {name: Client(channel) for name, channel in channels.items()}
        yield SimpleNamespace(clients=clients, gateway=clients["gateway"], verifier=verifier)
        for channel in channels.values():
            await channel.close()


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_each_method_is_open_to_its_callers_only(served, method):
    """X-Z4: every method, called by every service, empty and without a token."""
    internal = {"MembershipService", "KeyService"}
    allowed = {"gateway"}
    if method.containing_service.name in internal:
        allowed |= {"job-service", "cost-service"}
    for name, client in served.clients.items():
        reason = await client.reason_of_empty(method)
        assert reason != "INTERNAL"
        assert (reason != "CALLER_NOT_ALLOWED") == (name in allowed), name


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_each_method_of_people_needs_a_token(served, method):
    """All but register, login, refresh, exchange, and what services ask for themselves."""
    open_methods = {
        "Register", "Login", "RefreshTokens", "ExchangeApiKey",
        "CheckAccess", "CheckTeamAccess", "CheckKeyAccess", "ListSigningKeys", "ListDenials",
    }  # fmt: skip
    reason = await served.gateway.reason_of_empty(method)
    assert (reason == "TOKEN_MISSING") == (method.name not in open_methods)


async def test_an_administrator_sees_scheduled_tasks(served, world):
    """With their last runs; nobody else does."""
    parts = world.parts
    await BootstrapAdministrator(parts.unit_of_work, parts.clock, parts.hasher, PasswordPolicy())(
        PASSWORD
    )
    login = auth_service_pb2.LoginRequest(identifier="admin", password=PASSWORD)
    admin = (await served.gateway.auth.Login(login)).tokens.access_token
    ann = (await served.gateway.register()).tokens.access_token
    request = schedule_service_pb2.ListScheduledTasksRequest()
    async with running(
        Scheduler(own_tasks(world.settings, parts), parts.runs, registry=new_registry("test"))
    ):
        async with asyncio.timeout(10):
            tasks = []
            while not tasks or not all(task.HasField("last_run") for task in tasks):
                stub = served.gateway.schedule
                answer = await stub.ListScheduledTasks(request, metadata=with_token(admin))
                tasks = answer.tasks
                await asyncio.sleep(0.02)

    assert [task.task for task in tasks] == list(world.tasks)
    succeeded = schedule_service_pb2.SCHEDULED_RUN_OUTCOME_SUCCEEDED
    assert {task.last_run.outcome for task in tasks} == {succeeded}
    with pytest.raises(ServiceError) as caught, rpc_errors():
        await served.gateway.schedule.ListScheduledTasks(request, metadata=with_token(ann))
    assert caught.value.code is ErrorCode.PERMISSION_DENIED


class TestPerson:
    async def test_a_person_registers_logs_in_and_refreshes(self, served, clock):
        """The whole way over the wire, to the same account each time."""
        registered = await served.gateway.register()
        login = await served.gateway.auth.Login(
            auth_service_pb2.LoginRequest(identifier="ANN@example.org", password=PASSWORD)
        )
        refreshed = await served.gateway.auth.RefreshTokens(
            auth_service_pb2.RefreshTokensRequest(refresh_token=login.tokens.refresh_token)
        )
        user = await served.gateway.current_user(refreshed.tokens.access_token)

        assert user.user_id == login.user.user_id == registered.user.user_id
        assert user.role == auth_service_pb2.USER_ROLE_USER
        assert user.default_project_id == registered.user.default_project_id != ""
        assert user.active_sessions_count == 2
        assert registered.tokens.access_token_seconds == 900
        assert refreshed.tokens.refresh_token != login.tokens.refresh_token

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"email": "ann@example.org"}, "EMAIL_TAKEN"),
            ({"email": "x@example.org", "username": "ANN"}, "USERNAME_TAKEN"),
            ({"email": "x@example.org", "password": "x" * 1025}, "PASSWORD_REFUSED"),
            ({"email": "x@example.org", "password": "x" * 1_000_000}, "PASSWORD_REFUSED"),
            ({"email": "x@example.org", "password": "short"}, "PASSWORD_REFUSED"),
            ({"email": "nobody"}, "INVALID_ARGUMENT"),
            ({"email": "x\0@example.org"}, "INVALID_ARGUMENT"),
        ],
    )
    async def test_a_refused_registration_says_why(self, served, given, reason):
        """With the reasons of the contract."""
        await served.gateway.register()

        request = auth_service_pb2.RegisterRequest(**{"password": PASSWORD, **given})
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await served.gateway.auth.Register(request)

        assert caught.value.reason == reason

    async def test_a_refused_login_says_nothing(self, served):
        """X-A12: the same status, byte for byte, for an unknown user and a wrong password."""
        await served.gateway.register()
        seen = set()
        for identifier in ("ann", "nobody", "ann@example.org", "no@example.org", "\0"):
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await served.gateway.auth.Login(
                    auth_service_pb2.LoginRequest(identifier=identifier, password="wrong one")
                )
            error = caught.value
            seen.add((error.code, error.reason, error.message, str(error.metadata)))

        assert len(seen) == 1
        assert seen.pop()[1] == "CREDENTIALS_REFUSED"

    async def test_reuse_ends_the_access_tokens_too(self, served, clock):
        """X-A6: within one poll of the verifier the session's tokens are refused."""
        registered = await served.gateway.register()
        first = registered.tokens
        for tokens in [first] * 2:
            request = auth_service_pb2.RefreshTokensRequest(refresh_token=tokens.refresh_token)
            second = (await served.gateway.auth.RefreshTokens(request)).tokens
        request = auth_service_pb2.RefreshTokensRequest(refresh_token=second.refresh_token)
        await served.gateway.auth.RefreshTokens(request)
        assert await served.gateway.current_user(first.access_token)
        clock.advance(11)

        request = auth_service_pb2.RefreshTokensRequest(refresh_token=first.refresh_token)
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await served.gateway.auth.RefreshTokens(request)
        assert caught.value.reason == "REFRESH_TOKEN_REUSED"
        await served.verifier.refresh()

        with pytest.raises(ServiceError) as caught:
            await served.gateway.current_user(first.access_token)
        assert caught.value.reason == "TOKEN_DENIED"


class TestTokens:
    """Tokens of X-A1 to X-A5 at GetCurrentUser."""

    @pytest.fixture
    async def good(self, served):
        """A token of a person, and the person."""
        registered = await served.gateway.register()
        return SimpleNamespace(
            token=registered.tokens.access_token,
            refresh_token=registered.tokens.refresh_token,
            user_id=registered.user.user_id,
            claims=jwt.decode(registered.tokens.access_token, options={"verify_signature": False}),
        )

    @pytest.fixture
    def key(self, world):
        return world.parts.signer.keys.newest.private_key

    async def refused(self, served, token):
        with pytest.raises(ServiceError) as caught:
            await served.gateway.current_user(token)
        assert caught.value.code is ErrorCode.UNAUTHENTICATED
        return caught.value.reason

    def signed(self, key, claims, **headers):
        named = {"typ": "at+jwt", "kid": "k1", **headers}
        return jwt.encode(claims, key, algorithm="EdDSA", headers=named)

    async def test_the_token_itself_is_good(self, served, good, key):
        """So that the refusals below have one reason each."""
        assert (await served.gateway.current_user(good.token)).user_id == good.user_id
        again = self.signed(key, good.claims)
        assert (await served.gateway.current_user(again)).user_id == good.user_id

    async def test_other_algorithms(self, served, good, key):
        """X-A1: none, and HS256 keyed with the public key in each of its forms."""
        public = key.public_key()
        for secret in (
            public.public_bytes(Encoding.Raw, PublicFormat.Raw),
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ):
            head = encode({"alg": "HS256", "typ": "at+jwt", "kid": "k1"})
            body = f"{head}.{encode(good.claims)}"
            mac = hmac.digest(secret, body.encode(), hashlib.sha256)
            assert await self.refused(served, f"{body}.{encode_bytes(mac)}") == "TOKEN_INVALID"
        for alg in ("none", "None", "NONE", "EdDSA"):
            head = encode({"alg": alg, "typ": "at+jwt", "kid": "k1"})
            for signature in ("", encode_bytes(bytes(64))):
                token = f"{head}.{encode(good.claims)}.{signature}"
                assert await self.refused(served, token) == "TOKEN_INVALID"

    async def test_other_keys(self, served, good, key):
        """X-A2: a key we don't have, or one that the token brings along."""
        for kid in ("k2", "../k1", "k1.pem", "' OR 1=1 --", "", "k" * 4_000, "../../etc/passwd"):
            token = self.signed(key, good.claims, kid=kid)
            assert await self.refused(served, token) == "TOKEN_INVALID"
        # gRPC itself carries no 10 KB header; the verifier would refuse it as well.
        with pytest.raises(ServiceError) as caught:
            await served.verifier.verify(self.signed(key, good.claims, kid="k" * 10_000))
        assert caught.value.reason == "TOKEN_INVALID"
        for name in ("jku", "x5u", "jwk", "x5c", "crit"):
            token = self.signed(key, good.claims, **{name: ["https://example.org/keys"]})
            assert await self.refused(served, token) == "TOKEN_INVALID"

    async def test_other_kinds(self, served, good, key):
        """X-A3: a refresh token, a missing or other `typ`, a time in words."""
        assert await self.refused(served, good.refresh_token) == "TOKEN_INVALID"
        for typ in (None, "JWT", "rt+jwt", "AT+JWT"):
            token = self.signed(key, good.claims, typ=typ)
            assert await self.refused(served, token) == "TOKEN_INVALID"
        for name in ("exp", "iat", "nbf"):
            claims = good.claims | {name: str(good.claims[name])}
            assert await self.refused(served, jws(key, claims)) == "TOKEN_INVALID"

    async def test_other_claims(self, served, good, key, clock):
        """X-A4: each registered claim wrong, missing or of another type."""
        now = int(clock.now().timestamp())
        wrong = [
            {"exp": now - 31, "iat": now - 900, "nbf": now - 900},
            {"nbf": now + 31},
            {"iat": now + 31},
            {"aud": "other"},
            {"aud": ["weir"]},
            {"aud": ["weir", "weir-internal"]},
            {"iss": "other"},
            {"iss": ["weir"]},
            {"sub": ""},
            {"sub": 7},
        ]
        for change in wrong:
            assert await self.refused(served, jws(key, good.claims | change))
        for name in ("exp", "iat", "aud", "iss", "sub", "sid", "role"):
            claims = {key: value for key, value in good.claims.items() if key != name}
            assert await self.refused(served, jws(key, claims)) == "TOKEN_INVALID"

    async def test_damaged_ones(self, served, good, key):
        """X-A5: tampered, cut, with a segment more, duplicate keys, or without end."""
        head, body, signature = good.token.split(".")
        richer = encode(good.claims | {"role": "super_admin"})
        twice = json.dumps(good.claims)[:-1] + ', "role": "super_admin"}'
        damaged = [
            f"{head}.{richer}.{signature}",
            f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
            f"{head}.{body}",
            f"{head}.{body}.{signature}.{signature}",
            f"{head}.{body}.{signature}=",
            f"{head}..{signature}",
            jws(key, twice.encode()),
            jws(key, b"[]"),
            jws(key, b"\xff"),
            "x",
            "..",
            "A" * 7_000,
        ]
        for token in damaged:
            assert await self.refused(served, token) == "TOKEN_INVALID"

    async def test_an_expired_one(self, served, good, clock):
        """After its life and the leeway of clocks, with a reason of its own."""
        clock.advance(931)
        await served.verifier.refresh()

        assert await self.refused(served, good.token) == "TOKEN_EXPIRED"


class TestProjectsAndKeys:
    async def test_a_key_works_where_it_belongs(self, served):
        """Created by a person, exchanged by the gateway, accepted here; bound to its project."""
        registered = await served.gateway.register()
        metadata = with_token(registered.tokens.access_token)
        access = served.gateway.access
        created = await access.CreateApiKey(
            access_service_pb2.CreateApiKeyRequest(
                name="ci",
                scopes=[access_service_pb2.API_KEY_SCOPE_JOBS_WRITE],
                request_id="r1",
            ),
            metadata=metadata,
        )
        exchanged = await access.ExchangeApiKey(
            access_service_pb2.ExchangeApiKeyRequest(secret=created.secret)
        )

        assert created.api_key.project_id == registered.user.default_project_id
        user = await served.gateway.current_user(exchanged.internal_token)
        assert user.user_id == registered.user.user_id
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await access.ListProjects(
                access_service_pb2.ListProjectsRequest(),
                metadata=with_token(exchanged.internal_token),
            )
        assert caught.value.reason == "PERMISSION_DENIED"

    async def test_a_repeated_creation_says_so(self, served):
        """The first project comes back as not created; another name is refused."""
        ann = await served.gateway.register()
        metadata = with_token(ann.tokens.access_token)
        access = served.gateway.access
        request = access_service_pb2.CreateProjectRequest(name="Research", request_id="r1")
        first = await access.CreateProject(request, metadata=metadata)
        again = await access.CreateProject(request, metadata=metadata)

        assert (first.created, again.created) == (True, False)
        assert again.project == first.project
        request.name = "Other"
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await access.CreateProject(request, metadata=metadata)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT
        assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"

    async def test_a_key_makes_no_project(self, served):
        """Not even one with the scope `projects:write`, and nothing is left behind."""
        ann = await served.gateway.register()
        metadata = with_token(ann.tokens.access_token)
        access = served.gateway.access
        created = await access.CreateApiKey(
            access_service_pb2.CreateApiKeyRequest(
                name="ci", scopes=[access_service_pb2.API_KEY_SCOPE_PROJECTS_WRITE]
            ),
            metadata=metadata,
        )
        exchanged = await access.ExchangeApiKey(
            access_service_pb2.ExchangeApiKeyRequest(secret=created.secret)
        )
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await access.CreateProject(
                access_service_pb2.CreateProjectRequest(name="Research"),
                metadata=with_token(exchanged.internal_token),
            )
        page = await access.ListProjects(
            access_service_pb2.ListProjectsRequest(), metadata=metadata
        )

        assert caught.value.code is ErrorCode.PERMISSION_DENIED
        assert len(page.projects) == 1

    async def test_another_users_project_looks_absent(self, served):
        """X-Z1: the same answer as for an id that never was."""
        ann = await served.gateway.register()
        ben = await served.gateway.register("ben@example.org")
        seen = set()
        for project_id in (ann.user.default_project_id, "00000000-0000-7000-8000-000000000000"):
            request = access_service_pb2.GetProjectRequest(project_id=project_id)
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await served.gateway.access.GetProject(
                    request, metadata=with_token(ben.tokens.access_token)
                )
            error = caught.value
            seen.add((error.code, error.reason, error.message.replace(project_id, "ID")))

        assert seen == {(ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND", "Project ID does not exist.")}

    async def test_projects_come_and_go(self, served):
        """Created, listed, deleted; the default one stays."""
        ann = await served.gateway.register()
        metadata = with_token(ann.tokens.access_token)
        access = served.gateway.access
        created = await access.CreateProject(
            access_service_pb2.CreateProjectRequest(name="Research"), metadata=metadata
        )
        page = await access.ListProjects(
            access_service_pb2.ListProjectsRequest(page_size=1), metadata=metadata
        )
        rest = await access.ListProjects(
            access_service_pb2.ListProjectsRequest(page_token=page.next_page_token),
            metadata=metadata,
        )
        assert [*page.projects, *rest.projects][1:] == [created.project]
        request = access_service_pb2.DeleteProjectRequest(project_id=created.project.project_id)
        await access.DeleteProject(request, metadata=metadata)
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await access.DeleteProject(request, metadata=metadata)
        assert caught.value.reason == "PROJECT_NOT_FOUND"
        request = access_service_pb2.DeleteProjectRequest(project_id=ann.user.default_project_id)
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await access.DeleteProject(request, metadata=metadata)
        assert caught.value.reason == "DEFAULT_PROJECT_KEPT"

    @pytest.mark.parametrize(
        "given",
        [
            {"scopes": [access_service_pb2.API_KEY_SCOPE_UNSPECIFIED]},
            {"scopes": [99]},
            {"expires_at": Timestamp(seconds=2**62)},
            {"expires_at": Timestamp(seconds=1)},
            {"name": ""},
            {"request_id": "\0"},
        ],
    )
    async def test_a_malformed_key_is_refused(self, served, given):
        """With a clean status, X-H10."""
        ann = await served.gateway.register()
        request = access_service_pb2.CreateApiKeyRequest(**{"name": "ci", **given})

        with pytest.raises(ServiceError) as caught, rpc_errors():
            await served.gateway.access.CreateApiKey(
                request, metadata=with_token(ann.tokens.access_token)
            )

        assert caught.value.code is ErrorCode.INVALID_ARGUMENT


class TestOtherServices:
    async def test_a_verifier_gets_keys_and_denials(self, served, world):
        """What job-service needs to verify tokens, and where to continue."""
        client = served.clients["job-service"]
        ann = await served.gateway.register()
        metadata = with_token(ann.tokens.access_token)
        created = await served.gateway.access.CreateProject(
            access_service_pb2.CreateProjectRequest(name="Research"), metadata=metadata
        )
        await served.gateway.access.DeleteProject(
            access_service_pb2.DeleteProjectRequest(project_id=created.project.project_id),
            metadata=metadata,
        )

        keys = await client.keys.ListSigningKeys(key_service_pb2.ListSigningKeysRequest())
        denials = await client.keys.ListDenials(key_service_pb2.ListDenialsRequest())
        request = key_service_pb2.ListDenialsRequest(after_sequence=denials.last_sequence)
        later = await client.keys.ListDenials(request)

        assert [key.kid for key in keys.signing_keys] == ["k1"]
        assert (
            keys.signing_keys[0].public_key == world.parts.signing_keys.newest.public.public_bytes
        )
        [denial] = denials.denials
        assert denial.kind == key_service_pb2.DENIAL_KIND_MEMBERSHIP
        assert denial.subject == f"{ann.user.user_id}:{created.project.project_id}"
        assert (list(later.denials), later.last_sequence) == ([], denials.last_sequence)

    async def test_access_is_answered(self, served):
        """What cost-service learns about a person in their default project."""
        ann = await served.gateway.register()

        answer = await served.clients["cost-service"].membership.CheckAccess(
            membership_service_pb2.CheckAccessRequest(user_id=ann.user.user_id, scopes=["read"])
        )

        assert answer.project_id == ann.user.default_project_id
        assert (answer.owner_user_id, answer.is_default) == (ann.user.user_id, True)
        assert answer.project_role == membership_service_pb2.PROJECT_ROLE_OWNER
        assert list(answer.permissions) == [
            "costs:read", "jobs:read", "models:read", "projects:read",
        ]  # fmt: skip

    async def test_whose_a_key_is(self, served):
        """Told to who has a part in its project; to others it looks absent, like no key."""
        ann = await served.gateway.register()
        ben = await served.gateway.register("ben@example.org")
        created = await served.gateway.access.CreateApiKey(
            access_service_pb2.CreateApiKeyRequest(name="ci"),
            metadata=with_token(ann.tokens.access_token),
        )
        membership = served.clients["cost-service"].membership
        key_id = created.api_key.key_id

        answer = await membership.CheckKeyAccess(
            membership_service_pb2.CheckKeyAccessRequest(
                user_id=ann.user.user_id, api_key_id=key_id, scopes=["projects:write"]
            )
        )
        seen = set()
        for wanted in (key_id, "00000000-0000-7000-8000-000000000000", "no-uuid", ""):
            request = membership_service_pb2.CheckKeyAccessRequest(
                user_id=ben.user.user_id, api_key_id=wanted
            )
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await membership.CheckKeyAccess(request)
            seen.add((caught.value.code, caught.value.reason))

        assert (answer.api_key_id, answer.project_id) == (key_id, ann.user.default_project_id)
        assert answer.owner_user_id == ann.user.user_id
        assert list(answer.permissions) == ["budgets:write", "projects:write"]
        assert seen == {(ErrorCode.NOT_FOUND, "API_KEY_NOT_FOUND")}


class TestTeams:
    async def test_a_team_and_its_project(self, served):
        """Made, shown, listed; other services learn of both, and strangers of nothing."""
        ann = await served.gateway.register()
        ben = await served.gateway.register("ben@example.org")
        metadata = with_token(ann.tokens.access_token)
        teams = served.gateway.teams
        request = team_service_pb2.CreateTeamRequest(name="Weather", request_id="r1")
        created = await teams.CreateTeam(request, metadata=metadata)
        again = await teams.CreateTeam(request, metadata=metadata)
        team_id = created.team.team_id
        shown = await teams.GetTeam(
            team_service_pb2.GetTeamRequest(team_id=team_id), metadata=metadata
        )
        page = await teams.ListTeams(team_service_pb2.ListTeamsRequest(), metadata=metadata)
        project = await served.gateway.access.CreateProject(
            access_service_pb2.CreateProjectRequest(name="Research", team_id=team_id),
            metadata=metadata,
        )

        assert (created.created, again.created) == (True, False)
        assert created.team == again.team == shown.team == page.teams[0]
        assert created.team.team_role == membership_service_pb2.TEAM_ROLE_OWNER
        assert project.project.team_id == team_id
        await self.told_to_services(served, ann, ben, team_id, project.project.project_id)

    async def told_to_services(self, served, ann, ben, team_id, project_id):
        membership = served.clients["job-service"].membership
        access = await membership.CheckAccess(
            membership_service_pb2.CheckAccessRequest(
                user_id=ann.user.user_id, project_id=project_id
            )
        )
        team = await membership.CheckTeamAccess(
            membership_service_pb2.CheckTeamAccessRequest(user_id=ann.user.user_id, team_id=team_id)
        )
        assert access.team_id == team.team_id == team_id
        assert team.owner_user_id == ann.user.user_id
        assert list(team.permissions) == [
            "budgets:write", "costs:read", "projects:read", "projects:write",
        ]  # fmt: skip
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await membership.CheckTeamAccess(
                membership_service_pb2.CheckTeamAccessRequest(
                    user_id=ben.user.user_id, team_id=team_id
                )
            )
        assert caught.value.reason == "TEAM_NOT_FOUND"

    async def test_a_project_in_a_foreign_team_is_refused(self, served, rows):
        """As in one that never was, and nothing is written."""
        ann = await served.gateway.register()
        ben = await served.gateway.register("ben@example.org")
        team = await served.gateway.teams.CreateTeam(
            team_service_pb2.CreateTeamRequest(name="Weather"),
            metadata=with_token(ann.tokens.access_token),
        )
        for team_id in (team.team.team_id, "00000000-0000-7000-8000-000000000000", "no-uuid"):
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await served.gateway.access.CreateProject(
                    access_service_pb2.CreateProjectRequest(name="Research", team_id=team_id),
                    metadata=with_token(ben.tokens.access_token),
                )
            assert (caught.value.code, caught.value.reason) == (
                ErrorCode.NOT_FOUND, "TEAM_NOT_FOUND",
            )  # fmt: skip

        assert await rows("SELECT count(*) FROM projects WHERE NOT is_default") == [(0,)]
        found = await rows("SELECT count(*) FROM audit_entries WHERE action = 'project.created'")
        assert found == [(0,)]


def encode_bytes(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def encode(value):
    return encode_bytes(json.dumps(value).encode())


def jws(key, payload):
    """Sign any payload with our own key and a good header, past what PyJWT refuses to encode."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = encode({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
    body = f"{head}.{encode_bytes(raw)}"
    return f"{body}.{encode_bytes(key.sign(body.encode()))}"
