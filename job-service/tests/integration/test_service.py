"""The whole service in this process: real Postgres, Valkey and gRPC around it."""

import asyncio
import json

import pytest
from job_fakes import until
from service_client import Client, client_of, specification
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.job.v1 import dead_letter_service_pb2 as dead_pb
from weir.job.v1 import job_service_pb2 as pb

from job_service.bootstrap import job_service
from job_service.domain.receipt_check import verify_receipt
from job_service.domain.receipt_document import key_ring
from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_errors import rpc_errors
from service_kit.signatures import canonical_json, jwk_of


def continuing(text):
    return pb.JobSpecification(type="completion", model="smol", inputs=[text])


def hold_of(job):
    return f"{job.job_id}:1"


async def begun(client, **changes):
    """Start an answer without end; return the call and the job, once its first words came."""
    call = client.start("endless", **changes)
    async for event in call:
        if event.WhichOneof("event") == "admitted":
            job_id = event.admitted.job_id
        if event.WhichOneof("event") == "delta":
            return call, job_id
    raise AssertionError("it ended")


class TestInteractive:
    async def test_answer_streams_and_is_charged(self, service, others):
        async with service() as client:
            events = await client.run("one two three")
            assert [event.WhichOneof("event") for event in events] == [
                "admitted",
                "decision",
                "started",
                *["delta"] * 3,
                "finished",
            ]
            job = events[-1].finished.job
            assert (job.state, job.result_text) == (pb.JOB_STATE_COMPLETED, "onetwothree")
            assert job.actual_cost_nanousd == 23 * 10**6
            assert job.usage_source == pb.USAGE_SOURCE_REPORTED
            await until(lambda: hold_of(job) in others.cost.settled)
            assert others.cost.settled[hold_of(job)] == ("post", 23 * 10**6)
            outcome = others.cost.outcomes[hold_of(job)]
            assert (outcome.job_state, outcome.target, outcome.period) == (
                "completed",
                "local",
                "2026-09",
            )

    async def test_caller_who_leaves_stops_the_engine_and_pays(self, service, others):
        """X-P8, X-R7: cancelled, charged as counted, nothing left running."""
        async with service() as client:
            call, job_id = await begun(client)
            call.cancel()
            job = await client.reaches(job_id, pb.JOB_STATE_CANCELLED)
            assert job.usage_source == pb.USAGE_SOURCE_COUNTED
            assert job.usage.tokens_output > 0
            await until(lambda: hold_of(job) in others.cost.settled)
            assert others.cost.settled[hold_of(job)] == ("post", job.actual_cost_nanousd)
            await until(lambda: others.router.running["endless"] == 0)
            assert others.router.stopped["endless"] == 1

    async def test_paid_target_waits_for_go(self, service, others):
        async with service() as client:
            events = await client.run("paid")
            assert events[-1].finished.job.state == pb.JOB_STATE_COMPLETED
            assert others.router.gone == ["c1"]

    async def test_failure_midway_is_told_after_it_was_charged(self, service, others):
        async with service() as client:
            with pytest.raises(ServiceError) as caught:
                await client.run("broken")
            assert caught.value.reason == "EXECUTION_FAILED"
            job = await client.get(caught.value.metadata["job_id"])
            assert (job.state, job.usage.tokens_output) == (pb.JOB_STATE_FAILED, 1)
            assert job.actual_cost_nanousd > 0

    async def test_no_capacity_is_unavailable(self, service, others):
        async with service() as client:
            with pytest.raises(ServiceError) as caught:
                await client.run("full")
            assert (caught.value.reason, caught.value.code) == (
                "NO_CAPACITY",
                ErrorCode.UNAVAILABLE,
            )

    async def test_refused_budget_is_told(self, service, others):
        async with service() as client:
            others.cost.budget = 0
            with pytest.raises(ServiceError) as caught:
                await client.run("hello", request_id="k1")
            assert (caught.value.reason, caught.value.code) == (
                "BUDGET_EXCEEDED",
                ErrorCode.RESOURCE_EXHAUSTED,
            )


