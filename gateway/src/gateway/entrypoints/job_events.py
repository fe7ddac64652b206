"""The events of a job as clients read them: server-sent events, or messages of a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass

from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints import convert
from gateway.entrypoints.schemas.base import View
from gateway.entrypoints.schemas.events import (
    DeltaView,
    EndedView,
    EventKind,
    GapView,
    LifecycleView,
    SnapshotView,
)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event. Whoever saw it resumes at its `cursor`, if it has one."""

    cursor: str
    kind: EventKind
    data: View

    def as_sse(self) -> bytes:
        # An empty `id` would make the client forget where it was.
        position = f"id: {self.cursor}\n" if self.cursor else ""
        return f"{position}event: {self.kind}\ndata: {self.data.model_dump_json()}\n\n".encode()

    def as_message(self) -> str:
        cursor = json.dumps(self.cursor)
        return f'{{"cursor":{cursor},"event":"{self.kind}","data":{self.data.model_dump_json()}}}'


def read_event(event: pb.WatchJobResponse) -> JobEvent | None:
    """Return an event, or `None` for a kind that is newer than this gateway."""
    kind = event.WhichOneof("event")
    return None if kind is None else JobEvent(event.cursor, kind, _view(kind, event))


def lifecycle_view(change: pb.WatchJobResponse.Lifecycle) -> LifecycleView:
    return LifecycleView(
        seq=change.seq,
        type=change.type,
        details=dict(change.details),
        occurred_at=convert.time_of(change.occurred_at),
    )


def _view(kind: EventKind, event: pb.WatchJobResponse) -> View:
    match kind:
        case "lifecycle":
            return lifecycle_view(event.lifecycle)
        case "delta":
            delta = event.delta
            return DeltaView(attempt=delta.attempt, number=delta.number, text=delta.text)
        case "gap":
            gap = event.gap
            return GapView(
                attempt=gap.attempt,
                first_missing=gap.first_missing,
                last_missing=gap.last_missing,
            )
        case "snapshot":
            whole = event.snapshot
            return SnapshotView(attempt=whole.attempt, number=whole.number, text=whole.text)
        case "ended":
            return EndedView(job=convert.job_view(event.ended.job, with_result=True))
