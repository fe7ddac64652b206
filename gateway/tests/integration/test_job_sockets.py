"""The events of a job as messages of a WebSocket."""

import asyncio
import contextlib
import json
import time

import pytest
import websockets

from service_kit.errors import ErrorCode

from ..stand_ins import OTHER_PROJECT_ID, USER_ID, Told, api_key, refusal, telling
from .test_job_events import PATH, read, stoppable

KEY = api_key()


def connect(served, path=PATH, **options):
    return websockets.connect(f"{served.socket_url}{path}", open_timeout=20, **options)


async def refused(served, path=PATH, **options):
    """Return the status and the problem of a socket that does not open."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connect(served, path, **options):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    problem = json.loads(response.body)
    assert problem["status"] == response.status_code
    return response.status_code, problem["title"]


@pytest.fixture
def endless(script):
    """A job that goes on and on."""

    async def watch(request, context):
        yield Told.lifecycle(1, "created")
        await asyncio.sleep(60)

    script.answers["WatchJob"] = watch


async def test_same_story(served, http, program):
    """Message by message what SSE tells, and then a close that says that it was all."""
    async with connect(served, additional_headers=program) as socket:
        messages = [json.loads(message) async for message in socket]

    by_sse = await read(http, program)
    assert [(one["event"], one["data"]) for one in messages] == [
        (kind, data) for kind, _, data in by_sse
    ]
    assert [one["cursor"] for one in messages] == [
        "" if kind == "gap" else cursor for kind, cursor, _ in by_sse
    ]
    assert (socket.close_code, socket.close_reason) == (1000, "ENDED")


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"Authorization": f"Bearer {KEY}"}},
        {"additional_headers": {"X-API-Key": KEY}},
        {"subprotocols": ["weir.v1", f"weir.bearer.{KEY}"]},
        {"subprotocols": [f"weir.bearer.{KEY}", "weir.v1"]},
        {"additional_headers": {"X-API-Key": KEY}, "subprotocols": ["weir.v1"]},
    ],
    ids=["bearer", "api key", "subprotocol", "other order", "both"],
)
async def test_ways_to_say_who_one_is(served, script, options):
    """Headers, or a subprotocol where a page can set none. The credential is not sent back."""
    async with connect(served, **options) as socket:
        await socket.recv()

    assert socket.subprotocol == ("weir.v1" if "subprotocols" in options else None)
    assert KEY not in str(socket.response.headers)


async def test_token_as_a_subprotocol(served, script, person, http):
    """Also the token of a person; `after` and the project come by the address."""
    token = person["authorization"].removeprefix("Bearer ")
    path = f"{PATH}?after=2.1-1&project_id={OTHER_PROJECT_ID}"
    async with connect(served, path, subprotocols=["weir.v1", f"weir.bearer.{token}"]) as socket:
        await socket.recv()

    sent = script.last("WatchJob")
    assert (sent.request.after, sent.request.project_id) == ("2.1-1", OTHER_PROJECT_ID)
    assert sent.metadata["authorization"] == f"Bearer {token}"


async def test_no_other_header_says_who_it_is(served, script, person, http):
    """Headers that other systems believe have no effect."""
    spoofed = {"x-user-id": "root", "x-forwarded-user": "root", "x-project-id": OTHER_PROJECT_ID}
    async with connect(served, additional_headers={**person, **spoofed}) as socket:
        await socket.recv()

    sent = script.last("WatchJob")
    assert sent.request.project_id != OTHER_PROJECT_ID
    assert sent.metadata["authorization"] == person["authorization"]
    assert not set(spoofed) & set(sent.metadata)


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        (PATH, {}, (401, "CREDENTIAL_MISSING")),
        (PATH, {"additional_headers": {"Authorization": "Bearer x.y.z"}}, (401, "TOKEN_INVALID")),
        (PATH, {"subprotocols": ["weir.v1", "weir.bearer.x"]}, (401, "TOKEN_INVALID")),
        (PATH, {"subprotocols": ["weir.v1", "weir.bearer."]}, (401, "CREDENTIAL_INVALID")),
        (PATH, {"subprotocols": [f"weir.bearer.{KEY}"]}, (400, "SUBPROTOCOL_MISSING")),
        (
            PATH,
            {
                "subprotocols": ["weir.v1", f"weir.bearer.{KEY}"],
                "additional_headers": {"X-API-Key": api_key("z")},
            },
            (401, "CREDENTIAL_AMBIGUOUS"),
        ),
        (f"{PATH}?token={KEY}", {}, (400, "CREDENTIAL_IN_URL")),
        (f"{PATH}?access_token=x", {}, (400, "CREDENTIAL_IN_URL")),
        (
            f"{PATH}?Authorization=x",
            {"additional_headers": {"X-API-Key": KEY}},
            (400, "CREDENTIAL_IN_URL"),
        ),
        (
            PATH,
            {"additional_headers": {"X-API-Key": KEY}, "origin": "https://evil.example"},
            (403, "ORIGIN_NOT_ALLOWED"),
        ),
        (
            PATH,
            {"additional_headers": {"X-API-Key": KEY}, "origin": "null"},
            (403, "ORIGIN_NOT_ALLOWED"),
        ),
        (
            "/api/v1/jobs/x/events",
            {"additional_headers": {"X-API-Key": KEY}},
            (404, "JOB_NOT_FOUND"),
        ),
        (
            f"{PATH}?after=a%20b",
            {"additional_headers": {"X-API-Key": KEY}},
            (400, "EVENT_CURSOR_INVALID"),
        ),
        (
            f"{PATH}?project_id={'p' * 65}",
            {"additional_headers": {"X-API-Key": KEY}},
            (422, "VALIDATION_FAILED"),
        ),
        ("/api/v1/jobs", {"additional_headers": {"X-API-Key": KEY}}, (404, "ROUTE_NOT_FOUND")),
        ("/nowhere", {}, (404, "ROUTE_NOT_FOUND")),
    ],
)
async def test_refusals_before_it_opens(served, script, http, path, options, expected):
    """An HTTP status and a problem document; job-service is not asked (X-H14)."""
    assert await refused(served, path, **options) == expected
    assert not script.of("WatchJob")


@pytest.mark.parametrize(
    "lines",
    [
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short",
        f"X-Long: {'x' * 9000}",
        "\r\n".join(f"X-{n}: y" for n in range(200)),
    ],
    ids=["no key", "old", "bad key", "long line", "many headers"],
)
async def test_handshakes_that_are_none(served, script, program, http, lines, caplog):
    """Closed with a 4xx, and nothing goes wrong inside."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"X-API-Key: {KEY}\r\n{lines}\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 4")
    assert not script.of("WatchJob")
    assert not caplog.records