class TestOperations:
    async def test_completion_has_no_messages(self, service, others):
        async with service() as client:
            events = await client.run("", specification=continuing("once upon"))
            assert events[-1].finished.job.result_text == "onceupon"
            start = others.router.executions[-1]
            assert (list(start.inputs), list(start.messages)) == (["once upon"], [])

    async def test_vectors_stream_and_come_again(self, service, others):
        """The same key gives the same vectors, and nothing runs twice."""
        asked = pb.JobSpecification(type="embedding", model="smol", inputs=["one", "three"])
        async with service() as client:
            runs = [await client.run("", specification=asked, request_id="k") for _ in range(2)]
            for events in runs:
                vectors = [e.embedding for e in events if e.WhichOneof("event") == "embedding"]
                assert [(each.index, list(each.values)) for each in vectors] == [
                    (0, [3.0, 0.5]),
                    (1, [5.0, 0.5]),
                ]
            job = runs[0][-1].finished.job
            assert (job.actual_cost_nanousd, job.estimated_cost_nanousd) == (5 * 10**6, 16 * 10**6)
            assert sum(bool(each.inputs) for each in others.router.executions) == 1
            receipt = await client.receipt(job.job_id)
            assert json.loads(receipt.statement)["result_problem"] is None
            assert len(receipt.keys) == 2


class TestReceipts:
    async def test_is_signed_twice_and_can_be_verified(self, service, others):
        """What is stored, byte for byte, is what was signed."""
        async with service() as client:
            job = (await client.run("one two three"))[-1].finished.job
            receipt = await client.receipt(job.job_id)
            statement = json.loads(receipt.statement)
            ring = key_ring([{**jwk_of(k.public_key), "owner": k.owner} for k in receipt.keys])
            document = {
                "statement": statement,
                "key_id": receipt.key_id,
                "signature": receipt.signature.hex(),
            }
            assert verify_receipt(document, ring).worker.owner == "gpu-worker/w1"
            assert canonical_json(statement) == receipt.statement
            assert statement["charge_nanousd"] == job.actual_cost_nanousd
            keys = await client.receipt_keys()
            assert {key.key_id for key in keys} == {receipt.key_id, others.router.worker_key.key_id}
            assert all(key.created_at.seconds for key in keys)

    async def test_unfinished_or_foreign_job_has_none(self, service, issuer, others):
        async with service() as client:
            created = await client.create("full")
            with pytest.raises(ServiceError) as caught:
                await client.receipt(created.job_id)
            assert (caught.value.code, caught.value.reason) == (
                ErrorCode.FAILED_PRECONDITION,
                "JOB_NOT_FINISHED",
            )
            with pytest.raises(ServiceError) as caught:
                await Client(client.stub, issuer, "user-2").receipt(created.job_id)
            assert caught.value.reason == "JOB_NOT_FOUND"
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await client.stub.GetReceipt(pb.GetReceiptRequest(job_id=created.job_id))
            assert caught.value.code is ErrorCode.UNAUTHENTICATED


