"""Who is let in, as whom, and what the services behind get to know."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from weir.auth.v1 import access_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import PROJECT_ID, USER_ID, api_key, refusal, stamp

ME = "/api/v1/auth/me"
PROTECTED = [
    ("GET", ME),
    ("POST", "/api/v1/auth/api-keys"),
    ("GET", "/api/v1/projects"),
    ("POST", "/api/v1/projects"),
    ("GET", f"/api/v1/projects/{PROJECT_ID}"),
    ("GET", "/api/v1/teams"),
    ("POST", "/api/v1/teams"),
    ("GET", f"/api/v1/teams/{PROJECT_ID}"),
    ("PUT", f"/api/v1/projects/{PROJECT_ID}/budget"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/budget"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/savings"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/suggestions"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/export.csv"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/compute-jobs"),
    ("GET", f"/api/v1/costs/teams/{PROJECT_ID}"),
    ("GET", "/api/v1/costs/report"),
    ("PUT", f"/api/v1/costs/projects/{PROJECT_ID}/budget"),
    ("DELETE", f"/api/v1/costs/projects/{PROJECT_ID}/budget"),
    ("POST", f"/api/v1/costs/projects/{PROJECT_ID}/budget/top-up"),
    ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/alerts"),
    *(
        (method, f"/api/v1/costs/{owners}/{PROJECT_ID}/{path}")
        for owners in ("teams", "api-keys")
        for method, path in (
            ("GET", "budget"),
            ("PUT", "budget"),
            ("DELETE", "budget"),
            ("POST", "budget/top-up"),
            ("GET", "alerts"),
        )
    ),
    ("GET", f"/api/v1/costs/allowances/{USER_ID}"),
    ("PUT", f"/api/v1/costs/allowances/{USER_ID}"),
    ("GET", f"/api/v1/costs/jobs/{PROJECT_ID}"),
    ("GET", f"/api/v1/costs/jobs/{PROJECT_ID}/entries"),
    ("POST", f"/api/v1/costs/jobs/{PROJECT_ID}/refunds"),
    ("POST", f"/api/v1/costs/jobs/{PROJECT_ID}/surcharges"),
    ("GET", "/api/v1/costs/prices"),
    ("GET", "/api/v1/costs/prices/versions"),
    ("POST", "/api/v1/costs/prices/versions"),
    ("GET", "/api/v1/costs/prices/versions/1"),
    ("GET", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs"),
    ("POST", f"/api/v1/jobs/{PROJECT_ID}/cancel"),
    ("POST", f"/api/v1/jobs/{PROJECT_ID}/retry"),
    ("GET", "/api/v1/dead-letters"),
    ("POST", "/api/v1/dead-letters/redrive"),
    ("GET", f"/api/v1/dead-letters/{PROJECT_ID}"),
    ("DELETE", f"/api/v1/dead-letters/{PROJECT_ID}"),
    ("POST", f"/api/v1/dead-letters/{PROJECT_ID}/redrive"),
    ("GET", f"/api/v1/jobs/{PROJECT_ID}"),
    ("GET", f"/api/v1/jobs/{PROJECT_ID}/events"),
    ("GET", f"/api/v1/jobs/{PROJECT_ID}/receipt"),
    ("POST", "/api/v1/route"),
    ("GET", "/api/v1/admin/scheduler"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/auto"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_nobody_without_credentials(http, method, path):
    """Who shows nothing gets 401 before anything in the request is judged."""
    answer = await http.request(method, path, json={})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if path.startswith("/v1"):
        assert answer.json()["error"]["code"] == "invalid_api_key"
    else:
        assert answer.json()["title"] == "CREDENTIAL_MISSING"


async def test_every_route_is_open_on_purpose(http):
    """Every path of the document is in the list above, or needs no credential by design."""
    paths = (await http.get("/openapi.json")).json()["paths"]
    secured = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation.get("security")
    }

    assert len(secured) == len(PROTECTED)
    assert {path for path in paths if path not in {path for _, path in secured}} == {
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/.well-known/weir-receipt-keys.json",
        "/api/v1/auth/register",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {api_key()}"},
        {"authorization": f"bearer {api_key()}"},
        {"authorization": api_key()},
        {"x-api-key": api_key()},
    ],
    ids=["bearer", "lower-case", "bare", "x-api-key"],
)
async def test_forms_of_a_key(http, headers):
    """All documented spellings work (K7)."""
    assert (await http.get("/v1/models", headers=headers)).status_code == 200


async def test_person_token_is_forwarded_as_it_is(http, script, person):
    """The services verify it again themselves."""
    await http.get(ME, headers=person)

    assert script.last("GetCurrentUser").metadata["authorization"] == person["authorization"]


async def test_key_is_exchanged_and_never_forwarded(http, script):
    """Behind the edge there is the internal token only, and the key is asked for once."""
    key = api_key("x")
    for _ in range(3):
        await http.get("/api/v1/jobs", headers={"authorization": f"Bearer {key}"})

    forwarded = script.last("ListJobs").metadata["authorization"]
    assert len(script.of("ExchangeApiKey")) == 1
    assert forwarded.startswith("Bearer eyJ")
    assert all(
        key not in str(call.metadata) + str(call.request)
        for call in script.calls
        if call.method != "ExchangeApiKey"
    )


@pytest.mark.parametrize("path", [ME, "/v1/models"])
async def test_internal_token_is_refused_at_the_edge(http, issuer, path):
    """It would open doors that were meant for the services alone."""
    token = issuer.key_token(USER_ID, project_id=PROJECT_ID)

    answer = await http.get(path, headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == 401


def claims(issuer, **changes):
    now = int(datetime.now(UTC).timestamp())
    return {
        "iss": "weir",
        "sub": USER_ID,
        "aud": "weir",
        "iat": now,
        "nbf": now,
        "exp": now + 900,
        "sid": "s",
        "role": "user",
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"aud": ["weir"]},
        {"iss": "other"},
        {"exp": 1},
        {"exp": "9999999999"},
        {"sub": ""},
    ],
)
async def test_tokens_not_meant_for_us(http, issuer, changes):
    """Another audience or issuer, or another time: 401."""
    token = issuer.sign(claims(issuer, **changes))

    answer = await http.get(ME, headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == 401


async def test_refused_key(http, script):
    """What auth-service refuses is 401 in the words of either world."""
    script.answers["ExchangeApiKey"] = refusal(ErrorCode.UNAUTHENTICATED, "API_KEY_REFUSED")
    headers = {"x-api-key": api_key("r")}

    under_v1 = await http.get("/v1/models", headers=headers)
    elsewhere = await http.get("/api/v1/jobs", headers=headers)

    assert under_v1.status_code == elsewhere.status_code == 401
    assert under_v1.json()["error"]["code"] == "invalid_api_key"
    assert elsewhere.json()["title"] == "API_KEY_REFUSED"


@pytest.mark.parametrize("credential", ["Bearer sk-guess", "sk-" + "a" * 49, "Bearer a.b.c", "x"])
async def test_guesses_ask_nobody(http, script, credential):
    """A checksum or a signature refuses them here (X-A17)."""
    script.calls.clear()

    answer = await http.get("/v1/models", headers={"authorization": credential})

    assert answer.status_code == 401
    assert not script.of("ExchangeApiKey") + script.of("CheckAccess")


async def test_two_credentials_are_none(http, person):
    """Whose request it would be is not for us to choose."""
    answer = await http.get(ME, headers={**person, "x-api-key": api_key()})

    assert answer.status_code == 401
    assert answer.json()["title"] == "CREDENTIAL_AMBIGUOUS"


async def test_claimed_identities_have_no_effect(http, script, person):
    """Headers that say who the caller is, or what gRPC would carry, go nowhere (X-Z5)."""
    lies = {
        "X-User-Id": "root",
        "X-Weir-User": "root",
        "X-Role": "super_admin",
        "X-Project-Id": "p9",
        "X-Forwarded-User": "root",
        "X-Forwarded-For": "9.9.9.9",
        "grpc-metadata-authorization": "Bearer evil",
        "x-weir-caller": "spiffe://weir/job-service",
        "Cookie": "session=root",
    }

    honest = await http.get(ME, headers=person)
    plain = set(script.last("GetCurrentUser").metadata)
    lying = await http.get(ME, headers={**person, **lies})

    assert lying.json() == honest.json()
    metadata = script.last("GetCurrentUser").metadata
    assert set(metadata) == plain
    assert metadata["authorization"] == person["authorization"]


@pytest.mark.parametrize("sent", ["abc-1.2_3", "bad id", "x" * 65, "ä"])
async def test_request_id_follows_the_request(http, script, person, sent):
    """A sane id is kept on every hop; any other is replaced."""
    answer = await http.get(ME, headers={**person, "x-request-id": sent.encode("latin-1")})

    kept = answer.headers["x-request-id"]
    assert (kept == sent) == (sent == "abc-1.2_3")
    assert script.last("GetCurrentUser").metadata["x-request-id"] == kept


async def test_denied_session_is_out_within_seconds(http, issuer, until):
    """A logged-out token opens nothing after the next poll."""
    token = issuer.person_token(USER_ID, sid="session-denied")
    headers = {"authorization": f"Bearer {token}"}
    assert (await http.get(ME, headers=headers)).status_code == 200

    issuer.deny("session", "session-denied")

    async def refused():
        return (await http.get(ME, headers=headers)).status_code == 401

    await until(refused, seconds=5)


async def test_denied_key_is_exchanged_anew_or_out(http, issuer, script, until):
    """A kept token that is denied is dropped; auth-service decides whether the key is good."""
    key_ids = iter(["key-old", "key-old", "key-new", "key-new"])

    def exchange(request, context):
        return access_service_pb2.ExchangeApiKeyResponse(
            internal_token=issuer.key_token(USER_ID, project_id=PROJECT_ID, key_id=next(key_ids)),
            expires_at=stamp(datetime.now(UTC) + timedelta(seconds=60)),
        )

    script.answers["ExchangeApiKey"] = exchange
    headers = {"x-api-key": api_key("d")}
    assert (await http.get("/api/v1/jobs", headers=headers)).status_code == 200

    issuer.deny("key", "key-old")

    async def asked_again():
        await http.get("/api/v1/jobs", headers=headers)
        return len(script.of("ExchangeApiKey")) >= 3

    await until(asked_again, seconds=5)
    assert (await http.get("/api/v1/jobs", headers=headers)).status_code == 200


async def test_expired_exchange_is_renewed(http, issuer, script):
    """A token that is about to end is not used for another call."""

    def short(request, context):
        return access_service_pb2.ExchangeApiKeyResponse(
            internal_token=issuer.key_token(USER_ID, project_id=PROJECT_ID),
            expires_at=stamp(datetime.now(UTC) + timedelta(seconds=5)),
        )

    script.answers["ExchangeApiKey"] = short
    for _ in range(2):
        await http.get("/v1/models", headers={"x-api-key": api_key("e")})

    assert len(script.of("ExchangeApiKey")) == 2


async def test_auth_service_away(http, script, issuer):
    """Who can't be checked is asked to come back; nobody is let in or sent away for good."""
    script.answers["ExchangeApiKey"] = refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    answer = await http.get("/v1/models", headers={"x-api-key": api_key("w")})

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_permission_is_checked_here_for_what_the_router_serves(http, script, person):
    """The router knows no users, so the edge asks who may see models."""
    script.answers["CheckAccess"] = refusal(ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")
    headers = {**person, "OpenAI-Project": "0192f0c0-0000-7000-8000-0000000000e1"}

    for method, path in [("GET", "/v1/models"), ("GET", "/v1/models/auto")]:
        assert (await http.request(method, path, headers=headers)).status_code == 404
    dry_run = await http.post("/api/v1/route", headers=headers, json={"prompt": "x"})

    assert dry_run.status_code == 404
    assert not script.of("ExplainRoute")
    asked_with = [call.metadata.get("x-request-id") for call in script.of("ListTargets")]
    assert dry_run.headers["x-request-id"] not in asked_with


async def test_missing_permission(http, script, issuer):
    """A member who may not see models is told what is missing."""
    access = script.answers["CheckAccess"]

    def nothing(request, context):
        found = access(request, context)
        del found.permissions[:]
        return found

    script.answers["CheckAccess"] = nothing
    token = issuer.person_token("0192f0c0-0000-7000-8000-00000000000e")

    answer = await http.get("/v1/models", headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"


async def test_tokens_are_not_mixed_up(served, script, issuer):
    """A hundred requests at once: each is forwarded with its own token."""
    users = [f"0192f0c0-0000-7000-8000-{number:012d}" for number in range(100)]
    tokens = {issuer.person_token(user) for user in users}

    async with served.client(limits=httpx.Limits(max_connections=20)) as client:
        await asyncio.gather(
            *(client.get(ME, headers={"authorization": f"Bearer {token}"}) for token in tokens)
        )

    forwarded = [
        call.metadata["authorization"].removeprefix("Bearer ")
        for call in script.of("GetCurrentUser")
    ]
    assert sorted(forwarded) == sorted(tokens)
