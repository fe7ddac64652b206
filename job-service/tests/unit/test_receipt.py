"""What is vouched for when a job ends, and which word of a worker is believed."""

import hashlib
import json
from dataclasses import replace

import pytest
from job_fakes import (
    CONTINUE,
    DECISION,
    EMBED,
    EMBEDDED,
    HELLO,
    SIGNER,
    SKILLED,
    TERMS,
    VECTORS,
    a_job,
    a_submission,
    admitted,
    an_error,
    collect,
    running_job,
)
from receipt_samples import (
    COMPLETED_AT,
    MODEL_DIGEST,
    WORKER,
    ended_job,
    progress_of,
    signed,
    vouched,
    worker_statement,
)

from job_service.domain.charge import Usage
from job_service.domain.decision import Complexity
from job_service.domain.digests import output_digest, prompt_digest
from job_service.domain.errors import JobFailed, JobNotFinished, JobNotFound, ReceiptNotFound
from job_service.domain.execution import Delta, Finished, FinishReason
from job_service.domain.job_state import JobState
from job_service.domain.receipt import ReceiptKey, statement_of
from job_service.domain.result_statement import MAX_STATEMENT_BYTES, read_result
from job_service.domain.specification import JobKind, Message
from job_service.usecases.execute_attempt import StopReason, StopSignal
from job_service.usecases.get_receipt import GetReceipt, ListReceiptKeys
from job_service.usecases.keep_signing_key import KeepSigningKey
from service_kit.signatures import SigningKey, canonical_json, is_signed


def said(job, progress):
    return json.loads(statement_of(job, read_result(job, progress)))


class TestDigests:
    def test_of_a_conversation(self):
        """Role and content of each message, in canonical JSON; letters are not escaped."""
        talk = replace(HELLO, messages=(Message("system", "Sé breve"), Message("user", "Hi")))
        raw = '{"messages":[{"content":"Sé breve","role":"system"},{"content":"Hi","role":"user"}]}'
        assert prompt_digest(talk) == hashlib.sha256(raw.encode()).hexdigest()

    def test_of_inputs(self):
        raw = b'{"inputs":["one","two words"]}'
        assert prompt_digest(EMBED) == hashlib.sha256(raw).hexdigest()

    def test_of_an_answer(self):
        job = a_job(state=JobState.COMPLETED, result_text="Dzień")
        assert output_digest(job) == hashlib.sha256("Dzień".encode()).hexdigest()

    def test_of_vectors(self):
        """All of them in their order, little-endian 32-bit floats."""
        raw = bytes.fromhex("0000003f000080bf000000400000803e")
        job = a_job(state=JobState.COMPLETED, result_embeddings=raw, result_text="")
        assert output_digest(job) == hashlib.sha256(raw).hexdigest()

    @pytest.mark.parametrize(
        ("state", "text", "is_there"),
        [
            (JobState.COMPLETED, "", True),
            (JobState.CANCELLED, "", False),
            (JobState.CANCELLED, "Hel", True),
            (JobState.FAILED, None, False),
        ],
    )
    def test_nothing_answered_has_none(self, state, text, is_there):
        """Half an answer is one, and so is a complete one without a word."""
        job = a_job(state=state, result_text=text)
        assert (output_digest(job) is not None) == is_there


