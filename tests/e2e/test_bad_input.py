"""Bad input gets a clear error of the right shape, and costs nothing."""

from __future__ import annotations

import httpx
import pytest

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}


async def test_wrong_password_and_unknown_user_read_the_same(account, stack):
    """Whoever guesses learns nothing about which accounts exist."""
    async with httpx.AsyncClient(base_url=stack.gateway_url) as anybody:
        wrong = await anybody.post(
            "/api/v1/auth/login", json={"username": account.username, "password": "wrong-password"}
        )
        unknown = await anybody.post(
            "/api/v1/auth/login", json={"username": "nobody-here", "password": "wrong-password"}
        )

    assert wrong.status_code == unknown.status_code == 401
    assert _without_request_id(wrong) == _without_request_id(unknown)
    assert wrong.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**CHAT, "max_tokens": -1}, "max_tokens"),
        ({**CHAT, "max_tokens": "many"}, "max_tokens"),
        ({**CHAT, "messages": []}, "messages"),
        ({**CHAT, "messages": [{"role": "wizard", "content": "Hi"}]}, "messages"),
        ({**CHAT, "n": 2}, "n"),
        ({"model": "auto"}, "messages"),
    ],
)
async def test_bad_chat_request_names_the_parameter(account, body, param):
    """Under /v1 an error has OpenAI's shape and says which parameter is wrong."""
    refused = await account.v1.post("/v1/chat/completions", json=body)

    assert refused.status_code in (400, 422)
    error = refused.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param)
    assert await account.charged_nanousd() == 0


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"[]", b'{"model": NaN}', b'{"a":1,"a":2}', b"\xff\xfe", b"[" * 2000],
)
async def test_malformed_json_is_a_client_error(account, body):
    """Whatever the bytes are, it is the client's error and not ours."""
    for path in ("/v1/chat/completions", "/api/v1/jobs"):
        refused = await account.v1.post(
            path, content=body, headers={"content-type": "application/json"}
        )
        assert 400 <= refused.status_code < 500, (path, refused.status_code)


async def test_body_over_the_limit_is_refused(account):
    """A body over the limit is 413, announced by its length or not."""
    big = b'{"x": "' + b"a" * (2 << 20) + b'"}'

    async def in_chunks():
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    headers = {"content-type": "application/json"}
    measured = await account.v1.post("/v1/chat/completions", content=big, headers=headers)
    chunked = await account.v1.post("/v1/chat/completions", content=in_chunks(), headers=headers)

    assert measured.status_code == chunked.status_code == 413
    assert measured.json()["error"]["type"] == "invalid_request_error"


async def test_foreign_and_expired_tokens_are_refused(account, tokens_of_others):
    """A token somebody else signed, or whose time is over, opens nothing."""
    for name, token in tokens_of_others(account.user_id).items():
        refused = await account.http.get(
            "/api/v1/auth/me", headers={"authorization": f"Bearer {token}"}
        )
        assert refused.status_code == 401, name
        assert refused.headers["content-type"] == "application/problem+json"


async def test_unknown_project_is_not_found(account):
    """A project that does not exist is a 404, for work and for money."""
    unknown = "0192f0c0-0000-7000-8000-000000000000"

    job = await account.http.post(
        "/api/v1/jobs",
        json={"project_id": unknown, "type": "generation_v2", "payload": {"prompt": "x"}},
    )
    costs = await account.http.get(f"/api/v1/costs/projects/{unknown}")

    assert job.status_code == costs.status_code == 404
    assert job.json()["title"] == costs.json()["title"] == "PROJECT_NOT_FOUND"


async def test_foreign_project_can_be_neither_used_nor_read(account, new_account):
    """Nobody spends from, or reads, a project of another user."""
    stranger = await new_account()

    used = await stranger.http.post(
        "/api/v1/jobs",
        json={
            "project_id": account.project_id,
            "type": "generation_v2",
            "payload": {"prompt": "x"},
        },
    )
    read = await stranger.http.get(f"/api/v1/costs/projects/{account.project_id}/budget")
    set_to = await stranger.http.put(
        f"/api/v1/projects/{account.project_id}/budget", json={"budget_allocated": "1"}
    )

    assert {used.status_code, read.status_code, set_to.status_code} == {404}


async def test_no_credentials_no_entry(stack):
    """Every route but the public ones asks for credentials."""
    async with httpx.AsyncClient(base_url=stack.gateway_url) as anybody:
        for method, path in [
            ("GET", "/v1/models"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/api/v1/jobs"),
            ("POST", "/api/v1/jobs"),
            ("GET", "/api/v1/auth/me"),
            ("POST", "/api/v1/projects"),
        ]:
            refused = await anybody.request(method, path, json={})
            assert refused.status_code == 401, path


async def test_read_key_can_not_spend(account):
    """A key with the default scope reads; it runs and creates nothing."""
    key = await account.new_key(scopes=["read"])

    listed = await account.v1.get("/api/v1/jobs", headers={"authorization": f"Bearer {key}"})
    chat = await account.v1.post(
        "/v1/chat/completions", json=CHAT, headers={"authorization": f"Bearer {key}"}
    )

    assert listed.status_code == 200
    assert chat.status_code == 403
    assert await account.charged_nanousd() == 0


def _without_request_id(response):
    return {name: value for name, value in response.json().items() if name != "request_id"}