class TestQueued:
    async def test_job_is_run_and_charged(self, service, others):
        async with service() as client:
            created = await client.create("one two")
            assert created.state == pb.JOB_STATE_PENDING
            job = await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED)
            assert (job.result_text, job.attempt) == ("onetwo", 1)
            await until(lambda: hold_of(job) in others.cost.settled)

    async def test_ledger_away_for_a_while(self, service, others):
        """Accepted, and admitted when the ledger is back."""
        async with service() as client:
            others.cost.is_away = True
            created = await client.create("one two")
            assert created.state == pb.JOB_STATE_PENDING
            await asyncio.sleep(0.5)
            others.cost.is_away = False
            job = await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED, 20)
            await until(lambda: hold_of(job) in others.cost.settled)
            assert others.cost.times["post"] >= 1

    async def test_blocked_until_the_budget_is_raised(self, service, others):
        async with service() as client:
            others.cost.budget = 0
            created = await client.create("one two")
            assert created.state == pb.JOB_STATE_BLOCKED
            assert created.failure_reason == "BUDGET_EXCEEDED"
            others.cost.budget = 10**18
            await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED)

    async def test_blocked_for_too_long(self, service, others):
        """C6: given up, with a void that keeps the hold from ever being placed."""
        async with service(blocked_max_seconds=1) as client:
            others.cost.budget = 0
            created = await client.create("one two")
            job = await client.reaches(created.job_id, pb.JOB_STATE_FAILED)
            assert job.failure_reason == "BUDGET_WAIT_EXPIRED"
            await until(lambda: others.cost.settled.get(hold_of(job)) == ("void", 0))

    async def test_full_queue_and_priority(self, service, others):
        """X-R26: refused with a time to come again; what is in keeps its place."""
        async with service(max_queued_jobs_per_project=1) as client:
            others.cost.budget = 0
            created = await client.create("one two", priority=7)
            assert created.priority == 7
            with pytest.raises(ServiceError) as caught:
                await client.create("three")
            assert (caught.value.reason, caught.value.code) == (
                "QUEUE_FULL",
                ErrorCode.RESOURCE_EXHAUSTED,
            )
            assert caught.value.retry_after.total_seconds() > 0

    async def test_budgets_of_team_and_api_key_are_named(self, service, issuer, others):
        """A hold is asked for in the scopes of the project, of its team and of the key."""
        others.auth.team_id = "team-1"
        async with service() as client:
            client.token = issuer.key_token(scope="inference")
            job = await client.create("one two")
            await until(lambda: hold_of(job) in others.cost.holds)
            scopes = others.cost.holds[hold_of(job)].scopes
            assert [(scope.kind, scope.scope_id) for scope in scopes] == [
                (ledger_pb.BUDGET_SCOPE_KIND_PROJECT, "project-1"),
                (ledger_pb.BUDGET_SCOPE_KIND_TEAM, "team-1"),
                (ledger_pb.BUDGET_SCOPE_KIND_API_KEY, "key-1"),
            ]
            assert [scope.default_cap for scope in scopes] == [True, False, False]

    async def test_failing_job_ends_as_a_dead_letter(self, service, others):
        async with service() as client:
            created = await client.create("broken", max_retries=1)
            job = await client.reaches(created.job_id, pb.JOB_STATE_DEAD_LETTER)
            assert (job.attempt, job.retry_count) == (2, 1)
            await until(lambda: others.cost.settled.get(hold_of(job)) == ("void", 0))

    async def test_router_without_capacity_keeps_it_waiting(self, service, others):
        """X-P15: it waits with its hold."""
        async with service() as client:
            created = await client.create("full")
            await until(lambda: len(others.router.executions) >= 3)
            job = await client.get(created.job_id)
            assert job.state in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING)
            assert job.retry_count == 0
            assert hold_of(job) not in others.cost.settled

    async def test_hold_without_a_job_is_voided(self, service, others):
        async with service(reconcile_after_seconds=1):
            others.cost.holds["j9:1"] = None
            await until(lambda: others.cost.settled.get("j9:1") == ("void", 0))


# Nothing is renewed within a test: what stops an engine is the request itself.
SELDOM_RENEWED = {"lease_seconds": 60, "lease_renew_seconds": 30}
STOP_SECONDS = 2


