"""Two targets behind one router: who gets the prompt, who gets it next, and who pays."""

import asyncio
import re

import pytest
from weir.router.v1 import router_service_pb2 as pb
from weir.router.v1 import router_service_pb2_grpc as pb_grpc
from weir.worker.v1 import inference_service_pb2 as worker_pb

from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_errors import rpc_errors

HARD = "word " * 100
KEY = "key-of-the-cloud-4711"


@pytest.fixture
def router_settings(provider):
    return {
        "yotta_url": provider.url,
        "yotta_api_key": KEY,
        "yotta_slots": 50,
        "breaker_failures": 3,
        "breaker_open_seconds": 30,
    }


async def target_of(router, name: str) -> pb.Target:
    async with router.channel_as("gateway") as channel:
        response = await pb_grpc.RouterServiceStub(channel).ListTargets(pb.ListTargetsRequest())
    return next(target for target in response.targets if target.target == name)


@pytest.fixture
async def yotta(router, eventually):
    """A callable that returns the target as the router lists it; its models are known."""

    async def listed() -> pb.Target:
        return await target_of(router, "yotta")

    async def is_known() -> bool:
        return bool((await listed()).models)

    await eventually(is_known)
    return listed


async def go_on(execution) -> tuple[list[str], list, ServiceError | None]:
    """Say go wherever it is asked for; return the kinds of events, the events, and the error."""
    events, error = [], None
    try:
        with rpc_errors():
            async for response in execution.call:
                events.append(getattr(response, response.WhichOneof("event")))
                if response.HasField("dispatching"):
                    await execution.go(response.dispatching.client_task_id)
    except ServiceError as caught:
        error = caught
    return [type(event).__name__ for event in events], events, error


async def test_complex_prompt_goes_to_yotta(execute, start_worker, yotta, provider):
    """After Go, and with its answer's id; the easy one stays here."""
    await start_worker(model_name="small", instant_tokens=1)

    kinds, events, error = await go_on(await execute(text=HARD))

    assert error is None
    assert kinds == ["RouteDecision", "Dispatching", "Started", "Delta", "Delta", "Finished"]
    assert (events[0].target, events[0].reason) == ("yotta", "complexity_at_threshold")
    assert events[2].target == "yotta"
    assert events[-1].provider_response_id == "chat-1"
    assert events[-1].usage == worker_pb.Usage(tokens_input=3, tokens_output=2)
    _, events, _ = await go_on(await execute("j2"))
    assert events[0].target == events[1].target == "local"
    assert events[-1].signed_result.signature
    assert len(provider.prompts) == 1


async def test_targets_are_listed(yotta, start_worker, router, eventually):
    """With what they can do; the cloud is paid and says how it is."""
    await start_worker(model_name="small")

    cloud, local = await yotta(), await target_of(router, "local")

    assert (cloud.available, cloud.paid, cloud.slots_total) == (True, True, 50)
    assert cloud.status == "1 model, 0 of 50 slots busy"
    (model,) = cloud.models
    assert (model.model, model.context_tokens, model.default_max_tokens) == ("small", 8192, 256)
    assert set(model.operations) == {1, 2, 3}
    assert set(local.models[0].operations) == {1, 2, 3}


async def test_list_of_models_is_waited_for(open_router, provider, eventually):
    """A cloud that is away at first is found later, in order of name; gone, it is remembered."""
    provider.models = None
    router = await open_router(yotta_url=provider.url)
    absent = await target_of(router, "yotta")
    assert not absent.available
    assert absent.status.startswith("its models are not known")

    provider.models = ["small", "not a name!", "large"]

    async def models() -> list[str]:
        return [model.model for model in (await target_of(router, "yotta")).models]

    async def are_known() -> bool:
        return await models() == ["large", "small"]

    await eventually(are_known)
    provider.models = None
    assert await models() == ["large", "small"]


async def test_models_of_the_settings_are_not_asked_for(open_router, provider):
    """What the operator says, counts."""
    router = await open_router(yotta_url=provider.url, yotta_models="a,b", yotta_operations="chat")

    listed = await target_of(router, "yotta")

    assert [model.model for model in listed.models] == ["a", "b"]
    assert [list(model.operations) for model in listed.models] == [[1], [1]]
    assert provider.requests == []


async def test_cloud_that_took_nothing_is_followed_by_local(
    execute, start_worker, yotta, provider, say, router
):
    """Released, then started here: that is who is billed. The metric says fallback."""
    await start_worker(model_name="small", instant_tokens=1)
    provider.does(say.status(503))

    kinds, events, error = await go_on(await execute(text=HARD))

    assert error is None
    assert kinds == [
        "RouteDecision",
        "Dispatching",
        "Released",
        "Started",
        "Delta",
        "Finished",
    ]
    assert events[0].target == "yotta"
    assert (events[2].reason, events[3].target) == ("TARGET_UNAVAILABLE", "local")
    metric = 'router_fallbacks_total{from="yotta",reason="TARGET_UNAVAILABLE",to="local"} 1.0'
    assert metric in await router.metrics()


