"""Execution: decide, dispatch, fall back only while nothing ran."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from compute_router.domain.decision import RouteDecision
from compute_router.domain.errors import (
    ExecutionFailed,
    GoNotGiven,
    ModelNotServed,
    NoCapacity,
    PromptRefused,
    TargetAway,
    WorkerLost,
)
from compute_router.domain.execution import Delta, Dispatching, Finished, Job, Released, Started
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery
from compute_router.domain.target import Model
from compute_router.usecases.decide_route import DecideRoute
from compute_router.usecases.execute_job import ExecuteJob

JOB = Job("j1", 2, RouteQuery("small", "secret words"), (ChatMessage("user", "secret words"),))
HARD_JOB = replace(JOB, query=RouteQuery("small", "word " * 100))
TOO_LONG = PromptRefused("PROMPT_TOO_LONG", "Too long.", {"tokens": "9"})


class Go:
    """Says go, refuses, or never answers."""

    def __init__(self, answer="go") -> None:
        self.answer = answer
        self.asked = []

    async def wait(self, client_task_id) -> None:
        self.asked.append(client_task_id)
        if self.answer == "never":
            await asyncio.Event().wait()
        if self.answer == "refuse":
            raise GoNotGiven(client_task_id)


@pytest.fixture
def run(scale, measurements):
    """A callable: targets, go -> the events, and the error that ended them, if any."""

    async def execute(*targets, go=None, job=JOB):
        execute_job = ExecuteJob(
            DecideRoute(list(targets), scale, lambda: None), measurements, go_timeout_seconds=0.05
        )
        events, error = [], None
        try:
            async for event in execute_job(job, go or Go()):
                events.append(event)
        except Exception as caught:
            error = caught
        return events, error

    return execute


def kinds(events):
    return [type(event) for event in events]


async def test_free_target_runs_at_once(run, make_fake_target, measurements):
    """No Dispatching, no Go: the decision and the answer."""
    target, go = make_fake_target(), Go()

    events, error = await run(target, go=go)

    assert error is None
    assert kinds(events) == [RouteDecision, Started, Delta, Finished]
    assert go.asked == []
    assert target.tasks[0].client_task_id == "j1-2-1"
    assert measurements.decisions == [("local", "complexity_below_threshold")]
    assert measurements.executions == [("local", "stop")]


async def test_paid_target_waits_for_go(run, make_fake_target):
    """Dispatching names the task; what comes after Go is the same."""
    target, go = make_fake_target(paid=True), Go()

    events, error = await run(target, go=go)

    assert error is None
    assert kinds(events) == [RouteDecision, Dispatching, Started, Delta, Finished]
    assert events[1] == Dispatching("local", "j1-2-1")
    assert go.asked == ["j1-2-1"]


@pytest.mark.parametrize("answer", ["never", "refuse"])
async def test_without_go_nothing_runs(run, make_fake_target, measurements, answer):
    """The dispatch is released, and no other target is tried."""
    first, second = make_fake_target(paid=True), make_fake_target("other", paid=True)

    events, error = await run(first, second, go=Go(answer))

    assert isinstance(error, GoNotGiven)
    assert kinds(events) == [RouteDecision, Dispatching, Released]
    assert first.tasks == second.tasks == []
    assert measurements.executions == [("local", "released")]


async def test_target_that_ran_nothing_is_followed_by_the_next(run, make_fake_target, measurements):
    """Released, then another Dispatching with its own task id."""
    first, second = make_fake_target(paid=True), make_fake_target("other", paid=True)
    first.events = [NoCapacity("small")]
    go = Go()

    events, error = await run(first, second, go=go)

    assert error is None
    assert kinds(events) == [
        RouteDecision,
        Dispatching,
        Released,
        Dispatching,
        Started,
        Delta,
        Finished,
    ]
    assert events[2] == Released("local", "j1-2-1", "NO_CAPACITY")
    assert go.asked == ["j1-2-1", "j1-2-2"]
    assert measurements.executions == [("local", "released"), ("other", "stop")]
    assert measurements.fallbacks == [("local", "other", "NO_CAPACITY")]


async def test_fallback_may_be_a_paid_target(run, make_fake_target):
    """The decision stays; Dispatching comes where it must, and Started tells who runs it."""
    local, cloud = make_fake_target(), make_fake_target("yotta", paid=True)
    local.events = [NoCapacity("small")]
    go = Go()

    events, error = await run(local, cloud, go=go)

    assert error is None
    assert kinds(events) == [RouteDecision, Dispatching, Started, Delta, Finished]
    assert (events[0].target, events[2].target) == ("local", "yotta")
    assert go.asked == ["j1-2-2"]


async def test_paid_target_may_be_followed_by_a_free_one(run, make_fake_target):
    """What the cloud did not take runs here: released first, then started without Go."""
    local, cloud = make_fake_target(), make_fake_target("yotta", paid=True)
    cloud.events = [TargetAway("small", "yotta is away")]
    go = Go()

    events, error = await run(local, cloud, go=go, job=HARD_JOB)

    assert error is None
    assert kinds(events) == [RouteDecision, Dispatching, Released, Started, Delta, Finished]
    assert events[2] == Released("yotta", "j1-2-1", "TARGET_UNAVAILABLE")
    assert events[3].target == "local"
    assert go.asked == ["j1-2-1"]


@pytest.mark.parametrize(
    ("first_error", "second_error", "answer"),
    [
        (NoCapacity("small"), TOO_LONG, "NO_CAPACITY"),
        (TOO_LONG, NoCapacity("small"), "NO_CAPACITY"),
        (NoCapacity("small"), TargetAway("small", "away", timedelta(minutes=1)), "NO_CAPACITY"),
        (TargetAway("small", "away"), ModelNotServed("small"), "TARGET_UNAVAILABLE"),
        (ModelNotServed("small"), TOO_LONG, "PROMPT_TOO_LONG"),
    ],
)
async def test_most_hopeful_refusal_is_the_answer(
    run, make_fake_target, make_model, first_error, second_error, answer
):
    """When nobody took it, the caller learns what passes soonest; else why the last one did not."""
    first = make_fake_target(paid=True)
    second = make_fake_target("other", paid=True, models=(make_model(context_tokens=2000),))
    first.events, second.events = [first_error], [second_error]

    events, error = await run(first, second)

    assert kinds(events) == [RouteDecision, Dispatching, Released, Dispatching, Released]
    assert error.reason == answer


@pytest.mark.parametrize(("context_tokens", "is_tried"), [(1001, True), (1000, False)])
async def test_too_long_prompt_goes_where_there_is_more_room(
    run, make_fake_target, make_model, measurements, context_tokens, is_tried
):
    """And is not offered to a target that has no more of it."""
    first = make_fake_target(models=(make_model(context_tokens=1000),))
    second = make_fake_target("other", models=(make_model(context_tokens=context_tokens),))
    first.events = [TOO_LONG]

    _, error = await run(first, second)

    assert bool(second.tasks) is is_tried
    assert error is (None if is_tried else TOO_LONG)
    assert bool(measurements.fallbacks) is is_tried


async def test_limits_of_embeddings_are_not_the_context(run, make_fake_target, make_model):
    """A text too long to embed here may be welcome there, whatever the contexts are."""
    model = make_model(operations=(Operation.EMBEDDING,))
    first, second = (make_fake_target(name, models=(model,)) for name in ("local", "other"))
    first.events = [TOO_LONG]
    query = RouteQuery("small", operation=Operation.EMBEDDING)

    _, error = await run(first, second, job=Job("j1", 1, query, (), inputs=("one",)))

    assert error is None
    assert second.tasks


@pytest.mark.parametrize("refused_before", [None, NoCapacity("small")])
async def test_malformed_prompt_is_offered_to_nobody_else(run, make_fake_target, refused_before):
    """What one target can't understand no other will: released, and told to the caller."""
    names = ["local", "other", "third"] if refused_before else ["other", "third"]
    targets = [make_fake_target(name, paid=True) for name in names]
    malformed = PromptRefused("INVALID_ARGUMENT", "Can't take it.", {})
    for target, error in zip(targets[::-1][1:], [malformed, refused_before], strict=False):
        target.events = [error]

    events, error = await run(*targets)

    assert error is malformed
    assert events[-1].reason == "INVALID_ARGUMENT"
    assert isinstance(events[-1], Released)
    assert targets[-1].tasks == []


