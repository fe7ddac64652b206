"""The driver `openai` over a provider that does everything wrong."""

import asyncio
import json
import random
import socket
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from compute_router.adapters import openai_stream
from compute_router.domain.errors import ExecutionFailed, NoCapacity, RanNothing
from compute_router.domain.execution import Delta, Finished, FinishReason, Job, Started, Task, Usage
from compute_router.domain.operation import Operation
from compute_router.domain.query import ChatMessage, RouteQuery
from service_kit.errors import ServiceError

PROMPT = "the secret words of a prompt"
MIB = 1024 * 1024
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


def a_task(number: int = 1, operation: Operation = Operation.CHAT) -> Task:
    query = RouteQuery("small", PROMPT, operation=operation)
    job = Job(f"j{number}", 1, query, (ChatMessage("user", PROMPT),), inputs=(PROMPT,))
    return Task(f"j{number}-1-1", "small", job)


async def run(target, task: Task | None = None) -> tuple[list, ServiceError | None]:
    """Return the events, and the error that ended them. Any other exception is a bug."""
    events = []
    try:
        async with aclosing(target.execute(task or a_task())) as running:
            async for event in running:
                events.append(event)
    except ServiceError as error:
        return events, error
    return events, None


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def test_answer_is_passed_on(provider, make_target, say):
    """Start, texts, end; usage and the provider's id; the key and the limit were sent."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    provider.does(say.answer("Hello", " world", usage=usage))

    events, error = await run(make_target())

    assert error is None
    assert events == [
        Started("yotta", "small"),
        Delta("Hello", 1),
        Delta(" world", 1),
        Finished(FinishReason.STOP, Usage(3, 2), provider_response_id="chat-1"),
    ]
    (request,) = provider.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer key-of-the-cloud-4711"
    assert request.headers["x-client-request-id"] == "j1-1-1"
    assert request.json["max_tokens"] == 64


async def test_connection_is_used_again(provider, make_target):
    """A whole answer leaves it open for the next one."""
    target = make_target()
    for _ in range(3):
        await run(target)

    assert provider.connections == 1


@pytest.mark.parametrize("reported", [None, {"prompt_tokens": 3}, {"prompt_tokens": -1}, "many"])
async def test_absurd_usage_is_left_out(provider, make_target, say, reported):
    """The texts were counted, one for each chunk."""
    provider.does(say.answer("a", "b", usage=reported))

    events, error = await run(make_target())

    assert error is None
    assert events[-1].usage is None
    assert sum(event.tokens for event in events[1:-1]) == 2


async def test_zero_usage_is_honoured(provider, make_target, say):
    """An explicit zero is a zero."""
    provider.does(say.answer("a", usage={"prompt_tokens": 0, "completion_tokens": 0}))

    assert (await run(make_target()))[0][-1].usage == Usage(0, 0)


@pytest.mark.parametrize(
    "script",
    [
        lambda say: say.stream(say.chunk("a"), say.end("length")),
        lambda say: say.stream(say.chunk("a"), say.end("length"), is_cut=True),
        lambda say: say.stream(say.chunk("a"), say.end("length"), hangs=True),
        lambda say: say.stream(say.chunk("a"), say.end("length"), b"data: <html>\n\n"),
    ],
)
async def test_answer_is_whole_once_it_said_why_it_ends(provider, make_target, say, script):
    """Without `[DONE]` and usage too: it is paid, and nothing of it is missing."""
    provider.does(script(say))

    events, error = await run(make_target(idle_seconds=0.2))

    assert error is None
    assert events[1:] == [
        Delta("a", 1),
        Finished(FinishReason.LENGTH, None, provider_response_id="chat-1"),
    ]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (lambda say: say.stream(say.chunk("a"), is_cut=True), "CUT_OFF"),
        (lambda say: say.stream(say.chunk("a")), "CUT_OFF"),
        (lambda say: say.stream(say.chunk("a"), say.event({"error": {"m": 1}})), "ERROR_REPORTED"),
        (lambda say: say.stream(say.chunk("a"), b"data: {]\n\n"), "NOT_UNDERSTOOD"),
        (lambda say: say.stream(say.chunk("a"), hangs=True), "IDLE_TIMEOUT"),
    ],
)
async def test_cut_answer_is_partial(provider, make_target, say, script, cause):
    """What came is passed on; then it failed, and nobody calls it unpaid."""
    provider.does(script(say))

    events, error = await run(make_target(idle_seconds=0.2))

    assert events == [Started("yotta", "small"), Delta("a", 1)]
    assert isinstance(error, ExecutionFailed)
    assert error.metadata["cause"] == cause


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (lambda say: say.hang_up, "CUT_OFF"),
        (lambda say: say.status(500), "HTTP_500"),
        (lambda say: say.status(502), "HTTP_502"),
        (lambda say: say.status(504), "HTTP_504"),
        (lambda say: say.status(503, b"upstream connect error or disconnect/reset"), "HTTP_503"),
        (
            lambda say: say.endless(b"HTTP/1.1 503 X\r\n\r\n", b"disconnect/reset" + b"x" * 65536),
            "HTTP_503",
        ),
        (lambda say: say.status(307, location="/elsewhere"), "HTTP_307"),
        (lambda say: say.status(200, b'{"error": {"code": 429}}'), "NO_STREAM"),
        (lambda say: say.status(200, b"<html>busy</html>"), "NO_STREAM"),
        (lambda say: say.status(200), "NO_STREAM"),
        (lambda say: say.endless(JSON_HEAD, b'{"a": ' * 1000), "NO_STREAM"),
        (lambda say: say.stream(**{"content-encoding": "gzip"}), "COMPRESSED"),
        (lambda say: say.stream(), "CUT_OFF"),
        (lambda say: say.stream(b"<html>busy</html>"), "CUT_OFF"),
        (lambda say: say.endless(SSE_HEAD, b"x" * 65536), "EVENT_TOO_LARGE"),
        (lambda say: say.endless(SSE_HEAD, b"data: " + b"x" * 999 + b"\n"), "EVENT_TOO_LARGE"),
        (lambda say: say.endless(SSE_HEAD, b": ping\n\n" * 8192), "BODY_TOO_LARGE"),
        (lambda say: say.endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), "CUT_OFF"),
        (lambda say: say.endless(b"SMTP ready\r\n", b"\r\n" * 1000), "CUT_OFF"),
    ],
)
async def test_strange_answer_is_a_failure(provider, make_target, say, monkeypatch, script, cause):
    """By its name, in bounded memory; the request was sent, so nobody calls it unpaid."""
    monkeypatch.setattr(openai_stream, "MAX_STREAM_BYTES", 2 * MIB)
    provider.does(script(say))
    before = resident_bytes()

    _, error = await run(make_target())

    assert isinstance(error, ExecutionFailed)
    assert error.metadata["cause"] == cause
    assert len(provider.requests) == 1
    assert resident_bytes() < before + 30 * MIB


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (lambda say: say.status(200, b'{"data": []}'), "NOT_UNDERSTOOD"),
        (lambda say: say.status(200, b'{"data": [{"index": 0, "embed'), "NOT_UNDERSTOOD"),
        (lambda say: say.status(200, b'{"error": "none"}'), "ERROR_REPORTED"),
        (lambda say: say.status(200, b"<html>"), "NOT_UNDERSTOOD"),
        (lambda say: say.endless(JSON_HEAD, b"[1.0," * 1000), "BODY_TOO_LARGE"),
    ],
)
async def test_strange_vectors_are_a_failure(provider, make_target, say, script, cause):
    """A body read as a whole has a bound too."""
    provider.does(script(say))
    before = resident_bytes()

    events, error = await run(make_target(), a_task(operation=Operation.EMBEDDING))

    assert events == [Started("yotta", "small")]
    assert error.metadata["cause"] == cause
    assert resident_bytes() < before + 30 * MIB


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda say: say.status(400, b'{"error": {"code": "context_length_exceeded"}}'), "PROMPT"),
        (lambda say: say.status(401), "TARGET_UNAVAILABLE"),
        (lambda say: say.status(404), "TARGET_UNAVAILABLE"),
        (lambda say: say.status(429), "NO_CAPACITY"),
        (lambda say: say.status(503, b"warming up"), "TARGET_UNAVAILABLE"),
        (lambda say: say.endless(b"HTTP/1.1 400 X\r\n\r\n", b"x" * 65536), "INVALID_ARGUMENT"),
        (lambda say: say.endless(b"HTTP/1.1 503 X\r\n\r\n", b"x" * 65536), "TARGET_UNAVAILABLE"),
    ],
)
async def test_refused_at_the_door_ran_nothing(
    provider, make_target, say, eventually, script, reason
):
    """Another target may be tried. A body that is not wanted is not waited for."""
    provider.does(script(say))

    events, error = await run(make_target())

    assert events == []
    assert isinstance(error, RanNothing)
    assert error.reason.startswith(reason)
    if "endless" in script.__code__.co_names:
        await eventually(lambda: provider.open_connections == 0, seconds=1)


async def test_wish_to_wait_is_read(provider, make_target, say):
    """The breaker keeps it."""
    provider.does(say.status(429, **{"retry-after": "7"}))

    assert (await run(make_target()))[1].wait.total_seconds() == 7


@pytest.fixture
def deaf_port():
    """A port whose system takes connections, and where nobody ever speaks."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