async def test_full_worker_is_followed_by_the_cloud(execute, start_worker, yotta):
    """An easy prompt that finds no room here is dispatched, and waits for its own Go."""
    await start_worker(
        model_name="small", engine_slots=1, instant_tokens=200, instant_token_delay_ms=50
    )
    running = await execute("j1")
    await running.next("decision")
    await running.next("started")

    kinds, events, error = await go_on(await execute("j2"))

    assert error is None
    assert kinds[:3] == ["RouteDecision", "Dispatching", "Started"]
    assert events[0].target == "local"
    assert (events[1].target, events[1].client_task_id) == ("yotta", "j2-1-2")
    assert events[2].target == "yotta"
    running.call.cancel()


async def test_unknown_outcome_is_followed_by_nothing(execute, start_worker, yotta, provider, say):
    """The cloud had the prompt and may be paid: no second one, and no Released."""
    worker = await start_worker(model_name="small")
    provider.does(say.hang_up)

    kinds, _, error = await go_on(await execute(text=HARD))

    assert kinds == ["RouteDecision", "Dispatching"]
    assert (error.code, error.reason) == (ErrorCode.INTERNAL, "EXECUTION_FAILED")
    assert len(provider.prompts) == 1
    assert await worker.prompts() == 0


async def test_vectors_come_back(execute, yotta, provider, say):
    """Embeddings of the cloud, through the router."""
    good = (
        b'{"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1.5, 2]}],'
        b' "usage": {"prompt_tokens": 4}}'
    )
    provider.does(say.status(200, good))

    embedding = worker_pb.OPERATION_EMBEDDING
    kinds, events, error = await go_on(
        await execute(text="one two", operation=embedding, inputs=["one", "two"])
    )

    assert error is None
    assert kinds == [
        "RouteDecision",
        "Dispatching",
        "Started",
        "Embedding",
        "Embedding",
        "Finished",
    ]
    assert [list(event.values) for event in events[3:5]] == [[1.5, 2.0], [3.0, 4.0]]
    assert events[-1].usage == worker_pb.Usage(tokens_input=4)
    assert provider.prompts[0].path == "/v1/embeddings"
    assert provider.prompts[0].json["input"] == ["one", "two"]


async def test_burst_of_failures_opens_the_breaker(
    execute,
    execution_on,
    start_worker,
    yotta,
    provider,
    say,
    router,
    open_router,
    router_settings,
    eventually,
):
    """No more than so many, and those in flight, reach the cloud; then all routers stay away."""
    await start_worker(model_name="small", instant_tokens=2, engine_slots=25)
    provider.does(say.status(500))
    other = await open_router(**router_settings)

    async def knows_the_worker() -> bool:
        return (await target_of(other, "local")).available

    await eventually(knows_the_worker)
    for number in range(3):
        _, _, error = await go_on(await execute(f"a{number}", text=HARD))
        assert error.reason == "EXECUTION_FAILED"
    async with other.channel_as("job-service") as channel:
        runs = [execute(f"b{number}", text=HARD) for number in range(10)]
        runs += [execution_on(channel).start(f"c{number}", text=HARD) for number in range(10)]
        started = await asyncio.gather(*runs)
        results = await asyncio.gather(*(go_on(execution) for execution in started))

    assert len(provider.prompts) == 3
    assert {error for _, _, error in results} == {None}
    assert {events[-1].usage.tokens_output for _, events, _ in results} == {2}
    listed = await yotta()
    assert not listed.available
    assert re.fullmatch(r"breaker open for [23]\d s more", listed.status)
    assert 'router_breaker_state{target="yotta"} 2.0' in await router.metrics()
    decision = (await go_on(await execute("d", text=HARD)))[1][0]
    assert decision.target == "local"
    assert decision.reason == "preferred_target_unavailable"
    assert any(line.startswith("yotta: breaker open for") for line in decision.explanation)


async def test_wish_to_wait_is_kept(execute, start_worker, yotta, provider, say, router):
    """After a 429 nobody calls before its time, and the breaker stays closed."""
    await start_worker(model_name="small", instant_tokens=2)
    provider.does(say.status(429, **{"retry-after": "30"}))

    for number in range(4):
        _, events, error = await go_on(await execute(f"j{number}", text=HARD))
        assert error is None
        assert events[-1].usage.tokens_output == 2

    assert len(provider.prompts) == 1
    assert (await yotta()).status.startswith("asked to be left alone for ")
    assert 'router_breaker_state{target="yotta"} 0.0' in await router.metrics()


async def test_leaving_caller_stops_the_cloud(execute, yotta, provider, say, eventually):
    """The upstream connection is closed at once."""
    provider.does(say.stream(say.chunk("a"), hangs=True))
    execution = await execute(text=HARD)
    await execution.next("decision")
    await execution.go((await execution.next("dispatching")).client_task_id)
    await execution.next("started")
    await execution.next("delta")
    before = provider.open_connections

    execution.call.cancel()

    await eventually(lambda: provider.open_connections < before, seconds=2)
    assert (await yotta()).slots_busy == 0
