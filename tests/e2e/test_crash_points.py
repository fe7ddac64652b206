"""A process is killed wherever state could tear; nothing is lost and nothing billed twice.

Each case arms one failpoint in the real service, lets work run into it, sees the process die by
SIGKILL, starts it again, and waits until every job is final. `docs/protocol.md` lists the points.
In the end the ledger checker goes over the books of all cases (`crash_stack`).
"""

from __future__ import annotations

import asyncio

import httpx
import pytest

JOBS_FAILPOINTS_QUEUED = [
    "after_job_row",
    "after_hold",
    "after_admission",
    "after_claim",
    "before_finish",
    "after_finish_commit",
    "before_settlement_post",
    "after_settlement_post",
]
# (failpoint, final state, how its hold is settled): what was streamed until the last renewal is
# charged, so the fourth case may be either.
INTERACTIVE_OUTCOMES = [
    ("after_job_row", "failed", {"void"}),
    ("after_hold", "failed", {"void"}),
    ("after_admission", "failed", {"void"}),
    ("before_finish", "failed", {"void", "post"}),
    ("after_finish_commit", "completed", {"post"}),
]
STILL_OPEN = {"pending", "running", "retrying", "blocked"}
COST_FAILPOINTS = [
    "before_hold_commit",
    "after_hold_commit",
    "before_post_commit",
    "after_post_commit",
]


@pytest.mark.parametrize("failpoint", JOBS_FAILPOINTS_QUEUED)
async def test_queued_job_survives(crash_stack, new_account, failpoint):
    """A queued job runs to its end and is charged once, wherever job-service died."""
    account = await new_account()
    crash_stack.arm("job-service", failpoint)
    key = {"Idempotency-Key": f"queued-{failpoint}"}

    await submit(account, headers=key)
    await crash_stack.died("job-service")
    await crash_stack.revive("job-service")
    # The client saw no answer, so it asks again with its key.
    accepted = await submit(account, headers=key, until_accepted=True)
    job = await account.finished_job(accepted["job_id"], seconds=30)

    assert job["state"] == "completed"
    entries = await crash_stack.settled_ledger_of(job["job_id"])
    assert [entry["kind"] for entry in entries] == ["post"]
    assert entries[0]["amount_nanousd"] == job["tokens_used_total"] * 1_000_000
    assert len(await account.jobs()) == 1
    await assert_nothing_held(account)


@pytest.mark.parametrize(("failpoint", "state", "settled_by"), INTERACTIVE_OUTCOMES)
async def test_interactive_job_settles(crash_stack, new_account, failpoint, state, settled_by):
    """An interactive job whose process died ends, releases its hold, and is settled once."""
    account = await new_account()
    crash_stack.arm("job-service", failpoint)

    with pytest.raises(httpx.HTTPStatusError):
        (await chat(account)).raise_for_status()
    await crash_stack.died("job-service")
    await crash_stack.revive("job-service")
    job = await account.only_job_finished(seconds=30)

    assert job["state"] == state
    entries = await crash_stack.settled_ledger_of(job["job_id"])
    assert len(entries) == 1
    assert entries[0]["kind"] in settled_by
    assert entries[0]["amount_nanousd"] == job["tokens_used_total"] * 1_000_000
    await assert_nothing_held(account)


@pytest.mark.parametrize("failpoint", COST_FAILPOINTS)
async def test_ledger_survives_its_service(crash_stack, new_account, failpoint):
    """cost-service killed around a hold or a post: the job completes and is booked once."""
    account = await new_account()
    crash_stack.arm("cost-service", failpoint)

    accepted = await submit(account, until_accepted=True)
    await crash_stack.died("cost-service")
    await crash_stack.revive("cost-service")
    job = await account.finished_job(accepted["job_id"], seconds=30)

    assert job["state"] == "completed"
    entries = await crash_stack.settled_ledger_of(job["job_id"])
    assert [entry["kind"] for entry in entries] == ["post"]
    assert entries[0]["amount_nanousd"] == job["tokens_used_total"] * 1_000_000
    await assert_nothing_held(account)


