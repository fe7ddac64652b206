"""Nothing of the domain is lost on the way to the protos, or back."""

from datetime import UTC, datetime

import pytest
from job_fakes import ANSWER, DECISION, STARTED, a_job, running_job
from weir.job.v1 import job_service_pb2 as pb
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from job_service.adapters import router_convert
from job_service.adapters.cost_client import SCOPE_KINDS
from job_service.domain.charge import UsageSource
from job_service.domain.dead_letter import AdmissionCharge, AttemptRecord, Evidence
from job_service.domain.execution import (
    Delta,
    Dispatching,
    Finished,
    FinishReason,
    Progress,
    Released,
    Started,
)
from job_service.domain.job_events import LifecycleRecord
from job_service.domain.job_state import JobState
from job_service.domain.specification import AUTO, JobKind, Residency, Sampling
from job_service.entrypoints import convert, convert_dead_letters
from job_service.usecases.get_dead_letter import DeadLetter
from job_service.usecases.run_job import Admitted, Ended
from service_kit.errors import InvalidArgument


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_a_proto(state):
    assert convert.job_to_proto(a_job(state=state)).state != pb.JOB_STATE_UNSPECIFIED


def test_admitting_shows_as_pending():
    assert convert.job_to_proto(a_job()).state == pb.JOB_STATE_PENDING


@pytest.mark.parametrize("kind", JobKind)
def test_every_kind_has_a_proto(kind):
    assert convert.job_to_proto(a_job(kind)).kind != pb.JOB_KIND_UNSPECIFIED


@pytest.mark.parametrize("source", UsageSource)
def test_every_usage_source_has_a_proto(source):
    job = convert.job_to_proto(a_job(usage_source=source))
    assert job.usage_source != pb.USAGE_SOURCE_UNSPECIFIED


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_proto(reason):
    job = convert.job_to_proto(a_job(finish_reason=reason))
    assert job.finish_reason != worker_pb.FINISH_REASON_UNSPECIFIED


@pytest.mark.parametrize("value", pb.JobState.values())
def test_every_state_can_be_asked_for(value):
    found = convert.state_from_proto(value)
    assert (found is None) == (value == pb.JOB_STATE_UNSPECIFIED)


def test_unknown_state_is_refused():
    with pytest.raises(InvalidArgument):
        convert.state_from_proto(99)


@pytest.mark.parametrize("value", router_pb.Residency.values())
def test_every_residency_is_understood(value):
    message = pb.JobSpecification(type="generation_v2", residency=value)
    assert convert.specification_from_proto(message).residency in Residency


@pytest.mark.parametrize("residency", Residency)
def test_every_residency_reaches_the_router(residency):
    assert router_convert.RESIDENCIES[residency] != router_pb.RESIDENCY_UNSPECIFIED


@pytest.mark.parametrize("value", worker_pb.FinishReason.values())
def test_every_finish_reason_is_understood(value):
    assert value in router_convert.FINISH_REASONS


@pytest.mark.parametrize("kind", ["project", "team", "api_key"])
def test_every_scope_kind_has_a_proto(kind):
    assert SCOPE_KINDS[kind]


def test_missing_model_means_auto():
    assert convert.specification_from_proto(pb.JobSpecification()).model == AUTO


def test_sampling_keeps_unset_apart_from_zero():
    unset = convert.sampling_from_proto(worker_pb.SamplingParameters())
    zero = convert.sampling_from_proto(
        worker_pb.SamplingParameters(temperature=0, top_p=0, seed=0, stop=["x"])
    )
    assert unset == Sampling()
    assert zero == Sampling(temperature=0, top_p=0, seed=0, stop=("x",))


def test_sampling_reaches_the_router_with_what_was_held_for():
    sampling = Sampling(temperature=0.5, seed=7, stop=("a", "b"))
    message = router_convert.sampling_to_proto(sampling, 64)
    assert message.max_tokens == 64
    assert convert.sampling_from_proto(message) == Sampling(64, 0.5, None, 7, ("a", "b"))


def test_start_carries_prompt_and_terms():
    start = router_convert.start_to_proto(running_job()).start
    assert start.query.prompt == "Hello!"
    assert start.query.max_tokens == 100
    assert start.query.tokens_input_bound == 45
    assert [(each.role, each.content) for each in start.messages] == [("user", "Hello!")]


def test_decision_survives_the_way_through():
    message = convert.decision_to_proto(DECISION)
    assert router_convert.decision_from_proto(message) == DECISION


