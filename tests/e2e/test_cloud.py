"""Prompts that go to the cloud, and what becomes of them when it is away.

Yotta is a real llama.cpp server; our own worker runs the stand-in engine under the same model name.
"""

from __future__ import annotations

import httpx
import pytest

SIMPLE = "Say hi."
COMPLEX = "A detailed and complex answer for an advanced reader."
LOCAL_NANOUSD, YOTTA_NANOUSD = 1_000_000, 10_000_000  # a token, in version 1 of the price book


@pytest.fixture
async def cloud(cloud_stack, account, until):
    """The stack, once its router has found Yotta."""

    async def found():
        return (await explain(account, COMPLEX))["target"] == "yotta"

    await until(found, seconds=60)
    return cloud_stack


async def test_complex_prompt_is_answered_and_billed_by_yotta(cloud, account):
    """It runs in the cloud, for the tokens that the cloud reports, at the cloud's price."""
    answer = await chat(account, COMPLEX)

    weir, usage = answer["weir"], answer["usage"]
    assert answer["choices"][0]["message"]["content"]
    assert weir["target"] == weir["decision"]["target"] == "yotta"
    assert weir["decision"]["reason"] == "complexity_at_threshold"
    assert weir["usage"]["source"] == "reported"
    assert usage["prompt_tokens"] == await prompt_tokens_by_yotta(cloud, COMPLEX)
    assert 0 < usage["completion_tokens"] <= 6
    assert weir["cost"]["charged_nanousd"] == usage["total_tokens"] * YOTTA_NANOUSD
    [entry] = await cloud.settled_ledger_of(weir["job_id"])
    assert (entry["kind"], entry["amount_nanousd"]) == ("post", weir["cost"]["charged_nanousd"])
    assert "dispatched" in await cloud.changes_of(weir["job_id"])


async def test_streamed_answer_of_yotta_comes_in_pieces(cloud, account):
    """The stream goes through as it comes, and ends with what it cost."""
    stream = await account.openai.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": COMPLEX}],
        max_tokens=6,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert len([each for each in chunks if each.choices and each.choices[0].delta.content]) > 1
    assert chunks[-1].model_extra["weir"]["target"] == "yotta"
    charged = chunks[-1].model_extra["weir"]["cost"]["charged_nanousd"]
    assert charged == chunks[-1].usage.total_tokens * YOTTA_NANOUSD


async def test_simple_prompt_stays_here(cloud, account):
    """What looks easy runs on our own worker, at its price."""
    answer = await chat(account, SIMPLE)

    assert answer["weir"]["target"] == "local"
    assert answer["weir"]["decision"]["reason"] == "complexity_below_threshold"
    charged = answer["weir"]["cost"]["charged_nanousd"]
    assert charged == answer["usage"]["total_tokens"] * LOCAL_NANOUSD


async def test_local_only_never_leaves(cloud, account):
    """What may run on our own hardware alone does, however hard it looks: chats and jobs."""
    decision = await explain(account, COMPLEX, residency="local_only")
    answer = await chat(account, COMPLEX, {"X-Weir-Residency": "local_only"})
    accepted = await account.http.post(
        "/api/v1/jobs",
        json={
            "type": "generation_v2",
            "payload": {"prompt": COMPLEX, "max_tokens": 6},
            "residency": "local_only",
        },
    )
    job = await account.finished_job(accepted.json()["job_id"])

    assert decision["target"] == "local"
    assert {other["target"]: other["reason"] for other in decision["alternatives"]} == {
        "yotta": "residency_local_only"
    }
    assert answer["weir"]["target"] == "local"
    assert (job["state"], job["executed_target"]) == ("completed", "local")
    for job_id in (answer["weir"]["job_id"], job["job_id"]):
        assert "dispatched" not in await cloud.changes_of(job_id)


async def test_killed_yotta_is_fallen_back_from(cloud, account):
    """Nobody answers at its address, so nothing was paid: local runs it, and local is billed."""
    await cloud.kill("yotta")
    try:
        answer = await chat(account, COMPLEX)
    finally:
        await cloud.start_yotta()

    weir = answer["weir"]
    assert (weir["decision"]["target"], weir["target"]) == ("yotta", "local")
    charged = weir["cost"]["charged_nanousd"]
    assert charged == answer["usage"]["total_tokens"] * LOCAL_NANOUSD
    [entry] = await cloud.settled_ledger_of(weir["job_id"])
    assert (entry["kind"], entry["amount_nanousd"]) == ("post", charged)
    changes = await cloud.changes_of(weir["job_id"])
    assert changes[changes.index("running") :] == ["running", "dispatched", "released", "completed"]


async def test_frozen_yotta_may_have_been_paid(cloud, account):
    """It took the prompt and says nothing: the job fails, runs nowhere else and costs nothing."""
    cloud.freeze("yotta")
    try:
        accepted = await submit(account)
        job = await account.finished_job(accepted.json()["job_id"], seconds=60)
    finally:
        cloud.thaw("yotta")

    assert (job["state"], job["failure_reason"]) == ("failed", "AMBIGUOUS")
    assert job["attempt"] == 1
    [entry] = await cloud.settled_ledger_of(job["job_id"])
    assert entry["kind"] == "void"
    assert await account.charged_nanousd() == 0
    assert "released" not in await cloud.changes_of(job["job_id"])


@pytest.mark.parametrize("ask", ["submit", "chat"])
async def test_dispatched_job_never_runs_again_blindly(cloud, account, ask):
    """job-service killed after `Go`: the job fails as AMBIGUOUS and costs the tenant nothing."""
    cloud.arm("job-service", "after_go")

    answer = await (submit(account) if ask == "submit" else post_chat(account, COMPLEX))
    # A queued job may have been accepted before the process died.
    assert ask == "submit" or answer.status_code >= 500
    await cloud.died("job-service")
    await cloud.revive("job-service")
    job = await account.only_job_finished(seconds=30)

    assert (job["state"], job["failure_reason"]) == ("failed", "AMBIGUOUS")
    assert job["attempt"] == 1
    [entry] = await cloud.settled_ledger_of(job["job_id"])
    assert entry["kind"] == "void"
    assert (await account.budget())["reserved_nanousd"] == 0


async def chat(account, prompt, headers=None):
    answer = await post_chat(account, prompt, headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post_chat(account, prompt, headers=None):
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "auto", "messages": messages, "max_tokens": 6}
    return await account.v1.post("/v1/chat/completions", headers=headers, json=body)


async def submit(account):
    payload = {"prompt": COMPLEX, "max_tokens": 6}
    return await account.http.post(
        "/api/v1/jobs", json={"type": "generation_v2", "payload": payload}
    )


async def explain(account, prompt, **wishes):
    answer = await account.http.post("/api/v1/route", json={"prompt": prompt, **wishes})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def prompt_tokens_by_yotta(stack, prompt):
    """Ask the cloud itself how many tokens a prompt has."""
    url, key = stack.yotta
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as client:
        messages = [{"role": "user", "content": prompt}]
        answer = await client.post(
            f"{url}/v1/chat/completions", json={"messages": messages, "max_tokens": 1}
        )
    return answer.json()["usage"]["prompt_tokens"]