async def test_unreachable_provider_ran_nothing(make_target, unused_port, deaf_port):
    """No listener, no TLS, no such name: not a byte of the prompt was sent."""
    for url in (
        f"http://127.0.0.1:{unused_port}",
        f"https://127.0.0.1:{deaf_port}",
        "http://yotta.invalid",
    ):
        started = time.monotonic()
        events, error = await run(make_target(url, connect_seconds=0.2))

        assert events == []
        assert error.reason == "TARGET_UNAVAILABLE"
        assert "yotta" in error.message
        assert time.monotonic() - started < 0.2 + 1


@pytest.mark.parametrize(
    ("script", "step", "cause"),
    [
        (lambda say: say.nothing, "first_byte", "FIRST_BYTE_TIMEOUT"),
        (lambda say: say.stream(hangs=True), "first_byte", "FIRST_BYTE_TIMEOUT"),
        (lambda say: say.stream(say.chunk("a"), hangs=True), "idle", "IDLE_TIMEOUT"),
        (lambda say: say.nothing, "total", "TOTAL_TIMEOUT"),
        (lambda say: say.endless(SSE_HEAD, b": ping\n\n", 0.01), "total", "TOTAL_TIMEOUT"),
    ],
)
async def test_hanging_provider_frees_the_slot(
    provider, make_target, say, eventually, script, step, cause
):
    """Each step has its own time, and a second later nothing is left of the call."""
    provider.does(script(say))
    target = make_target(slots=1, **{f"{step}_seconds": 0.3})
    started = time.monotonic()

    _, error = await run(target)

    assert isinstance(error, ExecutionFailed)
    assert error.metadata["cause"] == cause
    assert time.monotonic() - started < 0.3 + 1
    assert target.state().slots_busy == 0
    await eventually(lambda: provider.open_connections == 0, seconds=1)


