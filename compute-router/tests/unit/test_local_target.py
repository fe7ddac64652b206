"""What workers say, and what is believed of it."""

from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
from structlog.testing import capture_logs
from weir.worker.v1 import inference_service_pb2 as pb

from compute_router.adapters.local_target import LocalTarget
from compute_router.domain.errors import PROMPT_TOO_LONG, ExecutionFailed, PromptRefused
from compute_router.domain.execution import Job, Started, Task
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery

TASK = Task("t", "small", Job("j", 1, RouteQuery("small"), (ChatMessage("user", "p"),)))


class FakeChannels:
    """Every worker gives the same responses."""

    def __init__(self) -> None:
        self.responses = []
        self.called = []

    @asynccontextmanager
    async def connected(self, address, seconds):
        self.called.append(address)
        yield self

    def unary_stream(self, *_, **__):
        return lambda *_, **__: FakeCall([*self.responses, grpc.aio.EOF])

    def unary_unary(self, *_, **__):
        return None


class FakeCall:
    def __init__(self, responses) -> None:
        self._responses = iter(responses)

    async def read(self):
        response = next(self._responses)
        if isinstance(response, Exception):
            raise response
        return response

    def cancel(self) -> None:
        return


@pytest.fixture
def channels():
    return FakeChannels()


@pytest.fixture
def target(fleet, channels, make_worker):
    fleet.announce(make_worker("w1"), timedelta(seconds=10))
    return LocalTarget(fleet, channels)


def started(worker_id: str) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        started=pb.GenerateResponse.Started(model="small", worker_id=worker_id)
    )


async def test_worker_answers_in_its_own_name(target, channels):
    """The id of the start is the one it registered with."""
    channels.responses = [started("w1"), pb.GenerateResponse(finished={})]

    events = [event async for event in target.execute(TASK)]

    assert events[0] == Started("local", "small", "w1")


@pytest.mark.parametrize("claimed", ["w2", "", "W1"])
async def test_impostor_is_not_believed(target, channels, fleet, claimed):
    """A worker that starts in another's name failed, is put aside, and shows in the log."""
    channels.responses = [started(claimed), pb.GenerateResponse(finished={})]

    with capture_logs() as logs, pytest.raises(ExecutionFailed) as caught:
        await anext(target.execute(TASK))

    assert caught.value.cause == "WORKER_IMPOSTOR"
    assert fleet.workers() == []
    assert [(entry["event"], entry["worker_id"]) for entry in logs] == [
        ("worker.impostor", "w1"),
        ("worker.put_aside", "w1"),
    ]


@pytest.mark.parametrize(("operation", "calls"), [(Operation.CHAT, 1), (Operation.EMBEDDING, 2)])
async def test_too_long_to_embed_is_no_matter_of_the_context(
    target, channels, fleet, make_worker, make_model, monkeypatch, operation, calls
):
    """Another worker with the same context is asked too: its limit for embeddings may be wider."""
    models = (make_model(operations=(operation,)),)
    for number in (1, 2):
        worker = make_worker(f"w{number}", address=f"h:{number}", models=models)
        fleet.announce(worker, timedelta(seconds=10))
    too_long = PromptRefused(PROMPT_TOO_LONG, "Too long.", {})
    channels.responses = [grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, None, None)]
    monkeypatch.setattr(LocalTarget, "_named", lambda *_: too_long)
    query = RouteQuery("small", operation=operation)
    task = Task("t", "small", Job("j", 1, query, (), inputs=("a",)))

    with pytest.raises(PromptRefused):
        await anext(target.execute(task))

    assert len(channels.called) == calls
