"""The price book, refunds and surcharges over HTTP."""

from __future__ import annotations

import pytest
from weir.cost.v1 import correction_service_pb2 as correction_pb

from gateway.entrypoints import convert_costs
from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, PROJECT_ID, an_entry, refusal

VERSIONS = "/api/v1/costs/prices/versions"
VERSION = {
    "price_version": "2",
    "valid_from": "2027-01-01T01:00:00+01:00",
    "note": "new",
    "prices": [
        {
            "target": "local",
            "model": "*",
            "input_usd_per_million": 0.1,
            "output_usd_per_million": "0.000000001",
        }
    ],
}


async def test_prices_of_today(http, script, program):
    """Any caller reads them, in US dollars and exactly."""
    answer = await http.get("/api/v1/costs/prices", headers=program)

    assert answer.json() == {
        "price_version": "1",
        "valid_from": "2026-01-02T03:04:05Z",
        "note": "The documents' rates.",
        "is_current": True,
        "prices": [
            {
                "target": "local",
                "model": "*",
                "input_usd_per_million": 1000.0,
                "input_nanousd_per_million": 10**12,
                "output_usd_per_million": 0.075,
                "output_nanousd_per_million": 75_000_000,
            }
        ],
    }
    assert script.last("GetPriceVersion").request.price_version == ""


async def test_versions_are_listed(http, script, person):
    """By pages, without their prices; one of them is shown by its name."""
    listed = await http.get(VERSIONS, headers=person, params={"page_size": 5, "page_token": "t"})
    one = await http.get(f"{VERSIONS}/1", headers=person)

    asked = script.last("ListPriceVersions").request
    assert (asked.page_size, asked.page_token) == (5, "t")
    assert listed.json()["next_page_token"] == "next"
    assert "prices" not in listed.json()["price_versions"][0]
    assert one.json()["price_version"] == "1"


async def test_version_is_added(http, script, person):
    """Amounts and moment arrive exactly, and the key makes it safe to repeat."""
    answer = await http.post(VERSIONS, headers={**person, "Idempotency-Key": "k1"}, json=VERSION)

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{VERSIONS}/2"
    assert answer.json()["price_version"] == "2"
    assert [one["target"] for one in answer.json()["lost_prices"]] == ["local"]
    request = script.last("AddPriceVersion").request
    assert (request.request_id, request.price_version, request.note) == ("k1", "2", "new")
    assert request.valid_from.seconds == 1_798_761_600
    assert request.prices[0].input_nanousd_per_million == 100_000_000
    assert request.prices[0].output_nanousd_per_million == 1


async def test_version_of_now(http, script, person):
    """Without a moment it is for cost-service to say when now is."""
    body = {name: value for name, value in VERSION.items() if name != "valid_from"}

    answer = await http.post(VERSIONS, headers=person, json=body)

    assert answer.status_code == 201
    assert not script.last("AddPriceVersion").request.HasField("valid_from")
    assert script.last("AddPriceVersion").request.request_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_version", "a b"),
        ("valid_from", "2027-01-01T00:00:00"),
        ("valid_from", "9999-12-31T23:59:59-23:59"),
        ("note", "x" * 201),
        ("prices", []),
        ("prices", [{**VERSION["prices"][0], "input_usd_per_million": -1}]),
        ("prices", [{**VERSION["prices"][0], "output_usd_per_million": "NaN"}]),
        ("prices", [{**VERSION["prices"][0], "output_usd_per_million": 0.0000000001}]),
        ("prices", [{**VERSION["prices"][0], "currency": "EUR"}]),
        ("surprise", 1),
    ],
)
async def test_nonsense_is_refused_at_the_edge(http, script, person, field, value):
    """X-M4: nothing is sent on that can't be a version."""
    answer = await http.post(VERSIONS, headers=person, json={**VERSION, field: value})

    assert answer.status_code == 422
    assert not script.of("AddPriceVersion")


async def test_refund(http, script, person):
    """The amount goes on exactly, and the entry comes back."""
    answer = await http.post(
        f"/api/v1/costs/jobs/{JOB_ID}/refunds",
        headers={**person, "Idempotency-Key": "k1"},
        json={"amount": "0.000000025", "reason": "sorry", "admission": 2},
    )

    assert answer.status_code == 201
    assert answer.json() == {
        "entry_id": 7,
        "kind": "refund",
        "job_id": JOB_ID,
        "project_id": PROJECT_ID,
        "admission": 2,
        "amount": 2.5e-08,
        "amount_nanousd": 25,
        "reason": "sorry",
        "period": "2026-01",
        "price_version": "1",
        "created_at": "2026-01-02T03:04:05Z",
    }
    request = script.last("RefundJob").request
    assert (request.request_id, request.job_id, request.admission) == ("k1", JOB_ID, 2)


