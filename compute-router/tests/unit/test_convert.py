"""Between protos and domain, both ways, over the wire and over Redis."""

import json
from datetime import timedelta

import pytest
from weir.cost.v1 import price_service_pb2
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.router.v1 import worker_registry_service_pb2 as registry_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from compute_router.adapters.cost_prices_client import book_from_proto
from compute_router.adapters.redis_workers import from_json, to_json
from compute_router.adapters.worker_protocol import event_of, request_of
from compute_router.domain.complexity import Complexity
from compute_router.domain.decision import Alternative, Exclusion, Reason, RouteDecision
from compute_router.domain.execution import (
    Delta,
    Dispatching,
    Finished,
    FinishReason,
    Job,
    Released,
    Sampling,
    Started,
    Task,
    Usage,
)
from compute_router.domain.operation import Operation
from compute_router.domain.prices import Price
from compute_router.domain.query import ChatMessage, Residency, RouteQuery
from compute_router.entrypoints import convert
from service_kit.errors import InvalidArgument

FULL_SAMPLING = worker_pb.SamplingParameters(
    max_tokens=5,
    temperature=0,
    top_p=0,
    seed=0,
    stop=["x"],
    frequency_penalty=0,
    presence_penalty=0,
)
QUERY = router_pb.RouteQuery(model="small", prompt="p")
COMPLETION = router_pb.RouteQuery(model="m", operation=worker_pb.OPERATION_COMPLETION)
EMBEDDING = router_pb.RouteQuery(model="m", operation=worker_pb.OPERATION_EMBEDDING)
SIGNED = worker_pb.SignedResult(
    statement=b'{"a":1}', key_id="k", signature=b"s" * 64, public_key=b"p" * 32
)


def start(**changes):
    values = {
        "job_id": "j1",
        "attempt": 2,
        "query": QUERY,
        "messages": [worker_pb.ChatMessage(role="user", content="p")],
        **changes,
    }
    return execution_pb.ExecuteRequest(start=execution_pb.ExecuteRequest.Start(**values))


@pytest.mark.parametrize("value", router_pb.Residency.values())
def test_every_residency_is_read(value):
    """Unspecified means any."""
    query = convert.query_from_proto(router_pb.RouteQuery(model="m", residency=value))

    local_only = value == router_pb.RESIDENCY_LOCAL_ONLY
    assert query.residency is (Residency.LOCAL_ONLY if local_only else Residency.ANY)


OPERATIONS = {
    worker_pb.OPERATION_UNSPECIFIED: Operation.CHAT,
    worker_pb.OPERATION_CHAT: Operation.CHAT,
    worker_pb.OPERATION_COMPLETION: Operation.COMPLETION,
    worker_pb.OPERATION_EMBEDDING: Operation.EMBEDDING,
}


@pytest.mark.parametrize("value", worker_pb.Operation.values())
def test_every_operation_is_read_and_passed_on(value):
    """Unspecified means chat, and the worker is told so."""
    query = router_pb.RouteQuery(model="m", operation=value)

    job = convert.job_from_proto(start(query=query, inputs=["a"]))

    assert job.operation is OPERATIONS[value]
    asked = request_of(Task("t", "m", job))
    assert OPERATIONS[asked.operation] is job.operation
    assert asked.operation != worker_pb.OPERATION_UNSPECIFIED
    assert asked.inputs == ["a"]


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_of_a_model_is_read_and_written(make_model, make_target, operation):
    """From the worker, through the registry, to whoever asks for targets."""
    model = make_model(operations=(operation,))
    proto = convert.target_to_proto(make_target(models=(model,)))
    announced = registry_pb.Worker(
        worker_id="w1", address="h:1", models=proto.models, slots_total=1
    )

    worker = convert.worker_from_proto(announced)

    assert worker.models == (model,)
    assert from_json(to_json(worker)) == worker