class TestStatement:
    def test_says_all_there_is_to_say(self):
        """These names and values are what docs/receipts.md promises."""
        job, progress = ended_job()
        job = replace(job, decision=replace(DECISION, complexity=Complexity(score=7)))
        statement = said(job, progress)
        result = statement.pop("result")
        assert statement == {
            "type": "weir.receipt.v1",
            "job_id": job.id,
            "project_id": "p1",
            "kind": "queued",
            "job_type": "generation_v2",
            "state": "completed",
            "admission": 1,
            "attempt": 1,
            "target": "local",
            "model": "smol",
            "prompt_digest": prompt_digest(HELLO),
            "output_digest": hashlib.sha256(b"Hello!").hexdigest(),
            "tokens_input": 30,
            "tokens_output": 3,
            "usage_source": "reported",
            "charge_nanousd": 33 * 1_000_000,
            "price_version": "1",
            "decision": {
                "target": "local",
                "reason": "complexity_below_threshold",
                "complexity": 7,
            },
            "provider_response_id": None,
            "result_problem": None,
            "issued_at": "2026-01-02T03:04:05.000678Z",
        }
        assert result["statement"]["model_digest"] == MODEL_DIGEST
        assert result["key_id"] == WORKER.key_id
        raw = canonical_json(result["statement"])
        assert is_signed(raw, bytes.fromhex(result["signature"]), WORKER.public_key)

    def test_is_canonical(self):
        raw = statement_of(*ended_job()[:1])
        assert canonical_json(json.loads(raw)) == raw

    def test_of_a_job_that_never_ran(self):
        job = replace(a_job(terms=None).rejected("X", "no"), completed_at=COMPLETED_AT)
        statement = said(job, None)
        empty = ("target", "model", "output_digest", "usage_source", "price_version", "decision")
        assert [statement[name] for name in empty] == [None] * 6
        assert (statement["tokens_input"], statement["charge_nanousd"]) == (0, 0)

    def test_provider_is_named_by_its_response_id(self):
        job, _ = ended_job()
        statement = json.loads(statement_of(job, provider_response_id="r-1"))
        assert statement["provider_response_id"] == "r-1"

    def test_nothing_is_vouched_for_before_the_end(self):
        with pytest.raises(ValueError, match="nothing to vouch for"):
            statement_of(running_job())


# What a worker may say wrongly, and what it is called then.
WRONG = {
    "type": "weir.result.v2",
    "job_id": "another",
    "attempt": 2,
    "worker_id": "w2",
    "operation": "completion",
    "model": "large",
    "model_digest": "cd" * 32,
    "prompt_digest": "00" * 32,
    "output_digest": "00" * 32,
    "tokens_input": 31,
    "tokens_output": 2,
}


class TestWorkersStatement:
    def test_honest_one_is_accepted(self):
        assert read_result(*ended_job()).problem is None

    @pytest.mark.parametrize("field", WRONG)
    def test_each_field_has_to_be_as_seen(self, field):
        """X-K: a worker can't vouch for another job, prompt, answer, model or count."""
        job = running_job()
        result = read_result(*ended_job(*vouched(job, **{field: WRONG[field]}), job=job))
        assert field in result.problem
        assert result.statement is None

    @pytest.mark.parametrize("field", ["attempt", "tokens_output"])
    def test_true_is_not_one(self, field):
        job, usage = running_job(), Usage(30, 1)
        events = vouched(job, Delta("a", 1), usage=usage, **{field: True})
        assert read_result(*ended_job(*events, job=job)).problem

    @pytest.mark.parametrize(
        "changes",
        [
            {"started_at": "yesterday"},
            {"finished_at": None},
            {"finish_reason": 1},
        ],
    )
    def test_what_nobody_could_verify_later_is_left_out(self, changes):
        job = running_job()
        assert read_result(*ended_job(*vouched(job, **changes), job=job)).problem

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda one: replace(one, signature=bytes(64)), "signature"),
            (lambda one: replace(one, signature=b""), "signature"),
            (lambda one: replace(one, statement=one.statement + b" "), "signature"),
            (lambda one: replace(one, key_id="x"), "thumbprint"),
            (lambda one: replace(one, public_key=SIGNER.public_key), "thumbprint"),
            (lambda one: replace(one, public_key=b"short"), "thumbprint"),
            (lambda _: signed(b'{"type": "weir.result.v1"}'), "canonical"),
            (lambda _: signed(b"[]"), "canonical"),
            (lambda _: signed(b"\xff"), "canonical"),
            (lambda _: signed(b'{"a":1.5}'), "canonical"),
            (lambda _: signed(b'{"a":NaN}'), "canonical"),
            (lambda _: signed(b'{"a":1,"a":1}'), "canonical"),
            (lambda _: signed(b'"\\ud800"'), "canonical"),
            (lambda _: signed(b"[" * 10_000), "canonical"),
            (lambda _: signed(b"9" * 5_000), "canonical"),
            (lambda _: signed(b"{}"), "lacks"),
            (lambda _: signed(b"x" * (MAX_STATEMENT_BYTES + 1)), "bytes"),
        ],
    )
    def test_what_is_signed_or_written_badly_is_left_out(self, change, problem):
        job = running_job()
        *begun, finished = vouched(job)
        bad = replace(finished, signed_result=change(finished.signed_result))
        assert problem in read_result(*ended_job(*begun, bad, job=job)).problem

    def test_our_own_count_contradicts_a_worker_that_exaggerated(self):
        """Its report was absurd, so other tokens are charged than it signed."""
        job, usage = running_job(), Usage(30, 10**9)
        result = read_result(*ended_job(*vouched(job, usage=usage), job=job))
        assert "tokens_output" in result.problem

    def test_provider_signs_nothing_and_that_is_no_problem(self):
        job, progress = ended_job(*vouched(running_job())[:-1], Finished(FinishReason.STOP, None))
        assert read_result(job, progress).problem is None

    @pytest.mark.parametrize("specification", [CONTINUE, EMBED])
    def test_other_operations_are_vouched_for_likewise(self, specification):
        job = running_job(JobKind.INTERACTIVE, specification=specification)
        made = VECTORS if specification is EMBED else (Delta("a time", 2),)
        usage = Usage(9, 0) if specification is EMBED else Usage(3, 2)
        assert read_result(*ended_job(*vouched(job, *made, usage=usage), job=job)).problem is None