async def test_surcharge(http, script, person):
    """Likewise; without an admission it is the latest charge."""
    answer = await http.post(
        f"/api/v1/costs/jobs/{JOB_ID}/surcharges",
        headers={**person, "Idempotency-Key": "k1"},
        json={"amount": 1, "reason": "more"},
    )

    assert (answer.status_code, answer.json()["kind"]) == (201, "surcharge")
    request = script.last("SurchargeJob").request
    assert (request.amount_nanousd, request.admission) == (10**9, 0)


@pytest.mark.parametrize("kind", ["refunds", "surcharges"])
async def test_corrections_need_a_key(http, script, person, kind):
    """A retry without one would book again, so there is none without."""
    answer = await http.post(
        f"/api/v1/costs/jobs/{JOB_ID}/{kind}", headers=person, json={"amount": 1, "reason": "x"}
    )

    assert answer.status_code == 400
    assert answer.json()["metadata"] == {"field": "Idempotency-Key"}
    assert not script.of("RefundJob")
    assert not script.of("SurchargeJob")


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 0, "reason": "x"},
        {"amount": "-1", "reason": "x"},
        {"amount": 1, "reason": ""},
        {"amount": 1},
        {"amount": 1, "reason": "x", "admission": 0},
        {"amount": 1, "reason": "x", "currency": "EUR"},
    ],
)
async def test_corrections_of_nothing_are_refused_at_the_edge(http, script, person, body):
    """X-M4: no amount, or no reason, and nothing is sent on."""
    answer = await http.post(
        f"/api/v1/costs/jobs/{JOB_ID}/refunds",
        headers={**person, "Idempotency-Key": "k1"},
        json=body,
    )

    assert answer.status_code == 422
    assert not script.of("RefundJob")


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", 403),
        (ErrorCode.NOT_FOUND, "JOB_COST_NOT_FOUND", 404),
        (ErrorCode.FAILED_PRECONDITION, "REFUND_EXCEEDS_CHARGE", 409),
        (ErrorCode.FAILED_PRECONDITION, "NOTHING_CHARGED", 409),
        (ErrorCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", 422),
    ],
)
async def test_refusals_are_told(http, script, person, code, reason, status):
    """Whatever cost-service says no to has its status."""
    script.answers["RefundJob"] = refusal(code, reason)

    answer = await http.post(
        f"/api/v1/costs/jobs/{JOB_ID}/refunds",
        headers={**person, "Idempotency-Key": "k1"},
        json={"amount": 1, "reason": "x"},
    )

    assert (answer.status_code, answer.json()["title"]) == (status, reason)


async def test_entries_of_a_job(http, script, program):
    """Everything booked, by pages; a key looks in its own project."""
    answer = await http.get(
        f"/api/v1/costs/jobs/{JOB_ID}/entries", headers=program, params={"page_size": 3}
    )

    assert [one["kind"] for one in answer.json()["entries"]] == ["post"]
    assert answer.json()["entries"][0]["reason"] is None
    assert answer.json()["next_page_token"] == "next"
    assert script.last("ListJobEntries").request.page_size == 3


async def test_entries_are_looked_for_in_all_projects(http, script, person):
    """A person need not name the project; the job is found where it is."""

    def only_there(request, context):
        if request.project_id == "":
            return refusal(ErrorCode.NOT_FOUND, "JOB_COST_NOT_FOUND")
        return correction_pb.ListJobEntriesResponse(entries=[an_entry()])

    script.answers["ListJobEntries"] = only_there

    answer = await http.get(f"/api/v1/costs/jobs/{JOB_ID}/entries", headers=person)

    assert len(answer.json()["entries"]) == 1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "entries"), ("POST", "refunds"), ("POST", "surcharges")]
)
async def test_what_can_be_no_job_is_absent(http, script, person, method, path):
    """An id that can't be one asks nobody."""
    body = {"json": {"amount": 1, "reason": "x"}} if method == "POST" else {}

    answer = await http.request(
        method,
        f"/api/v1/costs/jobs/nonsense/{path}",
        headers={**person, "Idempotency-Key": "k1"},
        **body,
    )

    assert (answer.status_code, answer.json()["title"]) == (404, "JOB_COST_NOT_FOUND")
    assert not script.of("RefundJob")
    assert not script.of("ListJobEntries")


def test_every_kind_of_entry_has_a_name():
    """No kind of entry is without its word at the edge."""
    known = [value for value in correction_pb.LedgerEntryKind.values() if value]

    assert {
        correction_pb.LedgerEntryKind.Name(kind): convert_costs.ENTRY_KINDS[kind] for kind in known
    } == {f"LEDGER_ENTRY_KIND_{name.upper()}": name for name in convert_costs.ENTRY_KINDS.values()}
