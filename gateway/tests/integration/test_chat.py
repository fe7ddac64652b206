"""Chat completions as a raw client sees them."""

import asyncio
import json

import pytest
from weir.job.v1 import job_service_pb2
from weir.router.v1 import router_service_pb2
from weir.worker.v1 import inference_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import JOB_ID, OTHER_PROJECT_ID, PROJECT_ID, Events, a_job, answering, refusal

PATH = "/v1/chat/completions"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**CHAT, "stream": True}
WEIR = {
    "job_id": JOB_ID,
    "target": "local",
    "model": "smollm2",
    "usage": {
        "tokens_input": 3,
        "tokens_output": 4,
        "tokens_input_cached": 1,
        "source": "reported",
    },
    "cost": {
        "estimated_nanousd": 9_000_000,
        "charged_nanousd": 7_000_000,
        "charged_usd": 0.007,
        "price_version": "1",
    },
}


def chunks_of(text):
    """Return the data of every event of a stream."""
    events = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert all(event.startswith("data: ") for event in events)
    return [event.removeprefix("data: ") for event in events]


async def test_whole_answer(http, program):
    """An OpenAI answer, with the weir object beside it and the decision in headers."""
    answer = await http.post(PATH, headers=program, json=CHAT)

    assert answer.status_code == 200
    found = answer.json()
    assert found["id"] == f"chatcmpl-{JOB_ID}"
    assert found["object"] == "chat.completion"
    assert found["created"] == 1767323045
    assert found["model"] == "smollm2"
    assert found["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello world", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert found["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    decision = found["weir"].pop("decision")
    assert found["weir"] == WEIR
    assert decision["explanation"] == ["local can serve smollm2", "complexity 6 < 100"]
    assert decision["alternatives"][0]["target"] == "yotta"
    assert answer.headers["x-weir-target"] == "local"
    assert answer.headers["x-weir-complexity"] == "6"
    assert answer.headers["x-weir-reason"] == "complexity_below_threshold"
    assert answer.headers["x-weir-job-id"] == JOB_ID
    assert answer.headers["x-request-id"]


async def test_everything_a_client_sends_arrives(http, script, program):
    """Messages in both forms, and every parameter that has a meaning here."""
    await http.post(
        PATH,
        headers={**program, "OpenAI-Project": PROJECT_ID, "Idempotency-Key": "k1"},
        json={
            "model": "smollm2",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
                },
                {"role": "assistant", "content": None},
                {"role": "assistant", "content": "Hi", "refusal": None},
                {"role": "user", "content": "Bye"},
            ],
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 1,
            "seed": -3,
            "stop": "END",
            "frequency_penalty": -2,
            "presence_penalty": 2,
            "n": 1,
            "user": "ada",
            "metadata": {"a": "b"},
            "logprobs": False,
            "tools": [],
            "response_format": {"type": "text"},
            "stream": False,
        },
    )

    sent = script.last("RunJob").request
    assert (sent.project_id, sent.request_id) == (PROJECT_ID, "k1")
    assert sent.specification == job_service_pb2.JobSpecification(
        type="chat_completion",
        model="smollm2",
        messages=[
            inference_service_pb2.ChatMessage(role=role, content=content)
            for role, content in [
                ("system", "Be brief."),
                ("user", "Hello"),
                ("assistant", ""),
                ("assistant", "Hi"),
                ("user", "Bye"),
            ]
        ],
        sampling=inference_service_pb2.SamplingParameters(
            max_tokens=9,
            temperature=0.5,
            top_p=1,
            seed=-3,
            stop=["END"],
            frequency_penalty=-2,
            presence_penalty=2,
        ),
        residency=router_service_pb2.RESIDENCY_ANY,
    )


