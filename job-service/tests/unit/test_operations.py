"""Completions and embeddings: what is taken, what is held, what is told."""

from dataclasses import replace

import pytest
from job_fakes import (
    BOOK,
    CHAT,
    CONTINUE,
    DECISION,
    EMBED,
    EMBEDDED,
    HELLO,
    LOCAL,
    SKILLED,
    STARTED,
    VECTORS,
    YOTTA,
    a_submission,
    collect,
    running_job,
)
from weir.job.v1 import job_service_pb2 as pb
from weir.router.v1 import execution_service_pb2 as execution_pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from job_service.adapters import documents, router_convert
from job_service.domain.charge import Usage, UsageSource, judge_usage
from job_service.domain.errors import JobFailed, ModelNotFound, OperationNotServed
from job_service.domain.execution import (
    Embedding,
    ExecutionError,
    Progress,
    Verdict,
)
from job_service.domain.job_state import JobState
from job_service.domain.specification import (
    AUTO,
    MAX_INPUTS,
    MAX_PROMPT_BYTES,
    JobKind,
    Message,
    Operation,
    Residency,
)
from job_service.domain.targets import agree_terms
from job_service.domain.vectors import divided, packed, unpacked
from job_service.entrypoints import convert
from job_service.usecases.run_job import Ended
from service_kit.errors import ErrorCode, InvalidArgument, Unavailable

INTERACTIVE = JobKind.INTERACTIVE
TERMS = agree_terms(EMBED, (SKILLED,), BOOK)


class TestSpecification:
    @pytest.mark.parametrize(
        ("specification", "operation"),
        [
            (HELLO, Operation.CHAT),
            (CHAT, Operation.CHAT),
            (CONTINUE, Operation.COMPLETION),
            (EMBED, Operation.EMBEDDING),
        ],
    )
    def test_type_says_what_is_asked(self, specification, operation):
        assert specification.operation is operation

    @pytest.mark.parametrize("specification", [CONTINUE, EMBED])
    def test_are_for_callers_who_wait(self, specification):
        specification.check(INTERACTIVE)
        with pytest.raises(InvalidArgument) as caught:
            specification.check(JobKind.QUEUED)
        assert caught.value.metadata["field"] == "type"

    @pytest.mark.parametrize(
        ("specification", "field"),
        [
            (replace(CONTINUE, inputs=()), "inputs"),
            (replace(CONTINUE, inputs=("a", "b")), "inputs"),
            (replace(CONTINUE, messages=(Message("user", "x"),)), "messages"),
            (replace(EMBED, inputs=()), "inputs"),
            (replace(EMBED, inputs=("a",) * (MAX_INPUTS + 1)), "inputs"),
            (replace(EMBED, inputs=("x" * MAX_PROMPT_BYTES, "y")), "inputs"),
            (replace(EMBED, messages=(Message("user", "x"),)), "messages"),
            (replace(EMBED, inputs=("a", "")), "inputs[1]"),
            (replace(EMBED, inputs=("a\0",)), "inputs[0]"),
            (replace(CHAT, inputs=("a",)), "inputs"),
        ],
    )
    def test_what_can_not_be_asked_is_refused(self, specification, field):
        with pytest.raises(InvalidArgument) as caught:
            specification.check(INTERACTIVE)
        assert caught.value.metadata["field"] == field

    def test_as_many_inputs_as_promised_are_taken(self):
        replace(EMBED, inputs=("a",) * MAX_INPUTS).check(INTERACTIVE)

    def test_prompt_is_all_inputs(self):
        assert EMBED.prompt == "one\ntwo words"
        assert (EMBED.prompt_bytes, EMBED.content_bytes, EMBED.context_characters) == (12, 12, 0)

    def test_keys_from_before_inputs_are_still_known(self):
        """An idempotency row of an older version holds this very digest."""
        assert HELLO.fingerprint(3) == (
            "da21293404d941135a1de15b49109e1ce94d9e0ff7a8367f6f2b99b70639b6e1"
        )

    def test_other_inputs_are_another_request(self):
        assert EMBED.fingerprint() != replace(EMBED, inputs=("one", "two")).fingerprint()

    def test_survives_its_row(self):
        document = documents.content_to_document(EMBED)
        assert documents.specification_from("embedding", "smol", document) == EMBED

    def test_row_from_before_inputs_is_readable(self):
        document = documents.content_to_document(HELLO)
        del document["inputs"]
        assert documents.specification_from(HELLO.type, HELLO.model, document) == HELLO


class TestTerms:
    def test_completion_is_held_without_a_template(self):
        """Bytes, a few tokens for begin and end, and the answer."""
        terms = agree_terms(CONTINUE, (SKILLED,), BOOK)
        assert terms.tokens_input_bound == len("Once upon") + 4
        assert terms.hold_nanousd == (9 + 4 + 100) * 1_000_000

    def test_embedding_is_held_for_its_input_alone(self):
        assert (TERMS.tokens_input_bound, TERMS.max_tokens) == (12 + 2 * 4, 0)
        assert TERMS.hold_nanousd == 20 * 1_000_000

    def test_each_input_has_a_context_of_its_own(self):
        long = replace(EMBED, inputs=("x" * 5000, "y" * 5000))
        assert agree_terms(long, (SKILLED,), BOOK).tokens_input_bound == 2 * 2048

    def test_max_tokens_of_an_embedding_are_not_held_for(self):
        asked = replace(EMBED, sampling=replace(EMBED.sampling, max_tokens=50))
        assert agree_terms(asked, (SKILLED,), BOOK) == TERMS

    @pytest.mark.parametrize("model", ["smol", AUTO])
    def test_model_that_can_not_is_no_offer(self, model):
        with pytest.raises(OperationNotServed) as caught:
            agree_terms(replace(EMBED, model=model), (LOCAL, YOTTA), BOOK)
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT
        assert caught.value.reason == "OPERATION_NOT_SERVED"

    def test_only_models_that_can_are_held_for(self):
        """The dear one does not count where it could not run the job."""
        assert (
            agree_terms(replace(EMBED, model=AUTO), (SKILLED, YOTTA), BOOK).prices == TERMS.prices
        )

    def test_model_for_embeddings_alone_does_not_chat(self):
        only = replace(
            LOCAL, models=(replace(LOCAL.models[0], operations=frozenset({Operation.EMBEDDING})),)
        )
        with pytest.raises(OperationNotServed):
            agree_terms(HELLO, (only,), BOOK)

    def test_unknown_model_is_told_as_such(self):
        with pytest.raises(ModelNotFound):
            agree_terms(replace(EMBED, model="none"), (SKILLED,), BOOK)

    def test_target_that_may_still_come_is_waited_for(self):
        """Before a target has listed its models, nobody knows that none of them can."""
        with pytest.raises(Unavailable):
            agree_terms(EMBED, (replace(LOCAL, models=()), YOTTA), BOOK)

    def test_residency_goes_first(self):
        skilled_abroad = replace(SKILLED, name="yotta")
        at_home = replace(EMBED, residency=Residency.LOCAL_ONLY)
        with pytest.raises(OperationNotServed):
            agree_terms(at_home, (LOCAL, skilled_abroad), BOOK)


class TestUsage:
    def test_report_is_taken(self):
        assert judge_usage(Usage(9, 0), TERMS, 12, 0) == (Usage(9, 0), UsageSource.REPORTED)

    @pytest.mark.parametrize("reported", [None, Usage(9, 1), Usage(10**9, 0), Usage(-1, 0)])
    def test_absurd_report_gives_way_to_our_count(self, reported):
        """No tokens are made: a report of some is none. A quarter of the bytes is counted."""
        assert judge_usage(reported, TERMS, 12, 0) == (Usage(3, 0), UsageSource.COUNTED)


class TestRouterConvert:
    @pytest.mark.parametrize(
        ("listed", "known"),
        [
            ([], {Operation.CHAT}),
            ([worker_pb.OPERATION_UNSPECIFIED], {Operation.CHAT}),
            ([worker_pb.OPERATION_EMBEDDING], {Operation.EMBEDDING}),
            ([99], set()),
        ],
    )
    def test_operations_are_understood(self, listed, known):
        """None listed means chat; none that we know means none."""
        target = router_pb.Target(models=[router_pb.Model(operations=listed)])
        assert router_convert.target_from_proto(target).models[0].operations == known

    @pytest.mark.parametrize("operation", Operation)
    def test_every_operation_reaches_the_router(self, operation):
        assert router_convert.OPERATIONS[operation] != worker_pb.OPERATION_UNSPECIFIED

    def test_start_carries_inputs(self):
        job = running_job(INTERACTIVE, specification=EMBED, terms=TERMS)
        start = router_convert.start_to_proto(job).start
        assert start.query.operation == worker_pb.OPERATION_EMBEDDING
        assert list(start.inputs) == ["one", "two words"]
        assert not start.messages
        assert start.query.prompt == "one\ntwo words"
        assert (start.query.max_tokens, start.sampling.max_tokens) == (0, 0)

    def test_vectors_survive_the_way_through(self):
        values = [0.5, -1.0, 1e-7]
        came = execution_pb.ExecuteResponse(embedding={"index": 1, "values": values})
        event = router_convert.event_from_proto(came)
        assert event == Embedding(1, packed(values))
        gone = convert.run_event_to_proto(event)
        assert gone.embedding == came.embedding

    def test_inputs_are_read(self):
        message = pb.JobSpecification(type="embedding", inputs=["a", "b"])
        assert convert.specification_from_proto(message).inputs == ("a", "b")


