"""What happens to a job, while it happens."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Response, WebSocket

from gateway.domain.credentials import Credential
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    CurrentCredential,
    EdgeParts,
    NamedProject,
)
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.errors import cursor_invalid, origin_not_allowed
from gateway.entrypoints.event_socket import JobEventSocket
from gateway.entrypoints.event_source import JobEventSource
from gateway.entrypoints.job_watch import JobWatch
from gateway.entrypoints.routes.jobs import JobNotFound, in_project
from gateway.entrypoints.socket_credentials import refuse_credentials_in_url
from service_kit.ids import is_uuid
from service_kit.request_context import Caller

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_CURSOR: Final = re.compile(r"[\x21-\x7e]{0,128}")

_STREAM: Final = """The events. `id` is the cursor, `data` is JSON:

| `event` | `data` |
|---|---|
| `lifecycle` | `{"seq", "type", "details", "occurred_at"}`: a change, numbered without holes |
| `delta` | `{"attempt", "number", "text"}`: a piece of the answer, numbered in its attempt from 1 |
| `gap` | `{"attempt", "first_missing", "last_missing"}`: lost deltas; a snapshot follows |
| `snapshot` | `{"attempt", "number", "text"}`: the whole answer so far, in place of its deltas |
| `ended` | `{"job"}`: the final state, with the result; nothing follows |
"""

_DESCRIPTION: Final = """Tell what happened to a job and what happens, until it has ended.

A stream that breaks before `ended` is resumed by `Last-Event-ID`, as browsers do by themselves,
or by `after`; nothing is left out or told twice without a `gap`. 204 means that nothing is left.

The same path is a WebSocket, also with `after`: each message is `{"cursor", "event", "data"}`.
A page that can't set headers offers the subprotocols `weir.v1` and `weir.bearer.<credential>`;
never put a credential into the address. Closing codes: 1000 after `ended`; 1012 and 1013 to
connect again; 4401 when the credential ended; 4403 and 4404 when the job may not be seen any more.
"""


async def cursor(
    after: Annotated[
        str, Query(description="The cursor of the last event that was seen.", max_length=4096)
    ] = "",
    last_event_id: Annotated[
        str | None, Header(description="The same; what a browser sends when it comes back.")
    ] = None,
) -> str:
    """Return the cursor to resume at, "" for the beginning.

    A browser that comes back asks the same address again: the header is newer.
    """
    chosen = last_event_id or after
    if _CURSOR.fullmatch(chosen) is None:
        raise cursor_invalid()
    return chosen


Cursor = Annotated[str, Depends(cursor)]


async def check_socket(websocket: WebSocket, edge: EdgeParts) -> None:
    """Refuse sockets of foreign pages, and addresses with a credential in them."""
    refuse_credentials_in_url(websocket.query_params)
    for origin in websocket.headers.getlist("origin"):
        if "*" not in edge.socket_origins and origin not in edge.socket_origins:
            raise origin_not_allowed()


@router.get(
    "/{job_id}/events",
    description=_DESCRIPTION,
    response_class=Response,
    dependencies=list(SECURITY),
    responses={
        200: {
            "description": _STREAM,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The last event was seen already."},
    },
)
async def stream_events(
    job_id: str,
    edge: EdgeParts,
    caller: CurrentCaller,
    credential: CurrentCredential,
    project_id: NamedProject,
    after: Cursor,
) -> Response:
    watch = await _watch(edge, caller, credential, project_id, job_id, after)
    return JobEventSource(watch, edge.keep_alive_seconds)


@router.websocket("/{job_id}/events", dependencies=[Depends(check_socket)])
async def send_events(
    websocket: WebSocket,
    job_id: str,
    edge: EdgeParts,
    caller: CurrentCaller,
    credential: CurrentCredential,
    project_id: NamedProject,
    after: Cursor,
) -> None:
    watch = await _watch(edge, caller, credential, project_id, job_id, after)
    await JobEventSocket(websocket, watch).run()


async def _watch(
    edge: Edge, caller: Caller, credential: Credential, project_id: str, job_id: str, after: str
) -> JobWatch:
    if not is_uuid(job_id):
        raise JobNotFound(job_id[:64])
    if not project_id and caller.kind == "person":
        job = await in_project(edge, caller, "", lambda found: edge.jobs.get_job(found, job_id))
        project_id = job.project_id
    return JobWatch(edge, credential, caller, project_id, job_id, after)
