"""ExplainRoute and prices, over the wire."""

import pytest
from weir.cost.v1 import price_service_pb2, price_service_pb2_grpc
from weir.router.v1 import router_service_pb2 as pb
from weir.router.v1 import router_service_pb2_grpc as pb_grpc

from service_kit.errors import ServiceError
from service_kit.grpc_errors import rpc_errors
from service_kit.testing.rpc import serving_loopback

PER_MILLION = 1_000_000_000_000


class Prices(price_service_pb2_grpc.PriceServiceServicer):
    async def GetPriceSnapshot(self, request, context):
        price = price_service_pb2.Price(
            target="local",
            model="*",
            input_nanousd_per_million=PER_MILLION,
            output_nanousd_per_million=PER_MILLION,
        )
        snapshot = price_service_pb2.PriceSnapshot(price_version="1", prices=[price])
        return price_service_pb2.GetPriceSnapshotResponse(price_snapshot=snapshot)


async def explain(router, **query) -> pb.RouteDecision:
    async with router.channel_as("gateway") as channel:
        with rpc_errors():
            response = await pb_grpc.RouterServiceStub(channel).ExplainRoute(
                pb.ExplainRouteRequest(query=pb.RouteQuery(**query))
            )
    return response.decision


async def test_decision_explains_itself(router, start_worker):
    """Score parts, target, reason, alternatives and estimate are all there."""
    await start_worker(model_name="small")

    decision = await explain(
        router, model="auto", prompt="a detailed and complex plan", context_characters=195
    )

    assert decision.complexity == pb.Complexity(
        score=5 + 19 + 40,
        threshold=100,
        words=5,
        context_characters=195,
        keywords=["detailed", "complex"],
    )
    assert decision.reason == "complexity_below_threshold"
    assert "yotta: not configured" in decision.explanation
    assert any("price: unknown" in line for line in decision.explanation)
    assert decision.estimated_cost_nanousd == 0
    assert [(a.target, a.eligible, a.reason) for a in decision.alternatives] == [
        ("yotta", False, "not_configured")
    ]


async def test_complex_prompt_stays_without_yotta(router, start_worker):
    """At the threshold Yotta would be asked; without it the decision says so."""
    await start_worker(model_name="small")

    decision = await explain(router, model="small", prompt="word " * 100)

    assert decision.target == "local"
    assert decision.reason == "complexity_at_threshold_but_yotta_not_configured"


async def test_no_worker_is_said(router):
    """Nothing to decide from: the caller is told to come again."""
    with pytest.raises(ServiceError) as caught:
        await explain(router, model="auto", prompt="hello")

    assert caught.value.reason == "NO_CAPACITY"


async def test_prices_make_the_estimate(pki, open_router, start_worker, eventually):
    """The estimate is the worst case by the price book of cost-service."""
    allowed = {"weir.cost.v1.PriceService": ["compute-router"]}
    async with serving_loopback(
        pki,
        "cost-service",
        lambda server: price_service_pb2_grpc.add_PriceServiceServicer_to_server(Prices(), server),
        allowed,
    ) as cost:
        await start_worker(model_name="small")
        router = await open_router(cost_service_addresses=cost.address)

        async def is_priced() -> bool:
            decision = await explain(
                router, model="small", prompt="hello", tokens_input_bound=7, max_tokens=5
            )
            return decision.estimated_cost_nanousd == 12_000_000

        await eventually(is_priced)


async def test_router_starts_without_cost_service(open_router, start_worker, unused_port):
    """cost-service may come later, or never."""
    await start_worker(model_name="small")
    router = await open_router(cost_service_addresses=f"127.0.0.1:{unused_port}")

    decision = await explain(router, model="small", prompt="hello")

    assert decision.estimated_cost_nanousd == 0