async def test_refusals_of_job_service(served, script, program, http):
    """They, too, come before the socket opens."""
    script.answers["WatchJob"] = refusal(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")

    assert await refused(served, additional_headers=program) == (404, "JOB_NOT_FOUND")


async def test_story_that_was_read(served, script, program, http):
    """It opens and closes, and tells nothing twice."""
    script.answers["WatchJob"] = telling(Told.ended())

    async with connect(served, f"{PATH}?after=3.1-9", additional_headers=program) as socket:
        assert [message async for message in socket] == []

    assert (socket.close_code, socket.close_reason) == (1000, "ENDED")


async def test_socket_that_breaks(served, script, program, http):
    """When job-service goes away, the client is told to come back."""

    async def watch(request, context):
        yield Told.lifecycle(1, "created")
        raise refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    script.answers["WatchJob"] = watch

    async with connect(served, additional_headers=program) as socket:
        messages = [json.loads(message) async for message in _until_closed(socket)]

    assert [one["event"] for one in messages] == ["lifecycle"]
    assert socket.close_code == 1013


async def _until_closed(socket):
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            yield message


async def test_nothing_is_read(served, script, program, http, endless):
    """A client that sends is closed; a message over 64 KB before it is put together."""
    codes = []
    for message in ("hello", "x" * 65_537, b"x" * 1_000_000):
        async with connect(served, additional_headers=program) as socket:
            await socket.recv()
            await socket.send(message)
            async with asyncio.timeout(10):
                await socket.wait_closed()
            codes.append(socket.close_code)

    assert codes == [1003, 1009, 1009]


async def test_deflate_is_off(served, program, http):
    """It is offered by clients and not taken."""
    async with connect(served, additional_headers=program, compression="deflate") as socket:
        assert "sec-websocket-extensions" not in socket.response.headers
        assert socket.protocol.extensions == []


async def test_client_that_leaves(served, script, program, http):
    """Within a second, job-service's call is cancelled, with or without a goodbye."""
    for polite in (True, False):
        cancelled = asyncio.Event()

        async def watch(request, context, cancelled=cancelled):
            try:
                yield Told.lifecycle(1, "created")
                await asyncio.sleep(60)
            finally:
                cancelled.set()

        script.answers["WatchJob"] = watch
        socket = await connect(served, additional_headers=program)
        await socket.recv()
        if polite:
            await socket.close()
        else:
            socket.transport.abort()

        async with asyncio.timeout(1):
            await cancelled.wait()


async def test_gateway_with_other_settings(serve, program, endless):
    """A page of ours, one socket for each caller, a silent one that stays, an end at drain."""
    async with stoppable(
        serve,
        cors_origins=("https://console.example",),
        events_per_caller=1,
        header_seconds=0.5,
        keep_alive_seconds=0.2,
        drain_seconds=30,
    ) as (served, stop):
        options = {"additional_headers": program, "origin": "https://console.example"}
        async with connect(served, **options) as socket, served.client() as http:
            await socket.recv()
            one_more = (429, "TOO_MANY_EVENT_STREAMS")
            assert await refused(served, additional_headers=program) == one_more
            assert (await http.get(PATH, headers=program)).status_code == 429

            # Longer than a head may take, and than pings are apart.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2):
                    await socket.recv()

            stop.set()
            started = time.monotonic()
            async with asyncio.timeout(10):
                await socket.wait_closed()

    assert socket.close_code == 1012
    assert time.monotonic() - started < 10


async def test_foreign_host(serve, program):
    """The host is checked as it is for requests."""
    async with serve(allowed_hosts=("weir.example", "127.0.0.1")) as served:
        async with connect(served, additional_headers=program) as socket:
            await socket.recv()
        port = served.port
        foreign = f"ws://localhost:{port}{PATH}"
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with websockets.connect(foreign, additional_headers=program):
                pass

    assert json.loads(caught.value.response.body)["title"] == "HOST_NOT_ALLOWED"


async def test_slow_reader_holds_nothing(serve, script, program):
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
            f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Authorization: {program['authorization']}\r\n\r\n".encode()
        )
        async with asyncio.timeout(15):
            await cancelled.wait()
        writer.close()

    assert made * 10_000 < 2_000_000


