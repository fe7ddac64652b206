"""Work that its budget does not allow: refused at once where somebody waits, else kept for later.

This stack has no cloud, so its decisions say so.
"""

from __future__ import annotations

import pytest

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 2}
JOB = {"type": "generation_v2", "payload": {"prompt": "Say hi.", "max_tokens": 2}}
LOCAL_NANOUSD = 1_000_000  # a token, in version 1 of the price book


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_refused_chat_says_not_to_try_again(account, streamed):
    """A 429 before any byte of an answer, which clients take as final; nothing is charged."""
    await account.set_budget("0.000001")

    refused = await account.v1.post("/v1/chat/completions", json=CHAT | {"stream": streamed})

    assert refused.status_code == 429
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["content-type"].startswith("application/json")
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert await account.charged_nanousd() == 0


async def test_top_up_releases_every_blocked_job(account, stack, until):
    """Jobs beyond the budget wait; more budget lets all of them run, each billed once."""
    await account.set_budget("0.000001")
    submitted = [await account.http.post("/api/v1/jobs", json=JOB) for _ in range(3)]
    job_ids = [answer.json()["job_id"] for answer in submitted]

    async def all_are_blocked():
        return {job["state"] for job in await account.jobs()} == {"blocked"}

    await until(all_are_blocked, seconds=20)
    assert await account.charged_nanousd() == 0
    await account.set_budget("5")
    jobs = [await account.finished_job(job_id) for job_id in job_ids]

    assert {job["state"] for job in jobs} == {"completed"}
    for job in jobs:
        [entry] = await stack.settled_ledger_of(job["job_id"])
        billed = (entry["kind"], entry["amount_nanousd"])
        assert billed == ("post", job["tokens_used_total"] * LOCAL_NANOUSD)
        changes = await stack.changes_of(job["job_id"])
        assert changes.index("blocked") < changes.index("pending") < changes.index("running")
    budget = await account.budget()
    assert budget["reserved_nanousd"] == 0
    assert budget["actual_cost_nanousd"] == sum(job["actual_cost_nanousd"] for job in jobs)


async def test_without_a_cloud_every_decision_says_so(account):
    """A hard prompt stays here, and its explanation names the reason."""
    answer = await account.http.post(
        "/api/v1/route", json={"prompt": "detailed complex advanced " + "why " * 60}
    )

    decision = answer.json()
    assert decision["target"] == "local"
    assert decision["reason"] == "complexity_at_threshold_but_yotta_not_configured"
    assert "yotta: not configured" in decision["explanation"]


async def test_cap_of_a_key_binds_that_key_alone(account):
    """A key without room is refused by its name; its project's other keys work, and so may it."""
    made = await account.http.post(
        "/api/v1/auth/api-keys", json={"name": "capped", "scopes": ["inference"]}
    )
    key_id, capped = made.json()["key_id"], {"authorization": f"Bearer {made.json()['secret']}"}
    budget = f"/api/v1/costs/api-keys/{key_id}/budget"
    assert (await account.http.get(budget)).json()["status"] == "no_budget_set"
    await account.http.put(budget, json={"budget_allocated": 0})

    refused = await account.v1.post("/v1/chat/completions", json=CHAT, headers=capped)
    other = await account.v1.post("/v1/chat/completions", json=CHAT)
    await account.http.put(budget, json={"budget_allocated": "5"})
    raised = await account.v1.post("/v1/chat/completions", json=CHAT, headers=capped)

    assert (refused.status_code, other.status_code, raised.status_code) == (429, 200, 200)
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert f"api key {key_id}" in refused.json()["error"]["message"]
    shown = (await account.http.get(budget)).json()
    assert shown["actual_cost_nanousd"] + shown["reserved_nanousd"] > 0
