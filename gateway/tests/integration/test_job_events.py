"""The events of a job as a reader of server-sent events gets them."""

import asyncio
import contextlib
import time

import httpx
import pytest
from httpx_sse import aconnect_sse
from weir.job.v1 import job_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, OTHER_PROJECT_ID, PROJECT_ID, USER_ID, Told, a_job, refusal, telling

PATH = f"/api/v1/jobs/{JOB_ID}/events"


async def read(client, headers, path=PATH):
    """Return (event, id, data) of every event."""
    async with aconnect_sse(client, "GET", path, headers=headers) as source:
        source.response.raise_for_status()
        return [(event.event, event.id, event.json()) async for event in source.aiter_sse()]


async def test_whole_story(http, program):
    """Every event by its kind, with a cursor to resume at; numbers are numbers."""
    told = await read(http, program)

    ended = told.pop()
    assert told == [
        (
            "lifecycle",
            "1.0-0",
            {"seq": 1, "type": "created", "details": {}, "occurred_at": "2026-01-02T03:04:05Z"},
        ),
        (
            "lifecycle",
            "2.0-0",
            {
                "seq": 2,
                "type": "running",
                "details": {"worker": "w1"},
                "occurred_at": "2026-01-02T03:04:05Z",
            },
        ),
        ("delta", "2.1-1", {"attempt": 1, "number": 1, "text": "Hel"}),
        # It has no cursor of its own: the reader stays where it was.
        ("gap", "2.1-1", {"attempt": 1, "first_missing": 2, "last_missing": 3}),
        ("snapshot", "2.1-4", {"attempt": 1, "number": 4, "text": "Hello wor"}),
        ("delta", "2.1-5", {"attempt": 1, "number": 5, "text": "ld\n\n\u2028"}),
    ]
    assert ended[:2] == ("ended", "3.1-9")
    assert ended[2]["job"] == (await http.get(f"/api/v1/jobs/{JOB_ID}", headers=program)).json()


async def test_head_of_a_stream(http, program):
    """Nobody may keep or collect it; the usual headers are there."""
    answer = await http.get(PATH, headers=program)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    assert "ratelimit" in answer.headers


@pytest.mark.parametrize(
    ("path", "headers", "after"),
    [
        (PATH, {}, ""),
        (f"{PATH}?after=2.1-1", {}, "2.1-1"),
        (PATH, {"Last-Event-ID": "2.1-4"}, "2.1-4"),
        (f"{PATH}?after=2.1-1", {"Last-Event-ID": "2.1-4"}, "2.1-4"),
    ],
)
async def test_resuming(http, script, program, path, headers, after):
    """The header is newer than the address, which a browser repeats."""
    await http.get(path, headers={**program, **headers})

    assert script.last("WatchJob").request == job_service_pb2.WatchJobRequest(
        job_id=JOB_ID, after=after
    )


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (ErrorCode.NOT_FOUND, "JOB_NOT_FOUND", 404),
        (ErrorCode.INVALID_ARGUMENT, "EVENT_CURSOR_INVALID", 400),
        (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", 403),
        (ErrorCode.UNAVAILABLE, "UNAVAILABLE", 503),
    ],
)
async def test_refusals_have_real_statuses(http, script, program, code, reason, status):
    """What is refused before the first event is a problem document."""
    script.answers["WatchJob"] = refusal(code, reason)

    answer = await http.get(PATH, headers=program)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == reason


