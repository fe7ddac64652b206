"""Budgets by period, top-ups, alerts and allowances over HTTP."""

import pytest
from weir.cost.v1 import cost_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import PROJECT_ID, USER_ID, api_key, owner_of, refusal

BUDGET = f"/api/v1/costs/projects/{PROJECT_ID}/budget"
TOP_UP = f"{BUDGET}/top-up"
TEAM_ID = "0192f0c0-0000-7000-8000-0000000000d1"
KEY_ID = "0192f0c0-0000-7000-8000-0000000000e1"
# Where the budgets of each kind of owner are, and the id they are named by.
OWNERS = [
    (f"/api/v1/costs/projects/{PROJECT_ID}", {"project_id": PROJECT_ID}),
    (f"/api/v1/costs/teams/{TEAM_ID}", {"team_id": TEAM_ID}),
    (f"/api/v1/costs/api-keys/{KEY_ID}", {"api_key_id": KEY_ID}),
]
of_each_owner = pytest.mark.parametrize(
    ("base", "owner"), OWNERS, ids=["project", "team", "api_key"]
)
ALLOWANCE = f"/api/v1/costs/allowances/{USER_ID}"
A_MONTH = {
    "period_kind": "monthly",
    "period": "2026-01",
    "has_budget": True,
    "budget_allocated": 100.0,
    "budget_allocated_nanousd": 100_000_000_000,
    "actual_cost": 85.0,
    "actual_cost_nanousd": 85_000_000_000,
    "reserved": 0.5,
    "reserved_nanousd": 500_000_000,
    "remaining_budget": 14.5,
    "remaining_budget_nanousd": 14_500_000_000,
    "percentage_used": 85.5,
    "status": "warning",
}


def named(request):
    """Return the one id that a request to cost-service names."""
    return {name: value for name, value in owner_of(request).items() if value}


@of_each_owner
async def test_budget_has_the_documented_shape(http, script, person, base, owner):
    """All fields of the documents, exact amounts beside them, and every period that has a cap."""
    answer = await http.get(f"{base}/budget", headers=person)

    month = {**owner, **A_MONTH}
    day = {**month, "period_kind": "daily", "period": "2026-01-02"}
    assert answer.json() == {**month, "periods": [month, day]}
    assert named(script.last("GetBudget").request) == owner


@of_each_owner
@pytest.mark.parametrize("period", [None, "monthly", "daily", "total"])
async def test_budget_of_a_period(http, script, person, base, owner, period):
    """Each kind of period is passed on; none means monthly."""
    body = {"budget_allocated": "12.50"} | ({"period": period} if period else {})
    answer = await http.put(f"{base}/budget", headers=person, json=body)

    sent = script.last("SetBudget").request
    name = cost_service_pb2.BudgetPeriod.Name(sent.period)
    assert (answer.status_code, sent.cap_nanousd) == (200, 12_500_000_000)
    assert named(sent) == owner
    assert owner.items() <= answer.json().items()
    assert name == f"BUDGET_PERIOD_{(period or 'monthly').upper()}"
    assert answer.json()["period_kind"] == (period or "monthly")


@of_each_owner
async def test_top_up(http, script, person, base, owner):
    """The amount and the idempotency key are passed on; the new budget comes back."""
    answer = await http.post(
        f"{base}/budget/top-up",
        headers={**person, "Idempotency-Key": "k1"},
        json={"amount": 0.000000001},
    )

    sent = script.last("TopUpBudget").request
    assert (sent.amount_nanousd, sent.request_id) == (1, "k1")
    assert named(sent) == owner
    assert answer.json()["budget_allocated_nanousd"] == 100_000_000_001


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (ErrorCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", 422),
        (ErrorCode.FAILED_PRECONDITION, "ALLOWANCE_EXCEEDED", 409),
        (ErrorCode.FAILED_PRECONDITION, "BUDGET_NOT_SET", 409),
        (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", 403),
        (ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND", 404),
    ],
)
async def test_refused_top_ups(http, script, person, code, reason, status):
    """Each refusal has its status."""
    script.answers["TopUpBudget"] = refusal(code, reason)

    headers = {**person, "Idempotency-Key": "k1"}
    answer = await http.post(TOP_UP, headers=headers, json={"amount": 1})

    assert (answer.status_code, answer.json()["title"]) == (status, reason)


@of_each_owner
async def test_top_up_needs_a_key(http, script, person, base, owner):
    """Repeated for want of an answer, it would add again."""
    answer = await http.post(f"{base}/budget/top-up", headers=person, json={"amount": 1})

    assert (answer.status_code, answer.json()["metadata"]) == (400, {"field": "Idempotency-Key"})
    assert not script.of("TopUpBudget")


@pytest.mark.parametrize(
    ("method", "path", "field", "rpc"),
    [
        *(("PUT", f"{base}/budget", "budget_allocated", "SetBudget") for base, _ in OWNERS),
        *(("POST", f"{base}/budget/top-up", "amount", "TopUpBudget") for base, _ in OWNERS),
        ("PUT", ALLOWANCE, "allowance", "SetAllowance"),
    ],
)
@pytest.mark.parametrize(
    "amount", ["-1", "-0.000000001", "0.0000000001", "1e400", "9223372036.854775808", '"NaN"']
)
async def test_amounts_that_are_none(http, script, person, method, path, field, rpc, amount):
    """X-M4: negative, too fine, too large or not a number: 422, and nobody is asked."""
    bad = await http.request(
        method,
        path,
        headers={**person, "content-type": "application/json", "Idempotency-Key": "k1"},
        content=f'{{"{field}": {amount}}}',
    )

    assert bad.status_code == 422, bad.text
    assert bad.json()["errors"][0]["field"] == f"body.{field}"
    assert not script.of(rpc)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", TOP_UP, {"amount": 0}),
        ("POST", TOP_UP, {"amount": 1, "period": "weekly"}),
        ("PUT", BUDGET, {"budget_allocated": 1, "period": "MONTHLY"}),
        ("PUT", BUDGET, {"budget_allocated": 1, "scope": "team"}),
        ("DELETE", f"{BUDGET}?period=monthly", None),
        *(("DELETE", f"{base}/budget", None) for base, _ in OWNERS),
        *(("GET", f"{base}/alerts?page_size=0", None) for base, _ in OWNERS),
    ],
)
async def test_what_is_not_offered(http, script, person, method, path, body):
    """An empty top-up, an unknown period or field, and taking the monthly budget away: 422."""
    headers = {**person, "Idempotency-Key": "k1"}
    answer = await http.request(method, path, headers=headers, json=body)

    assert answer.status_code == 422, answer.text
    assert not script.of("TopUpBudget") + script.of("SetBudget") + script.of("ClearBudget")


