"""Budgets by period, top-ups, alerts and allowances over HTTP."""

import pytest
from weir.cost.v1 import cost_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import PROJECT_ID, USER_ID, refusal

BUDGET = f"/api/v1/costs/projects/{PROJECT_ID}/budget"
TOP_UP = f"{BUDGET}/top-up"
ALLOWANCE = f"/api/v1/costs/allowances/{USER_ID}"
A_MONTH = {
    "project_id": PROJECT_ID,
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


async def test_budget_has_the_documented_shape(http, person):
    """All fields of the documents, exact amounts beside them, and every period that has a cap."""
    answer = await http.get(BUDGET, headers=person)

    day = {**A_MONTH, "period_kind": "daily", "period": "2026-01-02"}
    assert answer.json() == {**A_MONTH, "periods": [A_MONTH, day]}


@pytest.mark.parametrize("period", [None, "monthly", "daily", "total"])
async def test_budget_of_a_period(http, script, person, period):
    """Each kind of period is passed on; none means monthly."""
    body = {"budget_allocated": "12.50"} | ({"period": period} if period else {})
    answer = await http.put(BUDGET, headers=person, json=body)

    sent = script.last("SetBudget").request
    name = cost_service_pb2.BudgetPeriod.Name(sent.period)
    assert (answer.status_code, sent.cap_nanousd) == (200, 12_500_000_000)
    assert name == f"BUDGET_PERIOD_{(period or 'monthly').upper()}"
    assert answer.json()["period_kind"] == (period or "monthly")


async def test_top_up(http, script, person):
    """The amount and the idempotency key are passed on; the new budget comes back."""
    answer = await http.post(
        TOP_UP, headers={**person, "Idempotency-Key": "k1"}, json={"amount": 0.000000001}
    )

    sent = script.last("TopUpBudget").request
    assert (sent.amount_nanousd, sent.request_id, sent.project_id) == (1, "k1", PROJECT_ID)
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


async def test_top_up_needs_a_key(http, script, person):
    """Repeated for want of an answer, it would add again."""
    answer = await http.post(TOP_UP, headers=person, json={"amount": 1})

    assert (answer.status_code, answer.json()["metadata"]) == (400, {"field": "Idempotency-Key"})
    assert not script.of("TopUpBudget")


@pytest.mark.parametrize(
    ("method", "path", "field", "rpc"),
    [
        ("PUT", BUDGET, "budget_allocated", "SetBudget"),
        ("POST", TOP_UP, "amount", "TopUpBudget"),
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
        ("DELETE", BUDGET, None),
        ("DELETE", f"{BUDGET}?period=monthly", None),
        ("GET", f"/api/v1/costs/projects/{PROJECT_ID}/alerts?page_size=0", None),
    ],
)
async def test_what_is_not_offered(http, script, person, method, path, body):
    """An empty top-up, an unknown period or field, and taking the monthly budget away: 422."""
    headers = {**person, "Idempotency-Key": "k1"}
    answer = await http.request(method, path, headers=headers, json=body)

    assert answer.status_code == 422, answer.text
    assert not script.of("TopUpBudget") + script.of("SetBudget") + script.of("ClearBudget")


async def test_optional_budget_is_taken_away(http, script, person):
    """Nothing is left to be shown."""
    answer = await http.delete(BUDGET, headers=person, params={"period": "total"})

    assert (answer.status_code, answer.content) == (204, b"")
    assert script.last("ClearBudget").request.period == cost_service_pb2.BUDGET_PERIOD_TOTAL


async def test_alerts(http, script, person):
    """A page of them, with the token of the next one passed through."""
    answer = await http.get(
        f"/api/v1/costs/projects/{PROJECT_ID}/alerts",
        headers=person,
        params={"page_size": 1, "page_token": "abc"},
    )

    assert answer.json() == {
        "project_id": PROJECT_ID,
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
