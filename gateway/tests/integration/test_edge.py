"""What every request passes: limits of size, form and time, headers, origins, hosts, metrics."""

import asyncio
import gzip
import json

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..stand_ins import USER_ID

ME = "/api/v1/auth/me"
JOBS = "/api/v1/jobs"
CHAT = "/v1/chat/completions"
LIMIT = 1024 * 1024


def length_of(head):
    return int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


def in_chunks(body):
    async def chunks():
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    return chunks()


@pytest.mark.parametrize("path", [JOBS, CHAT, "/nowhere"])
@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_the_limit(http, person, path, announced):
    """413, whether its length was announced or not."""
    body = b'{"a": "' + b"x" * 30 * LIMIT + b'"}'

    answer = await http.post(
        path,
        headers={**person, "content-type": "application/json"},
        content=body if announced else in_chunks(body),
    )

    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


async def test_announced_body_is_refused_unread(served, person):
    """A body that would be too large is refused by its announcement: nothing is waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        rest = await reader.readexactly(length_of(head))
    writer.close()

    assert head.startswith(b"HTTP/1.1 413")
    assert b"BODY_TOO_LARGE" in rest


async def test_large_bodies_are_not_kept(served):
    """Four uploads of 64 MB at once leave the process no larger than before (X-H1)."""
    piece = b"x" * LIMIT

    async def upload():
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(
            f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(64):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    before = psutil.Process().memory_info().rss
    answers = await asyncio.gather(*(upload() for _ in range(4)))

    assert all(answer.startswith(b"HTTP/1.1 413") for answer in answers)
    assert psutil.Process().memory_info().rss - before < 20 * 1024 * 1024


async def test_body_at_the_limit_is_read(http, script, person):
    """The limit itself is allowed."""
    frame = len(json.dumps({"type": "t", "payload": {"prompt": ""}}))

    answer = await http.post(
        JOBS,
        headers=person,
        json={"type": "t", "payload": {"prompt": "x" * (LIMIT - frame - 4)}},
    )

    assert answer.status_code == 202


@pytest.mark.parametrize("path", [JOBS, CHAT])
async def test_compressed_bodies_are_refused(http, person, path):
    """No bomb is ever unpacked (X-H3)."""
    answer = await http.post(
        path,
        headers={**person, "content-type": "application/json", "content-encoding": "gzip"},
        content=gzip.compress(b"{}"),
    )

    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_other_media_types_are_refused(http, person, kind):
    """JSON is sent as JSON; a form of another site is none."""
    headers = {**person, "content-type": kind} if kind else person

    answer = await http.post(JOBS, headers=headers, content=b"{}")

    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/ld+json"])
async def test_json_by_other_names(http, person, kind):
    """A charset, or a kind of JSON, is JSON."""
    answer = await http.post(
        JOBS,
        headers={**person, "content-type": kind},
        content=b'{"type": "t", "payload": {"prompt": "x"}}',
    )

    assert answer.status_code == 202


async def test_slow_body_is_closed(serve, script):
    """Who announces a body and does not send it is let go (X-H4)."""
    async with serve(body_seconds=0.3) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{".encode())
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TOO_SLOW" in answer


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b", b"\r\n\r\n"],
    ids=["silent", "line", "header", "empty-lines"],
)
async def test_slow_head_is_closed(serve, script, start):
    """Who does not finish the head of a request is let go, however it starts."""
    async with serve(header_seconds=0.3) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(start)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()

    assert answer == b""


async def test_slow_second_head_is_closed(serve, script):
    """The clock runs for every request of a connection, and never while one is answered."""
    async with serve(header_seconds=0.3) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(2):
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(length_of(head))
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()

    assert answer == b""


async def test_endless_head_is_refused(served):
    """A head of more than 32 KB is 431 and closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"b" * 40_000)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_ambiguous_framing_is_refused(served, raw):
    """What two servers could read differently is 400 and closed (X-H5)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(raw)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.asyncio(loop_scope="session")
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.one_of(
        st.binary(max_size=100),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "payload", "prompt", "model", "messages", "role", "content", "x"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
async def test_no_body_is_our_fault(http, person, body):
    """Whatever a client sends, the answer is never a 5xx (X-H2)."""
    for path in (JOBS, CHAT, "/api/v1/projects", "/api/v1/auth/login"):
        answer = await http.post(
            path, headers={**person, "content-type": "application/json"}, content=body
        )
        assert answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    ["/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/x", "/%00", "/api/v1/jobs/%00", "/a//b", "//evil"],
)
async def test_odd_paths_are_absent(served, person, path):
    """Traversal and NUL find nothing (X-H9)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {person['authorization']}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 404")


