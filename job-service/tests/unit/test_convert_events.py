"""Every kind of event, in the words of the protos."""

from datetime import UTC, datetime

import pytest
from job_fakes import a_job
from weir.job.v1 import job_service_pb2 as pb

from job_service.domain.job_events import (
    AnswerDelta,
    Cursor,
    Gap,
    JobEnded,
    LifecycleRecord,
    Snapshot,
    Told,
)
from job_service.entrypoints.convert_events import told_to_proto

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "kind", "fields"),
    [
        (AnswerDelta(2, 7, "Hi"), "delta", {"attempt": 2, "number": 7, "text": "Hi"}),
        (Gap(2, 7, 9), "gap", {"attempt": 2, "first_missing": 7, "last_missing": 9}),
        (Snapshot(2, 9, "Hi"), "snapshot", {"attempt": 2, "number": 9, "text": "Hi"}),
    ],
)
def test_deltas(event, kind, fields):
    response = told_to_proto(Told(event, Cursor(5, 2, 7)))
    assert response.cursor == "5.2-7"
    assert response.WhichOneof("event") == kind
    assert getattr(response, kind) == getattr(pb.WatchJobResponse(**{kind: fields}), kind)


def test_change():
    record = LifecycleRecord(3, "running", {"attempt": 1, "by": "x"}, MOMENT)
    change = told_to_proto(Told(record, Cursor(3, 1))).lifecycle
    assert (change.seq, change.type) == (3, "running")
    assert dict(change.details) == {"attempt": "1", "by": "x"}
    assert change.occurred_at.ToDatetime(UTC) == MOMENT


def test_end():
    job = a_job(result_text="Hi")
    response = told_to_proto(Told(JobEnded(job), Cursor(4, knows_end=True)))
    assert response.cursor == "4.0-0"
    assert (response.ended.job.job_id, response.ended.job.result_text) == (job.id, "Hi")
