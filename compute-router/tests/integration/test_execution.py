"""Execute against real workers: streams, cancels, falls back, and says what went wrong."""

from weir.worker.v1 import inference_service_pb2 as worker_pb


async def test_answer_streams(execute, start_worker):
    """Decision, start, deltas and the end arrive in order, and the tokens add up."""
    await start_worker(instant_tokens=5, model_name="small")

    execution = await execute(text="one two three")

    decision = await execution.next("decision")
    assert (decision.target, decision.model) == ("local", "small")
    assert decision.reason == "complexity_below_threshold"
    started = await execution.next("started")
    assert (started.target, started.model, started.worker_id) == ("local", "small", "w1")
    *deltas, last = await execution.rest()
    assert "".join(d.delta.text for d in deltas) == "word0 word1 word2 word3 word4"
    assert last.finished.finish_reason == worker_pb.FINISH_REASON_STOP
    assert last.finished.usage.tokens_input == 3
    assert last.finished.usage.tokens_output == sum(d.delta.tokens for d in deltas) == 5