class TestVectors:
    def test_are_little_endian_floats(self):
        assert packed([1.0]) == bytes.fromhex("0000803f")
        assert list(unpacked(packed([0.5, -2.0]))) == [0.5, -2.0]

    def test_are_told_apart_by_their_number(self):
        assert divided(b"aaaabbbb", 2) == [b"aaaa", b"bbbb"]

    @pytest.mark.parametrize(
        "vectors",
        [
            {},
            {0: packed([1])},
            {0: packed([1]), 2: packed([1])},
            {0: packed([1]), 1: packed([1]), 2: packed([1])},
            {0: packed([1]), 1: packed([1, 2])},
            {0: b"", 1: b""},
            {0: packed([1]), 1: packed([float("nan")])},
            {0: packed([float("inf"), -float("inf")]), 1: packed([1, 1])},
        ],
    )
    def test_answer_that_lacks_some_is_none(self, vectors):
        """Two inputs were given. Each has a vector of numbers, all of one length."""
        assert Progress(vectors=vectors).embeddings(2) is None


class TestExecution:
    def test_error_of_an_unserved_operation_is_final_and_unpaid(self):
        error = ExecutionError("OPERATION_NOT_SERVED", ErrorCode.INTERNAL, "")
        assert error.verdict(started=False) is Verdict.FINAL
        assert error.is_unpaid
        assert JobFailed("j", "OPERATION_NOT_SERVED", "").code is ErrorCode.INVALID_ARGUMENT

    async def run(self, world, **changes):
        world.targets.value = (SKILLED,)
        submission = a_submission(INTERACTIVE, **{"specification": EMBED, "key": "k", **changes})
        return await collect(world.run(submission))

    async def test_vectors_are_streamed_stored_and_charged(self, world):
        world.executor.play(EMBEDDED)
        events = await self.run(world)
        assert events[1:-1] == [DECISION, STARTED, *VECTORS]
        ended = events[-1].job
        assert (ended.state, ended.charge_nanousd) == (JobState.COMPLETED, 9 * 1_000_000)
        stored = await world.store.stored(ended.id)
        assert stored.result_embeddings == packed([0.5, -1.0, 2.0, 0.25])

    async def test_replay_tells_the_same_again(self, world):
        world.executor.play(EMBEDDED)
        runs = [await self.run(world) for _ in range(2)]
        assert len(world.executor.jobs) == 1
        told, again = ([convert.run_event_to_proto(each) for each in run[1:-1]] for run in runs)
        assert told == again
        assert all(isinstance(run[-1], Ended) for run in runs)

    async def test_missing_vector_fails_the_job_uncharged(self, world):
        world.executor.play((DECISION, STARTED, VECTORS[0], EMBEDDED[-1]))
        with pytest.raises(JobFailed) as caught:
            await self.run(world)
        assert caught.value.reason == "EXECUTION_FAILED"
        (settled,) = (await world.store.settlements()).values()
        assert settled[:2] == ("void", 0)

    async def test_unserved_operation_makes_no_job(self, world):
        world.targets.value = (LOCAL, YOTTA)
        with pytest.raises(OperationNotServed):
            await collect(world.run(a_submission(INTERACTIVE, specification=EMBED)))
        assert world.store.tables.jobs == {}

    async def test_queued_job_fails_when_its_models_only_embed(self, world):
        """Known too late to refuse it: it ends with the reason."""
        world.targets.value = None
        job = await world.create(a_submission())
        assert job.state is JobState.ADMITTING
        model = replace(LOCAL.models[0], operations=frozenset({Operation.EMBEDDING}))
        world.targets.value = (replace(LOCAL, models=(model,)),)
        ended = await world.admit(job)
        assert (ended.state, ended.failure_reason) == (JobState.FAILED, "OPERATION_NOT_SERVED")

    async def test_lists_carry_no_vectors(self, world):
        world.executor.play(EMBEDDED)
        await self.run(world)
        async with world.store() as work:
            (listed,) = await work.jobs.list_page("p1", None, 10, None)
        assert listed.result_embeddings is None
