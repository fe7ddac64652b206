"""Retry and dead letters over HTTP."""

import pytest
from weir.job.v1 import job_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, NOW, OTHER_PROJECT_ID, PROJECT_ID, a_job, refusal

DEAD = f"/api/v1/dead-letters/{JOB_ID}"
RETRY = f"/api/v1/jobs/{JOB_ID}/retry"


async def test_retried_job_is_accepted(http, script, person):
    """202, with the job as it begins anew."""
    answer = await http.post(
        RETRY, headers={**person, "Idempotency-Key": "k1"}, params={"project_id": OTHER_PROJECT_ID}
    )

    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    sent = script.last("RetryJob").request
    assert (sent.project_id, sent.job_id, sent.request_id) == (OTHER_PROJECT_ID, JOB_ID, "k1")


@pytest.mark.parametrize(
    ("reason", "status"), [("JOB_NOT_FINISHED", 409), ("JOB_NOT_RETRYABLE", 409)]
)
async def test_what_is_not_retried_says_why(http, script, person, reason, status):
    script.answers["RetryJob"] = refusal(ErrorCode.FAILED_PRECONDITION, reason)

    answer = await http.post(RETRY, headers=person)

    assert (answer.status_code, answer.json()["title"]) == (status, reason)


async def test_dead_letters_are_listed(http, script, person):
    """Filters and page tokens go through."""
    answer = await http.get(
        "/api/v1/dead-letters",
        headers=person,
        params={
            "project_id": OTHER_PROJECT_ID,
            "type": "generation_v2",
            "failure_reason": "LOST_TOO_OFTEN",
            "page_size": 3,
            "page_token": "t",
        },
    )

    assert answer.json()["next_page_token"] == "next"
    (found,) = answer.json()["dead_letters"]
    assert (found["state"], found["failure_reason"]) == ("dead_letter", "LOST_TOO_OFTEN")
    sent = script.last("ListDeadLetters").request
    assert (sent.project_id, sent.page_size, sent.page_token) == (OTHER_PROJECT_ID, 3, "t")
    assert (sent.type, sent.failure_reason) == ("generation_v2", "LOST_TOO_OFTEN")


@pytest.mark.parametrize(
    "params",
    [{"type": "No Type"}, {"failure_reason": "no reason"}, {"page_size": 0}, {"page_size": 101}],
)
async def test_bad_filters_are_refused(http, script, person, params):
    answer = await http.get("/api/v1/dead-letters", headers=person, params=params)

    assert answer.status_code == 422
    assert not script.of("ListDeadLetters")


async def test_whole_dead_letter(http, person):
    """C4: all of the evidence, with amounts exact and in dollars."""
    found = (await http.get(DEAD, headers=person)).json()

    moment = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    assert found["job"]["failure_reason"] == "LOST_TOO_OFTEN"
    assert found["attempts"] == [
        {
            "attempt": 1,
            "admission": 1,
            "target": "yotta",
            "model": "big",
            "client_task_id": "c1",
            "started_at": moment,
            "dispatched_at": moment,
            "released_at": None,
            "finished_at": moment,
            "outcome": "lost",
            "error": "The worker went away.",
            "tokens_used_input": 3,
            "tokens_used_output": 4,
            "usage_source": "counted",
            "provider_cost": 5e-9,
            "provider_cost_nanousd": 5,
        }
    ]
    assert found["events"] == [
        {"seq": 9, "type": "dead_letter", "details": {"attempt": "1"}, "occurred_at": moment}
    ]
    assert found["charges"] == [
        {
            "admission": 1,
            "state": "dead_letter",
            "voided": True,
            "actual_cost": 0.0,
            "actual_cost_nanousd": 0,
            "provider_cost": 5e-9,
            "provider_cost_nanousd": 5,
            "price_version": "1",
            "ended_at": moment,
            "booked": True,
        }
    ]
    assert (found["attempts_total"], found["events_total"]) == (12, 9)


