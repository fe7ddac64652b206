"""Queued jobs and dry runs over HTTP."""

from datetime import timedelta

import pytest
from weir.job.v1 import job_service_pb2
from weir.router.v1 import router_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, OTHER_PROJECT_ID, PROJECT_ID, a_job, refusal

JOB = {"type": "generation_v2", "payload": {"prompt": "Say hello."}}


async def test_job_is_accepted(http, script, person):
    """202 at once, with the job and where to look for it."""
    answer = await http.post(
        "/api/v1/jobs",
        headers={**person, "Idempotency-Key": "k1"},
        json={
            **JOB,
            "project_id": PROJECT_ID,
            "payload": {"prompt": "Say hello.", "context": "We test.", "max_tokens": 8},
            "model": "smollm2",
            "residency": "local_only",
            "max_retries": 0,
            "priority": -100,
        },
    )

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/jobs/{JOB_ID}"
    assert answer.json()["state"] == "pending"
    sent = script.last("CreateJob").request
    assert (sent.project_id, sent.request_id) == (PROJECT_ID, "k1")
    assert sent.HasField("max_retries")
    assert sent.priority == -100
    specification = sent.specification
    assert (specification.type, specification.model) == ("generation_v2", "smollm2")
    assert [(m.role, m.content) for m in specification.messages] == [
        ("system", "We test."),
        ("user", "Say hello."),
    ]
    assert specification.sampling.max_tokens == 8
    assert specification.residency == router_service_pb2.RESIDENCY_LOCAL_ONLY


async def test_defaults_of_a_job(http, script, person):
    """No project, model, limit or retries named: the services' defaults apply."""
    await http.post("/api/v1/jobs", headers=person, json=JOB)

    sent = script.last("CreateJob").request
    assert (sent.project_id, sent.request_id) == ("", "")
    assert sent.specification.model == "auto"
    assert not sent.HasField("max_retries")
    assert sent.priority == 0
    assert [message.role for message in sent.specification.messages] == ["user"]


async def test_job_names_its_project_by_header(http, script, person):
    """The header of OpenAI clients works everywhere; a contradiction is refused."""
    headers = {**person, "OpenAI-Project": OTHER_PROJECT_ID}

    await http.post("/api/v1/jobs", headers=headers, json=JOB)
    torn = await http.post("/api/v1/jobs", headers=headers, json={**JOB, "project_id": PROJECT_ID})

    assert script.last("CreateJob").request.project_id == OTHER_PROJECT_ID
    assert torn.status_code == 400
    assert torn.json()["metadata"] == {"field": "project_id"}


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "Generation V2"},
        {"type": ""},
        {"payload": {}},
        {"payload": {"prompt": ""}},
        {"payload": {"prompt": "x", "max_tokens": 0}},
        {"payload": {"prompt": "x", "temperature": 1}},
        {"max_retries": -1},
        {"max_retries": 11},
        {"state": "completed"},
        {"actual_cost": 0},
    ],
)
async def test_bad_jobs_are_refused(http, script, person, changes):
    """Nothing unknown, nothing out of bounds."""
    answer = await http.post("/api/v1/jobs", headers=person, json={**JOB, **changes})

    assert answer.status_code == 422
    assert not script.of("CreateJob")


@pytest.mark.parametrize("priority", [-101, 101, 0.5])
async def test_field_out_of_bounds_is_named(http, script, person, priority):
    """Whoever sent it learns which one it was."""
    answer = await http.post("/api/v1/jobs", headers=person, json={**JOB, "priority": priority})

    assert answer.status_code == 422
    assert "priority" in answer.text
    assert not script.of("CreateJob")


