"""Errors as a client over HTTP sees them."""

from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict

from service_kit import http_errors, request_context
from service_kit.errors import ErrorCode, ServiceError, Unauthenticated, Unavailable


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount: int
    colour: str


@pytest.fixture
def app():
    app = FastAPI()
    http_errors.install(app)

    @app.post("/orders")
    async def order(_: Order) -> None:
        return None

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("the secret word")

    return app


@pytest.fixture
def client(app):
    return TestClient(app, raise_server_exceptions=False)


def raising(app, error):
    @app.get("/error")
    async def error_route() -> None:
        request_context.begin_request("req-1")
        raise error

    return TestClient(app, raise_server_exceptions=False).get("/error")


def an_error(code, reason="SOMETHING"):
    error = ServiceError("Words for people.", metadata={"job_id": "j1"})
    error.code, error.reason = code, reason
    return error


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_status(app, code):
    """The table to HTTP is complete, and a client error is never shown as ours or the reverse."""
    response = raising(app, an_error(code))

    assert response.status_code == http_errors.HTTP_STATUS[code]
    assert response.headers["content-type"] == "application/problem+json"
    ours = {ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED}
    assert (response.status_code >= 500) == (code in ours)


def test_problem_names_what_happened(app):
    """Reason, words, values and the request id are in the document."""
    response = raising(app, an_error(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND"))

    assert response.json() == {
        "type": "about:blank",
        "title": "JOB_NOT_FOUND",
        "status": 404,
        "detail": "Words for people.",
        "metadata": {"job_id": "j1"},
        "request_id": "req-1",
    }


def test_internal_error_is_hidden(app):
    """Even an error that says INTERNAL by its own name tells a client nothing more."""
    body = raising(app, an_error(ErrorCode.INTERNAL, "LEDGER_BROKEN")).json()

    assert (body["title"], body["detail"], body["metadata"]) == ("INTERNAL", "Internal error.", {})


def test_bug_is_hidden(client):
    """An unexpected exception becomes 500 without a word of it."""
    response = client.get("/bug")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "INTERNAL"
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("wait", "header"), [(timedelta(milliseconds=1), "1"), (timedelta(seconds=7), "7")]
)
def test_retry_after_is_in_whole_seconds(app, wait, header):
    """A client is never told to come back too early."""
    assert raising(app, Unavailable("database", wait)).headers["retry-after"] == header


def test_unauthenticated_names_the_scheme(app):
    """401 carries the challenge that HTTP asks for."""
    response = raising(app, Unauthenticated("TOKEN_EXPIRED"))

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["title"] == "TOKEN_EXPIRED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "canary-7f3a", "colour": "red"}, "body.amount"),
        ({"amount": 1}, "body.colour"),
        ({"amount": 1, "colour": {"canary-7f3a": 1}}, "body.colour"),
        ({"amount": 1, "colour": "red", "role": "canary-7f3a"}, "body.role"),
        (["canary-7f3a"], "body"),
    ],
)
def test_invalid_request_names_the_field_and_not_the_value(client, body, field):
    """422 says what to correct without repeating what was sent."""
    response = client.post("/orders", json=body)

    assert response.status_code == 422
    assert response.json()["title"] == "VALIDATION_FAILED"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert "canary" not in response.text


def test_body_that_is_no_json_is_422(client):
    """Garbage is the client's mistake, and is not sent back."""
    response = client.post(
        "/orders", content=b'{"canary-7f3a', headers={"content-type": "application/json"}
    )

    assert response.status_code == 422
    assert "canary" not in response.text


def test_complaints_are_bounded(client):
    """A request with a thousand mistakes gets a short answer."""
    body = {"amount": 1, "colour": "red"} | {"x" * 5000 + str(number): 1 for number in range(1000)}
    response = client.post("/orders", json=body)

    assert response.status_code == 422
    assert len(response.content) < 20_000


def test_unknown_routes_are_problems_too(client):
    """404 and 405 have the same form as everything else."""
    missing, wrong = client.get("/nowhere"), client.get("/orders")

    assert (missing.status_code, missing.json()["title"]) == (404, "ROUTE_NOT_FOUND")
    assert (wrong.status_code, wrong.json()["title"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "POST"
    assert missing.headers["content-type"] == "application/problem+json"
