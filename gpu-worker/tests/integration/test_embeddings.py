"""Vectors from the real model, whose other process is shared by these tests."""

import asyncio
import hashlib
import json
import math
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE
from dataclasses import asdict, replace

import pytest
from structlog.testing import capture_logs
from weir.worker.v1 import inference_service_pb2 as pb

from gpu_worker.adapters.embedding_process import MODULE
from gpu_worker.adapters.llama_embedder import EmbeddingChild, LlamaEmbedder
from gpu_worker.adapters.llama_engine import LlamaEngine
from gpu_worker.domain.errors import EngineFailed
from service_kit.errors import ErrorCode, ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")

# It takes seconds, and nearly all of the context that the tests have.
LONG = "dog " * 240


@pytest.fixture
def embed(serve, llama_server, embedder):
    """A callable: -> a worker whose embeddings are the model's."""
    return lambda: serve(LlamaEngine(llama_server, embedder, slots=2, default_max_tokens=16))


def asking(*inputs) -> dict[str, object]:
    return {"operation": pb.OPERATION_EMBEDDING, "inputs": inputs}


async def test_one_vector_for_each_input(embed, llama_server):
    """In their order, of length 1, with the exact tokens of the texts, and signed."""
    texts = ["The cat sleeps.", "Ñandú 🎉", "The cat sleeps."]
    async with embed() as worker:
        answer = await worker.answer(**asking(*texts))

    first, second, third = answer.vectors
    assert first == third != second
    assert all(math.hypot(*vector) == pytest.approx(1) for vector in answer.vectors)
    finished = answer.finished
    assert finished.finish_reason == pb.FINISH_REASON_STOP
    assert finished.usage == pb.Usage(tokens_input=sum(map(llama_server.count, texts)))
    said = answer.statement
    assert (said["operation"], said["tokens_output"]) == ("embedding", 0)
    values = [value for vector in answer.vectors for value in vector]
    assert said["output_digest"] == sha256(struct.pack(f"<{len(values)}f", *values))


async def test_vector_is_the_mean_that_llama_cpp_makes(embed):
    """Two texts of one meaning are nearer to each other than to a third one."""
    async with embed() as worker:
        answer = await worker.answer(
            **asking("A dog runs in the park.", "A puppy runs in a park.", "def f(x): return 1")
        )

    first, alike, other = answer.vectors
    assert dot(first, alike) > dot(first, other) + 0.1


async def test_input_beyond_the_context_is_refused(embed):
    """Before anything starts, also where another input would fit."""
    async with embed() as worker:
        with pytest.raises(ServiceError) as caught:
            await worker.answer(**asking("a", "dog " * 260))
        assert worker.slots.busy == 0

    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert int(caught.value.metadata["tokens"]) > 256


async def test_cancel_stops_the_work(embed, embedder, eventually):
    """The slot is free within a second, though llama.cpp can't be interrupted."""
    async with embed() as worker:
        await worker.answer(**asking("a"))  # the model is loaded now
        call = worker.generate(**asking(LONG))
        assert (await call.read()).WhichOneof("event") == "started"
        await eventually(lambda: embedder.busy)

        call.cancel()

        await eventually(lambda: worker.slots.busy == 0, seconds=1)
        assert not embedder.busy
        assert len((await worker.answer(**asking("a"))).vectors) == 1


async def test_text_that_is_soon_done_is_finished(embedder, monkeypatch):
    """Its process is not killed: the next text finds the model loaded."""
    monkeypatch.setattr(embedder, "grace_seconds", 30)
    await embedder.embed("a")
    process = embedder.process_id
    leaving = asyncio.create_task(embedder.embed("a b"))
    while not embedder.busy:  # noqa: ASYNC110 -- for a moment only
        await asyncio.sleep(0)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    again = await embedder.embed("c")
    assert again == await embedder.embed("c")
    assert embedder.process_id == process


async def test_process_that_died_is_replaced(embedder, eventually):
    """Whatever killed it while nothing ran, nobody notices."""
    before = await embedder.embed("a")
    process = embedder.process_id
    os.kill(process, signal.SIGKILL)
    await eventually(lambda: embedder.process_id is None)

    assert await embedder.embed("a") == before
    assert embedder.process_id != process


async def test_process_that_dies_at_work(embedder, eventually):
    """Another one is tried, once: then it is the text that the engine can't take."""
    await embedder.embed("a")
    at_work = asyncio.create_task(embedder.embed(LONG))
    killed = set()

    async def kill():
        await eventually(lambda: embedder.busy and embedder.process_id not in {None, *killed})
        killed.add(embedder.process_id)
        os.kill(embedder.process_id, signal.SIGKILL)

    await kill()
    await kill()
    with pytest.raises(EngineFailed):
        await at_work
    assert (await embedder.embed("a")).tokens > 0


async def test_text_survives_its_process(embedder, eventually):
    """llama.cpp crashed under it: the caller waits a little longer."""
    at_work = asyncio.create_task(embedder.embed(LONG))
    await eventually(lambda: embedder.busy)
    os.kill(embedder.process_id, signal.SIGKILL)

    assert (await at_work).tokens > 100


async def test_process_that_dies_while_it_loads(embedder, monkeypatch):
    """Nothing ran yet, so another one is started, once; the caller waits a little longer."""
    expected = await embedder.embed("a")
    start, begun = EmbeddingChild.start, []

    async def killed_at_first(options):
        begun.append(await start(options))
        if len(begun) == 1:
            os.kill(begun[0].process_id, signal.SIGKILL)
        return begun[-1]

    monkeypatch.setattr(EmbeddingChild, "start", killed_at_first)
    fresh = LlamaEmbedder(embedder.options)

    assert await fresh.embed("a") == expected
    assert len(begun) == 2
    await fresh.close()


async def test_process_does_not_outlive_the_worker(embedder):
    """It ends when its input does, in the middle of a text, which is never answered."""
    options = json.dumps(asdict(embedder.options)).encode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, stdin=PIPE, stdout=PIPE
    )
    process.stdin.write(options + b"\n" + json.dumps(LONG).encode() + b"\n")
    assert json.loads(await process.stdout.readline()) == {"loaded": True}

    process.stdin.close()

    assert await process.stdout.read() == b""
    assert await process.wait() == 0


async def test_model_that_can_not_be_loaded(embedder, tmp_path):
    """Why is in the log; the caller learns that the engine failed."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF nothing")
    unusable = LlamaEmbedder(replace(embedder.options, path=str(broken)))

    with capture_logs() as logs, pytest.raises(EngineFailed):
        await unusable.embed("a")

    assert "broken.gguf" in str(logs)
    await unusable.close()


def dot(one, other) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def sha256(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()