class TestCancel:
    @pytest.mark.parametrize("replica", [0, 1])
    async def test_running_job_stops_at_once(self, service, others, replica):
        """X-R23: whichever replica is asked, the engine stops; what was made is charged."""
        async with service(**SELDOM_RENEWED) as runner:
            created = await runner.create("endless")
            await until(lambda: others.router.running["endless"] == 1)
            async with service(**SELDOM_RENEWED) as other:
                asked = await (runner, other)[replica].cancel(created.job_id)
                job = await other.reaches(created.job_id, pb.JOB_STATE_CANCELLED, STOP_SECONDS)

            assert (asked.state, asked.cancel_requested) == (pb.JOB_STATE_RUNNING, True)
            await until(lambda: others.router.running["endless"] == 0)
            assert others.router.stopped["endless"] == 1
            assert job.actual_cost_nanousd > 0
            await until(lambda: hold_of(job) in others.cost.settled)
            assert others.cost.settled[hold_of(job)] == ("post", job.actual_cost_nanousd)

    async def test_replica_that_runs_it_needs_no_redis(self, service, others):
        async with service(redis_url="redis://:none@127.0.0.1:1/0", **SELDOM_RENEWED) as client:
            created = await client.create("endless")
            await until(lambda: others.router.running["endless"] == 1)
            await client.cancel(created.job_id)
            await client.reaches(created.job_id, pb.JOB_STATE_CANCELLED, STOP_SECONDS)

    async def test_next_renewal_stops_it_without_redis(self, service, others):
        async with service(redis_url="redis://:none@127.0.0.1:1/0") as runner:
            created = await runner.create("endless")
            await until(lambda: others.router.running["endless"] == 1)
            async with service() as other:
                await other.cancel(created.job_id)
                await other.reaches(created.job_id, pb.JOB_STATE_CANCELLED)
            await until(lambda: others.router.running["endless"] == 0)

    async def test_waiting_job_is_cancelled_and_its_hold_voided(self, service, others):
        async with service() as client:
            created = await client.create("full")
            # Waits, or is just being offered to a router that has no place for it.
            await client.cancel(created.job_id)
            job = await client.reaches(created.job_id, pb.JOB_STATE_CANCELLED)
            assert job.actual_cost_nanousd == 0
            await until(lambda: others.cost.settled.get(hold_of(job)) == ("void", 0))

    async def test_blocked_job_can_be_cancelled(self, service, others):
        async with service() as client:
            others.cost.budget = 0
            created = await client.create("one two")
            assert (await client.cancel(created.job_id)).state == pb.JOB_STATE_CANCELLED
            again = await client.cancel(created.job_id)
            assert (again.state, again.cancel_requested) == (pb.JOB_STATE_CANCELLED, True)

    async def test_caller_who_waits_learns_of_it(self, service, others):
        async with service() as client:
            call, job_id = await begun(client, request_id="k1")
            await client.cancel(job_id)
            told = []
            with pytest.raises(ServiceError) as caught, rpc_errors():
                [event async for event in call]
            told.append((caught.value.code, caught.value.reason))
            with pytest.raises(ServiceError) as caught:
                await client.run("endless", request_id="k1")
            told.append((caught.value.code, caught.value.reason))
            assert told == [(ErrorCode.ABORTED, "JOB_CANCELLED")] * 2

    async def test_caller_who_only_left_may_have_what_was_made(self, service, others):
        """A lost connection is no cancellation: the same key replays what was paid for."""
        async with service() as client:
            call, job_id = await begun(client, request_id="k1")
            call.cancel()
            job = await client.reaches(job_id, pb.JOB_STATE_CANCELLED)
            events = await client.run("endless", request_id="k1")
            assert not job.cancel_requested
            texts = [e.delta.text for e in events if e.WhichOneof("event") == "delta"]
            assert texts == [job.result_text]

    async def test_finished_job_stays_as_it_is(self, service, others):
        async with service() as client:
            created = await client.create("one two")
            await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED)
            with pytest.raises(ServiceError) as caught:
                await client.cancel(created.job_id)
            assert (caught.value.code, caught.value.reason) == (
                ErrorCode.FAILED_PRECONDITION,
                "JOB_ALREADY_FINISHED",
            )

    async def test_foreign_job_looks_absent(self, service, issuer, others):
        """X-Z1, and it runs on."""
        async with service() as client:
            created = await client.create("endless")
            await until(lambda: others.router.running["endless"] == 1)
            with pytest.raises(ServiceError) as caught:
                await Client(client.stub, issuer, "user-2").cancel(created.job_id)
            assert caught.value.reason == "JOB_NOT_FOUND"
            assert not (await client.get(created.job_id)).cancel_requested
            await client.cancel(created.job_id)