async def test_operation_that_one_target_lacks_is_offered_to_the_next(run, make_fake_target):
    """That is about the target, not about the prompt."""
    first, second = make_fake_target(), make_fake_target("other")
    first.events = [PromptRefused("OPERATION_NOT_SERVED", "Not here.", {})]

    assert (await run(first, second))[1] is None
    assert second.tasks


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (WorkerLost("w1"), "lost"),
        (ExecutionFailed("local", "ENGINE_FAILED"), "failed"),
        (RuntimeError("bug"), "failed"),
    ],
)
async def test_target_that_may_have_run_is_not_followed(
    run, make_fake_target, measurements, failure, outcome
):
    """No second target, no Released: somebody may be paid already."""
    first, second = make_fake_target(paid=True), make_fake_target("other", paid=True)
    first.events = [failure]

    events, error = await run(first, second)

    assert error is failure
    assert kinds(events) == [RouteDecision, Dispatching]
    assert second.tasks == []
    assert measurements.executions == [("local", outcome)]


async def test_closing_stops_the_target(scale, measurements, make_fake_target):
    """A caller that leaves closes the target's stream, wherever it is."""
    target = make_fake_target()
    execute_job = ExecuteJob(DecideRoute([target], scale, lambda: None), measurements, 1)
    events = execute_job(JOB, Go())
    while not isinstance(await anext(events), Delta):
        pass

    await events.aclose()

    assert target.closed == 1
    assert measurements.executions == [("local", "cancelled")]


