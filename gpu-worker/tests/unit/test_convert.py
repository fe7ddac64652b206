"""Between protos and domain, both ways."""

from datetime import UTC, datetime

import pytest
from weir.worker.v1 import inference_service_pb2 as pb

from gpu_worker.domain.generation import Delta, Finished, FinishReason, Started, Usage
from gpu_worker.domain.prompt import ChatMessage, Role, Sampling
from gpu_worker.entrypoints import convert
from service_kit.errors import InvalidArgument

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_proto(reason):
    """No reason of the domain is lost on the way out."""
    event = Finished(reason, Usage(1, 2, 1), NOW, NOW)

    finished = convert.event_to_proto(event).finished

    assert finished.finish_reason != pb.FINISH_REASON_UNSPECIFIED
    assert finished.usage == pb.Usage(tokens_input=1, tokens_output=2, tokens_input_cached=1)
    assert finished.started_at.ToDatetime(UTC) == NOW


def test_events():
    """Each event is the member of the same name."""
    assert convert.event_to_proto(Delta("a", 2)).delta.tokens == 2
    assert convert.event_to_proto(Started("w1", "m", "d")).started.worker_id == "w1"


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
