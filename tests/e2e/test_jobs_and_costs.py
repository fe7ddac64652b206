"""Queued jobs and what they cost, over plain HTTP."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime


async def test_queued_job_runs_and_is_booked(account, until):
    """A queued job is accepted at once, runs with the real model, and its cost is in the ledger."""
    accepted = await account.http.post(
        "/api/v1/jobs",
        json={
            "type": "generation_v2",
            "payload": {"prompt": "Say hello.", "context": "We test.", "max_tokens": 8},
        },
    )
    assert accepted.status_code == 202, accepted.text
    job = await account.finished_job(accepted.json()["job_id"])

    assert job["state"] == "completed"
    assert job["result_text"].strip()
    assert job["tokens_used_total"] == job["tokens_used_input"] + job["tokens_used_output"]
    # 2 words + 8 characters of context // 10
    assert job["decision"]["complexity"]["score"] == 2

    async def booked():
        cost = await account.http.get(f"/api/v1/costs/jobs/{job['job_id']}")
        return cost.json() if cost.status_code == 200 and cost.json()["settled"] else None

    cost = await until(booked, seconds=10)
    assert cost["actual_cost_nanousd"] == job["tokens_used_total"] * 1_000_000
    assert cost["actual_cost_nanousd"] <= cost["estimated_cost_nanousd"]
    report = (await account.http.get(f"/api/v1/costs/projects/{account.project_id}")).json()
    assert report["total_jobs"] == report["completed_jobs"] == 1
    assert report["total_cost_nanousd"] == cost["actual_cost_nanousd"]
    assert [one["name"] for one in report["job_types"]] == ["generation_v2"]
    # K18: the documents' shape, with the complexity that the router judged.
    path = f"/api/v1/costs/projects/{account.project_id}/compute-jobs"
    (logged,) = (await account.http.get(path)).json()
    assert (logged["job_type"], logged["complexity"]) == ("generation_v2", 2)
    assert (logged["compute_type"], logged["cost"]) == ("local", cost["actual_cost"])


async def test_cancelled_job_stops_its_engine(account, stack, until):
    """X-R23: within a second of the request, and what was made until then is charged."""
    for _ in range(5):
        job_id = await long_job(account)
        await until(runs(account, job_id), seconds=20)
        asked_at = time.time()
        asked = await account.http.post(f"/api/v1/jobs/{job_id}/cancel")
        job = await account.finished_job(job_id)
        if job["state"] != "completed":
            # Else its answer was faster than the request.
            break

    assert (asked.status_code, asked.json()["cancel_requested"]) == (200, True)
    assert (job["state"], job["finish_reason"]) == ("cancelled", "cancelled")
    assert job["tokens_used_output"] < 1500

    async def stopped_line():
        return stack.log_lines("gpu-worker", "generation.finished", job_id=job_id)

    (stopped,) = await until(stopped_line, seconds=10)
    assert stopped["outcome"] == "cancelled"
    assert datetime.fromisoformat(stopped["timestamp"]).timestamp() - asked_at < 1
    entries = await stack.settled_ledger_of(job_id)
    assert sum(entry["amount_nanousd"] for entry in entries) == job["actual_cost_nanousd"]
    again = await account.http.post(f"/api/v1/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


async def long_job(account):
    """Submit a job that runs for a while, and return its id."""
    accepted = await account.http.post(
        "/api/v1/jobs",
        json={
            "type": "generation_v2",
            "payload": {"prompt": "Count from one to five hundred.", "max_tokens": 1500},
        },
    )
    return accepted.json()["job_id"]


def runs(account, job_id):
    """Return a condition: the job has begun."""

    async def has_begun():
        return (await account.http.get(f"/api/v1/jobs/{job_id}")).json()["state"] != "pending"

    return has_begun


async def stop_while_it_runs(account, until, job_id):
    """Ask a job to stop as soon as it runs, and return it as it ended."""
    await until(runs(account, job_id), seconds=20)
    await account.http.post(f"/api/v1/jobs/{job_id}/cancel")
    return await account.finished_job(job_id)


async def test_retried_job_pays_for_each_admission(account, stack, until):
    """C3: stopped, retried and stopped again, it has two holds, two charges and two stories."""
    for _ in range(5):
        job_id = await long_job(account)
        first = await stop_while_it_runs(account, until, job_id)
        if first["state"] != "completed":
            # Else its answer was faster than the request.
            break
    again = await account.http.post(f"/api/v1/jobs/{job_id}/retry")
    assert again.status_code == 202, again.text
    assert again.json()["state"] == "pending"
    assert again.json()["actual_cost"] is None
    second = await stop_while_it_runs(account, until, job_id)

    assert (first["attempt"], second["attempt"]) == (1, 2)
    charged = first["actual_cost_nanousd"] + second["actual_cost_nanousd"]

    async def booked():
        cost = (await account.http.get(f"/api/v1/costs/jobs/{job_id}")).json()
        return cost["settled"] and cost["actual_cost_nanousd"] == charged

    await until(booked, seconds=10)
    told = await account.http.get(f"/api/v1/jobs/{job_id}/events")
    assert told.text.count('"type":"retried"') == 1
    assert told.text.count("event: ended") == 1
    receipt = (await account.http.get(f"/api/v1/jobs/{job_id}/receipt")).json()
    assert receipt["statement"]["admission"] == 2


async def test_project_has_the_budget_it_was_given(account):
    """`budget_allocated` shows as given, to the last nano-dollar."""
    made = await account.http.post(
        "/api/v1/projects", json={"name": "Weather", "budget_allocated": "1.000000001"}
    )
    assert made.status_code == 201, made.text

    budget = await account.http.get(f"/api/v1/costs/projects/{made.json()['project_id']}/budget")

    assert budget.json()["has_budget"] is True
    assert budget.json()["budget_allocated_nanousd"] == 1_000_000_001
    assert budget.json()["actual_cost"] == 0
    assert budget.json()["status"] == "ok"


async def test_job_of_a_team_is_on_its_bill(account, new_account, stack):
    """A8: a person makes a team and a project in it; what runs there is booked on the team."""
    team = (await account.http.post("/api/v1/teams", json={"name": "Weather"})).json()
    body = {"name": "Rain", "budget_allocated": "5", "team_id": team["team_id"]}
    project = (await account.http.post("/api/v1/projects", json=body)).json()
    assert (team["team_role"], project["team_id"]) == ("owner", team["team_id"])

    accepted = await account.http.post(
        "/api/v1/jobs",
        json={
            "type": "generation_v2",
            "project_id": project["project_id"],
            "payload": {"prompt": "Say hello.", "max_tokens": 8},
        },
    )
    assert accepted.status_code == 202, accepted.text
    job = await account.finished_job(accepted.json()["job_id"])
    await stack.settled_ledger_of(job["job_id"])

    login = await account.http.post("/api/v1/auth/login", json=stack.administrator)
    report = await account.http.get(
        f"/api/v1/costs/teams/{team['team_id']}",
        headers={"authorization": f"Bearer {login.json()['access_token']}"},
    )
    assert report.json()["total_jobs"] == 1, report.text
    assert report.json()["total_cost_nanousd"] == job["actual_cost_nanousd"] > 0
    stranger = (await new_account()).http
    foreign = await stranger.post("/api/v1/projects", json=body)
    for absent in (await stranger.get(f"/api/v1/teams/{team['team_id']}"), foreign):
        assert (absent.status_code, absent.json()["title"]) == (404, "TEAM_NOT_FOUND")


async def test_allowance_bounds_budgets(account):
    """More than the allowance is refused with the figures, and no project stays behind."""
    refused = await account.http.post(
        "/api/v1/projects", json={"name": "Moon", "budget_allocated": "1000000"}
    )

    assert refused.status_code in (403, 409, 422, 429)
    assert refused.json()["title"] == "ALLOWANCE_EXCEEDED"
    projects = (await account.http.get("/api/v1/projects")).json()["projects"]
    assert "Moon" not in {project["name"] for project in projects}


async def test_job_beyond_its_budget_is_blocked_then_released(account, until):
    """A queued job that its budget refuses waits as `blocked`, and runs after a top-up."""
    project = await account.http.post(
        "/api/v1/projects", json={"name": "Tiny", "budget_allocated": "0.000001"}
    )
    project_id = project.json()["project_id"]
    job = await account.http.post(
        "/api/v1/jobs",
        json={
            "project_id": project_id,
            "type": "implement_feature",
            "payload": {"prompt": "Say hello.", "max_tokens": 4},
        },
    )
    job_id = job.json()["job_id"]

    async def state():
        read = await account.http.get(f"/api/v1/jobs/{job_id}", params={"project_id": project_id})
        return read.json()

    async def blocked():
        return (await state())["state"] == "blocked"

    await until(blocked, seconds=10)
    assert (await state())["failure_reason"] == "BUDGET_EXCEEDED"
    topped_up = await account.http.put(
        f"/api/v1/projects/{project_id}/budget", json={"budget_allocated": "5"}
    )
    assert topped_up.status_code == 200, topped_up.text

    async def completed():
        return (await state())["state"] == "completed"

    await until(completed, seconds=20)


async def test_same_key_makes_one_job(account):
    """Twenty submissions at once with one Idempotency-Key are one job."""
    body = {"type": "generation_v2", "payload": {"prompt": "Once.", "max_tokens": 2}}

    async def submit():
        return await account.http.post(
            "/api/v1/jobs", json=body, headers={"Idempotency-Key": "only-once"}
        )

    answers = await asyncio.gather(*(submit() for _ in range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    body["payload"]["prompt"] = "Twice."
    other = await submit()
    assert other.status_code == 422
    assert other.json()["title"] == "IDEMPOTENCY_KEY_REUSED"


async def test_foreign_job_looks_absent(account, new_account):
    """Another user's job can't be told from one that never was, whichever way it is asked for."""
    mine = await account.http.post(
        "/api/v1/jobs", json={"type": "generation_v2", "payload": {"prompt": "x", "max_tokens": 1}}
    )
    job_id = mine.json()["job_id"]
    stranger = await new_account()
    never = "0192f0c0-0000-7000-8000-000000000000"

    for path in ("/api/v1/jobs/{}", "/api/v1/costs/jobs/{}"):
        foreign = await stranger.http.get(path.format(job_id))
        absent = await stranger.http.get(path.format(never))
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["title"] == absent.json()["title"]
        assert foreign.json()["detail"].replace(job_id, never) == absent.json()["detail"]
    named = await stranger.http.get(
        f"/api/v1/jobs/{job_id}", params={"project_id": account.project_id}
    )
    assert named.status_code == 404