@pytest.mark.parametrize("cursor", ["a b", "9" * 129, "\xe9"])
async def test_no_cursor(http, script, program, cursor):
    """What can't be a cursor goes no further."""
    headers = [*program.items(), (b"last-event-id", cursor.encode("latin-1"))]

    answer = await http.get(PATH, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["title"] == "EVENT_CURSOR_INVALID"
    assert not script.of("WatchJob")


async def test_nobody_and_no_job(http, script, program):
    """Without a credential 401; an id that can't be one is 404, without a question."""
    nobody = await http.get(PATH)
    nothing = await http.get("/api/v1/jobs/x/events", headers=program)

    assert nobody.status_code == 401
    assert nothing.status_code == 404
    assert nothing.json()["title"] == "JOB_NOT_FOUND"
    assert not script.of("WatchJob")


async def test_story_that_was_read(http, script, program):
    """The end is not told twice: 204, which stops a browser from coming back."""
    script.answers["WatchJob"] = telling(Told.ended())

    answer = await http.get(f"{PATH}?after=3.1-9", headers=program)

    assert answer.status_code == 204
    assert answer.content == b""


async def test_events_that_never_begin(http, script, program):
    """No events at all is a failure, whatever was seen before."""
    script.answers["WatchJob"] = telling()

    answer = await http.get(f"{PATH}?after=1.0-0", headers=program)

    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_silent_job(serve, script, program):
    """The head comes soon, and comments while nothing happens."""
    go_on = asyncio.Event()

    async def watch(request, context):
        await go_on.wait()
        yield Told.ended()

    script.answers["WatchJob"] = watch

    async with serve(keep_alive_seconds=0.1) as served, served.client() as http:
        async with asyncio.timeout(10):
            async with http.stream("GET", PATH, headers=program) as answer:
                lines = answer.aiter_lines()
                comments = [line async for line in _first(lines, 4) if line.startswith(":")]
                go_on.set()
                rest = [line async for line in lines]

    assert comments == [": keep-alive", ": keep-alive"]
    assert "event: ended" in rest


async def _first(lines, count):
    async for line in lines:
        yield line
        count -= 1
        if not count:
            return


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "ended early"])
async def test_lost_job_service(http, script, program, broken):
    """The stream ends without `ended`; resumed, it goes on where it was."""

    async def watch(request, context):
        if request.after:
            yield Told.ended()
            return
        yield Told.lifecycle(1, "created")
        if broken:
            raise refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    script.answers["WatchJob"] = watch

    first = await read(http, program)
    second = await read(http, {**program, "Last-Event-ID": first[-1][1]})

    assert [kind for kind, _, _ in first + second] == ["lifecycle", "ended"]
    assert script.last("WatchJob").request.after == "1.0-0"