async def test_unset_parameters_stay_unset(http, script, program):
    """The model's own defaults are not replaced by ours; a zero is a zero."""
    await http.post(PATH, headers=program, json=CHAT)
    unset = script.last("RunJob").request.specification.sampling
    await http.post(PATH, headers=program, json={**CHAT, "temperature": 0, "seed": 0})
    zero = script.last("RunJob").request.specification.sampling

    assert not unset.ListFields()
    assert zero.HasField("temperature")
    assert zero.HasField("seed")


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"n": 0}, "n", "unsupported_parameter"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "tools",
            "unsupported_parameter",
        ),
        ({"tool_choice": "auto"}, "tool_choice", "unsupported_parameter"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"top_logprobs": 1}, "top_logprobs", "unsupported_parameter"),
        ({"logit_bias": {"1": 2}}, "logit_bias", "unsupported_parameter"),
        (
            {"response_format": {"type": "json_object"}},
            "response_format",
            "unsupported_parameter",
        ),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "unsupported_parameter"),
        ({"service_tier": "flex"}, "service_tier", "unsupported_parameter"),
        ({"max_tokens": 0}, "max_tokens", "greater_than_equal"),
        ({"max_tokens": 1.5}, "max_tokens", "int_from_float"),
        ({"max_tokens": 10**30}, "max_tokens", "less_than_equal"),
        ({"temperature": 2.1}, "temperature", "less_than_equal"),
        ({"top_p": -0.1}, "top_p", "greater_than_equal"),
        ({"seed": 2**63}, "seed", "less_than"),
        ({"stop": ["a", "b", "c", "d", "e"]}, None, None),
        ({"stop": ""}, None, None),
        ({"unheard_of": 1}, "unheard_of", "unknown_parameter"),
        ({"messages": []}, "messages", "too_short"),
        ({"messages": "Hi"}, "messages", "list_type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "literal_error"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "content"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "x"}}],
                    }
                ]
            },
            "messages[0].content",
            "unsupported_content",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "name": "ada"}]},
            "messages[0].name",
            "unsupported_parameter",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
            "messages[0].tool_calls",
            "unsupported_parameter",
        ),
        ({"stream_options": {"include_usage": True}}, None, "stream_options"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, None, "max_tokens"),
    ],
)
async def test_what_is_not_supported_is_refused(http, script, program, changes, param, code):
    """A clear 400 that names the parameter, and no job."""
    answer = await http.post(PATH, headers=program, json={**CHAT, **changes})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    assert error["message"]
    assert not script.of("RunJob")


async def test_stream_has_its_order(http, program):
    """Role, text, end with the weir object, `[DONE]`; one status, real headers."""
    answer = await http.post(PATH, headers=program, json=STREAM)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-weir-target"] == "local"
    assert answer.headers["x-weir-job-id"] == JOB_ID
    *chunks, done = chunks_of(answer.text)
    assert done == "[DONE]"
    chunks = [json.loads(chunk) for chunk in chunks]
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{JOB_ID}"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " world"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    decision = chunks[-1]["weir"].pop("decision")
    assert chunks[-1]["weir"] == WEIR
    assert decision["target"] == "local"
    assert "usage" not in chunks[-1]


async def test_stream_with_usage(http, program):
    """Asked for, the usage comes last, with the weir object, and is null before."""
    answer = await http.post(
        PATH, headers=program, json={**STREAM, "stream_options": {"include_usage": True}}
    )

    *chunks, done = chunks_of(answer.text)
    chunks = [json.loads(chunk) for chunk in chunks]
    assert done == "[DONE]"
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 7
    assert chunks[-1]["weir"]["cost"]["charged_nanousd"] == 7_000_000
    assert "weir" not in chunks[-2]


async def test_replayed_answer(http, script, program):
    """A replay has no deltas; the answer comes from the finished job, streamed or not."""

    async def replay(request, context):
        yield Events.finished()

    script.answers["RunJob"] = replay

    whole = await http.post(PATH, headers=program, json=CHAT)
    streamed = await http.post(PATH, headers=program, json=STREAM)

    assert whole.json()["choices"][0]["message"]["content"] == "Hello world"
    assert whole.json()["created"] == 1767323045
    texts = [
        json.loads(chunk)["choices"][0]["delta"].get("content", "")
        for chunk in chunks_of(streamed.text)[:-1]
    ]
    assert "".join(texts) == "Hello world"
    assert streamed.headers["x-weir-job-id"] == JOB_ID