async def test_unknown_routes_have_the_shape_of_their_area(http):
    """A problem outside /v1, an OpenAI error inside."""
    problem = await http.get("/api/v1/nothing")
    openai = await http.get("/v1/nothing")
    method = await http.delete("/api/v1/jobs")

    assert (problem.status_code, problem.json()["title"]) == (404, "ROUTE_NOT_FOUND")
    assert problem.headers["content-type"] == "application/problem+json"
    assert (openai.status_code, openai.json()["error"]["type"]) == (404, "invalid_request_error")
    assert (method.status_code, method.json()["title"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("path", "allowed"), [("/api/v1/jobs", "GET, POST"), ("/v1/chat/completions", "POST")]
)
async def test_every_allowed_method_is_named(http, path, allowed):
    """Whichever route of the path has it."""
    answer = await http.patch(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_security_headers(http):
    """On every answer, errors too."""
    for path in ("/", "/api/v1/nothing", "/v1/models"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://console.example.org", True),
        ("https://evil.example.org", False),
        ("https://console.example.org.evil.org", False),
        ("http://console.example.org", False),
        ("null", False),
    ],
)
async def test_origins(serve, script, origin, allowed):
    """Only listed origins, exactly, for requests and preflights (X-H8)."""
    async with serve(cors_origins="https://console.example.org") as served, served.client() as http:
        plain = await http.get("/", headers={"origin": origin})
        preflight = await http.options(
            CHAT,
            headers={
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,x-stainless-lang",
            },
        )

    assert plain.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert preflight.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert (preflight.status_code == 200) == allowed


async def test_no_origin_by_default(http):
    """Nothing is shared with browsers unless somebody asked for it."""
    answer = await http.get("/", headers={"origin": "https://console.example.org"})

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("weir.example.org", 200),
        ("WEIR.example.org:8443", 200),
        ("a.b.weir.test", 200),
        ("weir.test", 400),
        ("evil.org", 400),
        ("weir.example.org.evil.org", 400),
        ("xweir.test", 400),
    ],
)
async def test_hosts(serve, script, host, status):
    """Only our own names are served."""
    async with (
        serve(allowed_hosts="weir.example.org,*.weir.test,127.0.0.1") as served,
        served.client() as http,
    ):
        answer = await http.get("/health/live", headers={"host": host})

    assert answer.status_code == status


async def test_large_answers_are_compressed_and_streams_are_not(http, script, person, program):
    """gzip where it pays; a stream must not wait for a full buffer."""
    document = await http.get("/openapi.json")
    stream = await http.post(
        CHAT,
        headers=program,
        json={"model": "auto", "stream": True, "messages": [{"role": "user", "content": "x"}]},
    )

    assert document.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in stream.headers


async def test_metrics_know_routes_and_no_paths(http, person):
    """Whatever is asked for, labels come from what we know (X-S4)."""
    await http.get(f"{JOBS}/0192f0c0-0000-7000-8000-000000000001", headers=person)
    for number in range(20):
        await http.get(f"/random/{number}")
        await http.request(f"BREW{number}", "/")

    text = (await http.get("/metrics")).text

    lines = [line for line in text.splitlines() if line.startswith("http_requests_total")]
    assert any('route="/api/v1/jobs/{job_id}"' in line for line in lines)
    assert any('method="GET",route="_OTHER",status="404"' in line for line in lines)
    assert "/random" not in text
    assert "BREW" not in text
    assert USER_ID not in text


async def test_one_log_event_per_request(http, person, capsys):
    """Method, route template, status, time; no query, no credential."""
    capsys.readouterr()
    await http.get(f"{JOBS}?page_token=canary", headers={**person, "x-request-id": "log-me"})

    lines = [line for line in capsys.readouterr().out.splitlines() if "log-me" in line]
    [told] = [line for line in lines if "http.request" in line]
    assert "route=/api/v1/jobs" in told
    assert not [line for line in lines if "canary" in line]
    assert not [line for line in lines if person["authorization"][-20:] in line]
