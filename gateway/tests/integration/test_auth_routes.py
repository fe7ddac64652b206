"""Accounts, sessions and API keys over HTTP."""

import pytest
from weir.auth.v1 import access_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import PROJECT_ID, USER_ID, an_api_key, api_key, refusal

ACCOUNT = {"email": "ada@example.com", "name": "Ada Lovelace", "password": "correct horse battery"}


@pytest.mark.parametrize("field", ["name", "full_name"])
async def test_register(http, script, field):
    """A new account gets its tokens and reads who it is; the name comes under either word."""
    body = {**ACCOUNT, field: ACCOUNT["name"]}
    if field == "full_name":
        del body["name"]

    answer = await http.post("/api/v1/auth/register", json=body)

    assert answer.status_code == 201
    assert answer.json() == {
        "access_token": "access",
        "refresh_token": "refresh",
        "token_type": "bearer",
        "expires_in": 900,
        "user": {
            "id": USER_ID,
            "email": "ada@example.com",
            "username": "ada",
            "full_name": "Ada Lovelace",
            "role": "user",
        },
    }
    sent = script.last("Register").request
    assert (sent.email, sent.full_name, sent.username) == ("ada@example.com", "Ada Lovelace", "")


@pytest.mark.parametrize("field", ["username", "email"])
async def test_login(http, script, field):
    """One logs in by username or by e-mail address, and gets exactly four fields."""
    answer = await http.post("/api/v1/auth/login", json={field: "ada", "password": "secret"})

    assert answer.status_code == 200
    assert answer.json() == {
        "access_token": "access",
        "refresh_token": "refresh",
        "token_type": "bearer",
        "expires_in": 900,
    }
    assert script.last("Login").request.identifier == "ada"


async def test_refresh(http, script):
    """A refresh token becomes a new pair."""
    answer = await http.post("/api/v1/auth/refresh", json={"refresh_token": "old"})

    assert answer.status_code == 200
    assert answer.json()["refresh_token"] == "refresh"
    assert script.last("RefreshTokens").request.refresh_token == "old"


async def test_me(http, person):
    """The account of whoever asks."""
    answer = await http.get("/api/v1/auth/me", headers=person)

    assert answer.json() == {
        "id": USER_ID,
        "email": "ada@example.com",
        "username": "ada",
        "full_name": "Ada Lovelace",
        "role": "user",
        "created_at": "2026-01-02T03:04:05Z",
        "last_login": "2026-01-02T03:04:05Z",
        "active_sessions_count": 2,
        "default_project_id": PROJECT_ID,
    }


async def test_api_key_shows_its_secret_once(http, script, person):
    """The secret is in the first answer; a replay has the key without it."""
    headers = {**person, "Idempotency-Key": "k1"}
    body = {
        "name": "laptop",
        "scopes": ["read", "jobs:write"],
        "expires_at": "2027-01-01T00:00:00Z",
    }

    first = await http.post("/api/v1/auth/api-keys", headers=headers, json=body)
    script.answers["CreateApiKey"] = access_service_pb2.CreateApiKeyResponse(api_key=an_api_key())
    again = await http.post("/api/v1/auth/api-keys", headers=headers, json=body)

    assert first.status_code == again.status_code == 201
    assert first.json()["secret"] == api_key()
    assert again.json()["secret"] is None
    assert first.json()["key_id"] == again.json()["key_id"]
    sent = script.last("CreateApiKey").request
    assert sent.request_id == "k1"
    assert list(sent.scopes) == [
        access_service_pb2.API_KEY_SCOPE_READ,
        access_service_pb2.API_KEY_SCOPE_JOBS_WRITE,
    ]
    assert sent.expires_at.ToJsonString() == "2027-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("register", {**ACCOUNT, "role": "admin"}),
        ("register", {**ACCOUNT, "full_name": "Somebody Else"}),
        ("register", {"email": "ada@example.com"}),
        ("register", {**ACCOUNT, "password": "x" * 1025}),
        ("register", []),
        ("login", {"password": "x"}),
        ("login", {"username": "a", "email": "a", "password": "x"}),
        ("login", {"username": "a", "password": "x", "role": "admin"}),
        ("refresh", {}),
        ("refresh", {"refresh_token": "x", "user_id": "y"}),
    ],
)
async def test_bodies_of_another_shape_are_refused(http, script, path, body):
    """What is missing, unknown or contradictory is 422, and no value is repeated."""
    answer = await http.post(f"/api/v1/auth/{path}", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "x" * 100 not in answer.text
    assert not script.of("Register") + script.of("Login") + script.of("RefreshTokens")


@pytest.mark.parametrize(
    ("method", "path", "error", "status"),
    [
        ("Register", "register", (ErrorCode.ALREADY_EXISTS, "EMAIL_TAKEN"), 409),
        ("Register", "register", (ErrorCode.PERMISSION_DENIED, "REGISTRATION_CLOSED"), 403),
        ("Register", "register", (ErrorCode.INVALID_ARGUMENT, "PASSWORD_REFUSED"), 400),
        ("Login", "login", (ErrorCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED"), 401),
        ("RefreshTokens", "refresh", (ErrorCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED"), 401),
    ],
)
async def test_refusals_travel(http, script, method, path, error, status):
    """What auth-service refuses is a problem with its reason."""
    script.answers[method] = refusal(*error)
    body = {
        "register": ACCOUNT,
        "login": {"username": "a", "password": "x"},
        "refresh": {"refresh_token": "x"},
    }[path]

    answer = await http.post(f"/api/v1/auth/{path}", json=body)

    assert answer.status_code == status
    assert answer.json()["title"] == error[1]


async def test_token_of_the_client_is_not_sent_to_login(http, script, person):
    """Routes that need no credential ignore one."""
    await http.post("/api/v1/auth/login", headers=person, json={"username": "a", "password": "x"})

    assert "authorization" not in script.last("Login").metadata