async def test_full_queue_says_when_to_come_again(http, script, person):
    """X-R26: 429 for whoever floods the queue; nothing about quotas that money would raise."""
    full = refusal(ErrorCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    full.retry_after = timedelta(seconds=10)
    script.answers["CreateJob"] = full

    answer = await http.post("/api/v1/jobs", headers=person, json=JOB)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "10"
    assert "x-should-retry" not in answer.headers
    assert answer.json()["title"] == "QUEUE_FULL"


async def test_whole_job(http, person):
    """Every field of the documents, and the decision behind it."""
    found = (await http.get(f"/api/v1/jobs/{JOB_ID}", headers=person)).json()

    assert found == {
        "job_id": JOB_ID,
        "project_id": PROJECT_ID,
        "type": "chat_completion",
        "kind": "interactive",
        "state": "completed",
        "attempt": 1,
        "retry_count": 0,
        "max_retries": 3,
        "priority": 7,
        "failure_reason": None,
        "last_error": None,
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "completed_at": "2026-01-02T03:04:08Z",
        "next_retry_at": None,
        "actual_duration": 2.0,
        "model": "auto",
        "decision": {
            "target": "local",
            "model": "smollm2",
            "reason": "complexity_below_threshold",
            "complexity": {
                "score": 6,
                "threshold": 100,
                "words": 6,
                "context_characters": 0,
                "keywords": ["complex"],
            },
            "explanation": ["local can serve smollm2", "complexity 6 < 100"],
            "alternatives": [
                {
                    "target": "yotta",
                    "eligible": True,
                    "reason": "dearer",
                    "estimated_cost": 9e-8,
                    "estimated_cost_nanousd": 90,
                }
            ],
            "estimated_cost": 0.009,
            "estimated_cost_nanousd": 9_000_000,
        },
        "executed_target": "local",
        "executed_model": "smollm2",
        "tokens_used_input": 3,
        "tokens_used_output": 4,
        "tokens_used_total": 7,
        "usage_source": "reported",
        "estimated_cost": 0.009,
        "estimated_cost_nanousd": 9_000_000,
        "actual_cost": 0.007,
        "actual_cost_nanousd": 7_000_000,
        "price_version": "1",
        "finish_reason": "stop",
        "cancel_requested": False,
        "result_text": "Hello world",
    }


def only_in(project_id):
    """Return a `GetJob` that finds the job in one project."""

    def get_job(request, context):
        if (request.project_id or PROJECT_ID) == project_id:
            return job_service_pb2.GetJobResponse(job=a_job(project_id=project_id))
        return refusal(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND", f"Job {JOB_ID} does not exist.")

    return get_job


@pytest.mark.parametrize("project_id", [PROJECT_ID, OTHER_PROJECT_ID])
async def test_person_finds_any_of_their_jobs(http, script, person, project_id):
    """Whichever of the person's projects a job is in, its id is enough."""
    script.answers["GetJob"] = only_in(project_id)

    found = await http.get(f"/api/v1/jobs/{JOB_ID}", headers=person)

    assert found.status_code == 200
    assert found.json()["project_id"] == project_id


async def test_job_of_a_named_project(http, script, person):
    """Where the project is named, no other is asked."""
    script.answers["GetJob"] = only_in(OTHER_PROJECT_ID)

    by_query = await http.get(
        f"/api/v1/jobs/{JOB_ID}", headers=person, params={"project_id": OTHER_PROJECT_ID}
    )
    by_header = await http.get(
        f"/api/v1/jobs/{JOB_ID}", headers={**person, "OpenAI-Project": PROJECT_ID}
    )

    assert (by_query.status_code, by_header.status_code) == (200, 404)
    assert len(script.of("GetJob")) == 2
    assert not script.of("ListProjects")


async def test_program_sees_its_own_project_only(http, script, program):
    """An API key belongs to one project, so there is nowhere else to look."""
    script.answers["GetJob"] = only_in(OTHER_PROJECT_ID)

    answer = await http.get(f"/api/v1/jobs/{JOB_ID}", headers=program)

    assert answer.status_code == 404
    assert not script.of("ListProjects")


@pytest.mark.parametrize("path", ["/api/v1/jobs/{}", "/api/v1/costs/jobs/{}"])
async def test_what_can_be_no_job_id_is_absent(http, script, person, path):
    """It reads like a job that does not exist, and asks nobody."""
    answer = await http.get(path.format("nonsense"), headers=person)

    assert answer.status_code == 404
    assert not script.of("GetJob") + script.of("GetJobCost")
    cancelled = await http.post("/api/v1/jobs/nonsense/cancel", headers=person)
    assert cancelled.status_code == 404
    assert not script.of("CancelJob")


async def test_job_is_asked_to_stop(http, script, person):
    """It shows as it is now, with what was asked of it."""
    answer = await http.post(f"/api/v1/jobs/{JOB_ID}/cancel", headers=person)

    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["cancel_requested"]) == ("running", True)
    assert script.last("CancelJob").request.job_id == JOB_ID


async def test_person_cancels_any_of_their_jobs(http, script, person):
    """Whichever of the person's projects a job is in, its id is enough; no other is asked."""
    script.answers["GetJob"] = only_in(OTHER_PROJECT_ID)

    answer = await http.post(f"/api/v1/jobs/{JOB_ID}/cancel", headers=person)

    assert answer.status_code == 200
    assert [call.request.project_id for call in script.of("CancelJob")] == [OTHER_PROJECT_ID]


async def test_program_cancels_without_reading(http, script, program):
    """Its key may be for writing alone, and belongs to one project."""
    answer = await http.post(f"/api/v1/jobs/{JOB_ID}/cancel", headers=program)

    assert answer.status_code == 200
    assert not script.of("GetJob")


async def test_finished_job_is_not_cancelled(http, script, person):
    script.answers["CancelJob"] = refusal(
        ErrorCode.FAILED_PRECONDITION, "JOB_ALREADY_FINISHED", f"Job {JOB_ID} is already completed."
    )

    answer = await http.post(f"/api/v1/jobs/{JOB_ID}/cancel", headers=person)

    assert (answer.status_code, answer.json()["title"]) == (409, "JOB_ALREADY_FINISHED")


async def test_jobs_are_listed(http, script, person):
    """Filters and page tokens go through; results stay out of lists."""
    answer = await http.get(
        "/api/v1/jobs",
        headers=person,
        params={
            "project_id": OTHER_PROJECT_ID,
            "state": "blocked",
            "page_size": 3,
            "page_token": "t",
        },
    )

    assert answer.json()["next_page_token"] == "next"
    assert answer.json()["jobs"][0]["result_text"] is None
    sent = script.last("ListJobs").request
    assert (sent.project_id, sent.page_size, sent.page_token, sent.state) == (
        OTHER_PROJECT_ID,
        3,
        "t",
        job_service_pb2.JOB_STATE_BLOCKED,
    )


@pytest.mark.parametrize(
    "params", [{"state": "lost"}, {"page_size": 0}, {"page_size": 101}, {"page_token": "x" * 600}]
)
async def test_bad_filters_are_refused(http, person, params):
    """A filter is known or refused."""
    assert (await http.get("/api/v1/jobs", headers=person, params=params)).status_code == 422


async def test_reused_key_is_422(http, script, person):
    """The same key with another body is told apart from a conflict."""
    script.answers["CreateJob"] = refusal(ErrorCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")

    answer = await http.post("/api/v1/jobs", headers=person, json=JOB)

    assert (answer.status_code, answer.json()["title"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä", "a\tb"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/jobs", JOB),
        ("/api/v1/projects", {"name": "x"}),
        ("/api/v1/auth/api-keys", {"name": "x"}),
        (
            "/v1/chat/completions",
            {"model": "auto", "messages": [{"role": "user", "content": "x"}]},
        ),
    ],
)
async def test_bad_idempotency_keys(http, script, person, path, body, key):
    """1 to 255 visible ASCII characters, or 400."""
    script.calls.clear()

    answer = await http.post(
        path, headers={**person, "Idempotency-Key": key.encode("latin-1")}, json=body
    )

    assert answer.status_code == 400
    assert not [
        call for call in script.calls if call.method.startswith("Create") or call.method == "RunJob"
    ]


async def test_dry_run(http, script, program):
    """The router's decision, without a job."""
    answer = await http.post(
        "/api/v1/route",
        headers=program,
        json={"prompt": "Héllo", "context": "abc", "max_tokens": 5, "residency": "local_only"},
    )

    assert answer.status_code == 200
    assert answer.json()["target"] == "local"
    assert answer.json()["complexity"]["score"] == 6
    query = script.last("ExplainRoute").request.query
    assert (query.model, query.prompt, query.context_characters) == ("auto", "Héllo", 3)
    assert query.tokens_input_bound == 9
    assert query.residency == router_service_pb2.RESIDENCY_LOCAL_ONLY
    assert not script.of("RunJob") + script.of("CreateJob")


async def test_dry_run_needs_permission(http, script, issuer):
    """Who may not see models may not ask where they would run."""
    answer_of = script.answers["CheckAccess"]

    def without_models(request, context):
        found = answer_of(request, context)
        found.permissions.remove("models:read")
        return found

    script.answers["CheckAccess"] = without_models
    # Somebody else, for what the ordinary person may do is remembered.
    token = issuer.person_token("0192f0c0-0000-7000-8000-0000000000e9")

    answer = await http.post(
        "/api/v1/route", headers={"authorization": f"Bearer {token}"}, json={"prompt": "x"}
    )

    assert answer.status_code == 403
    assert answer.json()["metadata"] == {"permission": "models:read"}
    assert not script.of("ExplainRoute")


async def test_dry_run_of_a_key_stays_in_its_project(http, script, program):
    """Another project looks absent to an API key, here too."""
    answer = await http.post(
        "/api/v1/route",
        headers={**program, "OpenAI-Project": OTHER_PROJECT_ID},
        json={"prompt": "x"},
    )

    assert answer.status_code == 404
    assert not script.of("ExplainRoute")
