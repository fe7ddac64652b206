"""X-R16: what is delivered twice leaves what one delivery would."""

import pytest
from weir.auth.v1 import access_service_pb2 as access_pb
from weir.auth.v1 import auth_service_pb2 as auth_pb
from weir.auth.v1 import team_service_pb2 as team_pb

from auth_service.adapters.tables import metadata
from service_kit.errors import ServiceError
from service_kit.grpc_errors import rpc_errors

from .test_rpc import PASSWORD, served, with_token

__all__ = ["served"]  # a fixture of the RPCs

# What the repetition of each RPC that changes something is told; "" is the first answer again.
# tests/contract/test_deliveries.py misses none.
TOLD = {
    "AuthService.Register": "EMAIL_TAKEN",
    "AuthService.RefreshTokens": "",
    "TeamService.CreateTeam": "",
    "AccessService.CreateProject": "",
    "AccessService.CreateApiKey": "",
    "AccessService.ExchangeApiKey": "",
    "AccessService.DeleteProject": "PROJECT_NOT_FOUND",
}


@pytest.fixture
def kept(rows):
    """Return everything that is stored."""

    async def read():
        return {name: sorted(map(str, await rows(f"SELECT * FROM {name}"))) for name in TABLES}

    return read


TABLES = [f'"{name}"' for name in metadata.tables]


@pytest.fixture
async def deliver_twice(served, kept):
    """Call an RPC twice; return the first answer. Nothing more is stored the second time."""
    stubs = {
        "AuthService": served.gateway.auth,
        "TeamService": served.gateway.teams,
        "AccessService": served.gateway.access,
    }

    async def call(rpc, request, token=""):
        service, _, method = rpc.partition(".")
        metadata = with_token(token) if token else ()
        answer = await getattr(stubs[service], method)(request, metadata=metadata)
        once, told = await kept(), ""
        try:
            with rpc_errors():
                await getattr(stubs[service], method)(request, metadata=metadata)
        except ServiceError as error:
            told = error.reason
        assert told == TOLD[rpc], rpc
        assert await kept() == once, rpc
        return answer

    return call


async def test_each_rpc_delivered_twice_changes_nothing_more(deliver_twice):
    """A person comes, works with a key, and tidies up; every call is made twice."""
    delivered = []

    async def twice(rpc, request, token=""):
        delivered.append(rpc)
        return await deliver_twice(rpc, request, token)

    ann = auth_pb.RegisterRequest(email="ann@example.org", password=PASSWORD)
    tokens = (await twice("AuthService.Register", ann)).tokens
    refresh = auth_pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)
    token = (await twice("AuthService.RefreshTokens", refresh)).tokens.access_token
    team = team_pb.CreateTeamRequest(name="Weather", request_id="r0")
    team_id = (await twice("TeamService.CreateTeam", team, token)).team.team_id
    project = access_pb.CreateProjectRequest(name="Research", request_id="r1", team_id=team_id)
    made = (await twice("AccessService.CreateProject", project, token)).project
    scopes = [access_pb.API_KEY_SCOPE_JOBS_WRITE]
    key = access_pb.CreateApiKeyRequest(
        name="ci", project_id=made.project_id, scopes=scopes, request_id="r2"
    )
    secret = (await twice("AccessService.CreateApiKey", key, token)).secret
    await twice("AccessService.ExchangeApiKey", access_pb.ExchangeApiKeyRequest(secret=secret))
    gone = access_pb.DeleteProjectRequest(project_id=made.project_id)
    await twice("AccessService.DeleteProject", gone, token)

    assert delivered == list(TOLD)


async def test_key_delivered_again_behind_its_project_stays_away(served, kept):
    """Swapped: the key's creation comes once more when its project is gone."""
    tokens = (await served.gateway.register()).tokens
    metadata = with_token(tokens.access_token)
    access = served.gateway.access
    project = access_pb.CreateProjectRequest(name="Research", request_id="r1")
    made = (await access.CreateProject(project, metadata=metadata)).project
    key = access_pb.CreateApiKeyRequest(
        name="ci",
        project_id=made.project_id,
        scopes=[access_pb.API_KEY_SCOPE_JOBS_WRITE],
        request_id="r2",
    )
    await access.CreateApiKey(key, metadata=metadata)
    gone = access_pb.DeleteProjectRequest(project_id=made.project_id)
    await access.DeleteProject(gone, metadata=metadata)
    over = await kept()

    with pytest.raises(ServiceError) as caught, rpc_errors():
        await access.CreateApiKey(key, metadata=metadata)

    assert caught.value.reason == "PROJECT_NOT_FOUND"
    assert await kept() == over