async def test_token_that_expires(served, http, issuer, endless):
    """The socket is closed with 4401, without the leeway that requests have (X-H18)."""
    token = issuer.person_token(USER_ID, exp=int(time.time()) + 3)
    async with connect(served, additional_headers={"authorization": f"Bearer {token}"}) as socket:
        async with asyncio.timeout(8):
            await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (4401, "TOKEN_EXPIRED")


async def test_session_that_is_denied(served, http, issuer, endless):
    """The socket is closed with 4401 within 5 s of the denial."""

    token = issuer.person_token(USER_ID, sid="socket-session")
    async with connect(served, additional_headers={"authorization": f"Bearer {token}"}) as socket:
        await socket.recv()
        issuer.deny("session", "socket-session")
        async with asyncio.timeout(5):
            await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (4401, "TOKEN_DENIED")


async def test_sockets_are_measured(served, http, program, until, endless):
    """How many were opened, refused, are open; how large their messages were."""

    async def value(line):
        text = (await http.get("/metrics")).text
        return sum(
            float(found.split()[-1]) for found in text.splitlines() if found.startswith(line)
        )

    opened = await value('ws_connections_total{outcome="accepted"}')
    turned_away = await value('ws_connections_total{outcome="refused"}')
    messages = await value("ws_message_size_bytes_count")
    await refused(served)

    async with connect(served, additional_headers=program) as socket:
        await socket.recv()
        assert await value("ws_active_sessions") >= 1

    assert await value('ws_connections_total{outcome="accepted"}') == opened + 1
    assert await value('ws_connections_total{outcome="refused"}') == turned_away + 1
    assert await value("ws_message_size_bytes_count") == messages + 1
    assert 'ws_message_size_bytes_bucket{le="100.0"}' in (await http.get("/metrics")).text

    async def none_is_open():
        return await value("ws_active_sessions") == 0

    await until(none_is_open)
