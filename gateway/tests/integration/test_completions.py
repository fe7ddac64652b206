"""Completions of a text as a raw client sees them."""

import json

import pytest
from weir.job.v1 import job_service_pb2
from weir.router.v1 import router_service_pb2
from weir.worker.v1 import inference_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, PROJECT_ID, Events, refusal
from .test_chat import WEIR, chunks_of

PATH = "/v1/completions"
COMPLETION = {"model": "auto", "prompt": "Say"}
STREAM = {**COMPLETION, "stream": True}


async def test_whole_text(http, program):
    """A text completion, with the weir object beside it and the decision in headers."""
    answer = await http.post(PATH, headers=program, json=COMPLETION)

    assert answer.status_code == 200
    found = answer.json()
    weir = found.pop("weir")
    assert weir.pop("decision")["target"] == "local"
    assert weir == WEIR
    assert found == {
        "id": f"cmpl-{JOB_ID}",
        "object": "text_completion",
        "created": 1767323045,
        "model": "smollm2",
        "choices": [{"index": 0, "text": "Hello world", "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
        "system_fingerprint": None,
    }
    assert answer.headers["x-weir-target"] == "local"
    assert answer.headers["x-weir-job-id"] == JOB_ID


async def test_everything_a_client_sends_arrives(http, script, program):
    """The prompt is an input, not a message."""
    await http.post(
        PATH,
        headers={**program, "OpenAI-Project": PROJECT_ID, "Idempotency-Key": "k1"},
        json={**COMPLETION, "prompt": ["Say"], "max_tokens": 9, "temperature": 0, "stop": ["END"]},
    )

    sent = script.last("RunJob").request
    assert (sent.project_id, sent.request_id) == (PROJECT_ID, "k1")
    assert sent.specification == job_service_pb2.JobSpecification(
        type="completion",
        model="auto",
        inputs=["Say"],
        sampling=inference_service_pb2.SamplingParameters(
            max_tokens=9, temperature=0.0, stop=["END"]
        ),
        residency=router_service_pb2.RESIDENCY_ANY,
    )


@pytest.mark.parametrize("usage", [False, True])
async def test_stream_has_its_order(http, program, usage):
    """Text, the end, the usage if asked, `[DONE]`; the weir object in the last piece."""
    options = {"stream_options": {"include_usage": True}} if usage else {}
    answer = await http.post(PATH, headers=program, json={**STREAM, **options})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-weir-job-id"] == JOB_ID
    *chunks, done = chunks_of(answer.text)
    assert done == "[DONE]"
    chunks = [json.loads(chunk) for chunk in chunks]
    assert {chunk["id"] for chunk in chunks} == {f"cmpl-{JOB_ID}"}
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    ends = [
        (choice["text"], choice["finish_reason"]) for one in chunks for choice in one["choices"]
    ]
    assert ends == [("Hello", None), (" world", None), ("", "stop")]
    assert chunks[-1]["weir"]["cost"]["charged_nanousd"] == 7_000_000
    assert all("weir" not in chunk for chunk in chunks[:-1])
    if usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] == 7
        assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 3
    else:
        assert all("usage" not in chunk for chunk in chunks)


async def test_failure_in_the_middle_of_a_stream(http, script, program):
    """An error event instead of `[DONE]`."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        yield Events.delta("Hel")
        raise refusal(ErrorCode.UNAVAILABLE, "EXECUTION_FAILED", "The worker is gone.")

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=STREAM)

    assert answer.status_code == 200
    text, error = (json.loads(event) for event in chunks_of(answer.text))
    assert text["choices"][0]["text"] == "Hel"
    assert error["error"]["code"] == "execution_failed"


async def test_operation_that_nothing_serves(http, script, program):
    """A 400 that names the model; no client repeats it."""
    script.answers["RunJob"] = refusal(ErrorCode.INVALID_ARGUMENT, "OPERATION_NOT_SERVED")

    answer = await http.post(PATH, headers=program, json=COMPLETION)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "operation_not_served"
    assert answer.json()["error"]["param"] == "model"


async def test_token_ids_are_refused(http, script, program):
    """With the parameter's name, and without a job."""
    answer = await http.post(PATH, headers=program, json={**COMPLETION, "prompt": [1, 2]})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"
    assert "Token ids" in answer.json()["error"]["message"]
    assert not script.of("RunJob")