async def test_length_is_a_finish_reason(http, script, program):
    """An answer that was cut says so."""
    script.answers["RunJob"] = answering(
        "Hel", finish_reason=inference_service_pb2.FINISH_REASON_LENGTH
    )

    whole = await http.post(PATH, headers=program, json=CHAT)
    streamed = await http.post(PATH, headers=program, json=STREAM)

    assert whole.json()["choices"][0]["finish_reason"] == "length"
    last = json.loads(chunks_of(streamed.text)[-2])
    assert last["choices"][0]["finish_reason"] == "length"


REFUSALS = [
    (ErrorCode.RESOURCE_EXHAUSTED, "BUDGET_EXCEEDED", 429, "insufficient_quota", "false"),
    (ErrorCode.FAILED_PRECONDITION, "NO_BUDGET", 429, "insufficient_quota", "false"),
    (ErrorCode.NOT_FOUND, "MODEL_NOT_FOUND", 404, "model_not_found", None),
    (ErrorCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG", 400, "context_length_exceeded", None),
    (ErrorCode.UNAVAILABLE, "NO_CAPACITY", 503, "no_capacity", None),
    (ErrorCode.ABORTED, "IDEMPOTENCY_KEY_IN_FLIGHT", 409, "idempotency_key_in_flight", None),
    (ErrorCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", 422, "idempotency_key_reused", None),
    (ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", 403, "permission_denied", None),
    (ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND", 404, "project_not_found", None),
]


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(("code", "reason", "status", "word", "should_retry"), REFUSALS)
async def test_refusals_have_real_statuses(
    http, script, program, body, code, reason, status, word, should_retry
):
    """What is refused before the answer begins is a status, also for a stream."""
    script.answers["RunJob"] = refusal(code, reason)

    answer = await http.post(PATH, headers=program, json=body)

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == word
    assert answer.headers.get("x-should-retry") == should_retry
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_no_capacity_after_the_decision(http, script, program, body):
    """Nothing ran: a real 503, which may be tried again."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        raise refusal(ErrorCode.UNAVAILABLE, "NO_CAPACITY")

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=body)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("reason", ["EXECUTION_FAILED", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_failure_after_admission_is_not_retried(http, script, program, body, reason):
    """Work may have begun, and its tokens cost money: the client must not send it again."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        raise refusal(ErrorCode.UNAVAILABLE, reason)

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=body)

    assert answer.status_code >= 500
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-weir-job-id"] == JOB_ID


@pytest.mark.parametrize(
    ("state", "changes", "status", "code"),
    [
        ("FAILED", {"failure_reason": "AMBIGUOUS"}, 502, "ambiguous"),
        ("FAILED", {}, 503, "job_failed"),
        ("CANCELLED", {}, 503, "job_cancelled"),
    ],
)
async def test_job_that_ends_without_an_answer(http, script, program, state, changes, status, code):
    """A job that failed or was cancelled is an error that invites nobody to try again."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        number = job_service_pb2.JobState.Value(f"JOB_STATE_{state}")
        yield Events.finished(state=number, result_text="", **changes)

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=CHAT)

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_provider_that_may_have_been_paid(http, script, program, body):
    """The client is told that it paid nothing, and not to send it again, a replay included."""
    script.answers["RunJob"] = refusal(ErrorCode.UNAVAILABLE, "AMBIGUOUS")

    told = await http.post(PATH, headers=program, json=body)

    assert told.status_code == 502
    assert told.headers["x-should-retry"] == "false"

    async def run(request, context):
        failed = job_service_pb2.JOB_STATE_FAILED
        yield Events.finished(state=failed, failure_reason="AMBIGUOUS", last_error="timeout")

    script.answers["RunJob"] = run

    replayed = await http.post(PATH, headers=program, json=body)

    assert replayed.status_code == 502
    assert "not charged" in replayed.json()["error"]["message"]


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
    events = chunks_of(answer.text)
    assert json.loads(events[-2])["choices"][0]["delta"] == {"content": "Hel"}
    assert json.loads(events[-1]) == {
        "error": {
            "message": "The worker is gone.",
            "type": "server_error",
            "param": None,
            "code": "execution_failed",
        }
    }


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_events_that_end_before_the_job(http, script, program, body):
    """Without `Finished` nothing is durable, so nothing is complete."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        yield Events.delta("Hel")

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=body)

    assert "[DONE]" not in answer.text
    assert "The answer ended early." in answer.text


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_durable_answer_survives_its_call(http, script, program, body):
    """Once `Finished` is here, a connection that breaks takes nothing away."""

    async def run(request, context):
        async for event in answering("Hello world")(request, context):
            yield event
        raise refusal(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    script.answers["RunJob"] = run

    answer = await http.post(PATH, headers=program, json=body)

    assert answer.status_code == 200
    assert "Hello world" in answer.text
    assert "error" not in answer.text


async def test_head_comes_before_the_first_token(http, script, program):
    """A stream that thinks has its status and headers soon after the decision."""
    go_on = asyncio.Event()

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        await go_on.wait()
        yield Events.started()
        yield Events.delta("Hi")
        yield Events.finished(result_text="Hi")

    script.answers["RunJob"] = run

    async with asyncio.timeout(5):
        async with http.stream("POST", PATH, headers=program, json=STREAM) as answer:
            assert answer.headers["x-weir-reason"] == "complexity_below_threshold"
            go_on.set()
            text = (await answer.aread()).decode()

    assert chunks_of(text)[-1] == "[DONE]"


async def test_silent_stream_is_kept_alive(serve, script, program):
    """Comments tell proxies and clients that it lives; clients skip them."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        await asyncio.sleep(0.8)
        yield Events.finished(result_text="Hi")

    script.answers["RunJob"] = run

    async with serve(keep_alive_seconds=0.1) as served, served.client() as http:
        answer = await http.post(PATH, headers=program, json=STREAM)

    assert answer.text.count(": keep-alive\n\n") >= 2
    assert chunks_of(answer.text)[-1] == "[DONE]"


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "answering"])
async def test_client_that_leaves_cancels_the_job(served, script, program, body, begun, until):
    """Within a second of the disconnect, job-service's call is cancelled."""
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def run(request, context):
        try:
            yield Events.admitted()
            if begun:
                yield Events.decision()
                yield Events.started()
                yield Events.delta("Hi")
            running.set()
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    script.answers["RunJob"] = run
    content = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {program['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    await writer.drain()
    async with asyncio.timeout(10):
        await running.wait()

    writer.close()

    async with asyncio.timeout(1):
        await cancelled.wait()


async def test_tasks_end_with_their_streams(served, script, program, until):
    """Fifty clients that leave in mid-stream leave no task behind (X-P8)."""
    open_calls = 0

    async def run(request, context):
        nonlocal open_calls
        open_calls += 1
        try:
            yield Events.admitted()
            yield Events.decision()
            yield Events.started()
            while True:
                yield Events.delta("and on ")
                await asyncio.sleep(0.01)
        finally:
            open_calls -= 1

    script.answers["RunJob"] = run
    before = len(asyncio.all_tasks())

    async def leave(client):
        async with client.stream("POST", PATH, headers=program, json=STREAM) as answer:
            async for line in answer.aiter_lines():
                if "and on" in line:
                    return

    async with served.client() as client:
        await asyncio.gather(*(leave(client) for _ in range(50)))

    await until(lambda: open_calls == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before + 5)


async def test_foreign_project_is_named_by_header(http, script, person):
    """A person names the project; job-service decides about it."""
    await http.post(PATH, headers={**person, "OpenAI-Project": OTHER_PROJECT_ID}, json=CHAT)

    assert script.last("RunJob").request.project_id == OTHER_PROJECT_ID


async def test_overlong_completion_ends(serve, script, program):
    """A completion has an end even if the job has none."""

    async def run(request, context):
        yield Events.admitted()
        yield Events.decision()
        yield Events.started()
        await asyncio.sleep(60)
        yield Events.finished(result_text=a_job().result_text)

    script.answers["RunJob"] = run

    async with serve(completion_seconds=0.5) as served, served.client() as http:
        answer = await http.post(PATH, headers=program, json=CHAT)

    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