class TestEveryEnd:
    """Whatever becomes of a job, its receipt is stored with it and is signed by us."""

    async def receipt(self, world, job):
        receipt = world.store.tables.receipts[job.id, 1]
        assert is_signed(receipt.statement, receipt.signature, SIGNER.public_key)
        assert receipt.key_id == SIGNER.key_id
        statement = json.loads(receipt.statement)
        assert (statement["job_id"], statement["state"]) == (job.id, job.state)
        assert statement["charge_nanousd"] == (job.charge_nanousd or 0)
        assert statement["prompt_digest"] == prompt_digest(job.specification)
        return statement

    async def ended(self, world, *script, stop=None, **changes):
        job = await world.claimed(**changes)
        world.executor.play(script or vouched(job))
        return await world.execute(job, stop or StopSignal())

    async def test_completed(self, world):
        statement = await self.receipt(world, await self.ended(world))
        assert statement["result"]["key_id"] == WORKER.key_id
        assert world.store.tables.receipt_keys[WORKER.key_id].owner == "gpu-worker/w1"
        assert world.store.tables.receipt_keys[SIGNER.key_id].owner == "job-service"

    async def test_completed_by_a_provider(self, world):
        finished = Finished(FinishReason.STOP, None, provider_response_id="r-1")
        job = await world.claimed()
        job = await self.ended(world, *vouched(job)[:-1], finished)
        statement = await self.receipt(world, job)
        assert (statement["provider_response_id"], statement["result"]) == ("r-1", None)
        assert statement["usage_source"] == "counted"

    async def test_failed(self, world):
        await self.receipt(world, await self.ended(world, an_error("PROMPT_TOO_LONG")))

    async def test_dead_letter(self, world):
        job = await self.ended(world, an_error("EXECUTION_FAILED"), max_retries=0)
        assert job.state is JobState.DEAD_LETTER
        await self.receipt(world, job)

    async def test_cancelled_while_it_ran(self, world):
        stop = StopSignal()

        async def cancel():
            stop.ask(StopReason.CANCEL_REQUESTED)

        job = await self.ended(world, DECISION, *vouched(running_job())[1:2], cancel, stop=stop)
        assert job.state is JobState.CANCELLED
        assert (await self.receipt(world, job))["output_digest"] is None

    async def test_cancelled_while_it_waited(self, world):
        job = await world.cancel("p1", (await world.create(a_submission())).id)
        await self.receipt(world, job)

    async def test_refused_by_its_budget(self, world):
        world.ledger.budget_nanousd = 0
        with pytest.raises(JobFailed) as caught:
            await collect(world.run(a_submission(JobKind.INTERACTIVE)))
        job = world.store.job(caught.value.metadata["job_id"])
        await self.receipt(world, job)

    async def test_interrupted(self, world):
        job = await admitted(world.store, a_job(JobKind.INTERACTIVE))
        await world.store.lapse(job.id)
        await world.reap()
        await self.receipt(world, world.store.job(job.id))

    async def test_embedding(self, world):
        world.targets.value = (SKILLED,)
        world.executor.play(EMBEDDED)
        submission = a_submission(JobKind.INTERACTIVE, specification=EMBED)
        events = await collect(world.run(submission))
        statement = await self.receipt(world, world.store.job(events[-1].job.id))
        vectors = b"".join(each.vector for each in VECTORS)
        assert statement["output_digest"] == hashlib.sha256(vectors).hexdigest()

    async def test_none_before_the_end(self, world):
        await self.ended(world, an_error("EXECUTION_FAILED"))
        assert world.store.tables.receipts == {}

    async def test_bad_signature_is_told_and_the_job_completes(self, world):
        job = await world.claimed()
        *begun, finished = vouched(job)
        forged = replace(finished.signed_result, signature=bytes(64))
        world.executor.play((*begun, replace(finished, signed_result=forged)))
        ended = await world.execute(job, StopSignal())
        statement = await self.receipt(world, ended)
        assert ended.state is JobState.COMPLETED
        assert statement["result"] is None
        assert "signature" in statement["result_problem"]
        assert world.metrics.counts["result refused"] == 1
        assert list(world.store.tables.receipt_keys) == [SIGNER.key_id]

    async def test_key_of_another_worker_is_not_accepted(self, world):
        """A key belongs to whoever was first to sign with it."""
        async with world.store() as work:
            await work.receipts.keep_key(
                ReceiptKey(WORKER.key_id, WORKER.public_key, "gpu-worker/w0")
            )
        statement = await self.receipt(world, await self.ended(world))
        assert statement["result"] is None
        assert statement["result_problem"] == "The key is somebody else's."

    async def test_worker_can_not_sign_with_our_key(self, world):
        job = await world.claimed()
        world.executor.play(vouched(job, key=SIGNER))
        statement = await self.receipt(world, await world.execute(job, StopSignal()))
        assert statement["result"] is None
        assert world.store.tables.receipt_keys[SIGNER.key_id].owner == "job-service"


