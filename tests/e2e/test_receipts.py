"""Receipts: signed twice, verified offline by a command, refused when tampered with."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

STRANGERS_KEY = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4}


@pytest.fixture
async def receipt(account):
    """The receipt of a chat on our own worker."""
    answer = await account.v1.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    job_id = answer.json()["weir"]["job_id"]
    found = await account.http.get(f"/api/v1/jobs/{job_id}/receipt")
    assert found.status_code == 200, found.text
    return found.json()


@pytest.fixture
async def keys(account):
    return (await account.http.get("/.well-known/weir-receipt-keys.json")).json()


def verify(tmp_path, receipt, keys=None):
    """Run the command as a person would, with nothing of Weir running or reachable."""
    paper = tmp_path / "receipt.json"
    paper.write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
    command = [sys.executable, "-m", "job_service", "verify-receipt", str(paper)]
    if keys is not None:
        ring = tmp_path / "keys.json"
        ring.write_text(json.dumps(keys))
        command += ["--keys", str(ring)]
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60)


async def test_receipt_verifies_offline(account, receipt, keys, tmp_path):
    """With the published keys or with its own, and it says what the job was charged."""
    statement = receipt["statement"]
    job = await account.finished_job(statement["job_id"])

    published = await asyncio.to_thread(verify, tmp_path, receipt, keys)
    alone = await asyncio.to_thread(verify, tmp_path, receipt)

    assert published.returncode == alone.returncode == 0, published.stdout + published.stderr
    assert receipt["key_id"] in alone.stdout
    assert statement["charge_nanousd"] == job["actual_cost_nanousd"] > 0
    assert statement["tokens_output"] == job["tokens_used_output"]
    assert statement["result"]["statement"]["model_digest"]
    assert statement["result_problem"] is None
    assert len(receipt["signature"]) == 128
    assert job["result_text"] not in json.dumps(receipt)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["statement", "charge_nanousd"], 1, "signature"),
        (["statement", "result", "statement", "tokens_output"], 1, "signature"),
        (["signature"], "00" * 64, "signature"),
        (["key_id"], STRANGERS_KEY, STRANGERS_KEY),
        (["statement", "extra"], "field", "signature"),
    ],
    ids=["charge", "worker's tokens", "signature", "key", "added field"],
)
async def test_tampered_receipt_is_refused(receipt, keys, tmp_path, path, value, named):
    """Whatever is changed, the command says no and names what is wrong."""
    place = receipt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    refused = await asyncio.to_thread(verify, tmp_path, receipt, keys)

    assert refused.returncode == 1
    assert named in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


async def test_foreign_receipt_looks_absent(new_account, receipt):
    """Another user's receipt can't be told from one that never was."""
    stranger = await new_account()

    answer = await stranger.http.get(f"/api/v1/jobs/{receipt['statement']['job_id']}/receipt")

    assert answer.status_code == 404