class TestDeadLetters:
    async def test_from_death_to_another_life(self, service, others):
        """C4: listed, shown with what was tried, redriven, held anew, answered and charged."""
        async with service() as client:
            created = await client.create("broken once", max_retries=0)
            job_id = created.job_id
            await client.reaches(job_id, pb.JOB_STATE_DEAD_LETTER)

            listed = await client.about_dead_letters(
                "ListDeadLetters", type="generation_v2", failure_reason="EXECUTION_FAILED"
            )
            assert [job.job_id for job in listed.jobs] == [job_id]
            shown = (await client.about_dead_letters("GetDeadLetter", job_id=job_id)).dead_letter
            assert [(each.outcome, each.error) for each in shown.attempts] == [
                ("dead_letter", shown.job.last_error)
            ]
            assert [charge.voided for charge in shown.charges] == [True]
            assert shown.events[-1].type == "dead_letter"

            redriven = await client.about_dead_letters("RedriveDeadLetter", job_id=job_id)
            assert redriven.job.state == pb.JOB_STATE_PENDING
            job = await client.reaches(job_id, pb.JOB_STATE_COMPLETED)
            assert (job.attempt, job.failure_reason) == (2, "")
            await until(lambda: f"{job_id}:2" in others.cost.settled)
            assert others.cost.settled[f"{job_id}:1"] == ("void", 0)
            assert others.cost.settled[f"{job_id}:2"] == ("post", job.actual_cost_nanousd)
            seen = [told.event async for told in client.watch("", job_id, "")]
            assert [getattr(each, "type", "") for each in seen].count("retried") == 1

    async def test_many_are_redriven_and_one_purged(self, service, others, postgres_store):
        async with service() as client:
            created = [await client.create("broken", max_retries=0) for _ in range(3)]
            for job in created:
                await client.reaches(job.job_id, pb.JOB_STATE_DEAD_LETTER)
            await client.about_dead_letters("PurgeDeadLetter", job_id=created[0].job_id)

            many = await client.about_dead_letters("RedriveDeadLetters", limit=1000)

            assert set(many.job_ids) == {job.job_id for job in created[1:]}
            for job in created[1:]:
                await until(lambda job=job: f"{job.job_id}:2" in others.cost.settled)
            with pytest.raises(ServiceError) as caught:
                await client.retry(created[0].job_id)
            assert caught.value.reason == "JOB_NOT_RETRYABLE"
            assert [entry[0] for entry in await postgres_store.audited()] == [
                "dead_letter.purged",
                "dead_letter.redriven",
                "dead_letter.redriven",
            ]

    async def test_cancelled_job_is_retried(self, service, others):
        async with service() as client:
            others.cost.budget = 0
            created = await client.create("one two")
            await client.cancel(created.job_id)
            others.cost.budget = 10**18
            assert (await client.retry(created.job_id)).state == pb.JOB_STATE_PENDING
            await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED)

    async def test_doors(self, service, issuer):
        """What can't be meant is refused; who may only read decides nothing."""
        async with service() as client:
            for method, values in (
                ("RedriveDeadLetters", {"limit": 1001}),
                ("RedriveDeadLetters", {"limit": -1}),
                ("RedriveDeadLetter", {"request_id": "k" * 256}),
                ("ListDeadLetters", {"type": "x" * 65}),
                ("ListDeadLetters", {"failure_reason": "a\0b"}),
                ("ListDeadLetters", {"page_token": "nonsense"}),
            ):
                with pytest.raises(ServiceError) as caught:
                    await client.about_dead_letters(method, **values)
                assert caught.value.code is ErrorCode.INVALID_ARGUMENT
            token = issuer.key_token(project_id="project-1", scope="read")
            for method in ("RedriveDeadLetter", "RedriveDeadLetters", "PurgeDeadLetter"):
                request = getattr(dead_pb, f"{method}Request")()
                with pytest.raises(ServiceError) as caught, rpc_errors():
                    await getattr(client.dead_letters, method)(
                        request, metadata=(("authorization", f"Bearer {token}"),)
                    )
                assert caught.value.reason == "PERMISSION_DENIED"