async def test_full_target_asks_nobody(provider, make_target, say, eventually):
    """The slots are ours: what does not fit is not sent."""
    provider.does(say.stream(say.chunk("a"), hangs=True))
    target = make_target(slots=1)
    running = target.execute(a_task())
    await anext(running)

    _, error = await run(target, a_task(2))

    assert isinstance(error, NoCapacity)
    assert len(provider.requests) == 1
    await running.aclose()
    assert target.state().slots_busy == 0
    await eventually(lambda: provider.open_connections == 0, seconds=1)


async def test_leaving_stops_the_provider(provider, make_target, say, eventually):
    """Wherever callers leave, their connections are closed, and no task and no slot is left."""
    scripts = [say.nothing, say.stream(hangs=True), say.stream(say.chunk("a"), hangs=True)]
    provider.does(*scripts * 20, say.nothing)
    target = make_target()
    tasks_before = len(asyncio.all_tasks())
    reading = [asyncio.create_task(run(target, a_task(number))) for number in range(60)]
    await eventually(lambda: len(provider.requests) == 60)

    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)

    assert target.state().slots_busy == 0
    await eventually(lambda: provider.open_connections == 0, seconds=2)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks_before, seconds=2)


async def test_environment_names_no_proxy(provider, make_target, unused_port, monkeypatch):
    """What the machine's proxies are is none of a provider's business."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")

    assert (await run(make_target()))[1] is None


async def test_nothing_secret_is_told(provider, make_target, say, caplog, capfd):
    """Neither key nor prompt nor what the provider says is in a log, an error or a status."""
    caplog.set_level("INFO")
    echo = f"Bearer key-of-the-cloud-4711 {PROMPT} SAID-BY-THE-PROVIDER"
    body = json.dumps({"error": {"message": echo, "code": echo, "type": echo}}).encode()
    target = make_target()
    told = ""
    with capture_logs() as logs:
        for code in (200, 301, 400, 401, 404, 422, 429, 500, 503):
            provider.does(say.status(code, body, **{"x-echo": echo, "location": "/v1/x"}))
            _, error = await run(target)
            told += f"{error!r} {error.message} {error.metadata} {error.__cause__!r}"
        provider.does(say.stream(say.event({"error": {"message": echo}})))
        told += repr((await run(target))[1])

    refused = [entry for entry in logs if entry["event"] == "provider.key_refused"]
    assert [(entry["target"], entry["status"]) for entry in refused] == [("yotta", 401)]
    told += f"{logs} {caplog.text} {capfd.readouterr()} {target.state()}"
    for secret in ("cloud-4711", PROMPT, "SAID-BY"):
        assert secret not in told


async def test_any_bytes_are_an_answer_or_a_failure(provider, make_target, say):
    """Hundreds of answers, each broken in its own way: never a bug, and no growing memory."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 -- shown if it fails
    dice = random.Random(seed)
    whole = b"".join([say.chunk("Hello"), say.end(), say.usage({"prompt_tokens": 1}), say.done])
    target = make_target()
    before = resident_bytes()
    for number in range(200):
        broken = bytearray(whole)
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(broken))
            kind = dice.randrange(3)
            if kind == 0:
                broken[at] = dice.randrange(256)
            elif kind == 1:
                del broken[at : at + dice.randrange(1, 40)]
                broken += b"x"
            else:
                broken[at:at] = dice.randbytes(dice.randrange(1, 40))
        provider.does(say.stream(bytes(broken)))

        events, error = await run(target, a_task(number))

        assert isinstance(events[0], Started)
        assert (error is None) is isinstance(events[-1], Finished)
        assert error is None or isinstance(error, ExecutionFailed)
    assert resident_bytes() < before + 30 * MIB