class TestReading:
    async def finished(self, world):
        job = await world.claimed()
        world.executor.play(vouched(job))
        return await world.execute(job, StopSignal())

    async def test_comes_with_the_keys_it_needs(self, world):
        job = await self.finished(world)
        async with world.store() as work:
            other = SigningKey.generate()
            await work.receipts.keep_key(ReceiptKey(other.key_id, other.public_key, "x"))
        found = await GetReceipt(world.store)("p1", job.id)
        assert {key.key_id for key in found.keys} == {SIGNER.key_id, WORKER.key_id}
        assert len(await ListReceiptKeys(world.store)()) == 3

    async def test_of_another_project_looks_absent(self, world):
        job = await self.finished(world)
        for project_id, job_id in (("p2", job.id), ("p1", "none")):
            with pytest.raises(JobNotFound):
                await GetReceipt(world.store)(project_id, job_id)

    async def test_unfinished_job_has_none_yet(self, world):
        job = await world.claimed()
        with pytest.raises(JobNotFinished):
            await GetReceipt(world.store)("p1", job.id)

    async def test_job_from_before_receipts_has_none(self, world):
        job = await self.finished(world)
        world.store.tables.receipts.clear()
        with pytest.raises(ReceiptNotFound) as caught:
            await GetReceipt(world.store)("p1", job.id)
        assert caught.value.reason == "RECEIPT_NOT_FOUND"

    async def test_our_key_is_known_before_the_first_receipt(self, world):
        await KeepSigningKey(world.store, SIGNER)()
        (key,) = await ListReceiptKeys(world.store)()
        assert (key.key_id, key.owner) == (SIGNER.key_id, "job-service")


def test_samples_are_what_a_worker_would_say():
    """The helper below these tests signs what arrived, nothing else."""
    job = running_job(terms=TERMS)
    progress = progress_of(*vouched(job))
    assert json.loads(progress.finished.signed_result.statement) == worker_statement(job, progress)
