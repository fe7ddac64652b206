"""A target behind its breaker: what counts against it, and what callers see."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from compute_router.domain.breaker import BreakerRules, BreakerState
from compute_router.domain.errors import (
    AskedToWait,
    ExecutionFailed,
    KeyRefused,
    ModelNotServed,
    NoCapacity,
    OperationNotServed,
    PromptRefused,
    TargetAway,
    TargetUnavailable,
    WorkerLost,
)
from compute_router.domain.execution import Delta, Finished, Job, Started, Task
from compute_router.domain.query import ChatMessage, RouteQuery
from compute_router.usecases.guarded_target import GuardedTarget
from compute_router.usecases.local_breaker import LocalBreaker

TASK = Task("t", "small", Job("j", 1, RouteQuery("small"), (ChatMessage("user", "p"),)))
FAILURE = ExecutionFailed("yotta", "HTTP_500")


@pytest.fixture
def inner(make_fake_target):
    return make_fake_target("yotta", paid=True)


@pytest.fixture
def guarded(inner, clock):
    """Two failures open it for 30 s."""
    rules = BreakerRules(failures=2, window_seconds=10, open_seconds=30, probe_seconds=5)
    return GuardedTarget(inner, LocalBreaker(rules, clock))


@pytest.fixture
def run(guarded, inner):
    """A callable: what the target gives, or its error -> what came out, and the error."""

    async def execute(*told):
        if told:
            inner.events = list(told)
        events = []
        try:
            async for event in guarded.execute(TASK):
                events.append(event)
        except Exception as error:
            return events, error
        return events, None

    return execute


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (FAILURE, True),
        (ExecutionFailed("yotta", "BODY_TOO_LARGE"), False),
        (ExecutionFailed("yotta", "EVENT_TOO_LARGE"), False),
        (WorkerLost("w"), True),
        (TargetAway("small", "away"), True),
        (NoCapacity("small"), False),
        (AskedToWait("small", timedelta(0)), False),
        (TargetUnavailable("small", "key refused"), False),
        (ModelNotServed("small"), False),
        (OperationNotServed("small", "embedding"), False),
        (PromptRefused("PROMPT_TOO_LONG", "Too long.", {}), False),
        (RuntimeError("bug"), False),
    ],
)
async def test_only_bad_health_opens_it(run, guarded, error, counts):
    """A refused prompt, an answer too large, a quota or a bug of ours is no illness of it."""
    for _ in range(2):
        assert (await run(error))[1] is error

    assert (guarded.breaker.view().state is BreakerState.OPEN) is counts


async def test_open_breaker_lets_nothing_through(run, guarded, inner, clock):
    """The target is not called, counts as unavailable, and says for how long."""
    for _ in range(2):
        await run(FAILURE)
    clock.advance(10.5)

    _, error = await run()

    assert len(inner.tasks) == 2
    assert error.reason == "TARGET_UNAVAILABLE"
    assert error.retry_after == timedelta(seconds=20)
    state = guarded.state()
    assert not state.available
    assert state.status == "breaker open for 20 s more"
    assert state.models == inner.state().models


async def test_one_call_tries_again(run, guarded, inner, clock):
    """Half-open it is available for one; an answer closes it for all."""
    for _ in range(2):
        await run(FAILURE)
    clock.advance(30)
    assert guarded.state().available
    inner.events = [Started("yotta", "small"), Delta("a", 1), FAILURE]
    probe = guarded.execute(TASK)
    assert isinstance(await anext(probe), Started)

    _, error = await run(Started("yotta", "small"))
    assert "one probe is under way" in error.message
    assert not guarded.state().available

    with capture_logs() as logs:
        assert isinstance(await anext(probe), Delta)
    assert guarded.breaker.view().state is BreakerState.CLOSED
    assert logs[0]["event"] == "breaker.changed"
    with pytest.raises(ExecutionFailed):
        await anext(probe)
    assert guarded.breaker.view().state is BreakerState.CLOSED, "one failure, no more"


async def test_probe_that_is_left_makes_room(run, guarded, inner, clock):
    """A caller that closes the probe tells nothing; the next one may try."""
    for _ in range(2):
        await run(FAILURE)
    clock.advance(30)
    inner.events = [Started("yotta", "small"), Delta("a", 1)]
    probe = guarded.execute(TASK)
    await anext(probe)
    await probe.aclose()

    assert guarded.state().available
    assert guarded.breaker.view().state is BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    "error",
    [
        AskedToWait("small", timedelta(seconds=7)),
        TargetAway("small", "503", timedelta(seconds=7)),
        KeyRefused("small", "its key", timedelta(seconds=7)),
    ],
)
async def test_wish_to_wait_is_kept(run, guarded, inner, clock, error):
    """Not called before its time; then called again."""
    await run(error)
    clock.advance(6.9)

    _, refused = await run()
    assert len(inner.tasks) == 1
    assert refused.reason == "TARGET_UNAVAILABLE"
    assert guarded.state().status == "asked to be left alone for 1 s more"

    clock.advance(0.1)
    assert guarded.state().available
    events, error = await run(Started("yotta", "small"), Finished("stop", None))
    assert error is None
    assert len(events) == 2


async def test_healthy_target_is_itself(run, guarded, inner):
    """Name, price, state and events are those of the target within."""
    events, error = await run()

    assert error is None
    assert events == inner.events
    assert guarded.state() == inner.state()
    assert (guarded.name, guarded.paid) == ("yotta", True)
    assert inner.closed == 1


@pytest.mark.parametrize(
    "error", [None, PromptRefused("PROMPT_TOO_LONG", "Too long.", {}), FAILURE]
)
async def test_breaker_in_trouble_changes_no_answer(run, guarded, monkeypatch, clock, error):
    """What the target said is what the caller hears, whatever becomes of the record."""
    for _ in range(2):
        await run(FAILURE)
    clock.advance(30)

    async def fail(*_):
        raise RuntimeError("a bug of the breaker")

    monkeypatch.setattr(guarded.breaker, "record", fail)
    with capture_logs() as logs:
        events, caught = await run(Started("yotta", "small"), error or Delta("a", 1))

    assert caught is error
    assert len(events) == (2 if error is None else 1)
    assert logs[0]["event"] == "breaker.unrecorded"