def test_finished_job_shows_its_end():
    progress = Progress()
    for event in ANSWER:
        progress.note(event)
    job = convert.job_to_proto(running_job().completed(progress))
    assert job.result_text == "Hello!"
    assert (job.usage.tokens_input, job.usage.tokens_output) == (30, 3)
    assert job.actual_cost_nanousd == 33 * 1_000_000
    assert job.executed_target == "local"


def test_unsettled_job_has_no_actual_cost():
    assert not convert.job_to_proto(a_job()).HasField("actual_cost_nanousd")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Admitted(a_job(created_at=datetime(2026, 1, 1, tzinfo=UTC))), "admitted"),
        (DECISION, "decision"),
        (STARTED, "started"),
        (Delta("x", 1), "delta"),
        (Ended(a_job()), "finished"),
    ],
)
def test_every_run_event_has_a_proto(event, name):
    assert convert.run_event_to_proto(event).WhichOneof("event") == name


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            {"dispatching": {"target": "yotta", "client_task_id": "c"}},
            Dispatching("yotta", "c"),
        ),
        (
            {"released": {"target": "yotta", "client_task_id": "c", "reason": "429"}},
            Released("yotta", "c", "429"),
        ),
        (
            {"started": {"target": "local", "model": "smol", "worker_id": "w"}},
            Started("local", "smol", "w"),
        ),
        ({"delta": {"text": "x", "tokens": 2}}, Delta("x", 2)),
        ({"finished": {"finish_reason": 1}}, Finished(FinishReason.STOP, None)),
        ({}, None),
    ],
)
def test_every_execution_event_is_understood(message, event):
    assert router_convert.event_from_proto(execution_pb.ExecuteResponse(**message)) == event


def test_reported_zero_is_kept_apart_from_no_report():
    message = execution_pb.ExecuteResponse(finished={"finish_reason": 1, "usage": {}})
    assert router_convert.event_from_proto(message).usage is not None


@pytest.mark.parametrize(
    "position",
    [
        ["yesterday", "0192f0c0-0000-7000-8000-000000000000"],
        ["2026-01-01T00:00:00+00:00"],
        ["2026-01-01T00:00:00", "0192f0c0-0000-7000-8000-000000000000"],
        ["2026-01-01T00:00:00+00:00", "a\0b"],
        [1, 2],
    ],
)
def test_made_up_page_position_is_refused(position):
    """Page tokens are not signed: whatever is in one, it ends before the database."""
    with pytest.raises(InvalidArgument):
        convert.position_from(position)


@pytest.mark.parametrize("state", ["", *JobState])
@pytest.mark.parametrize("source", ["", *UsageSource])
def test_evidence_arrives_whole(state, source):
    """Every field of a dead letter's evidence, and every word it may hold."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    times = dict.fromkeys(("started_at", "dispatched_at", "released_at", "finished_at"), moment)
    attempt = AttemptRecord(
        *(2, 1, "local", "smol", "c1"),
        **times,
        outcome="lost",
        error="Gone.",
        tokens_input=3,
        tokens_output=4,
        usage_source=source,
        provider_cost_nanousd=5,
    )
    charge = AdmissionCharge(1, state, 7, False, 5, "1", moment, True)
    change = LifecycleRecord(9, "dead_letter", {"attempt": 2}, moment)
    found = DeadLetter(a_job(), Evidence([attempt], 12, [change], 9, [charge]))

    message = convert_dead_letters.dead_letter_to_proto(found)

    (told,) = message.attempts
    assert {field.name for field, _ in told.ListFields()} >= {
        *times,
        "attempt",
        "admission",
        "target",
        "model",
        "client_task_id",
        "outcome",
        "error",
        "tokens_input",
        "tokens_output",
        "provider_cost_nanousd",
    }
    assert (told.usage_source == pb.USAGE_SOURCE_UNSPECIFIED) == (source == "")
    (settled,) = message.charges
    assert (settled.state == pb.JOB_STATE_UNSPECIFIED) == (state == "")
    assert (settled.admission, settled.charge_nanousd, settled.voided) == (1, 7, False)
    assert (settled.provider_cost_nanousd, settled.price_version, settled.booked) == (5, "1", True)
    assert settled.ended_at.ToDatetime(UTC) == moment
    assert (message.attempts_total, message.events_total) == (12, 9)
    assert (message.events[0].seq, message.events[0].details) == (9, {"attempt": "2"})