async def test_project_of_a_person_is_found(http, script, person):
    """Without a name the job is looked for first; named, only there; a key knows its own."""

    async def in_another_project(request, context):
        if request.project_id != OTHER_PROJECT_ID:
            raise refusal(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")
        return job_service_pb2.GetJobResponse(job=a_job(project_id=OTHER_PROJECT_ID))

    script.answers["GetJob"] = in_another_project

    await http.get(PATH, headers=person)
    assert script.last("WatchJob").request.project_id == OTHER_PROJECT_ID

    asked = len(script.of("GetJob"))
    await http.get(f"{PATH}?project_id={PROJECT_ID}", headers=person)
    assert script.last("WatchJob").request.project_id == PROJECT_ID
    assert len(script.of("GetJob")) == asked


async def test_reader_that_leaves(served, script, program):
    """Within a second, job-service's call is cancelled."""
    cancelled = asyncio.Event()

    async def watch(request, context):
        try:
            yield Told.lifecycle(1, "created")
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    script.answers["WatchJob"] = watch

    async with served.client() as client:
        async with aconnect_sse(client, "GET", PATH, headers=program) as source:
            await anext(source.aiter_sse())

        async with asyncio.timeout(1):
            await cancelled.wait()


async def test_slow_reader_holds_nothing(serve, script, program, until):
    """Events wait at their source while nobody reads, and then the reader is gone (X-H16)."""
    made, cancelled = 0, asyncio.Event()

    async def watch(request, context):
        nonlocal made
        try:
            while True:
                made += 1
                yield Told.delta(made, "x" * 10_000)
        finally:
            cancelled.set()

    script.answers["WatchJob"] = watch

    async with serve(slow_reader_seconds=1.0) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        writer.write(
            f"GET {PATH} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {program['authorization']}\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            await cancelled.wait()
        writer.close()

    # What the sockets and windows on the way hold, and no more.
    assert made * 10_000 < 2_000_000


async def test_streams_of_one_caller(serve, script, program, person, until):
    """One more than allowed is refused with the reason; one that ends makes room."""

    async def watch(request, context):
        yield Told.lifecycle(1, "created")
        await asyncio.sleep(60)

    script.answers["WatchJob"] = watch

    async with serve(events_per_caller=1) as served, served.client() as http:

        async def status(headers):
            async with http.stream("GET", PATH, headers=headers) as answer:
                return answer.status_code

        async with http.stream("GET", PATH, headers=program) as first:
            refused = await http.get(PATH, headers=program)
            somebody_else = await status(person)

        assert first.status_code == 200
        assert refused.status_code == 429
        assert refused.json()["title"] == "TOO_MANY_EVENT_STREAMS"
        assert somebody_else == 200

        async def there_is_room():
            return await status(program) == 200

        await until(there_is_room)


async def test_drain_ends_streams(serve, script, program):
    """A gateway that stops does not wait for streams without end; their readers come back."""

    async def watch(request, context):
        yield Told.lifecycle(1, "created")
        await asyncio.sleep(60)

    script.answers["WatchJob"] = watch

    async with (
        stoppable(serve, drain_seconds=30) as (served, stop),
        served.client() as client,
        aconnect_sse(client, "GET", PATH, headers=program) as source,
    ):
        events = source.aiter_sse()
        await anext(events)
        stop.set()
        started = time.monotonic()
        rest = [event async for event in events]

    assert rest == []
    assert time.monotonic() - started < 10


@contextlib.asynccontextmanager
async def stoppable(serve, **changes):
    """Give a gateway, and what stops it while its clients stay."""
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def run():
        async with serve(**changes) as served:
            started.set_result(served)
            await stop.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run())
        yield await started, stop
        stop.set()


@pytest.fixture
def endless(script):
    """A job that goes on and on."""

    async def watch(request, context):
        yield Told.lifecycle(1, "created")
        await asyncio.sleep(60)

    script.answers["WatchJob"] = watch


async def seconds_until_end(client, headers, then=lambda: None):
    """Return how long a stream goes on after its first event, and after what is done then."""
    async with aconnect_sse(client, "GET", PATH, headers=headers) as source:
        events = source.aiter_sse()
        await anext(events)
        then()
        started = time.monotonic()
        with contextlib.suppress(httpx.RemoteProtocolError):
            assert [event async for event in events] == []
        return time.monotonic() - started


async def test_token_that_expires(http, issuer, endless):
    """It ends the stream, without the leeway that requests have (X-H18)."""
    token = issuer.person_token(USER_ID, exp=int(time.time()) + 3)

    async with asyncio.timeout(20):
        lasted = await seconds_until_end(http, {"authorization": f"Bearer {token}"})

    assert lasted < 8


async def test_session_that_is_denied(http, issuer, endless):
    """It ends the stream within 5 s; what comes after is a 401."""
    token = issuer.person_token(USER_ID, sid="ended-soon")
    headers = {"authorization": f"Bearer {token}"}

    async with asyncio.timeout(20):
        lasted = await seconds_until_end(
            http, headers, then=lambda: issuer.deny("session", "ended-soon")
        )

    assert lasted < 5
    assert (await http.get(PATH, headers=headers)).status_code == 401


async def test_member_who_is_removed(http, script, issuer, endless, until):
    """Whoever may not see the project any more, sees no more of its jobs."""
    token = issuer.person_token("user-removed")
    url = f"{PATH}?project_id={PROJECT_ID}"
    allowed = script.answers["CheckAccess"]
    removed = False

    def check(request, context):
        if removed and request.user_id == "user-removed":
            return refusal(ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")
        return allowed(request, context)

    script.answers["CheckAccess"] = check

    async with asyncio.timeout(20):
        async with http.stream("GET", url, headers={"authorization": f"Bearer {token}"}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await until(lambda: script.of("CheckAccess"))
            removed = True
            started = time.monotonic()
            issuer.deny("membership", f"user-removed:{PROJECT_ID}")
            async for _ in lines:
                pass

    assert time.monotonic() - started < 5