async def test_undecidable_job_reaches_no_target(run, make_fake_target, measurements):
    """An unknown model is said at once."""
    target = make_fake_target()

    events, error = await run(target, job=replace(JOB, query=RouteQuery("large", "x")))

    assert isinstance(error, ModelNotServed)
    assert events == target.tasks == measurements.decisions == []


async def test_inputs_are_scored_like_a_prompt(run, make_fake_target):
    """What is to be embedded counts as the prompt, where the query says nothing."""
    query = RouteQuery("small", operation=Operation.EMBEDDING)
    job = Job("j1", 1, query, (), inputs=("one two", "a complex one"))
    target = make_fake_target(models=(Model("small", 10, 5, operations=(Operation.EMBEDDING,)),))

    events, _ = await run(target, job=job)

    assert events[0].complexity.score == 5 + 20


async def test_auto_gives_the_target_its_own_model(run, make_fake_target):
    """`auto` never reaches a target."""
    target = make_fake_target()

    await run(target, job=replace(JOB, query=RouteQuery("auto", "x")))

    assert target.tasks[0].model == "small"


async def test_log_holds_no_words(run, make_fake_target):
    """Decision and fallback are logged without the prompt."""
    first, second = make_fake_target(), make_fake_target("other")
    first.events = [NoCapacity("small")]
    with capture_logs() as logs:
        await run(first, second)

    assert [entry["event"] for entry in logs] == ["route.decided", "route.fallback"]
    fallback = logs[1]
    assert (fallback["from_target"], fallback["to_target"]) == ("local", "other")
    assert fallback["reason"] == "NO_CAPACITY"
    assert "secret" not in str(logs)
