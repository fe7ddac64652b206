"""No kind of event is lost on its way to HTTP, and every end of a socket has its code."""

import json

import pytest
from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints.errors import draining, events_ended_early
from gateway.entrypoints.event_socket import closing_for
from gateway.entrypoints.job_events import read_event
from service_kit.errors import (
    ErrorCode,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Unavailable,
)

KINDS = [field.name for field in pb.WatchJobResponse.DESCRIPTOR.oneofs_by_name["event"].fields]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_told(kind):
    """With its cursor, in both forms, on one line."""
    event = pb.WatchJobResponse(cursor="1.0-0")
    getattr(event, kind).SetInParent()
    if kind == "ended":
        event.ended.job.state = pb.JOB_STATE_COMPLETED
        event.ended.job.kind = pb.JOB_KIND_QUEUED

    told = read_event(event)

    assert told.kind == kind
    message = json.loads(told.as_message())
    assert (message["cursor"], message["event"]) == ("1.0-0", kind)
    position, name, data, *rest = told.as_sse().decode().split("\n")
    assert (position, name, rest) == ("id: 1.0-0", f"event: {kind}", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == message["data"]


def test_newer_kind_is_left_out():
    """A job-service that is ahead of this gateway breaks no stream."""
    assert read_event(pb.WatchJobResponse(cursor="1.0-0")) is None


class NotFound(ServiceError):
    code, reason = ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (draining(), 1012),
        (Unavailable("job-service"), 1013),
        (events_ended_early(), 1013),
        (Unauthenticated("TOKEN_EXPIRED"), 4401),
        (PermissionDenied("jobs:read"), 4403),
        (NotFound("Gone."), 4404),
        (ServiceError("A bug."), 1011),
    ],
)
def test_codes_of_closing(error, code):
    """Come again, log in, give up: programs tell them apart."""
    closing = closing_for(error)

    assert closing.code == code
    assert len(closing.reason.encode()) <= 123
