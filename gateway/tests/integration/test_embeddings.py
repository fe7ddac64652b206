"""Embeddings as a raw client sees them."""

import asyncio
import base64
import struct

import pytest
from weir.job.v1 import job_service_pb2
from weir.router.v1 import router_service_pb2

from ..stand_ins import JOB_ID, PROJECT_ID, Events, embedding

PATH = "/v1/embeddings"
EMBEDDING = {"model": "auto", "input": ["a", "b"]}


async def test_vectors_as_numbers(http, script, program):
    """One for each input, in their order; the usage has no output."""
    script.answers["RunJob"] = embedding([0.5, -1.0], [0.25, 2.0])

    answer = await http.post(PATH, headers=program, json=EMBEDDING)

    assert answer.status_code == 200
    found = answer.json()
    weir = found.pop("weir")
    assert found == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "model": "smollm2",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert weir["job_id"] == answer.headers["x-weir-job-id"] == JOB_ID
    assert weir["usage"]["tokens_output"] == 0


async def test_vectors_as_base64(http, script, program):
    """Little-endian 32-bit floats, as the `openai` client asks for by default."""
    script.answers["RunJob"] = embedding([0.1, -1.0], [3e38, 1e-40])

    answer = await http.post(PATH, headers=program, json={**EMBEDDING, "encoding_format": "base64"})

    vectors = [
        struct.unpack("<2f", base64.b64decode(one["embedding"])) for one in answer.json()["data"]
    ]
    assert vectors == [
        struct.unpack("<2f", struct.pack("<2f", *one)) for one in [(0.1, -1.0), (3e38, 1e-40)]
    ]


async def test_everything_a_client_sends_arrives(http, script, program):
    """The texts are inputs; nothing is sampled."""
    script.answers["RunJob"] = embedding([1.0])

    await http.post(
        PATH,
        headers={**program, "OpenAI-Project": PROJECT_ID, "Idempotency-Key": "k1"},
        json={"model": "smollm2", "input": "a"},
    )

    sent = script.last("RunJob").request
    assert (sent.project_id, sent.request_id) == (PROJECT_ID, "k1")
    assert sent.specification == job_service_pb2.JobSpecification(
        type="embedding",
        model="smollm2",
        inputs=["a"],
        residency=router_service_pb2.RESIDENCY_ANY,
    )


async def test_missing_vector_is_no_answer(http, script, program):
    """Fewer vectors than inputs: an error, not a list that is shifted by one."""
    script.answers["RunJob"] = embedding([1.0])

    answer = await http.post(PATH, headers=program, json=EMBEDDING)

    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == "false"


async def test_client_that_leaves_cancels_the_job(served, script, program):
    """Within a second of the disconnect, job-service's call is cancelled."""
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def run(request, context):
        try:
            yield Events.admitted()
            yield Events.embedding(0, [1.0])
            running.set()
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    script.answers["RunJob"] = run

    async with served.client() as client:
        asking = asyncio.create_task(client.post(PATH, headers=program, json=EMBEDDING))
        async with asyncio.timeout(10):
            await running.wait()
        asking.cancel()

        async with asyncio.timeout(1):
            await cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking
