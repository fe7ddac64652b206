"""Between protos and domain, both ways."""

from datetime import UTC, datetime

import pytest
from weir.worker.v1 import inference_service_pb2 as pb

from gpu_worker.domain.generation import (
    Delta,
    Embedding,
    Finished,
    FinishReason,
    SignedResult,
    Started,
    Usage,
)
from gpu_worker.domain.prompt import ChatMessage, Operation, Role, Sampling
from gpu_worker.domain.result_statement import OutputDigest
from gpu_worker.entrypoints import convert
from service_kit.errors import InvalidArgument

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_proto(reason):
    """No reason of the domain is lost on the way out."""
    event = Finished(reason, Usage(1, 2, 1), NOW, NOW, SignedResult(b"s", "k", b"x", b"p"))

    finished = convert.event_to_proto(event).finished

    assert finished.finish_reason != pb.FINISH_REASON_UNSPECIFIED
    assert finished.usage == pb.Usage(tokens_input=1, tokens_output=2, tokens_input_cached=1)
    assert finished.started_at.ToDatetime(UTC) == NOW
    assert finished.signed_result == pb.SignedResult(
        statement=b"s", key_id="k", signature=b"x", public_key=b"p"
    )


def test_events():
    """Each event is the member of the same name."""
    assert convert.event_to_proto(Delta("a", 2)).delta.tokens == 2
    assert convert.event_to_proto(Started("w1", "m", "d")).started.worker_id == "w1"
    assert convert.event_to_proto(Embedding(3, (0.5, -1))).embedding == pb.Embedding(
        index=3, values=[0.5, -1]
    )


def test_vectors_are_signed_as_they_travel():
    """Whoever reads them from the wire, where floats are short, gets the same digest."""
    event = Embedding(0, (0.1, 1 / 3, -1e-9))
    arrived = convert.event_to_proto(event).embedding
    sent, received = OutputDigest(), OutputDigest()
    sent.add(event)
    received.add(Embedding(0, tuple(arrived.values)))

    assert sent.hexadecimal == received.hexadecimal


@pytest.mark.parametrize("value", pb.Operation.values())
def test_every_operation_is_read(value):
    """Each is the domain's of the same name; where none is given it is chat."""
    name = pb.Operation.Name(value).removeprefix("OPERATION_")
    wanted = Operation.CHAT if name == "UNSPECIFIED" else Operation[name]
    request = pb.GenerateRequest(operation=value)
    if wanted is Operation.CHAT:
        request.messages.add(role="user", content="x")
    else:
        request.inputs.append("x")

    prompt = convert.prompt_from_proto(request)

    assert prompt.operation is wanted
    assert prompt.inputs == tuple(request.inputs)


def test_unknown_operation_is_refused():
    """A newer router may know more than this worker."""
    request = pb.GenerateRequest(messages=[pb.ChatMessage(role="user", content="x")], operation=99)

    with pytest.raises(InvalidArgument) as caught:
        convert.prompt_from_proto(request)

    assert caught.value.metadata == {"field": "operation"}


@pytest.mark.parametrize("role", Role)
def test_every_role_is_read(role):
    """Messages keep role and content."""
    request = pb.GenerateRequest(messages=[pb.ChatMessage(role=str(role), content="x")])

    assert convert.prompt_from_proto(request).messages == (ChatMessage(role, "x"),)


@pytest.mark.parametrize("role", ["", "User", "developer"])
def test_unknown_role_is_refused(role):
    """The engine would take any role: we do not."""
    request = pb.GenerateRequest(messages=[pb.ChatMessage(role=role, content="x")])

    with pytest.raises(InvalidArgument):
        convert.prompt_from_proto(request)


def test_unset_and_zero_are_told_apart():
    """A temperature of 0 is a wish; `max_tokens` of 0 is none."""
    message = pb.ChatMessage(role="user", content="x")
    unset = convert.prompt_from_proto(pb.GenerateRequest(messages=[message]))
    zero = convert.prompt_from_proto(
        pb.GenerateRequest(
            messages=[message],
            sampling=pb.SamplingParameters(
                max_tokens=0,
                temperature=0,
                top_p=0,
                seed=0,
                stop=["x"],
                frequency_penalty=0,
                presence_penalty=0,
            ),
        )
    )

    assert unset.sampling == Sampling()
    assert zero.sampling == Sampling(None, 0, 0, 0, ("x",), 0, 0)