async def test_retried_job_survives(crash_stack, new_account):
    """A person's retry whose new admission was just written goes on; each admission pays once.

    tests/chaos/test_redrives.py does the same at the steps that follow.
    """
    account = await new_account()
    job_id = (await submit(account, until_accepted=True))["job_id"]
    await account.http.post(f"/api/v1/jobs/{job_id}/cancel")
    first = await account.finished_job(job_id)
    crash_stack.arm("job-service", "after_job_row")

    await retry(account, job_id)
    await crash_stack.died("job-service")
    await crash_stack.revive("job-service")
    # The client saw no answer, so it asks again with its key.
    again = await retry(account, job_id)
    job = await account.finished_job(job_id, seconds=30)

    assert (first["state"], again.status_code) == ("cancelled", 202)
    assert (job["state"], job["tokens_used_output"]) == ("completed", 20)
    entries = await crash_stack.settled_ledger_of(job_id, admissions=2)
    charged = [entry["amount_nanousd"] for entry in entries]
    assert charged == [first["actual_cost_nanousd"], job["tokens_used_total"] * 1_000_000]
    assert (await crash_stack.changes_of(job_id)).count("retried") == 1
    await assert_nothing_held(account)


@pytest.mark.parametrize("victim", ["compute-router", "gpu-worker"])
async def test_job_survives_its_executor(crash_stack, new_account, until, victim):
    """Router or worker killed while jobs run: every job still completes, charged once."""
    account = await new_account()
    accepted = [await submit(account, until_accepted=True) for _ in range(6)]

    async def running():
        return any(job["state"] == "running" for job in await account.jobs())

    await until(running, seconds=10)
    await crash_stack.kill(victim)
    await crash_stack.revive(victim)
    jobs = [await account.finished_job(job["job_id"], seconds=40) for job in accepted]

    assert {job["state"] for job in jobs} == {"completed"}
    for job in jobs:
        entries = await crash_stack.settled_ledger_of(job["job_id"])
        assert [entry["kind"] for entry in entries] == ["post"]
    await assert_nothing_held(account)


async def test_frozen_job_service_can_not_bill(crash_stack, new_account, until):
    """A replica stopped for longer than its leases wakes up to find its finishes refused (X-R2)."""
    account = await new_account()
    await crash_stack.start("job-service", 1)
    # Long enough at the end of each execution for the freeze to catch some of them there.
    crash_stack.arm("job-service", "before_finish", action="pause:1")
    accepted = [await submit(account, until_accepted=True) for _ in range(12)]

    async def running():
        jobs = await account.jobs()
        return sum(job["state"] == "running" for job in jobs) >= 4

    async def all_final():
        # Asked for at once: each call that meets the frozen replica waits for its deadline.
        answer = await account.http.get("/api/v1/jobs")
        jobs = answer.json()["jobs"] if answer.status_code == 200 else []
        return jobs if len(jobs) == len(accepted) and not STILL_OPEN & states(jobs) else None

    await until(running, seconds=20)
    crash_stack.freeze("job-service")
    try:
        # Within 10 s nobody calls the frozen replica any more.
        jobs = await until(all_final, seconds=45)
    finally:
        crash_stack.thaw("job-service")
    assert {job["state"] for job in jobs} == {"completed"}
    taken_over = [job for job in jobs if job["attempt"] > 1]
    assert taken_over, "the freeze met no running work"

    async def refused():
        return crash_stack.logged("job-service", "job.attempt_discarded") >= 1

    await until(refused, seconds=20)
    crash_stack.disarm("job-service")
    for job in jobs:
        entries = await crash_stack.settled_ledger_of(job["job_id"])
        assert [entry["kind"] for entry in entries] == ["post"]
        after = await account.finished_job(job["job_id"])
        assert (after["attempt"], after["completed_at"]) == (job["attempt"], job["completed_at"])
    await assert_nothing_held(account)


def states(jobs):
    return {job["state"] for job in jobs}


async def assert_nothing_held(account):
    """Whatever was reserved for this account is settled."""
    assert (await account.budget())["reserved_nanousd"] == 0


async def submit(account, *, headers=None, until_accepted=False):
    """Submit one queued job; without `until_accepted` an answer may fail to come."""
    body = {"type": "generation_v2", "payload": {"prompt": "Count.", "max_tokens": 64}}
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        try:
            answer = await account.http.post("/api/v1/jobs", json=body, headers=headers)
        except httpx.TransportError as error:
            answer = httpx.Response(599, text=str(error))
        if answer.status_code == 202:
            return answer.json()
        if not until_accepted:
            return None
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not accepted: {answer.status_code} {answer.text}")
        await asyncio.sleep(0.2)


async def retry(account, job_id):
    """Run a job again that is over; the answer may fail to come."""
    headers = {"Idempotency-Key": f"retry-{job_id}"}
    try:
        return await account.http.post(f"/api/v1/jobs/{job_id}/retry", headers=headers)
    except httpx.TransportError as error:
        return httpx.Response(599, text=str(error))


async def chat(account):
    messages = [{"role": "user", "content": "Count."}]
    body = {"model": "auto", "messages": messages, "max_tokens": 64}
    return await account.v1.post("/v1/chat/completions", json=body)
