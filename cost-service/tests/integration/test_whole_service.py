"""The service as `bootstrap` puts it together, beside a stand-in for auth-service."""

from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import key_service_pb2_grpc as key_grpc
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import membership_service_pb2_grpc as membership_grpc
from weir.cost.v1 import cost_service_pb2 as pb
from weir.cost.v1 import cost_service_pb2_grpc as pb_grpc

from cost_service.bootstrap import cost_service
from cost_service.settings import Settings
from service_kit.access import ProjectNotFound
from service_kit.errors import ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.testing.pki import make_test_pki
from service_kit.testing.rpc import serving_loopback
from service_kit.testing.tokens import TestIssuer

DENIAL_KINDS = {
    "session": key_pb.DENIAL_KIND_SESSION,
    "user": key_pb.DENIAL_KIND_USER,
    "key": key_pb.DENIAL_KIND_KEY,
    "membership": key_pb.DENIAL_KIND_MEMBERSHIP,
}


class Keys(key_grpc.KeyServiceServicer):
    def __init__(self, issuer) -> None:
        self.issuer = issuer

    async def ListSigningKeys(self, request, context):
        keys = [
            key_pb.SigningKey(kid=key.kid, public_key=key.public_bytes) for key in self.issuer.keys
        ]
        return key_pb.ListSigningKeysResponse(signing_keys=keys)

    async def ListDenials(self, request, context):
        response = key_pb.ListDenialsResponse(last_sequence=len(self.issuer.denials))
        for denial in await self.issuer.list_denials(request.after_sequence):
            added = response.denials.add(
                sequence=denial.sequence, kind=DENIAL_KINDS[denial.kind], subject=denial.subject
            )
            added.denied_at.FromDatetime(denial.denied_at)
            added.expires_at.FromDatetime(denial.expires_at)
        return response


class Membership(membership_grpc.MembershipServiceServicer):
    def __init__(self) -> None:
        self.members = {"user-1"}
        self.asked = []
        self.asked_of_keys = []

    async def CheckAccess(self, request, context):
        self.asked.append((request.user_id, request.project_id, list(request.scopes)))
        if request.user_id not in self.members:
            raise ProjectNotFound(request.project_id)
        return membership_pb.CheckAccessResponse(
            project_id="project-1",
            owner_user_id="user-1",
            is_default=True,
            permissions=["costs:read"],
        )

    async def CheckTeamAccess(self, request, context):
        return membership_pb.CheckTeamAccessResponse(
            team_id=request.team_id, owner_user_id="user-1", permissions=["costs:read"]
        )

    async def CheckKeyAccess(self, request, context):
        self.asked_of_keys.append((request.user_id, request.api_key_id, list(request.scopes)))
        return membership_pb.CheckKeyAccessResponse(
            api_key_id=request.api_key_id, project_id="project-1", permissions=["costs:read"]
        )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def eventually(condition, seconds=20.0):
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.05)


@pytest.fixture
def pki(tmp_path):
    return make_test_pki(tmp_path, ["auth-service", "cost-service", "gateway"])


@pytest.fixture
def settings(database, pki):
    files = pki["cost-service"]
    return {
        "database_url": database,
        "http_address": f"127.0.0.1:{free_port()}",
        "tls_ca_file": files.ca_file,
        "tls_cert_file": files.cert_file,
        "tls_key_file": files.key_file,
        "drain_seconds": 1,
    }


async def readiness(settings):
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://{settings['http_address']}/health/ready")


async def test_unready_without_auth_service(settings):
    """Without keys and denials no token can be trusted: unready, and it says which check."""
    async with cost_service(Settings(**settings, auth_service_addresses="127.0.0.1:1")):

        async def database_answers():
            checks = (await readiness(settings)).json()["checks"]
            return checks["database"]["ok"]

        await eventually(database_answers)
        answer = await readiness(settings)

    assert answer.status_code == 503
    assert answer.json()["checks"]["tokens"]["ok"] is False


async def test_tokens_and_access_by_auth_service(settings, pki):
    """Ready with keys; access is asked of auth-service, kept, and dropped on a denial."""
    issuer, membership = TestIssuer(), Membership()

    def register(server):
        key_grpc.add_KeyServiceServicer_to_server(Keys(issuer), server)
        membership_grpc.add_MembershipServiceServicer_to_server(membership, server)

    allowed = {
        "weir.auth.v1.KeyService": ["cost-service"],
        "weir.auth.v1.MembershipService": ["cost-service"],
    }
    me = (("authorization", f"Bearer {issuer.person_token()}"),)
    key = (("authorization", f"Bearer {issuer.key_token(scope='read inference')}"),)
    async with (
        serving_loopback(pki, "auth-service", register, allowed) as auth,
        cost_service(Settings(**settings, auth_service_addresses=auth.address)) as port,
        open_channel(
            f"127.0.0.1:{port}",
            service="cost-service",
            tls=pki["gateway"],
            registry=new_registry("gateway"),
        ) as channel,
    ):
        costs = pb_grpc.CostServiceStub(channel)

        async def ready():
            return (await readiness(settings)).status_code == 200

        await eventually(ready)
        for metadata in (me, me, key):
            response = await costs.GetBudget(pb.GetBudgetRequest(), metadata=metadata)
            assert response.budget.project_id == "project-1"
        assert membership.asked == [
            ("user-1", "", []),
            ("user-1", "project-1", ["inference", "read"]),
        ]
        of_team = await costs.GetBudget(pb.GetBudgetRequest(team_id="team-1"), metadata=me)
        of_key = await costs.GetBudget(pb.GetBudgetRequest(api_key_id="key-2"), metadata=key)
        assert (of_team.budget.team_id, of_key.budget.api_key_id) == ("team-1", "key-2")
        assert membership.asked_of_keys == [("user-1", "key-2", ["inference", "read"])]

        membership.members.clear()
        issuer.deny("membership", "user-1:project-1")

        async def access_is_gone():
            try:
                with rpc_errors():
                    await costs.GetBudget(pb.GetBudgetRequest(), metadata=me)
            except ServiceError as error:
                return error.reason == "PROJECT_NOT_FOUND"
            return False

        await eventually(access_is_gone)
        issuer.deny("session", "session-1")

        async def token_is_denied():
            try:
                with rpc_errors():
                    await costs.GetBudget(pb.GetBudgetRequest(), metadata=me)
            except ServiceError as error:
                return error.reason == "TOKEN_DENIED"
            return False

        await eventually(token_is_denied)
        async with httpx.AsyncClient() as client:
            metrics = await client.get(f"http://{settings['http_address']}/metrics")

    assert 'cost_holds_total{outcome="placed"} 0.0' in metrics.text
    assert "compute_cost_usd_total 0.0" in metrics.text
