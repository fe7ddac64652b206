"""Every reason of the services has its status and its OpenAI words."""

import json
from datetime import timedelta

import pytest

from gateway.entrypoints.error_responses import error_response
from service_kit.errors import ErrorCode, ServiceError


def error(code, reason, *, retry_after=None, **metadata):
    found = ServiceError("What happened.", metadata=metadata, retry_after=retry_after)
    found.code, found.reason = code, reason
    return found


TABLE = [
    (ErrorCode.UNAUTHENTICATED, "TOKEN_EXPIRED", 401, "authentication_error", "invalid_api_key"),
    (ErrorCode.UNAUTHENTICATED, "API_KEY_REFUSED", 401, "authentication_error", "invalid_api_key"),
    (
        ErrorCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
        403,
        "permission_error",
        "permission_denied",
    ),
    (ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND", 404, "invalid_request_error", "project_not_found"),
    (ErrorCode.NOT_FOUND, "MODEL_NOT_FOUND", 404, "invalid_request_error", "model_not_found"),
    (
        ErrorCode.FAILED_PRECONDITION,
        "MODEL_NOT_SERVED",
        404,
        "invalid_request_error",
        "model_not_found",
    ),
    (
        ErrorCode.INVALID_ARGUMENT,
        "PROMPT_TOO_LONG",
        400,
        "invalid_request_error",
        "context_length_exceeded",
    ),
    (
        ErrorCode.RESOURCE_EXHAUSTED,
        "BUDGET_EXCEEDED",
        429,
        "insufficient_quota",
        "insufficient_quota",
    ),
    (ErrorCode.FAILED_PRECONDITION, "NO_BUDGET", 429, "insufficient_quota", "insufficient_quota"),
    (ErrorCode.RESOURCE_EXHAUSTED, "NO_CAPACITY", 503, "server_error", "no_capacity"),
    (ErrorCode.UNAVAILABLE, "TARGET_UNAVAILABLE", 503, "server_error", "target_unavailable"),
    (ErrorCode.UNAVAILABLE, "UNAVAILABLE", 503, "server_error", "service_unavailable"),
    (ErrorCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", 504, "server_error", "deadline_exceeded"),
    (
        ErrorCode.ABORTED,
        "IDEMPOTENCY_KEY_IN_FLIGHT",
        409,
        "invalid_request_error",
        "idempotency_key_in_flight",
    ),
    (
        ErrorCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "invalid_request_error",
        "idempotency_key_reused",
    ),
    (ErrorCode.INTERNAL, "SOMETHING_SECRET", 500, "server_error", "internal_error"),
]


@pytest.mark.parametrize(("code", "reason", "status", "kind", "word"), TABLE)
def test_under_v1(code, reason, status, kind, word):
    """As the OpenAI API would say it."""
    response = error_response("/v1/chat/completions", error(code, reason))

    found = json.loads(response.body)["error"]
    assert (response.status_code, found["type"], found["code"]) == (status, kind, word)


@pytest.mark.parametrize(("code", "reason", "status", "kind", "word"), TABLE)
def test_elsewhere(code, reason, status, kind, word):
    """As a problem document with the same status, and the reason as its title."""
    response = error_response("/api/v1/jobs", error(code, reason))

    found = json.loads(response.body)
    assert response.status_code == found["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert found["title"] == ("INTERNAL" if code is ErrorCode.INTERNAL else reason)


@pytest.mark.parametrize("path", ["/v1/models", "/api/v1/jobs"])
def test_internal_errors_say_nothing(path):
    """Neither words nor values of a failure of ours reach a client."""
    failure = error(ErrorCode.INTERNAL, "DATABASE_ON_FIRE", host="db7")

    response = error_response(path, failure)

    assert b"FIRE" not in response.body
    assert b"db7" not in response.body
    assert b"What happened" not in response.body


def test_quota_is_not_retried_and_capacity_is():
    """A spent budget does not come back by asking again; a free slot may."""
    quota = error_response(
        "/v1/x",
        error(ErrorCode.RESOURCE_EXHAUSTED, "BUDGET_EXCEEDED", retry_after=timedelta(seconds=1)),
    )
    capacity = error_response("/v1/x", error(ErrorCode.UNAVAILABLE, "NO_CAPACITY"))

    assert quota.headers["x-should-retry"] == "false"
    assert "retry-after" not in quota.headers
    assert capacity.headers["retry-after"] == "1"
    assert "x-should-retry" not in capacity.headers


def test_field_becomes_param():
    """A field that a service refuses is named where OpenAI clients look for it."""
    refused = error(ErrorCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field="max_tokens")

    response = error_response("/v1/chat/completions", refused)

    assert json.loads(response.body)["error"]["param"] == "max_tokens"
