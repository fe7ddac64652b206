"""Events of a job in the words of the protos."""

from __future__ import annotations

from weir.job.v1 import job_service_pb2 as pb

from job_service.domain.job_events import (
    AnswerDelta,
    Gap,
    JobEnded,
    LifecycleRecord,
    Snapshot,
    Told,
)
from job_service.entrypoints.convert import job_to_proto
from service_kit.timestamps import timestamp

_Response = pb.WatchJobResponse


def told_to_proto(told: Told) -> pb.WatchJobResponse:
    cursor, event = str(told.cursor), told.event
    match event:
        case LifecycleRecord():
            return _Response(cursor=cursor, lifecycle=lifecycle_to_proto(event))
        case AnswerDelta(attempt, number, text):
            delta = _Response.Delta(attempt=attempt, number=number, text=text)
            return _Response(cursor=cursor, delta=delta)
        case Gap(attempt, first, last):
            gap = _Response.Gap(attempt=attempt, first_missing=first, last_missing=last)
            return _Response(cursor=cursor, gap=gap)
        case Snapshot(attempt, number, text):
            snapshot = _Response.Snapshot(attempt=attempt, number=number, text=text)
            return _Response(cursor=cursor, snapshot=snapshot)
        case JobEnded(job):
            return _Response(cursor=cursor, ended=_Response.Ended(job=job_to_proto(job)))


def lifecycle_to_proto(record: LifecycleRecord) -> pb.WatchJobResponse.Lifecycle:
    return _Response.Lifecycle(
        seq=record.seq,
        type=record.type,
        details={name: str(value) for name, value in record.details.items()},
        occurred_at=timestamp(record.occurred_at),
    )
