"""What reaches a log line, and what never does (X-S1, X-S2)."""

import json
import logging

import pytest
import structlog

from service_kit import logs, request_context
from service_kit.redaction import MAX_CHARACTERS, redact
from service_kit.testing.tokens import TestIssuer

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def events(capsys):
    """Everything written so far, each line parsed: a line that is no JSON object fails."""
    logs.configure("job-service", "INFO")

    def read():
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(isinstance(event, dict) for event in found)
        return found

    return read


def test_event_says_when_where_and_for_whom(events):
    """A line has time, level, service and request id beside its own facts."""
    request_context.begin_request("req-1")
    structlog.get_logger("x").info("job.leased", job_id="j1", attempt=2)

    (event,) = events()

    assert event["event"] == "job.leased"
    assert event["level"] == "info"
    assert event["service"] == "job-service"
    assert event["request_id"] == "req-1"
    assert event["timestamp"].endswith("Z")
    assert (event["job_id"], event["attempt"]) == ("j1", 2)


def test_level_is_respected(events):
    """What is less important than the level is not written."""
    structlog.get_logger().debug("noise")
    logging.getLogger("some.library").debug("noise")

    assert events() == []


@pytest.mark.parametrize(
    "text",
    [
        'x\r\n{"event": "forged"}',
        "x\n\nforged",
        "\x1b[2J\x1b[31mred",
        "\u2028line\u2029paragraph\x85next",
        'quote " and backslash \\',
        "\x00\x07\x7f",
        "\ud800 lone surrogate",
    ],
)
def test_one_event_is_one_line(events, text):
    """X-S2: whatever a client sends, an event stays one JSON object on one line of ASCII."""
    structlog.get_logger().info("http.request", path=text, **{"k\r\n": text})
    logging.getLogger("some.library").warning("path %s", text)

    found = events()

    assert [event["event"] for event in found] == ["http.request", f"path {text}"]
    assert found[0]["path"] == text


def test_lines_hold_no_control_characters(capsys):
    """X-S2: a terminal that shows the log is not steered by it."""
    logs.configure("job-service")
    structlog.get_logger().info("x", path="\x1b[2J\x7f\x9b\u202e")

    line = capsys.readouterr().out

    assert line.isascii()
    assert line.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "lease_token",
        "accessToken",
        "password",
        "new_password",
        "client_secret",
        "Authorization",
        "api_key",
        "apiKey",
        "x-api-key",
        "prompt",
        "messages",
        "content",
        "result_content",
        "cookie",
        "Set-Cookie",
    ],
)
@pytest.mark.parametrize("value", [CANARY, {"a": CANARY}, [CANARY], CANARY.encode()])
def test_secret_keys_are_redacted(events, key, value):
    """What stands under the name of a secret is not written, at any depth."""
    structlog.get_logger().info("x", **{key: value}, nested={"list": [{key: value}]})

    (event,) = events()

    assert CANARY not in json.dumps(event)
    assert event[key] == "[redacted]"


def test_counts_are_no_secrets(events):
    """Numbers of tokens are what we log most; they stay."""
    structlog.get_logger().info("x", prompt_tokens=12, content_type="text/plain", has_token=True)

    (event,) = events()

    assert event["prompt_tokens"] == 12
    assert event["content_type"] == "text/plain"
    assert event["has_token"] is True


def secret_texts():
    token = TestIssuer().person_token()
    return [
        ("sk-abcDEF123456", "sk-abcDEF123456"),
        (f"refused {token} today", token),
        (f"refused {token.rpartition('.')[0]}", token.split(".")[1]),
        ("Authorization: Bearer 0123456789abcdef", "0123456789abcdef"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("postgresql://job:hunter2@db:5432/job", "hunter2"),
        ("could not reach redis://:hunter2@redis:6379/0.", "hunter2"),
        ("https://user:hunter2@host/path?x=1", "hunter2"),
        ("postgresql+asyncpg://job:p@ss-hunter2@db/job", "hunter2"),
        ("violates check\nDETAIL:  Failing row contains (1, hunter2).\n", "hunter2"),
    ]


@pytest.mark.parametrize(("text", "secret"), secret_texts())
def test_secrets_inside_texts_are_masked(events, text, secret):
    """A credential in the middle of a sentence is masked, wherever the sentence stands."""
    structlog.get_logger().info(text, note=text, nested=[{"a": (text,)}], **{text: 1})
    logging.getLogger("sqlalchemy").error("failed: %s", text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        structlog.get_logger().exception("x")
        logging.getLogger("uvicorn.error").exception("y")

    found = events()

    assert len(found) == 4
    assert secret not in json.dumps(found)
    assert "RuntimeError" in found[2]["exception"]
    assert "RuntimeError" in found[3]["exception"]


def test_plain_texts_are_left_alone():
    """Redaction that eats ordinary words makes logs useless."""
    for text in (
        "https://host:8443/path@x",
        "job task-12 is at risk-free",
        "eyJ",
        "the bearer of news",
        "postgresql://db:5432/job",
        "10:20@30",
    ):
        assert redact(text) == text


def test_any_object_can_be_logged(events):
    """Depth, size and strange types do not break a log line."""

    class Strange:
        def __str__(self):
            return f"sk-{CANARY}-0000"

    deep: list = []
    deep.append(deep)
    structlog.get_logger().info("x", a=Strange(), b=deep, c={1: 2}, d="x" * 100_000, e={3, 4})

    (event,) = events()

    assert CANARY not in json.dumps(event)
    assert len(event["d"]) < MAX_CHARACTERS + 10
    assert event["c"] == {"1": 2}


def test_libraries_log_like_we_do(events):
    """A line of uvicorn or grpc has the same form and names its logger."""
    logging.getLogger("uvicorn.error").warning("socket %s", "closed")
    logging.getLogger("grpc._cython").error("poll")

    first, second = events()

    assert (first["event"], first["logger"], first["level"]) == (
        "socket closed",
        "uvicorn.error",
        "warning",
    )
    assert second["service"] == "job-service"