@pytest.mark.parametrize(
    ("base", "owner", "period"),
    [
        (base, owner, period)
        for base, owner in OWNERS
        for period in ("monthly", "daily", "total")
        if "project_id" not in owner or period != "monthly"
    ],
)
async def test_budget_is_taken_away(http, script, person, base, owner, period):
    """Nothing is left to be shown."""
    answer = await http.delete(f"{base}/budget", headers=person, params={"period": period})

    sent = script.last("ClearBudget").request
    assert (answer.status_code, answer.content) == (204, b"")
    assert sent.period == cost_service_pb2.BudgetPeriod.Value(f"BUDGET_PERIOD_{period.upper()}")
    assert named(sent) == owner


@pytest.mark.parametrize(
    ("owners", "reason"),
    [
        ("projects", "PROJECT_NOT_FOUND"),
        ("teams", "TEAM_NOT_FOUND"),
        ("api-keys", "API_KEY_NOT_FOUND"),
    ],
)
async def test_what_can_be_no_id_is_absent(http, script, person, owners, reason):
    """404, without anybody being asked."""
    answer = await http.get(f"/api/v1/costs/{owners}/1/budget", headers=person)

    assert (answer.status_code, answer.json()["title"]) == (404, reason)
    assert not script.of("GetBudget")


async def test_key_in_the_place_of_its_id_is_not_repeated(http, person):
    """Whoever mistakes the one for the other finds no secret in the answer."""
    answer = await http.get(f"/api/v1/costs/api-keys/{api_key()}/budget", headers=person)

    assert answer.status_code == 404
    assert api_key()[3:20] not in answer.json()["detail"]
    assert answer.json().get("metadata", {}) == {}


@of_each_owner
async def test_alerts(http, script, person, base, owner):
    """A page of them, with the token of the next one passed through."""
    answer = await http.get(
        f"{base}/alerts",
        headers=person,
        params={"page_size": 1, "page_token": "abc"},
    )

    assert answer.json() == {
        **owner,
        "alerts": [
            {
                "alert_id": 7,
                "level": "critical",
                "percent": 95,
                "period_kind": "daily",
                "period": "2026-01-02",
                "budget_allocated": 10.0,
                "budget_allocated_nanousd": 10_000_000_000,
                "actual_cost": 9.6,
                "actual_cost_nanousd": 9_600_000_000,
                "created_at": "2026-01-02T03:04:05Z",
            }
        ],
        "next_page_token": "next",
    }
    sent = script.last("ListBudgetAlerts").request
    assert (sent.page_size, sent.page_token) == (1, "abc")
    assert named(sent) == owner


async def test_allowance(http, script, person):
    """Set and shown in dollars, with the exact figures beside them."""
    answer = await http.put(ALLOWANCE, headers=person, json={"allowance": "100"})

    assert answer.json() == (await http.get(ALLOWANCE, headers=person)).json()
    assert answer.json() == {
        "user_id": USER_ID,
        "allowance": 100.0,
        "allowance_nanousd": 100_000_000_000,
        "allocated": 60.0,
        "allocated_nanousd": 60_000_000_000,
        "left": 40.0,
        "left_nanousd": 40_000_000_000,
    }
    assert script.last("SetAllowance").request.amount_nanousd == 100_000_000_000