@pytest.mark.parametrize(
    ("listed", "operations"),
    [([], (Operation.CHAT,)), ([99], ()), ([3, 99, 1, 3], (Operation.CHAT, Operation.EMBEDDING))],
)
def test_operations_of_another_release(listed, operations):
    """None listed means chat; an unknown one is passed over."""
    model = router_pb.Model(model="m", context_tokens=1, operations=listed)
    worker = registry_pb.Worker(worker_id="w1", address="h:1", models=[model], slots_total=1)

    assert convert.worker_from_proto(worker).models[0].operations == operations


def test_worker_in_the_registry_of_the_previous_release(make_worker):
    """It did not write what its models can do: they chat."""
    text = to_json(make_worker())
    before = json.loads(text)
    for model in before["models"]:
        del model["operations"]

    assert from_json(json.dumps(before)) == make_worker()


@pytest.mark.parametrize(
    "query",
    [
        {"model": ""},
        {"model": "m", "operation": 99},
        {"model": "m", "residency": 99},
        {"model": "m", "context_characters": -1},
        {"model": "m", "tokens_input_bound": -1},
        {"model": "m", "max_tokens": -1},
    ],
)
def test_impossible_query_is_refused(query):
    """Nothing is decided from nonsense."""
    with pytest.raises(InvalidArgument):
        convert.query_from_proto(router_pb.RouteQuery(**query))


def test_headroom_of_zero_is_an_answer():
    """Not asked and nothing left are two things."""
    none = convert.query_from_proto(router_pb.RouteQuery(model="m"))
    zero = convert.query_from_proto(router_pb.RouteQuery(model="m", budget_headroom_nanousd=0))

    assert (none.budget_headroom_nanousd, zero.budget_headroom_nanousd) == (None, 0)


def test_job_is_read_and_passed_on_whole():
    """What job-service asks for is what the worker gets."""
    job = convert.job_from_proto(start(sampling=FULL_SAMPLING))

    request = request_of(Task("j1-2-1", "small", job))

    assert request == worker_pb.GenerateRequest(
        job_id="j1",
        attempt=2,
        model="small",
        messages=[worker_pb.ChatMessage(role="user", content="p")],
        sampling=FULL_SAMPLING,
        operation=worker_pb.OPERATION_CHAT,
    )


def test_unset_parameters_stay_unset():
    """A model's defaults are the model's."""
    job = Job("j1", 1, RouteQuery("m"), (ChatMessage("user", "p"),), Sampling())

    assert request_of(Task("t", "m", job)).sampling == worker_pb.SamplingParameters()


@pytest.mark.parametrize(
    "request_",
    [
        execution_pb.ExecuteRequest(),
        execution_pb.ExecuteRequest(go=execution_pb.ExecuteRequest.Go(client_task_id="t")),
        start(job_id=""),
        start(messages=[]),
        start(query=router_pb.RouteQuery()),
        start(query=COMPLETION),
        start(query=COMPLETION, inputs=["a", "b"]),
        start(query=EMBEDDING),
        start(query=EMBEDDING, inputs=["a"] * 257),
    ],
)
def test_stream_that_begins_wrong_is_refused(request_):
    """The first message is a complete start."""
    with pytest.raises(InvalidArgument):
        convert.job_from_proto(request_)


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_proto(reason):
    """No reason of the domain is lost on the way out."""
    finished = convert.event_to_proto(Finished(reason, None)).finished

    assert finished.finish_reason != worker_pb.FINISH_REASON_UNSPECIFIED
    assert not finished.HasField("usage")


@pytest.mark.parametrize("value", worker_pb.FinishReason.values())
def test_every_finish_reason_of_a_worker_is_read(value):
    """One that is missing counts as a normal end."""
    event = event_of(
        worker_pb.GenerateResponse(
            finished=worker_pb.GenerateResponse.Finished(finish_reason=value)
        ),
        "local",
    )

    assert isinstance(event, Finished)
    assert event.usage is None


def test_explicit_zero_usage_is_a_usage():
    """Zero tokens are honoured, missing ones are missing."""
    response = worker_pb.GenerateResponse(
        finished=worker_pb.GenerateResponse.Finished(usage=worker_pb.Usage())
    )

    assert event_of(response, "local").usage == Usage(0, 0)