async def test_dead_letter_is_redriven(http, script, person):
    answer = await http.post(f"{DEAD}/redrive", headers={**person, "Idempotency-Key": "k1"})

    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    sent = script.last("RedriveDeadLetter").request
    assert (sent.project_id, sent.job_id, sent.request_id) == (PROJECT_ID, JOB_ID, "k1")


async def test_many_are_redriven(http, script, person):
    """It says how many, and which; and which not."""
    answer = await http.post(
        "/api/v1/dead-letters/redrive",
        headers={**person, "Idempotency-Key": "k1"},
        json={"project_id": OTHER_PROJECT_ID, "failure_reason": "LOST_TOO_OFTEN", "limit": 1000},
    )

    assert answer.status_code == 202
    assert answer.json() == {
        "redriven": 1,
        "job_ids": [JOB_ID],
        "refused": [{"job_id": PROJECT_ID, "reason": "MODEL_NOT_FOUND"}],
    }
    sent = script.last("RedriveDeadLetters").request
    assert (sent.project_id, sent.request_id, sent.limit) == (OTHER_PROJECT_ID, "k1", 1000)
    assert (sent.type, sent.failure_reason) == ("", "LOST_TOO_OFTEN")


@pytest.mark.parametrize(
    "body",
    [{"limit": 0}, {"limit": 1001}, {"type": ""}, {"state": "failed"}, {"failure_reason": "none"}],
)
async def test_bad_redrives_are_refused(http, script, person, body):
    answer = await http.post("/api/v1/dead-letters/redrive", headers=person, json=body)

    assert answer.status_code == 422
    assert not script.of("RedriveDeadLetters")


async def test_dead_letter_is_purged(http, script, person):
    answer = await http.delete(DEAD, headers=person)

    assert (answer.status_code, answer.content) == (204, b"")
    sent = script.last("PurgeDeadLetter").request
    assert (sent.project_id, sent.job_id) == (PROJECT_ID, JOB_ID)


async def test_absent_dead_letter_is_404(http, script, person):
    for method in ("GetDeadLetter", "RedriveDeadLetter", "PurgeDeadLetter"):
        script.answers[method] = refusal(ErrorCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND")

    for method, path in (("GET", DEAD), ("POST", f"{DEAD}/redrive"), ("DELETE", DEAD)):
        answer = await http.request(method, path, headers=person)
        assert (answer.status_code, answer.json()["title"]) == (404, "DEAD_LETTER_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/jobs/nonsense/retry"),
        ("GET", "/api/v1/dead-letters/nonsense"),
        ("POST", "/api/v1/dead-letters/nonsense/redrive"),
        ("DELETE", "/api/v1/dead-letters/nonsense"),
    ],
)
async def test_what_can_be_no_job_id_is_absent(http, script, person, method, path):
    """It asks nobody."""
    script.calls.clear()

    assert (await http.request(method, path, headers=person)).status_code == 404
    assert not [call for call in script.calls if "Job" in call.method or "Dead" in call.method]


@pytest.mark.parametrize(
    ("method", "path", "called"),
    [
        ("POST", RETRY, "RetryJob"),
        ("POST", f"{DEAD}/redrive", "RedriveDeadLetter"),
        ("DELETE", DEAD, "PurgeDeadLetter"),
    ],
)
async def test_person_decides_about_any_of_their_jobs(http, script, person, method, path, called):
    """Whichever of the person's projects a job is in, its id is enough; no other is asked."""

    def only_elsewhere(request, context):
        if request.project_id == OTHER_PROJECT_ID:
            return job_service_pb2.GetJobResponse(job=a_job(project_id=OTHER_PROJECT_ID))
        return refusal(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")

    script.answers["GetJob"] = only_elsewhere

    assert (await http.request(method, path, headers=person)).status_code < 300
    assert [call.request.project_id for call in script.of(called)] == [OTHER_PROJECT_ID]


async def test_program_decides_without_reading(http, script, program):
    """Its key may be for writing alone, and belongs to one project."""
    for method, path in (("POST", RETRY), ("POST", f"{DEAD}/redrive"), ("DELETE", DEAD)):
        assert (await http.request(method, path, headers=program)).status_code < 300
    assert not script.of("GetJob")