class TestShutdown:
    async def test_running_jobs_finish(self, service, settings, others, postgres_store):
        """SIGTERM lets what runs come to its end."""
        async with service() as client:
            created = await client.create("long")
            await until(lambda: others.router.running["long"] == 1)
        stored = await postgres_store.stored(created.job_id)
        assert (stored.state, stored.attempt) == ("completed", 1)

    async def test_what_can_not_finish_is_handed_back(self, service, others, postgres_store):
        """X-R19: at once, without waiting for its lease, and without a strike."""
        async with service(drain_seconds=0.5) as client:
            created = await client.create("endless")
            await until(lambda: others.router.running["endless"] == 1)
        stored = await postgres_store.stored(created.job_id)
        assert (stored.state, stored.lost_count) == ("pending", 0)
        await until(lambda: others.router.running["endless"] == 0)

    async def test_next_replica_goes_on(self, service, others):
        async with service(drain_seconds=0.2) as client:
            others.cost.is_away = True
            created = await client.create("one two")
        others.cost.is_away = False
        async with service() as client:
            await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED, 20)


class TestDoors:
    async def test_only_the_gateway_may_call(self, service, pki, issuer, settings, others):
        async with job_service(settings()) as port:
            address = f"127.0.0.1:{port}"
            async with client_of(address, pki["cost-service"], issuer) as client:
                with pytest.raises(ServiceError) as caught:
                    await client.get("j1")
        assert caught.value.reason == "CALLER_NOT_ALLOWED"

    async def test_foreign_job_looks_absent(self, service, pki, issuer, others):
        """X-Z1: another tenant's job can't be told from one that never was."""
        async with service() as client:
            created = await client.create("one")
            stranger = Client(client.stub, issuer, "user-2")
            errors = []
            for job_id in (created.job_id, "01a20105-0000-7000-8000-000000000000"):
                with pytest.raises(ServiceError) as caught:
                    await stranger.get(job_id)
                errors.append((caught.value.code, caught.value.reason))
            assert errors == [(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")] * 2
            assert (await stranger.list()).jobs == []

    async def test_key_without_the_scope_is_refused(self, service, issuer):
        async with service() as client:
            token = issuer.key_token(project_id="project-1", scope="read")
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await client.stub.CreateJob(
                    pb.CreateJobRequest(specification=specification("generation_v2", "x")),
                    metadata=(("authorization", f"Bearer {token}"),),
                )
            assert caught.value.reason == "PERMISSION_DENIED"

    async def test_without_a_token_nothing_works(self, service):
        async with service() as client:
            with pytest.raises(ServiceError) as caught, rpc_errors():
                await client.stub.GetJob(pb.GetJobRequest(job_id="j1"))
            assert caught.value.code is ErrorCode.UNAUTHENTICATED

    async def test_pages(self, service):
        async with service() as client:
            made = [(await client.create("one")).job_id for _ in range(5)]
            seen, token = [], ""
            while True:
                page = await client.list(page_size=2, page_token=token)
                seen += [job.job_id for job in page.jobs if job.type == "generation_v2"]
                assert all(not job.result_text for job in page.jobs)
                token = page.next_page_token
                if not token:
                    break
            assert seen == sorted(made, reverse=True)

    async def test_redis_away_is_no_trouble(self, service, others):
        """X-R14: hints are lost, polls find the work."""
        async with service(redis_url="redis://:none@127.0.0.1:1/0") as client:
            created = await client.create("one two")
            await client.reaches(created.job_id, pb.JOB_STATE_COMPLETED)
