"""Real gRPC servers with mutual TLS that stand in for auth-service, cost-service and the router."""

import asyncio
import hashlib
import struct
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp
from weir.auth.v1 import key_service_pb2 as key_pb
from weir.auth.v1 import key_service_pb2_grpc as key_grpc
from weir.auth.v1 import membership_service_pb2 as membership_pb
from weir.auth.v1 import membership_service_pb2_grpc as membership_grpc
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import ledger_service_pb2_grpc as ledger_grpc
from weir.cost.v1 import price_service_pb2 as price_pb
from weir.cost.v1 import price_service_pb2_grpc as price_grpc
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import execution_service_pb2_grpc as execution_grpc
from weir.router.v1 import router_service_pb2 as router_pb
from weir.router.v1 import router_service_pb2_grpc as router_grpc
from weir.worker.v1 import inference_service_pb2 as worker_pb

from service_kit.errors import ErrorCode, ServiceError
from service_kit.signatures import SigningKey, canonical_json
from service_kit.testing.rpc import serving_loopback

MODEL_DIGEST = "ab" * 32


def refusal(reason, code):
    error = ServiceError("Refused by a stand-in.")
    error.reason, error.code = reason, code
    return error


class Auth(key_grpc.KeyServiceServicer, membership_grpc.MembershipServiceServicer):
    """Everybody is the owner of every project whose name is theirs: user-1 of project-1."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.team_id = ""

    async def ListSigningKeys(self, request, context):
        keys = await self.issuer.list_keys()
        return key_pb.ListSigningKeysResponse(
            signing_keys=[key_pb.SigningKey(kid=k.kid, public_key=k.public_bytes) for k in keys]
        )

    async def ListDenials(self, request, context):
        return key_pb.ListDenialsResponse(last_sequence=request.after_sequence)

    async def CheckAccess(self, request, context):
        own = request.user_id.replace("user", "project")
        if request.project_id not in ("", own):
            raise refusal("PROJECT_NOT_FOUND", ErrorCode.NOT_FOUND)
        permissions = ["jobs:read", "jobs:write", "inference"]
        if request.scopes and "inference" not in request.scopes:
            permissions = ["jobs:read"]
        return membership_pb.CheckAccessResponse(
            project_id=own,
            owner_user_id=request.user_id,
            is_default=True,
            permissions=permissions,
            team_id=self.team_id,
        )


class Cost(ledger_grpc.LedgerServiceServicer, price_grpc.PriceServiceServicer):
    """Books as the protos say, with one budget for all."""

    def __init__(self):
        self.budget = 10**18
        self.holds = {}
        self.settled = {}
        self.outcomes = {}
        self.times = Counter()
        self.is_away = False

    def _answer(self):
        if self.is_away:
            raise refusal("UNAVAILABLE", ErrorCode.UNAVAILABLE)

    async def PlaceHold(self, request, context):
        self._answer()
        self.times["place"] += 1
        if request.hold_id in self.settled:
            raise refusal("HOLD_SETTLED", ErrorCode.FAILED_PRECONDITION)
        if request.hold_id not in self.holds:
            if request.amount_nanousd > self.budget:
                raise refusal("BUDGET_EXCEEDED", ErrorCode.RESOURCE_EXHAUSTED)
            self.holds[request.hold_id] = request
        placed = ledger_pb.Hold(
            hold_id=request.hold_id,
            state=ledger_pb.HOLD_STATE_HELD,
            amount_nanousd=self.holds[request.hold_id].amount_nanousd,
            price_version=request.price_version,
            created_at=Timestamp(seconds=1_790_000_000),
        )
        return ledger_pb.PlaceHoldResponse(hold=placed)

    async def PostHold(self, request, context):
        self._answer()
        booked = self._settle(request, ("post", request.amount_nanousd))
        return ledger_pb.PostHoldResponse(booked=booked)

    async def VoidHold(self, request, context):
        self._answer()
        return ledger_pb.VoidHoldResponse(booked=self._settle(request, ("void", 0)))

    def _settle(self, request, entry):
        self.times[entry[0]] += 1
        if request.hold_id in self.settled:
            return False
        self.settled[request.hold_id] = entry
        self.outcomes[request.hold_id] = request.outcome
        return True

    async def ListOpenHolds(self, request, context):
        self._answer()
        return ledger_pb.ListOpenHoldsResponse(
            holds=[ledger_pb.Hold(hold_id=h) for h in self.holds if h not in self.settled]
        )

    async def GetPriceSnapshot(self, request, context):
        snapshot = price_pb.PriceSnapshot(price_version="1")
        for target in ("local", "yotta"):
            snapshot.prices.add(
                target=target,
                model="*",
                input_nanousd_per_million=10**12,
                output_nanousd_per_million=10**12,
            )
        return price_pb.GetPriceSnapshotResponse(price_snapshot=snapshot)


def signed_result(start, key, output, usage):
    """Return what worker w1 says about an answer, whose bytes are given."""
    operation = ("chat", "chat", "completion", "embedding")[start.query.operation]
    messages = [{"role": each.role, "content": each.content} for each in start.messages]
    asked = {"messages": messages} if operation == "chat" else {"inputs": list(start.inputs)}
    statement = canonical_json(
        {
            "type": "weir.result.v1",
            "job_id": start.job_id,
            "attempt": start.attempt,
            "worker_id": "w1",
            "operation": operation,
            "model": "smol",
            "model_digest": MODEL_DIGEST,
            "prompt_digest": hashlib.sha256(canonical_json(asked)).hexdigest(),
            "output_digest": hashlib.sha256(output).hexdigest(),
            **usage,
            "finish_reason": "stop",
            "started_at": "2026-09-01T00:00:00Z",
            "finished_at": "2026-09-01T00:00:01Z",
        }
    )
    return {
        "statement": statement,
        "key_id": key.key_id,
        "signature": key.sign(statement),
        "public_key": key.public_key,
    }


class Router(router_grpc.RouterServiceServicer, execution_grpc.ExecutionServiceServicer):
    """Answers every prompt with its own words; some prompts are special.

    `endless` streams until it is stopped, `long` takes a while, `slowly ...` pauses after each
    word, `full` finds no capacity, `paid` goes the way of a paid target, `broken` fails midway,
    `broken once` only in its first attempt.
    """

    def __init__(self):
        self.running = Counter()
        self.stopped = Counter()
        self.executions = []
        self.gone = []
        self.worker_key = SigningKey.generate()

    async def ListTargets(self, request, context):
        model = router_pb.Model(
            model="smol",
            context_tokens=2048,
            default_max_tokens=100,
            template_overhead_tokens=30,
            message_overhead_tokens=5,
            operations=worker_pb.Operation.values()[1:],
        )
        target = router_pb.Target(target="local", available=True, models=[model])
        return router_pb.ListTargetsResponse(targets=[target])

    async def Execute(self, request_iterator, context):
        first = await anext(request_iterator)
        start = first.start
        prompt = start.query.prompt
        self.executions.append(start)
        self.running[prompt] += 1
        try:
            async for event in self._play(start, prompt, request_iterator):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped[prompt] += 1
            raise
        finally:
            self.running[prompt] -= 1

    async def _play(self, start, prompt, requests):
        response = execution_pb.ExecuteResponse
        if prompt == "full":
            raise refusal("NO_CAPACITY", ErrorCode.RESOURCE_EXHAUSTED)
        yield response(decision={"target": "local", "model": "smol", "reason": "stand_in"})
        if prompt == "paid":
            yield response(dispatching={"target": "local", "client_task_id": "c1"})
            self.gone.append((await anext(requests)).go.client_task_id)
        yield response(
            started={
                "target": "local",
                "model": "smol",
                "worker_id": "w1",
                "model_digest": MODEL_DIGEST,
            }
        )
        if start.query.operation == worker_pb.OPERATION_EMBEDDING:
            # The vector of a text: how long it is, and a half.
            vectors = [[len(text), 0.5] for text in start.inputs]
            for index, vector in enumerate(vectors):
                yield response(embedding={"index": index, "values": vector})
            output = b"".join(struct.pack("<2f", *vector) for vector in vectors)
            usage = {"tokens_input": 5, "tokens_output": 0}
            signed = signed_result(start, self.worker_key, output, usage)
            yield response(finished={"finish_reason": 1, "usage": usage, "signed_result": signed})
            return
        words = prompt.split()
        for word in words:
            yield response(delta={"text": word, "tokens": 1})
            if words[0] == "slowly":
                await asyncio.sleep(0.02)
        if prompt == "broken" or (prompt == "broken once" and start.attempt == 1):
            raise refusal("EXECUTION_FAILED", ErrorCode.INTERNAL)
        if prompt == "long":
            await asyncio.sleep(0.8)
        while prompt == "endless":
            yield response(delta={"text": ".", "tokens": 1})
            await asyncio.sleep(0.01)
        usage = {"tokens_input": 20, "tokens_output": len(words)}
        signed = signed_result(start, self.worker_key, "".join(words).encode(), usage)
        yield response(finished={"finish_reason": 1, "usage": usage, "signed_result": signed})


@dataclass
class StandIns:
    auth: Auth
    cost: Cost = field(default_factory=Cost)
    router: Router = field(default_factory=Router)
    addresses: dict = field(default_factory=dict)


@asynccontextmanager
async def standing_in(pki, issuer):
    """Serve all three until the block is left."""
    found = StandIns(Auth(issuer))

    def register_auth(server):
        key_grpc.add_KeyServiceServicer_to_server(found.auth, server)
        membership_grpc.add_MembershipServiceServicer_to_server(found.auth, server)

    def register_cost(server):
        ledger_grpc.add_LedgerServiceServicer_to_server(found.cost, server)
        price_grpc.add_PriceServiceServicer_to_server(found.cost, server)

    def register_router(server):
        router_grpc.add_RouterServiceServicer_to_server(found.router, server)
        execution_grpc.add_ExecutionServiceServicer_to_server(found.router, server)

    served = {
        "auth-service": (register_auth, ["auth.v1.KeyService", "auth.v1.MembershipService"]),
        "cost-service": (register_cost, ["cost.v1.LedgerService", "cost.v1.PriceService"]),
        "compute-router": (
            register_router,
            ["router.v1.RouterService", "router.v1.ExecutionService"],
        ),
    }
    async with AsyncExitStack() as stack:
        for service, (register, rpc_services) in served.items():
            allowed = {f"weir.{name}": ["job-service"] for name in rpc_services}
            loopback = await stack.enter_async_context(
                serving_loopback(pki, service, register, allowed)
            )
            found.addresses[service] = loopback.address
        yield found