def test_signed_result_is_passed_on_untouched():
    """The very bytes that the worker signed reach the caller."""
    finished = worker_pb.GenerateResponse.Finished(signed_result=SIGNED)

    event = event_of(worker_pb.GenerateResponse(finished=finished), "local")

    assert convert.event_to_proto(event).finished.signed_result == SIGNED


def test_embedding_is_passed_on_exactly():
    """Not a bit of a vector changes on the way."""
    embedding = worker_pb.Embedding(index=3, values=[0.1, -1.5e-7, 3.4e38, 0.0])

    event = event_of(worker_pb.GenerateResponse(embedding=embedding), "local")

    assert convert.event_to_proto(event).embedding == embedding


def test_unknown_event_of_a_worker_is_passed_over():
    """A newer worker may say more."""
    assert event_of(worker_pb.GenerateResponse(), "local") is None


def test_events():
    """Each event is the member of the same name."""
    to_proto = convert.event_to_proto
    assert to_proto(Delta("a", 2)).delta.tokens == 2
    assert to_proto(Started("local", "m", "w1", "d")).started.model_digest == "d"
    assert to_proto(Dispatching("local", "t")).dispatching.client_task_id == "t"
    assert to_proto(Released("local", "t", "R")).released.reason == "R"
    provided = to_proto(Finished(FinishReason.STOP, None, provider_response_id="chat-1")).finished
    assert provided.provider_response_id == "chat-1"
    assert not provided.HasField("signed_result")
    usage = to_proto(Finished(FinishReason.STOP, Usage(1, 2, 1))).finished.usage
    assert usage == worker_pb.Usage(tokens_input=1, tokens_output=2, tokens_input_cached=1)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("exclusion", Exclusion)
def test_decision_is_written_whole(reason, exclusion):
    """Codes are the enums' values."""
    decision = RouteDecision(
        target="local",
        model="m",
        reason=reason,
        complexity=Complexity(5, 100, 3, 20, ("complex",)),
        explanation=("one", "two"),
        alternatives=(Alternative("yotta", "m", True, exclusion, 7),),
        estimated_cost_nanousd=9,
    )

    assert convert.event_to_proto(decision).decision == router_pb.RouteDecision(
        target="local",
        model="m",
        reason=reason.value,
        complexity=router_pb.Complexity(
            score=5, threshold=100, words=3, context_characters=20, keywords=["complex"]
        ),
        explanation=["one", "two"],
        alternatives=[
            router_pb.Alternative(
                target="yotta", eligible=True, reason=exclusion.value, estimated_cost_nanousd=7
            )
        ],
        estimated_cost_nanousd=9,
    )


def test_target_and_its_models(make_target, make_model):
    """Models keep all their figures on the way in and out."""
    model = make_model(template_overhead_tokens=3, message_overhead_tokens=4)
    proto = convert.target_to_proto(make_target(models=(model,), slots_busy=1))
    worker = convert.worker_from_proto(
        registry_pb.Worker(worker_id="w1", address="h:1", models=proto.models, slots_total=1)
    )

    assert worker.models == (model,)
    assert (proto.target, proto.available, proto.slots_busy) == ("local", True, 1)


def test_lease_is_whole_seconds():
    """A worker divides it by three: zero would be a flood."""
    assert convert.lease_to_proto(timedelta(seconds=10)) == 10
    assert convert.lease_to_proto(timedelta(milliseconds=5)) == 1


def test_worker_survives_the_registry(make_worker):
    """JSON and back."""
    worker = make_worker(draining=True, tokens_per_second=1.5)

    assert from_json(to_json(worker)) == worker


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"models": []}', '{"models": [], "x": 1}'])
def test_unreadable_worker_is_told(text):
    """Another release may have written anything."""
    with pytest.raises((ValueError, TypeError, KeyError, InvalidArgument)):
        from_json(text)


def test_price_book():
    """Prices by target and model."""
    snapshot = price_service_pb2.PriceSnapshot(
        price_version="3",
        prices=[
            price_service_pb2.Price(
                target="local", model="*", input_nanousd_per_million=1, output_nanousd_per_million=2
            )
        ],
    )

    book = book_from_proto(snapshot)

    assert book.version == "3"
    assert book.find("local", "any") == Price(1, 2)
